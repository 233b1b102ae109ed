"""What people give as examples, and what it is called."""

from pathlib import Path

import pytest
from support import lessons

from edgeclassifier.engine.labels import parse_labels
from edgeclassifier.errors import TeachingError, UsageError
from edgeclassifier.teach.examples import label_file, read_folder, read_list


def test_a_folder_has_one_folder_for_each_class(tmp_path: Path) -> None:
    root = lessons.folders(tmp_path / "gate", {"shut": 2, "open": 3, "_other": 1})
    (root / ".hidden").mkdir()
    (root / "open" / ".thumbnail.png").write_bytes(b"")
    (root / "open" / "notes.txt").write_text("not a picture")
    (root / "loose.png").write_bytes(b"")
    found = read_folder(root)
    assert found.labels == ("unknown", "open", "shut")
    assert found.other == 0
    assert [each.class_id for each in found.pictures] == [0, 1, 1, 1, 2, 2]
    assert found.notes == (f"1 pictures lie directly in {root}, in no class",)


def test_the_folder_of_other_things_may_be_empty(tmp_path: Path) -> None:
    root = lessons.folders(tmp_path, {"open": 2, "_other": 0})
    found = read_folder(root)
    assert (found.labels, found.other) == (("unknown", "open"), 0)


@pytest.mark.parametrize(
    ("counts", "reason"),
    [
        ({}, "no class in it: make one folder of pictures for each class"),
        ({"open": 3, "shut": 0}, "shut: no picture in it"),
        ({"open": 3}, "'open' is the only class: two are needed"),
        ({"unknown": 3, "_other": 1, "open": 1}, "would both be called 'unknown': rename one"),
        ({"open \n gate": 1, "open gate": 1}, "would both be called 'open gate': rename one"),
        ({"\x07": 1, "open": 1}, "has no name that can be shown"),
    ],
)
def test_what_is_not_enough_is_refused_in_one_line(
    tmp_path: Path, counts: dict[str, int], reason: str
) -> None:
    root = lessons.folders(tmp_path, counts)
    with pytest.raises(TeachingError, match=reason) as caught:
        read_folder(root)
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_not_there_is_a_mistake_of_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        read_folder(tmp_path / "gat")
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be read: Not a directory"):
        read_folder(tmp_path / "file")


NAMES = {
    "a slash": ("a/b", "a/c"),
    "an emoji": ("🐈", "🐕"),
    "markup": ("<html><script>alert(1)</script>", "<b>"),
    "300 letters": ("x" * 300, "y"),
    "commas": ("house finch, linnet", "a, b"),
    "numbers": ("7", "2"),
    "counted from 0": ("0", "1"),
    "amounts": ("1 cent", "2 cent"),
    "quotes": ('"open"', "'shut'"),
    "JSON": ('["a"]', "{}"),
    "the words of a label map": ("item {", "names:"),
    "key and value": ("name: x", "label: y"),
    "right to left": ("فتح", "סגור"),
}


@pytest.mark.parametrize("names", NAMES.values(), ids=NAMES)
def test_labels_are_read_back_as_they_are_called(names: tuple[str, ...]) -> None:
    assert parse_labels(label_file(names), source="m.tflite:labels.txt") == names


def test_a_name_that_no_label_file_can_hold_is_refused() -> None:
    with pytest.raises(TeachingError, match="cannot be told apart in a label file"):
        label_file(("a  b", "a b "))


def test_a_list_names_classes_that_no_folder_can_have(tmp_path: Path) -> None:
    lessons.folders(tmp_path, {"all": 4})
    table = tmp_path / "labels.csv"
    table.write_text(
        'file,class\nall/00000.png,"gate/open"\nall/00001.png,"two\nlines"\n'
        "all/00002.png,_other\nall/00003.png,gate/open\n"
    )
    found = read_list(tmp_path, table)
    assert found.labels == ("unknown", "gate/open", "two lines")
    assert [each.class_id for each in found.pictures] == [0, 1, 1, 2]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a.png\n", "line 1: expected FILE,CLASS"),
        ("a.png,open\n,shut\n", "line 2: expected FILE,CLASS"),
        ("", "no pictures in it"),
        ("file,class\n", "no pictures in it"),
        ("\udcff,b", "not a CSV file in UTF-8"),
    ],
)
def test_a_list_that_says_too_little_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    table = tmp_path / "labels.csv"
    table.write_text(text, errors="surrogateescape")
    with pytest.raises((UsageError, TeachingError), match=reason):
        read_list(tmp_path, table)
