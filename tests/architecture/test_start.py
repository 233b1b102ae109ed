"""What a start does without: each of these costs a small computer tenths of a second."""

import subprocess
import sys

NEEDLESS = (
    "av",
    "edgeclassifier.engine.evidence",
    "edgeclassifier.doctor",
    "hypothesis",
    "numpy.ma",
    "numpy.random",
    "picamera2",
    "starlette",
)
START = f"""
import sys
from edgeclassifier.commands import run
from edgeclassifier.compose import daemon
from edgeclassifier.compose.engine import build_engine
from edgeclassifier.config import load_config
build_engine(load_config(None, overrides=["model.name=efficientnet_lite2_260_int8"]))
print(*(set({NEEDLESS!r}) & sys.modules.keys()))
"""


def test_loading_the_bundled_model_imports_nothing_that_it_does_not_need() -> None:
    done = subprocess.run(
        [sys.executable, "-c", START], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == []
