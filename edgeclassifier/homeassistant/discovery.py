"""Tells Home Assistant of the device, by MQTT discovery: in one message, when it is needed.

Home Assistant keeps an entity that a later message does not mention, and removes one of which only
the platform is left: so every message mentions every entity.
"""

import logging
import random
import re
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from edgeclassifier.contract.messages import JSON, Message, Topics, encode
from edgeclassifier.contract.plain import Plain, plain_data
from edgeclassifier.errors import EdgeclassifierError
from edgeclassifier.homeassistant import entities
from edgeclassifier.homeassistant.entities import Entity
from edgeclassifier.host import threads
from edgeclassifier.host.threads import OnDeath

log = logging.getLogger(__name__)

_NAME = "edgeclassifier"
_ONLINE = b"online"
_JITTER_S = 3.0
_APART_S = 5.0


@plain_data
class ViewEntities(Plain):
    """A view, and what its entities have to know."""

    topics: Topics
    heartbeat_s: float
    """State is published this often; an entity that missed two messages is unavailable."""
    threshold_range: tuple[float, float]
    """The least and the greatest threshold that may be set."""


def _of_view(
    view: ViewEntities, *, models: Sequence[str], allowed: Collection[str], image_enabled: bool
) -> dict[str, Entity]:
    """Return the entities of a view; a camera's only one is not named in them.

    One that is not wanted, or whose command is not `allowed`, is left with its platform only.
    """
    topics = view.topics
    found = {
        **entities.labels(topics, heartbeat_s=view.heartbeat_s, pictured=image_enabled),
        "image": entities.image(topics) if image_enabled else {"platform": "image"},
        "threshold": entities.threshold(topics, *view.threshold_range)
        if "set_threshold" in allowed
        else {"platform": "number"},
        "model": entities.model(topics, models)
        if "set_model" in allowed
        else {"platform": "select"},
    }
    if not topics.view:
        return found
    for entity in found.values():
        if "name" in entity:
            entity["name"] = f"{topics.view} {entity['name'].lower()}"
    return {f"{topics.view}_{key}": entity for key, entity in found.items()}


def discovery_message(
    *,
    topics: Topics,
    prefix: str,
    version: str,
    views: Sequence[ViewEntities],
    gone: Collection[str] = (),
    models: Sequence[str],
    health_interval_s: float,
    controls: Collection[str],
    image_enabled: bool,
) -> Message:
    """Describe the device.

    `views` have entities of their own, those that are `gone` have none any more. `models` may be
    chosen from. Health is published every `health_interval_s`; an entity that missed two messages
    is unavailable. `controls` are the commands that the device takes, of which each control needs
    its own.
    """
    device = _object_id(topics)
    components: dict[str, Entity] = {}
    for view in views:
        components |= _of_view(view, models=models, allowed=controls, image_enabled=image_enabled)
    for each in gone:
        # What only the platform is left of is removed.
        left = _of_view(
            ViewEntities(
                topics=replace(topics, view=each), heartbeat_s=0.0, threshold_range=(0.0, 1.0)
            ),
            models=(),
            allowed=(),
            image_enabled=False,
        )
        components |= {key: {"platform": entity["platform"]} for key, entity in left.items()}
    components |= entities.diagnostics(topics, interval_s=health_interval_s)
    components |= entities.controls(topics, allowed=controls)
    for key, entity in components.items():
        if len(entity) > 1:
            entity |= {"unique_id": f"{device}_{key}", "qos": 1}
    document = {
        "device": {
            "identifiers": [device],
            "name": topics.device,
            "manufacturer": _NAME,
            "model": "image classifier",
            "sw_version": version,
        },
        "origin": {"name": _NAME, "sw_version": version},
        "availability_topic": topics.availability,
        "components": components,
    }
    return Message(
        topic=_topic(topics, prefix), payload=encode(document), retain=True, content_type=JSON
    )


def removal_message(*, topics: Topics, prefix: str) -> Message:
    """Take the device out of Home Assistant, with all its entities."""
    return Message(topic=_topic(topics, prefix), payload=b"", retain=True)


def _topic(topics: Topics, prefix: str) -> str:
    return f"{prefix}/device/{_object_id(topics)}/config"


def _object_id(topics: Topics) -> str:
    """Name the device in the characters that Home Assistant allows, the same at every start."""
    return re.sub(r"[^a-zA-Z0-9_-]", "-", f"{topics.root}-{topics.device}")


def birth_topic(prefix: str) -> str:
    """Return the topic on which Home Assistant says that it has started."""
    return f"{prefix}/status"


class Announcer:
    """Publishes the discovery message when it has changed, and when Home Assistant has started.

    Its methods may be called from any thread, and none waits or raises.
    """

    def __init__(
        self,
        *,
        publish: Callable[[Message], bool],
        make: Callable[[], Message],
        jitter_s: float = _JITTER_S,
        apart_s: float = _APART_S,
        on_death: OnDeath | None = None,
    ) -> None:
        """Publish what `make` returns; if it raises EdgeclassifierError, that is logged.

        All devices hear of the start of Home Assistant at the same moment, so each waits up to
        `jitter_s`. Two messages are at least `apart_s` apart, because Home Assistant loses most of
        one that comes while it still sets up the entities of the one before. Any other exception
        goes to `on_death`, whichever thread it comes from.
        """
        self._publish = publish
        self._make = make
        self._jitter_s = jitter_s
        self._apart_s = apart_s
        self._on_death = on_death
        self._lock = threading.Lock()
        self._last: Message | None = None
        self._last_s = float("-inf")
        self._pending: threading.Event | None = None
        """Set to cancel the message that waits."""
        self._stopped = False

    def start(self) -> None:
        """Publish it for the first time."""
        self.announce()

    def announce(self) -> None:
        """Publish it now: at the start, and on a new broker."""
        with self._lock, self._contained():
            self._cancel()
            self._send(self._made())

    def changed(self) -> None:
        """Publish it if it differs from the last one: at once, or as soon as allowed."""
        with self._lock, self._contained():
            if self._pending is not None or self._stopped:
                return
            message = self._made()
            if message is None or message == self._last:
                return
            wait_s = self._last_s + self._apart_s - time.monotonic()
            if wait_s > 0:
                self._send_later(wait_s)
            else:
                self._send(message)

    def birth(self, payload: bytes) -> None:
        """Take a message of the birth topic, and publish again if Home Assistant has started."""
        if payload != _ONLINE:
            return
        with self._lock:
            if self._pending is None:
                # Spreads load, is not a secret.
                self._send_later(random.uniform(0, self._jitter_s))  # noqa: S311

    def stop(self) -> None:
        """Publish no more; the device stays in Home Assistant, unavailable."""
        with self._lock:
            self._cancel()
            self._stopped = True

    @contextmanager
    def _contained(self) -> Iterator[None]:
        """Let a fault end the announcer, not the thread of another part that called it."""
        try:
            yield
        except Exception as error:
            if self._on_death is None:
                raise
            log.exception("the announcer died of a fault")
            self._on_death(error)

    def _send_later(self, wait_s: float) -> None:
        if self._stopped:
            return
        self._pending = cancelled = threading.Event()
        threads.start(
            self._send_after, args=(wait_s, cancelled), name="announcer", on_death=self._on_death
        )

    def _send_after(self, wait_s: float, cancelled: threading.Event) -> None:
        if cancelled.wait(wait_s):
            return
        with self._lock:
            if self._pending is cancelled:
                self._pending = None
                self._send(self._made())

    def _made(self) -> Message | None:
        try:
            return self._make()
        except EdgeclassifierError as error:
            log.warning("Home Assistant is not told of the device: %s", error)
            return None

    def _send(self, message: Message | None) -> None:
        if self._stopped or message is None:
            return
        if self._last is not None and self._last.topic != message.topic:
            self._publish(_emptied(self._last))
        self._publish(message)
        self._last, self._last_s = message, time.monotonic()

    def _cancel(self) -> None:
        if self._pending is not None:
            self._pending.set()
            self._pending = None


def _emptied(message: Message) -> Message:
    return Message(topic=message.topic, payload=b"", retain=True)
