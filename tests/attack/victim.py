"""A real daemon to attack, and the measurement around each attack."""

import contextlib
import json
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from soak.door import Door
from support.brokers import Mosquitto
from support.daemon import SAMPLES, Daemon, isolated

from attack.report import Figures
from attack.witness import Messages, Meter, kept

ROOT, DEVICE = "attacked", "porch"
BASE = f"{ROOT}/{DEVICE}"
RATE_HZ = 10.0
PATIENCE_S = 30.0
"""Longest time for predictions to flow again after an attack."""
_SETTLE_S = 8.0
_LONG_ENOUGH_S = 3.0
"""In less there are too few predictions for a rate."""
_MALLOC = {"MALLOC_MMAP_THRESHOLD_": "1048576", "MALLOC_TRIM_THRESHOLD_": "1048576"}
"""Large blocks are given back as soon as they are free. Else glibc keeps the end of each of the two
arenas, some 10 MB in all, for the next large picture."""
_TRIM = """
import ctypes, os, sys, threading, time
if "run" in sys.orig_argv:
    def trim():
        while True:
            time.sleep(0.5)
            ctypes.CDLL(None).malloc_trim(0)
    threading.Thread(target=trim, daemon=True).start()
"""
"""What the C library keeps of freed memory is no growth: it is given back all the time."""

Keeps = Literal["delivering", "classifying", "nothing"]
Settings = dict[str, dict[str, Any]]


class Victim:
    """One daemon from its start to its end, which a series of attacks shares."""

    def __init__(self, daemon: Daemon, messages: Messages, *, short: bool) -> None:
        self.daemon, self.messages = daemon, messages
        self.duration_s = 4.0 if short else 20.0
        """How long an attack takes that could take any time."""
        self.figures: list[Figures] = []
        self._meter = Meter(daemon.pid)
        self._rate = self._kept = 0.0

    def get_ready(self) -> None:
        """Wait until it works, and measure what is usual. Raises RuntimeError."""
        if not self.messages.flows(PATIENCE_S, 30):
            raise RuntimeError("\n".join(["the daemon does not work:", *self.daemon.lines[-20:]]))
        self._rate = self.messages.rate(4.0)
        self._kept = kept(self.daemon.pid)

    @contextmanager
    def attacked(self, name: str, *, keeps: Keeps = "delivering") -> Iterator[Figures]:
        """Measure what happens inside, and whether all is well again afterwards.

        `keeps`: what of its work it can do meanwhile, whose rate is measured.
        """
        found = Figures(name=name)
        self.figures.append(found)
        tracebacks, lost = self._tracebacks, self.messages.lost
        self._meter.restart()
        before_bytes = self._meter.peak_bytes
        began_s, began_clock_s = time.monotonic(), time.time()
        before = self.messages.predictions
        try:
            yield found
        except (OSError, AssertionError) as error:
            found.remarks.append(f"broke off: {error}")
        found.took_s = time.monotonic() - began_s
        delivered, ended_clock_s = self.messages.predictions - before, time.time()
        if not self.messages.flows(PATIENCE_S):
            found.hangs += 1
        found.crashes += not self._alive
        found.peak_bytes = self._meter.peak_bytes - before_bytes
        found.after_bytes = self._settled_bytes()
        found.tracebacks += self._tracebacks - tracebacks
        # Those of the attack have come when one of later has.
        self.messages.wait_for(lambda: self.messages.newest_s > ended_clock_s, PATIENCE_S)
        # Newer messages may have overtaken what waits to be sent again.
        self.messages.wait_for(lambda: self.messages.lost <= lost, PATIENCE_S)
        found.lost += self.messages.lost - lost
        if keeps != "nothing" and found.took_s >= _LONG_ENOUGH_S:
            made = self.messages.made(began_clock_s, ended_clock_s)
            count = delivered if keeps == "delivering" else made
            found.rate = count / found.took_s / max(0.1, self._rate)

    def end(self) -> None:
        """End it in order; it may take five seconds."""
        self._meter.close()
        if self._alive:
            self.daemon.stop(signal.SIGTERM)
            with contextlib.suppress(Exception):
                if self.daemon.wait(10) == 0:
                    return
        self.figures[-1].remarks.append(f"no end in order: {self.daemon.lines[-3:]}")

    def close(self) -> None:
        """Stop measuring. May be called twice."""
        self._meter.close()

    @property
    def _alive(self) -> bool:
        return kept(self.daemon.pid) > 0

    @property
    def _tracebacks(self) -> int:
        return sum("Traceback (most recent" in line for line in self.daemon.lines)

    def _settled_bytes(self) -> int:
        """Return the growth of its own memory, the least within a while."""
        until_s = time.monotonic() + _SETTLE_S
        least = 1 << 60
        while time.monotonic() < until_s:
            least = min(least, kept(self.daemon.pid))
            if least - self._kept < (2 << 20):
                break
            time.sleep(0.25)
        return int(least - self._kept)


def base_settings(folder: Path, port: int) -> Settings:
    """Return the configuration of a device with the bundled model and the sample pictures."""
    return {
        "device": {"id": DEVICE, "state_directory": str(folder / "state")},
        "camera": {"source": "replay", "deadline_s": 2.0, "max_recoveries": 1000},
        "camera.replay": {"path": str(SAMPLES / "*.*g"), "rate_hz": RATE_HZ},
        "model": {"threads": 1},
        "mqtt": {
            "host": "127.0.0.1",
            "port": port,
            "root": ROOT,
            "max_rate_hz": 0.0,
            "health_interval_s": 1.0,
            "confirm_timeout_s": 3.0,
            "keepalive_s": 10,
            "reconnect_min_s": 0.1,
            "reconnect_max_s": 0.5,
            # Else what was refused or cut off would trickle in for minutes.
            "backlog_rate_hz": 0.0,
        },
    }


@contextmanager
def running(
    folder: Path, settings: Mapping[str, Mapping[str, Any]], messages: Messages, *, short: bool
) -> Iterator[Victim]:
    """Start a daemon, give it when it works, and end it."""
    lines = []
    for name, values in settings.items():
        lines.append(f"[{name}]")
        lines += [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    (config := folder / "config.toml").write_text("\n".join(lines))
    (injected := folder / "injected").mkdir(exist_ok=True)
    (injected / "sitecustomize.py").write_text(_TRIM)
    env = isolated(folder, PYTHONPATH=str(injected), **_MALLOC)
    with Daemon(env=env, config=config) as daemon:
        victim = Victim(daemon, messages, short=short)
        try:
            victim.get_ready()
            yield victim
            victim.end()
        finally:
            victim.close()


def for_a_while(duration_s: float, act: Callable[[], object]) -> int:
    """Do something as often as there is time; return how often."""
    until_s, count = time.monotonic() + duration_s, 0
    while time.monotonic() < until_s:
        act()
        count += 1
    return count


@contextmanager
def broker_behind_a_door(folder: Path) -> Iterator[tuple[Mosquitto, Door]]:
    """Run a mosquitto, and the door through which the daemon comes in."""
    with Mosquitto(folder) as broker:
        door = Door(to_port=broker.port)
        try:
            yield broker, door
        finally:
            door.close()
