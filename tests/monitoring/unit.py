"""The real daemon on a device of the tests, that can be killed and started again."""

import signal
from contextlib import ExitStack
from pathlib import Path

from support.brokers import Mosquitto, free_port
from support.daemon import Daemon, isolated
from support.delegate.build import Device, build, tiny_models
from support.device import Site

from monitoring.sample import pi

_INJECTED_TOO = Path(__file__).parent / "injected"


class Unit:
    """A site with an accelerator, a page on `port`, and a Pi's files in `root`."""

    def __init__(self, folder: Path, *, name: str, broker: Mosquitto) -> None:
        folder.mkdir()
        self.site = Site(folder=folder, port=broker.port)
        self.root = folder / "root"
        self.port = free_port()
        self.be(throttled=0, temperature=51_000)
        compiled, twin = tiny_models(folder)
        for model in (compiled, twin):
            model.with_suffix(".txt").write_text("\n".join(f"class {i}" for i in range(12)))
        self.accelerator = Device(folder)
        settings = self.site.settings
        settings["device"]["id"] = name
        settings["camera"] |= {"max_recoveries": 100}
        settings["model"] = {"name": str(twin), "labels": str(twin.with_suffix(".txt"))}
        settings["model"]["deadline_s"] = 5.0
        settings["accelerator"] = {
            "delegate": str(build(folder)),
            "model": str(compiled),
            "deadline_s": 1.0,
            "retry_min_s": 0.2,
            "retry_max_s": 0.4,
        }
        settings["accelerator.options"] = self.accelerator.options
        settings["buffer"] = {"max_mib": 0.02}
        settings["web"] = {"enabled": True, "port": self.port}
        self._running = ExitStack()
        self.daemon: Daemon | None = None

    def be(self, *, throttled: int, temperature: int) -> None:
        """Have the device say this of itself."""
        pi(self.root, throttled=throttled, temperature=temperature)

    def start(self) -> None:
        """Start the daemon."""
        self.site.write()
        env = isolated(
            self.site.folder,
            PYTHONPATH=str(_INJECTED_TOO),
            EDGECLASSIFIER_FAULT=str(self.site.fault),
            EDGECLASSIFIER_LIVE="1",
            EDGECLASSIFIER_ROOT=str(self.root),
        )
        self.daemon = self._running.enter_context(Daemon(env=env, config=self.site.config))

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End the daemon, in order or not."""
        if self.daemon is not None:
            self.daemon.stop(number)
            self.daemon.wait()
        self._running.close()
        self.daemon = None

    def reload(self) -> None:
        """Have the daemon read its configuration again."""
        assert self.daemon is not None
        self.site.write()
        self.daemon.stop(signal.SIGHUP)
