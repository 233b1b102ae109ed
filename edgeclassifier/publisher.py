"""Turns results into messages: predictions, the debounced state, its changes, the picture."""

import io
from collections.abc import Callable

from edgeclassifier.mqtt.base import Message
from edgeclassifier.mqtt.messages import Payloads, Topics, encode
from edgeclassifier.preprocess import Pixels
from edgeclassifier.rate import RateLimit
from edgeclassifier.results import Result
from edgeclassifier.state import Debounce

JSON = "application/json"
JPEG = "image/jpeg"


class Publisher:
    """Decides what of each result is published, and when."""

    def __init__(
        self,
        *,
        publish: Callable[[Message], bool],
        topics: Topics,
        payloads: Payloads,
        debounce: Debounce,
        clock_synchronized: Callable[[], bool],
        max_rate_hz: float,
        heartbeat_s: float,
        image_max_rate_hz: float | None,
        image_quality: int,
    ) -> None:
        """Use `publish` for all messages; `image_max_rate_hz` None publishes no pictures."""
        self._publish = publish
        self._topics = topics
        self._payloads = payloads
        self._debounce = debounce
        self._clock_synchronized = clock_synchronized
        self._predictions = RateLimit(max_rate_hz=max_rate_hz)
        self._heartbeat_s = heartbeat_s
        self._heartbeat_due_s = float("-inf")
        self._images = (
            None if image_max_rate_hz is None else RateLimit(max_rate_hz=image_max_rate_hz)
        )
        self._image_quality = image_quality

    def handle(self, result: Result) -> None:
        """Publish what is due."""
        synchronized = self._clock_synchronized()
        now_s = result.frame.monotonic_s
        if self._predictions.allows(now_s):
            payload = self._payloads.prediction(result, clock_synchronized=synchronized)
            self._send(self._topics.predictions, encode(payload))
        self._handle_state(result, now_s, synchronized=synchronized)
        if self._images is not None and self._images.allows(now_s):
            jpeg = encode_jpeg(result.crop, quality=self._image_quality)
            message = Message(topic=self._topics.image, payload=jpeg, qos=0, content_type=JPEG)
            self._publish(message)

    def _handle_state(self, result: Result, now_s: float, *, synchronized: bool) -> None:
        top = result.predictions[0] if result.predictions else None
        changed = self._debounce.update(top, now_s=now_s)
        state = self._debounce.state
        if state is None or (changed is None and now_s < self._heartbeat_due_s):
            return
        self._heartbeat_due_s = now_s + self._heartbeat_s
        when = result.frame.utc
        shown = self._payloads.state(state, when, clock_synchronized=synchronized)
        self._send(self._topics.state, encode(shown), retain=True)
        if changed is not None:
            event = self._payloads.event(changed, when, clock_synchronized=synchronized)
            self._send(self._topics.event, encode(event))

    def _send(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        self._publish(Message(topic=topic, payload=payload, retain=retain, content_type=JSON))


def encode_jpeg(pixels: Pixels, *, quality: int) -> bytes:
    """Encode H x W x 3 RGB as a JPEG; `quality` is 1 to 95."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()
