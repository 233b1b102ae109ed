"""Files that a user has named: pipes would wait for ever."""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from edgeclassifier.cli import main
from edgeclassifier.host.files import open_named


@pytest.mark.parametrize(
    "command",
    [
        ("classify", "{pipe}"),
        ("classify", "--model", "{pipe}.tflite", "{pipe}"),
        ("classify", "--set", "model.labels='{pipe}'", "{pipe}"),
        ("evaluate", "--labels", "{pipe}", "."),
        ("config", "--config", "{pipe}"),
        ("check", "--no-camera", "--config", "{pipe}"),
        ("models", "add", "{pipe}"),
    ],
)
def test_no_command_waits_for_a_pipe(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: Sequence[str]
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    os.mkfifo(f"{pipe}.tflite")
    assert main([each.format(pipe=pipe) for each in command]) in {1, 2, 78}
    assert str(pipe) in "".join(capsys.readouterr())


def test_a_pipe_of_the_shell_is_read() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"a = 1")
    os.close(writing)
    with open_named(Path(f"/dev/fd/{reading}")) as file:
        assert file.read() == b"a = 1"
    os.close(reading)
