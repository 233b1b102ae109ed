"""A reader that was away, because the process was stopped, goes on with what is new.

V4L2 devices share the code, but need a device, which a test machine does not have.
"""

import os
import signal
import subprocess
import sys
import time

import pytest
from conftest import Figures
from support.rtsp import RtspServer
from support.ticking import TickingCamera


@pytest.mark.parametrize("kind", ["rtsp", "stream", "still"])
def test_a_reader_that_was_stopped_goes_on_with_a_fresh_frame(
    kind: str, request: pytest.FixtureRequest, figures: Figures
) -> None:
    """What waits in sockets by then is old, whatever the moment of its arrival says."""
    away_s = 30.0 if request.config.getoption("--long") else 4.0
    server = RtspServer() if kind == "rtsp" else TickingCamera()
    url = server.url if isinstance(server, RtspServer) else server.url(kind)
    program = (
        "import sys\n"
        "from edgeclassifier.cameras.stream import StreamCamera\n"
        "from edgeclassifier.errors import CameraTimeout\n"
        f"camera = StreamCamera(camera_id='c', url={url!r}, max_rate_hz=0, options={{}},\n"
        "    timeout_s=10, reconnect_max_s=1, loop=False)\n"
        "camera.open()\n"
        "while True:\n"
        "    try:\n"
        "        frame = camera.read(0.2)\n"
        "    except CameraTimeout:\n"
        "        continue\n"
        "    print(frame.pixels.mean(), flush=True)\n"
    )
    reader = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert reader.stdout is not None
    try:
        for _ in range(3 if kind == "still" else 10):
            assert reader.stdout.readline()
        os.kill(reader.pid, signal.SIGSTOP)
        time.sleep(away_s)
        os.kill(reader.pid, signal.SIGCONT)
        ages = []
        for _ in range(5):
            line = reader.stdout.readline()
            assert line
            ages.append(server.age_s(float(line)))
        # The first may have been under way when it was stopped.
        figures(f"{kind}, stopped for {away_s:.0f} s: ages " + " ".join(f"{a:.2f}" for a in ages))
        assert max(ages[2:]) < 1, ages
    finally:
        reader.kill()
        reader.wait()
        reader.stdout.close()
        server.close()
