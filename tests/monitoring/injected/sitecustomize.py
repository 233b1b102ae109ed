"""Lets the daemon find another device than this one, and fail as tests/injected tells.

EDGECLASSIFIER_ROOT is where it reads what the kernel says; Python imports this where the folder is
on PYTHONPATH.
"""

import os
import runpy
from pathlib import Path

from edgeclassifier.host.system import System

runpy.run_path(str(Path(__file__).parents[2] / "support" / "injected" / "sitecustomize.py"))
assert System.__init__.__kwdefaults__ is not None
System.__init__.__kwdefaults__["root"] = Path(os.environ["EDGECLASSIFIER_ROOT"])
