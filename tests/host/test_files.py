"""Files that are written where others may have put something in the way."""

from collections.abc import Callable
from pathlib import Path

import pytest
from support.tiny_models import classifier, with_files

from edgeclassifier.errors import ModelError
from edgeclassifier.host.durable import write_text
from edgeclassifier.host.files import continue_file, create
from edgeclassifier.models.store import ModelStore

LABELS = "\n".join(f"label {number}" for number in range(12)).encode()


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A file that belongs to somebody else, and has to stay as it is."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    return victim


@pytest.mark.parametrize("write", [create, lambda path: write_text(path.with_suffix(""), "new")])
def test_a_link_in_the_way_is_replaced_and_not_followed(
    tmp_path: Path, victim: Path, write: Callable[[Path], object]
) -> None:
    (tmp_path / "file.part").symlink_to(victim)
    opened = write(tmp_path / "file.part")
    if hasattr(opened, "close"):
        opened.close()
    assert victim.read_text() == "precious"


def test_a_file_is_not_continued_through_a_link(tmp_path: Path, victim: Path) -> None:
    (tmp_path / "file.part").symlink_to(victim)
    with pytest.raises(OSError, match="symbolic links"):
        continue_file(tmp_path / "file.part")
    assert victim.read_text() == "precious"


@pytest.mark.parametrize("name", [".add.part", "mine.json.part", "mine.labels.txt.part"])
def test_adding_a_model_writes_through_no_link(tmp_path: Path, victim: Path, name: str) -> None:
    root = tmp_path / "store"
    root.mkdir()
    (root / name).symlink_to(victim)
    (tmp_path / "mine.tflite").write_bytes(with_files(classifier(), {"labels.txt": LABELS}))
    labels = tmp_path / "labels.txt"
    labels.write_bytes(LABELS)
    added = ModelStore(root=root).add(tmp_path / "mine.tflite", labels=labels)
    assert not added.path.is_symlink()
    assert victim.read_text() == "precious"


def test_a_lock_that_is_a_link_is_refused(tmp_path: Path, victim: Path) -> None:
    root = tmp_path / "store"
    root.mkdir()
    (root / ".lock").symlink_to(victim)
    with pytest.raises(ModelError, match="symbolic links"), ModelStore(root=root).writing():
        pass
    assert victim.read_text() == "precious"
