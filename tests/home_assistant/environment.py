"""An environment with Home Assistant in it, made once and kept in the cache."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

VERSION = "2025.4.4"
"""The newest for the Python of Debian 13. It pins its own dependencies."""
_PYTHON = (3, 13)
_INSTALL_S = 1800


class SetUpError(Exception):
    """Something has to be installed first, or could not be. The message says what, on one line."""


def cache_folder() -> Path:
    """Return where environments are kept."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "edgeclassifier" / "homeassistant"


def home_assistant(say: Callable[[str], None], *, version: str, python: str | None) -> Path:
    """Return the program `hass` of a version, which is installed first if need be.

    `python` is the interpreter to install it for; None: this one, or python3.13.
    """
    folder = cache_folder() / version
    program = folder / "bin" / "hass"
    if (folder / "ready").exists():
        say(f"Home Assistant {version}: from {folder}")
        return program
    say(f"Home Assistant {version}: installing it into {folder}, which takes minutes")
    shutil.rmtree(folder, ignore_errors=True)
    _run([python or _find_python(), "-m", "venv", str(folder)])
    programs = folder / "bin"
    _run([str(programs / "pip"), "install", "--quiet", "uv"])
    # Some of its hundred packages are built here, which pip does one after the other.
    wanted = ["--python", str(programs / "python"), f"homeassistant=={version}"]
    _run([str(programs / "uv"), "pip", "install", *wanted])
    (folder / "ready").touch()
    return program


def _find_python() -> str:
    if sys.version_info[:2] == _PYTHON:
        return sys.executable
    name = f"python{_PYTHON[0]}.{_PYTHON[1]}"
    try:
        # What is in PATH under this name may be something that only looks for it.
        subprocess.run([name, "--version"], capture_output=True, check=True, timeout=_INSTALL_S)
    except (OSError, subprocess.SubprocessError):
        raise SetUpError(
            f"Home Assistant {VERSION} needs {name}: install it, or say where it is: --python"
        ) from None
    return name


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=_INSTALL_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SetUpError(f"{command[0]}: {error}") from None
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "no word why").splitlines()[-1]
        raise SetUpError(f"{' '.join(command[:3])}: exit code {done.returncode}: {last}")
