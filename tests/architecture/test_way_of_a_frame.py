"""One frame's way from the camera to the broker is short enough to be read."""

import statistics
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from support.brokers import Mosquitto, Subscriber, needs_mosquitto, wait_until
from support.daemon import REPOSITORY
from support.device import Site, has_predictions

from edgeclassifier.config import load_config
from edgeclassifier.host.signals import StopSignal
from edgeclassifier.service import run_service

PACKAGE = REPOSITORY / "edgeclassifier"
MOST_FILES = 21
LEAST_FILES = 15
FRAMES = 60
LOOKED_AFTER = "host/threads.py"
"""Runs each time that the parts are looked after, and never else."""


class Trace:
    """Notes which files of the package run, in all threads, between two moments."""

    def __init__(self) -> None:
        self._files: set[str] = set()

    def hook(self, frame: FrameType, event: str, _argument: Any) -> None:
        if event == "call":
            self._files.add(frame.f_code.co_filename)

    def take(self) -> frozenset[str]:
        """Return those since the last call, by their path in the package."""
        seen, self._files = self._files, set()
        root = f"{PACKAGE}/"
        return frozenset(each.removeprefix(root) for each in seen if each.startswith(root))


@needs_mosquitto
def test_one_frame_passes_few_files(
    tmp_path: Path,
    broker: Mosquitto,
    figures: Callable[[str], None],
    request: pytest.FixtureRequest,
) -> None:
    """Between two predictions at a subscriber, with a profile hook over all threads."""
    site = Site(folder=tmp_path, port=broker.port)
    site.settings["camera.replay"]["rate_hz"] = 20
    site.write()
    trace, stop = Trace(), StopSignal()
    threading.setprofile(trace.hook)
    request.addfinalizer(lambda: threading.setprofile(None))

    def run() -> None:
        sys.setprofile(trace.hook)
        run_service(load_config(site.config), stop=stop)

    service = threading.Thread(target=run)
    with Subscriber(broker.port, f"{tmp_path.name}/+/+/predictions") as watching:
        service.start()
        try:
            assert watching.wait_for(has_predictions(10))
            ways = []
            for number in range(11, 11 + FRAMES):
                trace.take()
                assert watching.wait_for(has_predictions(number))
                # Its acknowledgement belongs to its way.
                time.sleep(0.01)
                ways.append(trace.take())
        finally:
            stop.set()
            service.join(10)
    assert wait_until(lambda: not service.is_alive())
    # Every tenth of a second the parts are looked after, which is not a frame's way.
    undisturbed = [way for way in ways if LOOKED_AFTER not in way]
    way = statistics.mode(undisturbed)
    figures(f"{len(way)} files: {' '.join(sorted(way))}")
    assert len(way) >= LEAST_FILES, "the hook has not seen it"
    assert len(way) <= MOST_FILES
