"""Signals, at the worst moments."""

import subprocess
import sys

import pytest
from support.daemon import REPOSITORY

_LOOP = """
import os, signal, threading, time
from edgeclassifier.host.signals import StopSignal

stop = StopSignal()
stop.install()
def send():
    for _ in range(1000):
        os.kill(os.getpid(), signal.SIGHUP)
        time.sleep(0.0001)
    os.kill(os.getpid(), signal.{last})

threading.Thread(target=send).start()
reloads = 0
while not stop.is_set():
    reloads += stop.take_reload()
print(reloads)
"""


@pytest.mark.parametrize("last", ["SIGTERM", "SIGINT"])
def test_no_signal_comes_at_a_moment_when_it_stops_everything(last: str) -> None:
    """Each one interrupts the main thread wherever that is, in the middle of a check, too."""
    done = subprocess.run(
        [sys.executable, "-c", _LOOP.format(last=last)],
        check=False,
        capture_output=True,
        cwd=REPOSITORY,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert 50 < int(done.stdout) <= 1000
