"""Takes the running parts from one configuration to another."""

import logging
from collections.abc import Callable

from edgeclassifier.compose.broker import broker_access, subscriptions, will_wait_s
from edgeclassifier.compose.camera import camera_settings
from edgeclassifier.compose.files import differing, files_in_use, stamped
from edgeclassifier.compose.identity import topics_of
from edgeclassifier.compose.packages import require_packages
from edgeclassifier.compose.publisher import (
    discovery_removal,
    publisher_settings,
    retained_topics,
)
from edgeclassifier.compose.views import Step, ViewChanges
from edgeclassifier.config import Config
from edgeclassifier.config.changes import at, at_next_start, changed_keys
from edgeclassifier.config.options import CAMERA, IDLE, LOG, MODEL, PUBLISHING, SESSION, VIEWS
from edgeclassifier.contract.messages import offline, online
from edgeclassifier.contract.plain import Plain, plain_data
from edgeclassifier.daemon.announced import Announced
from edgeclassifier.daemon.reload import Plan
from edgeclassifier.daemon.reporter import Reporter
from edgeclassifier.daemon.requests import RequestHandler
from edgeclassifier.mqtt.session import Session
from edgeclassifier.pipeline.pipeline import Pipeline


@plain_data
class Changes(Plain):
    """The parts that can change while they run."""

    pipeline: Pipeline
    session: Session
    views: ViewChanges
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
        if any(at(place, changed) for place in (MODEL, IDLE, PUBLISHING, VIEWS)):
            steps += self.views.steps(new)
        if at(SESSION, changed):
            steps.append(self._new_session(old, new))
        elif at(PUBLISHING, changed) or at(VIEWS, changed):
            steps.append(self._new_names(old, new))
        if at(CAMERA, changed):
            camera = camera_settings(new.camera)
            steps.append(lambda: self.pipeline.replace_camera(camera))
        if at(LOG, changed):
            steps.append(lambda: logging.getLogger().setLevel(new.log.level.upper()))
        return steps

    def _new_session(self, old: Config, new: Config) -> Step:
        before, topics = topics_of(old), topics_of(new)
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

    def _new_names(self, old: Config, new: Config) -> Step:
        same = {*retained_topics(old)} == {*retained_topics(new)}
        self.announced.remember(retained_topics(new))

        def configure() -> None:
            self._configure(new)
            if not same:
                follow_names(self.announced, new, announces=old.homeassistant.enabled)

        return configure

    def _configure(self, config: Config) -> None:
        topics = topics_of(config)
        self.requests.base = topics.base
        for view, running in self.views.views.by_id.items():
            running.publisher.configure(publisher_settings(config, view))
        self.reporter.configure(topics=topics, interval_s=config.mqtt.health_interval_s)


def follow_names(announced: Announced, config: Config, *, announces: bool = False) -> None:
    """Clear what the broker retains under other names than those of `config`.

    With `announces`, Home Assistant is told of the device whatever `config` says: until the next
    start.
    """
    topics = retained_topics(config)
    if announces:
        topics = (*topics, discovery_removal(config).topic)
    announced.use(topics, will_after_s=will_wait_s(config.mqtt))


class Planner:
    """Reads the configuration again, and says what has changed since it was last taken.

    A key has changed, too, if the file that it names is another one, or has another content.
    """

    def __init__(self, config: Config, *, reread: Callable[[], Config], changes: Changes) -> None:
        """Take the configuration in use, and what reads it again."""
        self._reread = reread
        self._changes = changes
        files = files_in_use(config)
        self._read, self._hidden = stamped(files.read), stamped(files.hidden)

    def plan(self, config: Config) -> Plan | None:
        """Return how to get from `config`, which is in use, to what the files say now.

        None if nothing has changed. Raises ConfigError or ModelError.
        """
        new = self._reread()
        files = files_in_use(new)
        read, hidden = stamped(files.read), stamped(files.hidden)
        changed = changed_keys(config, new) | differing(self._read, read)
        waiting = differing(self._hidden, hidden) - changed
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
