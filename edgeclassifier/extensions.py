"""What comes with the daemon where the configuration says so: page, metrics, Home Assistant."""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from edgeclassifier import __version__
from edgeclassifier.config import Config
from edgeclassifier.contract.message import Incoming
from edgeclassifier.daemon.loop import Daemon
from edgeclassifier.errors import ConfigError, EdgeclassifierError

if TYPE_CHECKING:
    from edgeclassifier.contract.results import Result
    from edgeclassifier.metrics.collector import Metrics
    from edgeclassifier.metrics.families import Identity


class Extension(Protocol):
    """Something that looks at the daemon from outside, and that it does without."""

    def start(self) -> None:
        """Begin. Raises ConfigError where that is not possible."""

    def stop(self) -> None:
        """End, within a second or so."""


def build_extensions(config: Config, daemon: Daemon) -> Iterator[Extension]:
    """Build what the configuration asks for. Raises ConfigError where a package is missing."""
    if config.homeassistant.enabled:
        yield HomeAssistant(config, daemon)
    metrics = None
    if config.web.enabled or config.metrics.textfile:
        metrics = _metrics(daemon)
        daemon.observe(metrics.handle)
        if config.metrics.textfile:
            yield _textfile(config, metrics)
    if config.web.enabled and metrics is not None:
        yield _page(config, daemon, metrics)


class HomeAssistant:
    """Keeps Home Assistant told of the device."""

    def __init__(self, config: Config, daemon: Daemon) -> None:
        from edgeclassifier.compose.homeassistant import discovery
        from edgeclassifier.homeassistant.announcer import Announcer, birth_topic

        self._announcer = Announcer(publish=daemon.publish, make=lambda: discovery(daemon.config))
        self._birth_topic = birth_topic(config.homeassistant.prefix)
        daemon.on_report(self._announcer.changed)
        daemon.on_new_session(self._announcer.announce)
        daemon.on_message(self._receive)

    def start(self) -> None:
        """Announce the device."""
        self._announcer.announce()

    def stop(self) -> None:
        """Announce it no more; it stays there, unavailable."""
        self._announcer.stop()

    def _receive(self, incoming: Incoming) -> None:
        if incoming.topic == self._birth_topic:
            self._announcer.birth(incoming.payload)


def _metrics(daemon: Daemon) -> "Metrics":
    from edgeclassifier.metrics.collector import Metrics

    return Metrics(
        vitals=daemon.vitals,
        system=daemon.system,
        identity=lambda: _identity(daemon.info()),
        # By then the camera is being recovered, which is an excuse, or the interpreter hangs.
        deadline_s=lambda: 2 * daemon.config.camera.deadline_s,
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


def _textfile(config: Config, metrics: "Metrics") -> Extension:
    from edgeclassifier.metrics.textfile import Textfile

    return Textfile(
        path=Path(config.metrics.textfile),
        interval_s=config.metrics.interval_s,
        render=metrics.render,
        render_end=metrics.render_end,
    )


def _page(config: Config, daemon: Daemon, metrics: "Metrics") -> Extension:
    from edgeclassifier.host.credentials import read_password
    from edgeclassifier.metrics.routes import metrics_route, probe_route
    from edgeclassifier.web.live import Live

    try:
        from edgeclassifier.web.server import WebServer
    except ImportError as error:
        raise ConfigError(
            [f"web.enabled: {error}: run 'pip install \"edgeclassifier[web]\"'"]
        ) from None
    live = Live()
    daemon.observe(live.handle)
    password_file = config.web.password_file
    return WebServer(
        host=config.web.host,
        port=config.web.port,
        password=read_password(Path(password_file)) if password_file else None,
        live=live,
        device=_Visited(daemon),
        routes=(
            metrics_route(metrics.render),
            probe_route("/healthz", metrics.health),
            probe_route("/readyz", metrics.readiness),
        ),
    )


class _Visited:
    """The daemon as the page sees it."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon

    def info(self) -> Mapping[str, Any]:
        return self._daemon.info()

    def health(self) -> Mapping[str, Any]:
        return self._daemon.health()

    def request(self, command: str, data: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            return {"status": "ok", "data": self._daemon.actions.run(command, data)}
        except EdgeclassifierError as error:
            return {"status": "error", "data": {}, "error": str(error)}

    def take(self) -> "Result":
        return self._daemon.actions.take()

    def classify(self, picture: bytes) -> Mapping[str, Any]:
        return self._daemon.actions.classify(picture)

    def crop_box(self, height: int, width: int) -> tuple[float, float, float, float]:
        from edgeclassifier.engine.preprocess import crop_box

        preprocess = self._daemon.config.preprocess
        box = crop_box(
            width, height, crop_fraction=preprocess.crop_fraction, region=preprocess.region
        )
        return box.x, box.y, box.width, box.height
