"""Python packages for the guest's Python, fetched by the pip of this machine as it is set up."""

import subprocess
import sys
from pathlib import Path

from system.tools import Architecture

REPOSITORY = Path(__file__).parents[2]
RUN_REQUIREMENTS = REPOSITORY / "deploy" / "requirements" / "run-system.txt"

_GUEST_PYTHON = "3.13"
_MACHINES: dict[Architecture, str] = {"amd64": "x86_64", "arm64": "aarch64"}
# Debian 13 has glibc 2.41. pip does not know that a later tag includes the earlier ones.
_TAGS = (*(f"manylinux_2_{minor}" for minor in range(41, 16, -1)), "manylinux2014")


def fetch(requirements: Path, folder: Path, *, architecture: Architecture) -> None:
    """Download pinned packages with their hashes checked, but not what they depend on."""
    platforms = [f"--platform={tag}_{_MACHINES[architecture]}" for tag in _TAGS]
    _pip(
        "download",
        "--no-deps",
        "--require-hashes",
        f"--python-version={_GUEST_PYTHON}",
        *platforms,
        f"--dest={folder}",
        f"--requirement={requirements}",
    )


def build_wheelhouse(folder: Path, *, architecture: Architecture) -> Path:
    """Fill `folder` with what the daemon needs on the guest; return the project's own wheel."""
    folder.mkdir(parents=True, exist_ok=True)
    fetch(RUN_REQUIREMENTS, folder, architecture=architecture)
    _pip("wheel", "--no-deps", "--no-build-isolation", f"--wheel-dir={folder}", str(REPOSITORY))
    return next(folder.glob("edgeclassifier_daemon-*.whl"))


def _pip(*arguments: str) -> None:
    common = ["--quiet", "--no-input", "--disable-pip-version-check"]
    subprocess.run(
        [sys.executable, "-m", "pip", *arguments, *common],
        check=True,
        timeout=1800,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
