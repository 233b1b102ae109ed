"""The composition root: builds the daemon, starts its parts in order, and stops them in reverse."""

import logging
import os
import time
from collections.abc import Callable, Collection
from pathlib import Path

from edgeclassifier.compose.broker import broker_access, build_session, subscriptions
from edgeclassifier.compose.camera import camera_settings
from edgeclassifier.compose.changes import Changes, Planner, follow_names
from edgeclassifier.compose.clients import told_where
from edgeclassifier.compose.engine import around_interpreter_nice
from edgeclassifier.compose.guests import Host, build_guests
from edgeclassifier.compose.identity import topics_of
from edgeclassifier.compose.keep import Keeping
from edgeclassifier.compose.model import configured_model_name, model_names
from edgeclassifier.compose.packages import require_packages
from edgeclassifier.compose.publisher import retained_topics
from edgeclassifier.compose.start import choose, load
from edgeclassifier.compose.views import Outlet, ViewChanges, build_view
from edgeclassifier.config import Config
from edgeclassifier.config.overrides import Overrides
from edgeclassifier.config.views import views_of
from edgeclassifier.contract.messages import Payloads, offline, online
from edgeclassifier.contract.status import Crash
from edgeclassifier.daemon.actions import Actions
from edgeclassifier.daemon.announced import Announced
from edgeclassifier.daemon.commentary import Commentary
from edgeclassifier.daemon.description import Description
from edgeclassifier.daemon.loop import Daemon, Observer
from edgeclassifier.daemon.reload import Reload
from edgeclassifier.daemon.reporter import Reporter
from edgeclassifier.daemon.requests import RequestHandler
from edgeclassifier.daemon.sightings import Sightings
from edgeclassifier.daemon.views import Views
from edgeclassifier.daemon.watchdog import Watchdog
from edgeclassifier.host.lifecycle import Running
from edgeclassifier.host.signals import StopSignal
from edgeclassifier.host.system import System
from edgeclassifier.host.systemd import Notifier
from edgeclassifier.host.zones import zone
from edgeclassifier.metrics.tally import Tally
from edgeclassifier.pipeline.modelslot import ModelSlot
from edgeclassifier.pipeline.pipeline import Pipeline

_STOP_S = 2.0
"""For the broker to take the last messages; the camera and the interpreter have as long."""

log = logging.getLogger(__name__)


def run_daemon(
    configured: Config,
    *,
    reread: Callable[[], Config],
    state_directory: Path | None,
    last_crash: Crash | None,
    stop: StopSignal,
) -> None:
    """Run until the camera comes to its end or `stop` is set.

    Raises ConfigError, ModelError, CameraError, InferenceError or ThreadDiedError, after `offline`
    was published if that was possible.
    """
    started_s = time.monotonic()
    require_packages(configured)
    overrides = Overrides(state_directory)
    chosen = choose(configured, overrides)
    config, topics = chosen.config, topics_of(chosen.config)

    # Each part gets what it needs of those above it, and knows nothing of those below.
    system = System()
    notifier = Notifier(os.environ)
    watchdog = Watchdog(notifier, camera_deadline_s=config.camera.deadline_s)
    requests = RequestHandler(
        base=topics.base,
        allow=config.commands.allow,
        max_rate_hz=config.commands.max_rate_hz,
        reply_topics=config.commands.reply_topics,
    )
    session = build_session(
        config,
        broker_access(config.mqtt, device=topics.device),
        will=offline(topics),
        state_directory=state_directory,
        subscriptions=subscriptions(config, topics),
    )
    session.listen(requests.receive)
    announced = Announced(state_directory, publish=session.publish)
    session.on_cleared(announced.note_cleared)
    announced.remember(retained_topics(config))
    views_before = _views_before(announced.topics, topics.base, config)
    nice = around_interpreter_nice(config.model)
    payloads = Payloads(camera=config.camera.id)
    sightings = Sightings(state_directory, zone=zone(config.device.time_zone))
    outlet = Outlet(publish=session.publish, payloads=payloads, sightings=sightings)
    views = Views(
        {view: build_view(config, view, ModelSlot(), outlet) for view in views_of(config)}
    )
    keeping = Keeping(
        config.keep,
        state_directory,
        describe=lambda result: views.newest_prediction(result) or payloads.classification(result),
        clock_synchronized=system.clock_synchronized,
        nice=nice,
    )
    pipeline = Pipeline(
        camera=camera_settings(config.camera),
        lanes=[view.lane for view in views.by_id.values()],
        inference_deadline_s=config.model.deadline_s,
        nice=nice,
    )

    with Running() as running:
        running.start("systemd", lambda: None, stop=notifier.close)
        running.start(
            "MQTT session",
            session.start,
            stop=lambda: session.stop(last=views.first.publisher.farewell, timeout_s=_STOP_S),
        )
        running.start("announced", lambda: follow_names(announced, config), stop=announced.stop)
        running.start("pipeline", pipeline.open, stop=pipeline.close)
        running.start("systemd", lambda: None, stop=notifier.stopping)

        # Connecting, and opening the camera, go on while the models are loaded.
        config = load(views, chosen, overrides, last_crash=last_crash, stop=stop)
        if stop.wanted:
            return
        view_changes = ViewChanges(views=views, pipeline=pipeline, outlet=outlet)
        view_changes.follow_models(config)

        tally = Tally(started_s=started_s)
        # A plan changes the parts that are built below.
        reload = Reload(config, plan=lambda used: planner.plan(used), watchdog=watchdog)  # noqa: PLW0108
        description = Description(
            boot_id=payloads.boot_id,
            started_s=started_s,
            last_crash=last_crash,
            system=system,
            tally=tally,
            pipeline=pipeline,
            session=session,
            views=views,
            reload=reload,
            overrides=overrides,
            watchdog=watchdog,
            guests=lambda: guests.status,
            keep=lambda: keeping.status,
            sightings=sightings,
            models=lambda used: model_names(used.model),
        )
        reporter = Reporter(
            publish=session.publish,
            topics=topics,
            info=description.info,
            health=description.health,
            interval_s=config.mqtt.health_interval_s,
        )
        on_new_session: list[Callable[[], None]] = []
        changes = Changes(
            pipeline=pipeline,
            session=session,
            views=view_changes,
            reporter=reporter,
            requests=requests,
            announced=announced,
            on_new_session=lambda: _call(on_new_session),
        )
        planner = Planner(config, reread=lambda: overrides.apply(reread()), changes=changes)
        actions = Actions(
            pipeline=pipeline,
            views=views,
            payloads=payloads,
            reload=reload,
            overrides=overrides,
            configured=reread,
            models=lambda used: model_names(used.model),
            model=lambda used: configured_model_name(used.model),
            changed=reporter.changed,
            health=description.health,
            restart=stop.restart,
            shelf=keeping.shelf,
        )
        observers: list[Observer] = [tally.count]
        guests = build_guests(
            config,
            Host(
                session=session,
                announced=announced,
                reporter=reporter,
                reload=reload,
                description=description,
                views=views,
                actions=actions,
                tally=tally,
                observers=observers,
                on_new_session=on_new_session,
                views_before=views_before,
                keeping=keeping,
                sightings=sightings,
            ),
        )
        daemon = Daemon(
            pipeline=pipeline,
            session=session,
            views=views,
            reporter=reporter,
            reload=reload,
            overrides=overrides,
            model_returned=view_changes.returned,
            watchdog=watchdog,
            guests=guests,
            commentary=Commentary(
                started_s=started_s,
                watch=lambda: told_where(reload.config, connected=session.connected),
            ),
            observers=observers,
            clock_synchronized=system.clock_synchronized,
            stop=stop,
            nice=nice,
        )

        session.publish(online(topics))
        running.start("health", reporter.start, stop=reporter.stop)
        running.start("reload", lambda: None, stop=reload.close)
        running.start(
            "requests",
            lambda: requests.start(run=actions.run, publish=session.publish),
            stop=requests.stop,
        )
        running.start("guests", guests.start, stop=guests.stop)
        daemon.run()


def _views_before(retained: Collection[str], base: str, config: Config) -> set[str]:
    """Return the names of the views whose state is on record, and which are there no more."""
    states = (topic.removeprefix(f"{base}/").split("/") for topic in retained)
    recorded = {levels[0] for levels in states if levels[1:] == ["state"]}
    return recorded - {topics_of(config, view).view_name() for view in views_of(config)}


def _call(each: list[Callable[[], None]]) -> None:
    for call in each:
        call()
