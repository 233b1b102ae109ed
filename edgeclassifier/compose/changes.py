"""Takes the running parts from one configuration to another."""

import contextlib
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from edgeclassifier.compose.accelerator import compiled_model
from edgeclassifier.compose.broker import broker_access, subscriptions, will_wait_s
from edgeclassifier.compose.camera import camera_settings, idle_settings
from edgeclassifier.compose.engine import build_inference
from edgeclassifier.compose.golden import judge, own_pictures, try_model
from edgeclassifier.compose.model import find_model
from edgeclassifier.compose.names import check_names, name_problems
from edgeclassifier.compose.packages import require_packages
from edgeclassifier.compose.publisher import (
    discovery_removal,
    publisher_settings,
    retained_topics,
    state_rules,
)
from edgeclassifier.config import Config
from edgeclassifier.config.changes import at, at_next_start, changed_keys
from edgeclassifier.config.options import CAMERA, IDLE, LOG, MODEL, PUBLISHING, SESSION
from edgeclassifier.contract.messages import offline, online
from edgeclassifier.contract.plain import Plain, plain_data
from edgeclassifier.daemon.announced import Announced
from edgeclassifier.daemon.publisher import Publisher
from edgeclassifier.daemon.reload import Plan
from edgeclassifier.daemon.reporter import Reporter
from edgeclassifier.daemon.requests import RequestHandler
from edgeclassifier.errors import ModelError
from edgeclassifier.host.credentials import password_path
from edgeclassifier.mqtt.session import Session
from edgeclassifier.pipeline.pipeline import Pipeline

if TYPE_CHECKING:
    from edgeclassifier.engine.inference import Inference

Step = Callable[[], None]
Version = tuple[str, int, int]
"""Of a file, to be compared: its path, when it was written, and how large it is."""

log = logging.getLogger(__name__)


@plain_data
class Changes(Plain):
    """The parts that can change while they run."""

    pipeline: Pipeline
    session: Session
    publisher: Publisher
    reporter: Reporter
    requests: RequestHandler
    announced: Announced
    on_new_session: Callable[[], None]

    def steps(self, old: Config, new: Config, changed: frozenset[str]) -> list[Step]:
        """Validate what only the parts can, and return the steps that bring the changes about.

        Loads and tries a new model, so it takes its time. Raises ConfigError or ModelError, after
        which nothing has changed.
        """
        steps: list[Step] = []
        if at(SESSION, changed):
            steps.append(self._new_session(old, new))
        elif at(PUBLISHING, changed):
            steps.append(lambda: self._configure(new))
        if at(CAMERA, changed):
            camera = camera_settings(new.camera)
            steps.append(lambda: self.pipeline.replace_camera(camera))
        names = self.pipeline.inference.classifier.names
        if model_keys := at(MODEL, changed):
            tried = not any(key.startswith("model.") for key in model_keys)
            inference = _new_model(new, tried=tried)
            names = inference.classifier.names
            steps.append(lambda: self.pipeline.swap(inference))
        if model_keys or at(PUBLISHING, changed):
            check_names(new.state, names)
            rules = state_rules(new.state, names)
            steps.append(lambda: self.publisher.follow(rules))
        if at(IDLE, changed):
            idle = idle_settings(new)
            steps.append(lambda: self.pipeline.configure_idle(idle))
        if at(LOG, changed):
            steps.append(lambda: logging.getLogger().setLevel(new.log.level.upper()))
        return steps

    def model_returned(self, config: Config) -> None:
        """Follow the model before, which is in use again, with `config`."""
        names = self.pipeline.inference.classifier.names
        for problem in name_problems(config.state, names):
            log.warning("%s", problem)
        self.publisher.follow(state_rules(config.state, names))

    def _new_session(self, old: Config, new: Config) -> Step:
        before, topics = (publisher_settings(each).topics for each in (old, new))
        access = broker_access(new.mqtt, device=topics.device)
        self.announced.remember(retained_topics(new))

        def switch() -> None:
            with self.reporter.held():
                self.session.switch(
                    access,
                    will=offline(topics),
                    farewell=offline(before),
                    subscriptions=subscriptions(new, topics),
                )
                self.session.publish(online(topics))
                # Also has everything retained published again: it went with the old connection.
                self._configure(new)
            follow_names(self.announced, new, announces=old.homeassistant.enabled)
            self.on_new_session()

        return switch

    def _configure(self, config: Config) -> None:
        settings = publisher_settings(config)
        self.requests.base = settings.topics.base
        self.publisher.configure(settings)
        self.reporter.configure(topics=settings.topics, interval_s=config.mqtt.health_interval_s)


def follow_names(announced: Announced, config: Config, *, announces: bool = False) -> None:
    """Clear what the broker retains under other names than those of `config`.

    With `announces`, Home Assistant is told of the device whatever `config` says: until the next
    start.
    """
    topics = retained_topics(config)
    if announces:
        topics = (*topics, discovery_removal(config).topic)
    announced.use(topics, will_after_s=will_wait_s(config.mqtt))


def _new_model(config: Config, *, tried: bool) -> "Inference":
    model = find_model(config.model)
    answers = None if tried else try_model(config, model)
    inference = build_inference(config, model)
    if answers is not None:
        own = own_pictures(config.model, model)
        judge(model.name, answers, labels=inference.classifier.labels, own=own)
    log.info("model %s: %s", model.name, model.reason)
    return inference


class Planner:
    """Reads the configuration again, and says what has changed since it was last taken.

    A key has changed, too, if the file that it names is another one, or has another content.
    """

    def __init__(self, config: Config, *, reread: Callable[[], Config], changes: Changes) -> None:
        """Take the configuration in use, and what reads it again."""
        self._reread = reread
        self._changes = changes
        files = files_in_use(config)
        self._read, self._hidden = _stamped(files.read), _stamped(files.hidden)

    def plan(self, config: Config) -> Plan | None:
        """Return how to get from `config`, which is in use, to what the files say now.

        None if nothing has changed. Raises ConfigError or ModelError.
        """
        new = self._reread()
        files = files_in_use(new)
        read, hidden = _stamped(files.read), _stamped(files.hidden)
        changed = changed_keys(config, new) | _differing(self._read, read)
        waiting = _differing(self._hidden, hidden) - changed
        if not changed | waiting:
            return None
        # Also of what takes effect at the next start, which would not come about without them.
        require_packages(new)
        steps = tuple(self._changes.steps(config, new, changed))
        self._read, self._hidden = read, hidden
        return Plan(
            config=new,
            changed=changed | waiting,
            waiting=waiting | at_next_start(changed),
            steps=steps,
        )


@plain_data
class Files(Plain):
    """Files whose content counts as if it were in the configuration, by the keys that name them."""

    read: Mapping[str, Path]
    hidden: Mapping[str, Path]
    """In place of these a systemd credential is read, which is renewed at the next start."""


def files_in_use(config: Config) -> Files:
    """Name the files that are read, by the key that leads to each."""
    mqtt = config.mqtt
    named = {
        "mqtt.tls.ca_file": mqtt.tls.ca_file,
        "mqtt.tls.cert_file": mqtt.tls.cert_file,
        "mqtt.tls.key_file": mqtt.tls.key_file,
    }
    secrets = {
        "camera.stream.password_file": config.camera.stream.password_file,
        "mqtt.password_file": mqtt.password_file,
        "web.password_file": config.web.password_file if config.web.enabled else "",
    }
    passwords = {key: Path(name) for key, name in secrets.items() if name}
    read = {key: password_path(path) for key, path in passwords.items()}
    return Files(
        read={key: Path(name) for key, name in named.items() if name} | read | _model_files(config),
        hidden={key: path for key, path in passwords.items() if read[key] != path},
    )


def _model_files(config: Config) -> dict[str, Path]:
    files: dict[str, Path] = {}
    # What builds the model says what is missing.
    with contextlib.suppress(ModelError):
        model = find_model(config.model)
        files["model.name"] = model.path
        if model.labels is not None:
            files["model.labels"] = model.labels
        if config.accelerator.delegate != "none":
            files["accelerator.model"] = compiled_model(config, model).path
    return files


def _stamped(files: Mapping[str, Path]) -> dict[str, Version]:
    return {key: version for key, path in files.items() if (version := _version(path))}


def _version(path: Path) -> Version | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return str(path), status.st_mtime_ns, status.st_size


def _differing(before: Mapping[str, Version], after: Mapping[str, Version]) -> frozenset[str]:
    return frozenset(key for key in before.keys() | after if before.get(key) != after.get(key))
