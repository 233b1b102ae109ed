"""Pictures that belong to a model: whole or not there, and never in the way."""

import errno
import os
from pathlib import Path

import pytest

from edgeclassifier.compose.golden import judge, own_pictures
from edgeclassifier.compose.model import find_model
from edgeclassifier.config import ModelConfig
from edgeclassifier.errors import ModelError
from edgeclassifier.models.golden import (
    GoldenPicture,
    forget_golden,
    has_golden,
    read_golden,
    write_golden,
)

SHA256 = "0f" * 32


def test_pictures_are_read_back_with_what_is_in_them(tmp_path: Path) -> None:
    assert not has_golden(tmp_path)
    assert read_golden(tmp_path, SHA256) == ()
    write_golden(tmp_path, SHA256, [("open", b"one"), ("shut / 🚪", b"two")])
    found = read_golden(tmp_path, SHA256)
    assert [(each.label, each.path.read_bytes()) for each in found] == [
        ("open", b"one"),
        ("shut / 🚪", b"two"),
    ]
    forget_golden(tmp_path, "")
    assert len(read_golden(tmp_path, SHA256)) == 2
    forget_golden(tmp_path, SHA256)
    assert read_golden(tmp_path, SHA256) == ()


@pytest.mark.parametrize(
    "listed", ["", "{", "7", "null", "[7]", '[{"file": 7}]', '[{"file": "../../x", "label": "a"}]']
)
def test_damage_counts_as_no_pictures(tmp_path: Path, listed: str) -> None:
    write_golden(tmp_path, SHA256, [("open", b"one")])
    (tmp_path / "x").write_bytes(b"elsewhere")
    (tmp_path / "golden" / SHA256 / "golden.json").write_text(listed)
    assert read_golden(tmp_path, SHA256) == ()


def test_a_full_disk_leaves_the_pictures_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_golden(tmp_path, SHA256, [("open", b"one")])

    def full(_path: Path, _text: str) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("edgeclassifier.models.golden.write_text", full)
    with pytest.raises(ModelError, match=r"cannot install in .*: No space left on device"):
        write_golden(tmp_path, SHA256, [("open", b"two")])
    assert read_golden(tmp_path, SHA256)[0].path.read_bytes() == b"one"
    assert [each.name for each in (tmp_path / "golden").iterdir()] == [SHA256]


def test_without_a_place_for_models_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    config = ModelConfig()
    model = find_model(config)
    for name in ("EDGECLASSIFIER_MODELS", "STATE_DIRECTORY", "XDG_DATA_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    assert own_pictures(config, model) == ()


@pytest.mark.parametrize(("right", "refused"), [(4, False), (2, False), (1, True), (0, True)])
def test_a_model_has_to_find_half_of_what_it_was_taught_with(right: int, refused: bool) -> None:
    own = [GoldenPicture(path=Path(f"/a/{number}.jpg"), label="open") for number in range(4)]
    answers = [
        {
            "file": f"/a/{number}.jpg",
            "predictions": [
                {"class_id": 0, "score": 0.9 if number < right else 0.1},
                {"class_id": 1, "score": 0.5},
            ],
        }
        for number in range(4)
    ]
    if not refused:
        judge("gate", answers, labels=("open", "cup"), own=own)
        return
    with pytest.raises(ModelError, match=f"gate: takes {4 - right} of 4 pictures that it was"):
        judge("gate", answers, labels=("open", "cup"), own=own)
