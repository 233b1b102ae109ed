"""Turns results into messages: predictions, the stable state, its changes, the picture."""

import io
import time
from collections.abc import Callable, Mapping
from typing import Any

from edgeclassifier.contract import pictures
from edgeclassifier.contract.frame import Frame, Pixels
from edgeclassifier.contract.messages import JSON, Message, Payloads, Topics, encode, offline
from edgeclassifier.contract.pictures import JPEG
from edgeclassifier.contract.plain import Plain, plain_data
from edgeclassifier.contract.results import Result, State
from edgeclassifier.daemon.sightings import Sightings
from edgeclassifier.daemon.stable_label import StableLabel, StateRules

_CLOCK_WAS_SET_S = 1.0
"""Less than this may pass between a look at one clock and at the other."""


@plain_data
class PublisherSettings(Plain):
    """Where messages go, and how often."""

    topics: Topics
    max_rate_hz: float
    """Of predictions; 0: every one."""
    heartbeat_s: float
    """How often the state is repeated."""
    image_max_rate_hz: float | None
    """None publishes no pictures."""
    image_quality: int
    image_on: str = "interval"
    """What a picture is published with: each "event", a "prediction", or nothing: "interval"."""
    prediction_expiry_s: int = 0
    event_expiry_s: int = 0
    """The broker drops what it could not deliver within this; 0: never."""
    cool_down_s: float = 0.0
    """From one event of a label to the next of the same label, at least."""


def clock_lead_s() -> float:
    """Tell how far the wall clock is ahead of the monotonic one, which changes as it is set."""
    return time.time() - time.monotonic()


class RateLimit:
    """Lets events through at no more than a rate, on the average.

    An event may come up to half an interval early: a steady source of just the allowed rate,
    with the jitter that every source has, would otherwise lose every second event.
    """

    def __init__(self, *, max_rate_hz: float) -> None:
        """`max_rate_hz` 0 lets everything through."""
        self._interval_s = 1 / max_rate_hz if max_rate_hz else 0.0
        self._due_s = float("-inf")

    def allows(self, now_s: float) -> bool:
        """Tell whether the event at `now_s` goes through, and count it if it does."""
        if now_s < self._due_s - self._interval_s / 2:
            return False
        self._due_s = max(now_s, self._due_s) + self._interval_s
        return True


class Publisher:
    """Decides what of each result is published, and when."""

    def __init__(
        self,
        *,
        publish: Callable[[Message], bool],
        payloads: Payloads,
        label: StableLabel,
        settings: PublisherSettings,
        sightings: Sightings | None = None,
        clock_lead_s: Callable[[], float] = clock_lead_s,
    ) -> None:
        """Use `publish` for all messages. Without `sightings`, nothing is counted."""
        self.publish = publish
        self._sightings = sightings
        self._event_s: dict[str, float] = {}
        """When each label had its last event, on the monotonic clock."""
        self.newest_prediction: Mapping[str, Any] | None = None
        """The payload of the newest result; None if that was not published."""
        self._payloads = payloads
        self._label = label
        self.clock_synchronized = False
        """Whether wall-clock time can be believed now; to be kept up to date."""
        self._clock_lead_s = clock_lead_s
        self.configure(settings)

    @property
    def farewell(self) -> Message:
        """The last message: that the device is gone."""
        return offline(self._topics)

    @property
    def state(self) -> State | None:
        """The label that holds; None before the first result."""
        return self._label.state

    @property
    def rules(self) -> StateRules:
        """By which rules the label changes."""
        return self._label.rules

    def configure(self, settings: PublisherSettings) -> None:
        """Go by other settings from the next result on."""
        self.settings = settings
        self._topics = settings.topics
        self._payloads.camera = settings.topics.camera
        self._predictions = RateLimit(max_rate_hz=settings.max_rate_hz)
        rate_hz = settings.image_max_rate_hz
        self._images = None if rate_hz is None else RateLimit(max_rate_hz=rate_hz)
        self.repeat_state()

    def follow(self, rules: StateRules, *, from_s: float | None = None) -> None:
        """Go by other rules of the label from the next result on, or from that of a new model.

        That one answers the frames that are captured at `from_s`, on the monotonic clock, or later.
        """
        self._label.follow(rules, from_s=from_s)

    def repeat_state(self) -> None:
        """Publish the state with the next result, whether it changes or not."""
        self._heartbeat_due_s = float("-inf")

    def handle(self, result: Result) -> State | None:
        """Publish what is due. Returns the state if it has changed."""
        synchronized = self._dated_rightly(result.frame)
        now_s = result.frame.monotonic_s
        self.newest_prediction = None
        if self._predictions.allows(now_s):
            payload = self._payloads.prediction(result, clock_synchronized=synchronized)
            self.newest_prediction = payload
            pictured = self.settings.image_on == "prediction" and self._is_image_due(now_s)
            self._send(
                self._topics.predictions,
                payload,
                picture_of=result if pictured else None,
                expiry_s=self.settings.prediction_expiry_s,
            )
        changed = self._label.update(result.predictions, now_s=now_s)
        self._publish_state(result, changed, synchronized=synchronized)
        if self.settings.image_on == "interval" and self._is_image_due(now_s):
            self.publish(self.picture(result))
        return changed

    def _is_image_due(self, now_s: float) -> bool:
        return self._images is not None and self._images.allows(now_s)

    def picture(self, result: Result) -> Message:
        """Make a JPEG of what was classified."""
        jpeg = encode_jpeg(result.crop, quality=self.settings.image_quality)
        return Message(topic=self._topics.image, payload=jpeg, qos=0, content_type=JPEG)

    def _dated_rightly(self, frame: Frame) -> bool:
        """Tell whether the clock was right when the frame was captured: it may be set only now."""
        lead_s = frame.utc.timestamp() - frame.monotonic_s
        return self.clock_synchronized and abs(self._clock_lead_s() - lead_s) < _CLOCK_WAS_SET_S

    def _publish_state(self, result: Result, changed: State | None, *, synchronized: bool) -> None:
        state, now_s = self._label.state, result.frame.monotonic_s
        if state is None or (changed is None and now_s < self._heartbeat_due_s):
            return
        self._heartbeat_due_s = now_s + self.settings.heartbeat_s
        seen = self._seen(result, changed, synchronized=synchronized)
        shown = self._payloads.state(state, result, clock_synchronized=synchronized, seen=seen)
        self._send(self._topics.state, shown, retain=True)
        if changed is not None and self._is_event(changed, now_s):
            event = self._payloads.event(
                changed, result, clock_synchronized=synchronized, seen=seen
            )
            pictured = self._images is not None and self.settings.image_on == "event"
            self._send(
                self._topics.event,
                event,
                picture_of=result if pictured else None,
                expiry_s=self.settings.event_expiry_s,
            )

    def _seen(
        self, result: Result, changed: State | None, *, synchronized: bool
    ) -> Mapping[str, Any] | None:
        """Count a change, and tell when the label that holds was seen before."""
        if self._sightings is None:
            return None
        view, now, now_s = self._topics.view_name(), result.frame.utc, result.frame.monotonic_s
        if changed is not None:
            self._sightings.note(view, changed, now=now, now_s=now_s, right=synchronized)
        return self._sightings.seen(view, now=now, now_s=now_s, right=synchronized)

    def _is_event(self, changed: State, now_s: float) -> bool:
        """Tell whether a change is told as an event: not if its label had one just now."""
        cool_down_s = self.settings.cool_down_s
        if not cool_down_s:
            return True
        recent = {name: at_s for name, at_s in self._event_s.items() if now_s < at_s + cool_down_s}
        told = changed.name in recent
        self._event_s = recent if told else {**recent, changed.name: now_s}
        return not told

    def _send(
        self,
        topic: str,
        payload: Mapping[str, Any],
        *,
        retain: bool = False,
        picture_of: Result | None = None,
        expiry_s: int = 0,
    ) -> None:
        jpeg = None
        if picture_of is not None:
            crop, quality = picture_of.crop, self.settings.image_quality
            jpeg = encode_jpeg(crop, quality=quality, comment=pictures.comment(payload))
            height, width = crop.shape[:2]
            picture = pictures.described(jpeg, topic=self._topics.image, width=width, height=height)
            payload = {**payload, "picture": picture}
        self.publish(
            Message(
                topic=topic,
                payload=encode(payload),
                retain=retain,
                content_type=JSON,
                keep=True,
                picture=jpeg,
                expiry_s=expiry_s,
            )
        )


def encode_jpeg(pixels: Pixels, *, quality: int, comment: bytes = b"") -> bytes:
    """Encode H x W x 3 RGB as a JPEG; `quality` is 1 to 95."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality, comment=comment)
    return buffer.getvalue()
