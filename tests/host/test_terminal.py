"""What comes from outside never commands a terminal."""

import io
import json
import logging
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeclassifier.cli import main
from edgeclassifier.host.log import set_up_logging
from edgeclassifier.host.terminal import lines, one_line

NASTY = "a\x1b[2J\x9b31m\x07\x7f\u202eb"


@given(st.text())
def test_a_line_stays_one_line_without_commands(text: str) -> None:
    shown = one_line(text)
    assert not any(ord(each) < 32 or 127 <= ord(each) < 160 for each in shown)
    assert len(shown.splitlines()) <= 1
    assert one_line(shown) == shown


@given(st.text())
def test_text_keeps_its_lines_and_nothing_else(text: str) -> None:
    assert lines(text).count("\n") == text.count("\n")
    assert one_line(lines(text)) == one_line(text)


def test_ordinary_letters_stay() -> None:
    assert one_line("Käse 猫 čaj") == "Käse 猫 čaj"


def test_the_log_shows_it_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    for journal in ("", "8:1"):
        said = io.StringIO()
        monkeypatch.setattr(sys, "stderr", said)
        monkeypatch.setattr("edgeclassifier.host.log.under_systemd", lambda on=bool(journal): on)
        try:
            set_up_logging("info")
            logging.getLogger("x").warning("label %s", NASTY)
        finally:
            root.handlers[:], root.level = handlers, level
        assert "a\\u001b[2J\\u009b31m\\u0007\\u007f\\u202eb\n" in said.getvalue()


def test_commands_show_file_names_escaped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / f"{NASTY}.png"
    samples = Path(__file__).parents[2] / "edgeclassifier" / "samples"
    picture.write_bytes((samples / "chelsea.png").read_bytes())
    missing = tmp_path / f"{NASTY}.jpg"
    assert main(["classify", "--config", "/dev/null", str(picture), str(missing)]) == 1
    table = capsys.readouterr()
    assert main(["classify", "--config", "/dev/null", "--json", str(picture)]) == 0
    listed = capsys.readouterr().out
    assert json.loads(listed)[0]["file"] == str(picture)
    assert main(["models", "add", str(missing)]) == 78
    refused = capsys.readouterr().err
    for said in (table.out, table.err, listed, refused):
        assert lines(said) == said
        assert "\\u001b[2J" in said
