"""Child processes and their end."""

import subprocess


def end(process: "subprocess.Popen[bytes]", *, timeout_s: float) -> None:
    """Ask a process to end, and kill it where it has not within `timeout_s`."""
    process.terminate()
    try:
        process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
