"""An export: a folder for each label, whatever the label, and a file that `evaluate` reads."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.kept import JPEG, picture

from edgeclassifier.contract.kept import KeptPicture, is_label
from edgeclassifier.engine.evaluation import read_truth
from edgeclassifier.errors import KeepError
from edgeclassifier.keep.export import LABELS_FILE, UNLABELLED, Folders, export

ODD = [
    *(
        "a/b",
        "a_b",
        "A_B",
        "../../etc",
        "..",
        ".",
        "two\nlines",
        "a\rb",
        "🦆",
        "<b>duck</b>",
        "x" * 300,
    ),
    *("x" * 301, "con", "Egyptian cat", "house finch, linnet", "=1+1", '"quoted"', "_other"),
    *("-rf", "\u202educk", UNLABELLED, "Füchse", "Fu\u0308chse", "猫", "cat.", "\\", "12"),
]


def kept(labels: list[str | None]) -> list[KeptPicture]:
    return [picture(id=str(number), label=label) for number, label in enumerate(labels)]


def read(_picture: KeptPicture) -> bytes:
    return JPEG


def test_every_label_has_a_folder_of_its_own_and_the_file_has_the_label(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    found = export(kept([*ODD, None]), folder, read=read, unlabelled=True)
    assert (found.pictures, found.labels, found.unlabelled) == (len(ODD), len(ODD), 1)
    assert found.problems == ()
    truth = read_truth(folder / LABELS_FILE)
    assert [str(each) for each in truth.values()] == ODD
    folders = [name.partition("/")[0] for name in truth]
    assert len({each.casefold() for each in [*folders, UNLABELLED]}) == len(ODD) + 1
    for name in truth:
        assert (folder / name).read_bytes() == JPEG
    assert {each.name for each in folder.iterdir()} == {*folders, UNLABELLED, LABELS_FILE}
    assert [each.name for each in (folder / UNLABELLED).iterdir()] == [f"cam0-{len(ODD)}.jpg"]
    assert {"Egyptian cat", "_other", "猫", "Füchse"} <= set(folders)


@given(st.text(max_size=600))
def test_no_label_leaves_the_folder(label: str) -> None:
    if not is_label(label):
        return
    name = Folders().name(label)
    assert Path(name).name == name
    assert name not in {".", ".."}
    assert name[0] not in ".-"
    assert len(name.encode()) <= 255
    assert name.isprintable()


def test_a_folder_does_not_depend_on_what_else_is_exported() -> None:
    alone, among = Folders(), Folders()
    for label in ("a:b", "a?b", "cat"):
        among.name(label)
    assert alone.name("a?b") == among.name("a?b")
    assert among.name("cat") == "cat"
    assert among.name("Cat") != "Cat"


def test_without_being_asked_only_what_a_person_has_labelled_is_exported(tmp_path: Path) -> None:
    found = export(kept(["cat", None]), tmp_path / "out", read=read, unlabelled=False)
    assert (found.pictures, found.unlabelled) == (1, 0)
    assert not (tmp_path / "out" / UNLABELLED).exists()


def test_a_folder_with_something_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(KeepError, match="is not empty"):
        export(kept(["cat"]), tmp_path, read=read, unlabelled=False)
    with pytest.raises(KeepError, match="File exists"):
        export(kept(["cat"]), tmp_path / "mine.txt", read=read, unlabelled=False)


def test_a_picture_that_is_not_what_was_kept_is_named_and_left_out(tmp_path: Path) -> None:
    def torn(one: KeptPicture) -> bytes:
        if one.id == "0":
            raise KeepError("picture 0 cannot be read")
        return JPEG[:-5] if one.id == "1" else JPEG

    found = export(kept(["cat"] * 3), tmp_path / "out", read=torn, unlabelled=False)
    assert found.pictures == 1
    assert found.problems == (
        "picture 0 cannot be read",
        "picture 1 is damaged: it is not what was kept",
    )
    assert list(read_truth(tmp_path / "out" / LABELS_FILE)) == ["cat/cam0-2.jpg"]
