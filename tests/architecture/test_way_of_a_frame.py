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
MOST_FILES = 20
FRAMES = 40


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
    site.settings["camera.replay"]["rate_hz"] = 10
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
                time.sleep(0.02)
                ways.append(trace.take())
        finally:
            stop.set()
            service.join(10)
    assert wait_until(lambda: not service.is_alive())
    # Every tenth of a second the parts are looked after, which is not a frame's way.
    counts = sorted(map(len, ways))
    way = next(each for each in ways if len(each) == counts[0])
    figures(
        f"{counts[0]} files, {statistics.median(counts):.0f} with what is looked after: "
        f"{' '.join(sorted(way))}"
    )
    assert len(way) <= MOST_FILES
