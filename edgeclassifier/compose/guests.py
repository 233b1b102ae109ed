"""The guests that the configuration asks for: page, metrics file, Home Assistant."""

import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from edgeclassifier import __version__
from edgeclassifier.compose.keep import Keeping
from edgeclassifier.compose.publisher import discovery
from edgeclassifier.config import Config
from edgeclassifier.config.views import views_of
from edgeclassifier.contract.messages import Incoming, Message
from edgeclassifier.contract.plain import Plain, plain_data
from edgeclassifier.daemon.actions import Actions
from edgeclassifier.daemon.announced import Announced
from edgeclassifier.daemon.description import Description
from edgeclassifier.daemon.guests import Guest, Guests, MakeGuest
from edgeclassifier.daemon.loop import Observer
from edgeclassifier.daemon.reload import Reload
from edgeclassifier.daemon.reporter import Reporter
from edgeclassifier.daemon.sightings import Sightings, SightingsWriter
from edgeclassifier.daemon.views import Views
from edgeclassifier.errors import EdgeclassifierError
from edgeclassifier.host.threads import OnDeath
from edgeclassifier.metrics.tally import Tally
from edgeclassifier.mqtt.session import Session

if TYPE_CHECKING:
    from edgeclassifier.contract.results import Result
    from edgeclassifier.homeassistant import Announcer
    from edgeclassifier.metrics.collector import Metrics
    from edgeclassifier.metrics.families import Identity


@plain_data
class Host(Plain):
    """What the guests are shown of the daemon."""

    session: Session
    announced: Announced
    reporter: Reporter
    reload: Reload
    description: Description
    views: Views
    actions: Actions
    tally: Tally
    observers: list[Observer]
    """See every result, in the daemon's thread. Guests add themselves."""
    on_new_session: list[Callable[[], None]]
    views_before: Collection[str]
    """The views of earlier runs of which something is retained."""
    """Are called if what was retained has to be published again elsewhere."""
    keeping: Keeping
    sightings: Sightings


def build_guests(config: Config, host: Host) -> Guests:
    """Build those that the configuration asks for, not yet started.

    Their packages are there: require_packages() has seen to it.
    """
    factories: dict[str, MakeGuest] = {
        "seen": lambda on_death: SightingsWriter(host.sightings, on_death=on_death)
    }
    if config.keep.kinds:
        factories["keep"] = host.keeping.build
        host.observers.append(host.keeping.handle)
    if config.homeassistant.enabled:
        factories["homeassistant"] = _HomeAssistant(config, host).build
    if config.web.enabled or config.metrics.textfile:
        metrics = _metrics(host)
        if config.metrics.textfile:
            factories["textfile"] = lambda on_death: _textfile(config, metrics, on_death)
        if config.web.enabled:
            factories["page"] = _page(config, host, metrics)
    return Guests(factories)


class _HomeAssistant:
    """Lets the announcer hear what it has to, also the one that takes the place of another."""

    def __init__(self, config: Config, host: Host) -> None:
        from edgeclassifier.homeassistant import birth_topic

        self._host = host
        self._birth_topic = birth_topic(config.homeassistant.prefix)
        self._announcer: Announcer | None = None
        # Without [views], or with others, an earlier run may have told of it.
        self._announced = {"", *host.views_before}
        """The views that Home Assistant may know."""
        host.reporter.on_report.append(self._changed)
        host.on_new_session.append(self._announce)
        host.session.listen(self._receive)

    def build(self, on_death: OnDeath) -> Guest:
        from edgeclassifier.homeassistant import Announcer

        host = self._host
        self._announcer = Announcer(
            publish=host.announced.publish,
            make=self._make,
            on_death=on_death,
        )
        return self._announcer

    def _make(self) -> Message:
        config = self._host.reload.config
        present = views_of(config).keys()
        gone = self._announced - present
        self._announced |= present
        return discovery(config, gone)

    def _changed(self) -> None:
        if self._announcer is not None:
            self._announcer.changed()

    def _announce(self) -> None:
        if self._announcer is not None:
            self._announcer.announce()

    def _receive(self, incoming: Incoming) -> None:
        if self._announcer is not None and incoming.topic == self._birth_topic:
            self._announcer.birth(incoming.payload)


def _metrics(host: Host) -> "Metrics":
    from edgeclassifier.metrics.collector import Metrics

    return Metrics(
        tally=host.tally,
        status=host.description.status,
        identity=lambda: _identity(host.description.info()),
        # By then the camera is being recovered, which is an excuse, or the interpreter hangs.
        deadline_s=lambda: 2 * host.reload.config.camera.deadline_s,
        started_s=time.monotonic(),
    )


def _identity(info: Mapping[str, Any]) -> "Identity":
    from edgeclassifier.metrics.families import Identity

    return Identity(
        device=info["device"],
        camera=info["cameras"][0],
        version=__version__,
        python=info["python"],
        runtime=info["runtime"],
        model=info["model"]["name"],
        model_sha256=info["model"]["sha256"],
    )


def _textfile(config: Config, metrics: "Metrics", on_death: OnDeath) -> Guest:
    from edgeclassifier.metrics.textfile import Textfile

    return Textfile(
        path=Path(config.metrics.textfile),
        interval_s=config.metrics.interval_s,
        render=metrics.render,
        render_end=metrics.render_end,
        on_death=on_death,
    )


def _page(config: Config, host: Host, metrics: "Metrics") -> MakeGuest:
    from edgeclassifier.host.credentials import read_password
    from edgeclassifier.metrics.collector import metrics_route, probe_route
    from edgeclassifier.web.live import Live
    from edgeclassifier.web.server import WebServer

    live = Live()
    host.observers.append(live.handle)
    password_file = config.web.password_file

    def build(on_death: OnDeath) -> Guest:
        return WebServer(
            host=config.web.host,
            port=config.web.port,
            password=read_password(Path(password_file)) if password_file else None,
            live=live,
            device=_Shown(host),
            frame_ancestors=config.web.frame_ancestors,
            routes=(
                metrics_route(metrics.render),
                probe_route("/healthz", metrics.health),
                probe_route("/readyz", metrics.readiness),
            ),
            on_death=on_death,
        )

    return build


class _Shown:
    """The daemon as the page shows it."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def info(self) -> Mapping[str, Any]:
        return self._host.description.info()

    def health(self) -> Mapping[str, Any]:
        return self._host.description.health()

    def request(self, command: str, data: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            return {"status": "ok", "data": self._host.actions.run(command, data)}
        except EdgeclassifierError as error:
            return {"status": "error", "data": {}, "error": str(error)}

    def kept_picture(self, number: str) -> bytes:
        return self._host.keeping.shelf.jpeg(number)

    def throw_away(self, number: str) -> None:
        self._host.keeping.shelf.throw_away(number)

    def take(self, view: str) -> "Result":
        return self._host.actions.take(view or None)

    def classify(self, picture: BinaryIO, view: str) -> Mapping[str, Any]:
        return self._host.actions.classify(picture, view=view or None)

    def crop_box(self, height: int, width: int, view: str) -> tuple[float, float, float, float]:
        views = self._host.views
        area = views.by_id.get(view, views.first).lane.area
        if area is None:
            return 0.0, 0.0, width, height
        box = area.box(width, height)
        return box.x, box.y, box.width, box.height
