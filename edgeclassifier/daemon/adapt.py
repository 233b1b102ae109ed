"""Takes the running parts from one configuration to another."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from edgeclassifier import compose
from edgeclassifier.config import Config
from edgeclassifier.contract.payloads import Payloads, offline, online
from edgeclassifier.daemon.publisher import Publisher
from edgeclassifier.daemon.reload import Apply
from edgeclassifier.daemon.reporter import Reporter
from edgeclassifier.daemon.requests import RequestHandler
from edgeclassifier.daemon.stable_label import StableLabel
from edgeclassifier.mqtt.session import Session
from edgeclassifier.pipeline.pipeline import Pipeline

AT_THE_NEXT_START = (
    "buffer.",
    "commands.",
    "device.state_directory",
    "homeassistant.",
    "metrics.",
    "model.deadline_s",
    "mqtt.reconnect_",
    "web.",
)
"""What is read only when the daemon starts."""
_CAMERA = ("camera.",)
_MODEL = ("model.", "preprocess.", "accelerator.")
_IDLE = ("idle.", "preprocess.")
_PUBLISHER = ("state.", "image.", "mqtt.max_rate_hz")
_TOPICS = ("device.id", "mqtt.root", "camera.id")
_PACE = ("mqtt.max_rate_hz", "mqtt.health_interval_s")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapter:
    """The parts that can change while they run."""

    pipeline: Pipeline
    session: Session
    publisher: Publisher
    label: StableLabel
    payloads: Payloads
    reporter: Reporter
    requests: RequestHandler
    on_new_session: Callable[[], None]

    def prepare(self, old: Config, new: Config, changed: frozenset[str]) -> list[Apply]:
        """Validate what only the parts can, and return the steps that bring the changes about.

        Loads and tries a new model, so it takes its time. Raises ConfigError or ModelError, after
        which nothing has changed.
        """
        changed = frozenset(key for key in changed if not key.startswith(AT_THE_NEXT_START))
        steps: list[Apply] = []
        if _any(changed, _TOPICS) or _any(changed, ("mqtt.",), but=(*_PACE, *_TOPICS)):
            steps.append(self._new_session(old, new))
        elif _any(changed, (*_PUBLISHER, "mqtt.health_interval_s")):
            steps.append(lambda: self._configure(new))
        if _any(changed, _CAMERA):
            camera = compose.camera_settings(new.camera)
            steps.append(lambda: self.pipeline.replace_camera(camera))
        if _any(changed, _MODEL):
            steps.append(self._new_model(new, tried=not _any(changed, ("model.",))))
        if _any(changed, _IDLE):
            idle = compose.idle_settings(new)
            steps.append(lambda: self.pipeline.configure_idle(idle))
        if "log.level" in changed:
            steps.append(lambda: logging.getLogger().setLevel(new.log.level.upper()))
        return steps

    def _new_model(self, config: Config, *, tried: bool) -> Apply:
        model = compose.find_model(config.model)
        answers = None if tried else compose.try_model(config, model)
        inference = compose.build_inference(config, model)
        if answers is not None:
            compose.judge(model.name, answers, labels=inference.classifier.labels)
        log.info("model %s: %s", model.name, model.reason)
        return lambda: self.pipeline.swap(inference)

    def _new_session(self, old: Config, new: Config) -> Apply:
        before, topics = (compose.publisher_settings(each).topics for each in (old, new))
        access = compose.broker_access(new.mqtt, device=topics.device)

        def switch() -> None:
            with self.reporter.held():
                self.session.switch(
                    access,
                    will=offline(topics),
                    farewell=offline(before),
                    subscriptions=compose.subscriptions(new, topics),
                )
                self.session.publish(online(topics))
                # Also has everything retained published again: it went with the old connection.
                self._configure(new)
            self.on_new_session()

        return switch

    def _configure(self, config: Config) -> None:
        settings = compose.publisher_settings(config)
        self.payloads.camera = config.camera.id
        self.requests.base = settings.topics.base
        self.label.rules = compose.state_rules(config.state)
        self.publisher.configure(settings)
        self.reporter.configure(topics=settings.topics, interval_s=config.mqtt.health_interval_s)


def _any(changed: frozenset[str], prefixes: tuple[str, ...], *, but: tuple[str, ...] = ()) -> bool:
    return any(key.startswith(prefixes) and key not in but for key in changed)
