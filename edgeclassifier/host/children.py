"""Child processes: the daemon with settings of one's own, and the end of any child."""

import contextlib
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from edgeclassifier.host import launch

SAMPLES = Path(__file__).parents[1] / "samples"
"""The folder of the sample pictures."""
SAMPLE_PICTURES = str(SAMPLES / "*.*g")
"""What `camera.replay.path` is for them."""


@contextlib.contextmanager
def daemon(
    settings: Mapping[str, Any], *, stop_timeout_s: float
) -> "Iterator[subprocess.Popen[bytes]]":
    """Run the daemon on `settings` alone, no configuration file, while the context lasts.

    Nothing of it remains: what it would remember is not for the daemon that is installed here.
    """
    with tempfile.TemporaryDirectory(prefix="edgeclassifier-") as state:
        command = own_command("run", {"device.state_directory": state, **settings})
        # In a session of its own, so that Ctrl-C reaches it once, by way of this process.
        process = subprocess.Popen(command, start_new_session=True)  # noqa: S603 - our own program
        try:
            yield process
        finally:
            end(process, timeout_s=stop_timeout_s)


def own_command(name: str, settings: Mapping[str, Any]) -> list[str]:
    """Return a command of this program, on settings by dotted key and no configuration file."""
    command = [*launch.command("edgeclassifier"), name, "--config", os.devnull]
    for key, value in settings.items():
        # TOML has the strings, numbers and lists of JSON.
        command += ["--set", f"{key}={json.dumps(value, ensure_ascii=False)}"]
    return command


def end(process: "subprocess.Popen[bytes]", *, timeout_s: float) -> None:
    """Ask a process to end, and kill it where it has not within `timeout_s`."""
    process.terminate()
    try:
        process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
