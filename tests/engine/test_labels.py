"""Label files in every form they are found in, and in every form they are not."""

import csv
import io
import os
from pathlib import Path
from random import Random

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from edgeclassifier.engine.labels import fit_labels, parse_labels, read_labels
from edgeclassifier.errors import ModelError

THREE = ("cat", "3 toed sloth", "tabby, tabby cat")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("plain.txt", "cat\n3 toed sloth\ntabby, tabby cat\n"),
        ("no-newline-at-end.txt", "cat\n3 toed sloth\ntabby, tabby cat"),
        ("empty-lines-at-end.txt", "cat\n3 toed sloth\ntabby, tabby cat\n\n  \n"),
        ("windows.txt", "cat\r\n3 toed sloth\r\ntabby, tabby cat\r\n"),
        ("byte-order-mark.txt", "\ufeffcat\n3 toed sloth\ntabby, tabby cat\n"),
        ("spaces.txt", "  cat \n\t3 toed sloth\ntabby, tabby cat  \n"),
        ("numbered.txt", "0 cat\n1 3 toed sloth\n2 tabby, tabby cat\n"),
        ("aligned.txt", "0   cat\n1\t3 toed sloth\n2   tabby, tabby cat\n"),
        ("from-1.txt", "1 cat\n2 3 toed sloth\n3 tabby, tabby cat\n"),
        ("out-of-order.txt", "2 tabby, tabby cat\n0 cat\n1 3 toed sloth\n"),
        ("zeros-in-front.txt", "000 cat\n001 3 toed sloth\n002 tabby, tabby cat\n"),
        ("colons.txt", "0: cat\n1: 3 toed sloth\n2 : tabby, tabby cat\n"),
        ("commas.txt", "0,cat\n1,3 toed sloth\n2, tabby, tabby cat\n"),
        ("quotes.txt", '0,cat\n1,3 toed sloth\n2,"tabby, tabby cat"\n'),
        ("windows-numbered.txt", "\ufeff0 cat\r\n1 3 toed sloth\r\n2 tabby, tabby cat\r\n"),
        ("index-first.csv", '0,cat\n1,3 toed sloth\n2,"tabby, tabby cat"\n'),
        ("from-1.csv", '1,cat\n2,3 toed sloth\n3,"tabby, tabby cat"\n'),
        ("header.csv", 'id,name\n0,cat\n1,3 toed sloth\n2,"tabby, tabby cat"\n'),
        ("index-second.csv", 'cat,0\n3 toed sloth,1\n"tabby, tabby cat",2\n'),
        ("header-second.csv", 'name,id\ncat,0\n3 toed sloth,1\n"tabby, tabby cat",2\n'),
        ("more-columns.csv", 'id,name,x\n0,cat,a\n1,3 toed sloth,b\n2,"tabby, tabby cat",c\n'),
        ("out-of-order.csv", '1,3 toed sloth\n2,"tabby, tabby cat"\n0,cat\n'),
        ("windows.CSV", '\ufeffid,name\r\n0,cat\r\n1,3 toed sloth\r\n2,"tabby, tabby cat"\r\n'),
        ("one-column.csv", 'cat\n3 toed sloth\n"tabby, tabby cat"\n'),
        ("semicolons.csv", 'id;name\n0;cat\n1;3 toed sloth\n2;"tabby, tabby cat"\n'),
        ("two-marks.txt", "\ufeff\ufeffcat\n3 toed sloth\n\ufefftabby, tabby cat\u200b\n"),
        ("all-quoted.txt", "'cat',\n'3 toed sloth',\n'tabby, tabby cat'\n"),
        ("dashes.txt", "0 - cat\n1 - 3 toed sloth\n2 - tabby, tabby cat\n"),
        ("equals.txt", "2=tabby, tabby cat\n0=cat\n1=3 toed sloth\n"),
        ("brackets.txt", "[2] tabby, tabby cat\n[0] cat\n[1] 3 toed sloth\n"),
        ("index-behind.txt", "3 toed sloth\t1\ntabby, tabby cat\t2\ncat\t0\n"),
        ("index-behind-comma.txt", "3 toed sloth,1\ntabby, tabby cat,2\ncat,0\n"),
        ("wordnet.txt", "n02121808 cat\nn02457408 3 toed sloth\nn02123045 tabby, tabby cat\n"),
        (
            "wordnet-id-first.csv",
            "id,synset,name\n0,n02121808,cat\n1,n02457408,3 toed sloth\n"
            '2,n02123045,"tabby, tabby cat"\n',
        ),
        ("table.tsv", "id\tname\n1\t3 toed sloth\n0\tcat\n2\ttabby, tabby cat\n"),
        (
            "entries.json",
            '[{"id": 2, "name": "3 toed sloth"}, {"id": 1, "name": "cat"}, '
            '{"id": 3, "name": "tabby, tabby cat"}]',
        ),
        (
            "entries-by-index.json",
            '{"categories": [{"index": 1, "label": "3 toed sloth"}, '
            '{"index": 0, "label": "cat"}, {"index": 2, "label": "tabby, tabby cat"}]}',
        ),
        (
            "class-indices.json",
            '{"class_indices": {"tabby, tabby cat": 2, "cat": 0, "3 toed sloth": 1}}',
        ),
        (
            "comments.yaml",
            "names:\n  0: cat # 1\n  1: 3 toed sloth  # 2\n  2: 'tabby, tabby cat'\n",
        ),
        ("dots.txt", "0. cat\n1. 3 toed sloth\n2. tabby, tabby cat\n"),
        ("old-mac.txt", "cat\r3 toed sloth\rtabby, tabby cat\r"),
        ("tabs.txt", "cat\n3\ttoed\tsloth\ntabby,\vtabby\u2028cat\x1c\n"),
        ("labels.json", '["cat", "3 toed sloth", "tabby, tabby cat"]'),
        ("labels.txt", '[\n  "cat",\n  "3 toed sloth",\n\n  "tabby, tabby cat"\n]\n'),
        ("id-to-name.json", '{"0": "cat", "2": "tabby, tabby cat", "1": "3 toed sloth"}'),
        ("name-to-id.json", '{"tabby, tabby cat": 2, "cat": 0, "3 toed sloth": 1}'),
        (
            "wordnet.json",
            '{"0": ["n1", "cat"], "1": ["n2", "3 toed sloth"],"2": ["n3", "tabby, tabby cat"]}',
        ),
        (
            "huggingface.json",
            '{"id2label": {"0": "cat", "1": "3 toed sloth",'
            '"2": "tabby, tabby cat"}, "label2id": {"cat": 0}}',
        ),
        (
            "ultralytics.txt",
            "{'task': 'classify', 'imgsz': [8, 8], 'names': {0: 'cat',"
            "1: '3 toed sloth', 2: 'tabby, tabby cat'}}",
        ),
        (
            "metadata.yaml",
            "task: classify\nimgsz:\n- 8\n- 8\nnames:\n  0: cat\n"
            "  1: 3 toed sloth\n  2: 'tabby, tabby cat'\nargs:\n  batch: 1\n",
        ),
        ("list.yaml", 'nc: 3\nnames:\n- cat\n- 3 toed sloth\n- "tabby, tabby cat"\n'),
        ("flow.yaml", "names: [cat, 3 toed sloth, 'tabby, tabby cat']\n"),
        (
            "map.pbtxt",
            "item {\n  id: 1\n  name: 'cat'\n}\nitem {\n  id: 2\n"
            "  name: '3 toed sloth'\n}\nitem {\n  id: 3\n  name: \"n3\"\n"
            '  display_name: "tabby, tabby cat"\n}\n',
        ),
    ],
)
def test_every_form_gives_the_same_labels(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_bytes(text.encode())
    assert read_labels(path) == THREE


@pytest.mark.parametrize(
    "text",
    [
        "3 toed sloth\n101 dalmatians\n",
        "0 cat\n0 dog\n",
        "1 cent\n2 cent\n5 cent\n10 cent\n",
        "1 cent\n2 cent\n3 cent\n",
        "2 euro\n1 euro\n",
        "1 cent\n2 cent\n5 pence\n1 euro\n",
        "2 cat\n3 dog\n",
        "0 cat\ndog\n",
        "7-up\n8-track\n",
        "0\n1\n",
    ],
)
def test_numbers_that_count_no_lines_belong_to_the_labels(text: str) -> None:
    assert parse_labels(text.encode(), source="labels.txt") == tuple(text.splitlines())


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]
)
def test_every_encoding_gives_the_same_labels(encoding: str) -> None:
    text = "red\r\ngreen\r\nblue\r\nwhite\r\n\r\n"
    assert parse_labels(text.encode(encoding), source="l.txt") == ("red", "green", "blue", "white")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("labels", [("Жук", "Кот", "Пёс"), ("🐱 Katze", "χάος"), ("猫", "狗")])
def test_utf_16_is_recognized_in_any_script(labels: tuple[str, ...], encoding: str) -> None:
    data = "\r\n".join(labels).encode(encoding)
    assert parse_labels(data, source="l.txt") == labels


def test_a_label_map_may_have_quotes_and_braces_in_its_names() -> None:
    text = """item: { id: 1 name: 'Bewick\\'s wren' }\nitem { name: "a \\"big\\" {x}" id: 2 }"""
    assert parse_labels(text.encode(), source="l.pbtxt") == ("Bewick's wren", 'a "big" {x}')


def test_another_encoding_is_taken_for_that_of_windows_and_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    found = parse_labels("cat\nKäse \u20ac\n".encode("cp1252"), source="l.txt")
    assert found == ("cat", "Käse €")
    assert "l.txt: not UTF-8, read as Windows-1252 (line 2: Käse €)" in caplog.text


@pytest.mark.parametrize("first", ["[unknown]", "{", "<3"])
def test_a_label_in_brackets_is_a_label_unless_it_opens_something_longer(first: str) -> None:
    found = labels_or_reason(f"{first}\ncat\n".encode(), "l.txt")
    assert found == (first, "cat") or (first == "{" and "neither JSON" in found)


BETWEEN = tuple(f"class {n}" for n in range(2, 999))
IMAGENET = ("tench, Tinca tinca", "goldfish", *BETWEEN, "toilet tissue, toilet paper")


def test_only_imagenets_labels_gain_or_lose_the_background() -> None:
    assert fit_labels(IMAGENET, 1001, source="l.txt") == ("background", *IMAGENET)
    assert fit_labels(("Background", *IMAGENET), 1000, source="l.txt") == IMAGENET


@pytest.mark.parametrize(
    ("labels", "classes", "said"),
    [
        (("red", "green", "blue"), 4, "l.txt: 3 labels, but the model has 4 classes: use"),
        (("background", "red", "green"), 2, "3 labels, but the model has 2 classes"),
        (("red",), 2, "1 label, but the model has 2 classes"),
        (tuple(f"class {n}" for n in range(1000)), 1001, "1000 labels, but the model has 1001"),
        ((*IMAGENET[1:], "x"), 1001, "1000 labels, but the model has 1001"),
        ((*IMAGENET, "x"), 1000, "1001 labels, but the model has 1000"),
        (IMAGENET[:-1], 1000, "999 labels, but the model has 1000"),
        (("background", *IMAGENET), 1002, "1001 labels, but the model has 1002"),
    ],
)
def test_every_other_count_is_refused_with_both_counts(
    labels: tuple[str, ...], classes: int, said: str
) -> None:
    with pytest.raises(ModelError, match=said):
        fit_labels(labels, classes, source="l.txt")


def test_labels_keep_their_letters() -> None:
    assert parse_labels("Käse\n猫\nčaj".encode(), source="l.txt") == ("Käse", "猫", "čaj")


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("l.txt", b"", "label file is empty"),
        ("l.txt", b"\n \r\n\n", "label file is empty"),
        ("l.txt", b"\xef\xbb\xbf", "label file is empty"),
        ("l.txt", b"cat\nK\x81se\n", "line 2 is neither UTF-8 nor Windows-1252: save the file as"),
        ("l.txt", b"cat\n\ndog\n", "line 2 is empty, but a class needs a label"),
        ("l.txt", b"\ncat\n", "line 1 is empty"),
        ("l.txt", b'0 cat\n1 ""\n', "class 1 has no label"),
        ("l.csv", b"0,cat\n1,\n", "class 1 has no label"),
        ("l.csv", b"0,cat\n\n1,dog\n", "line 2 is empty"),
        ("l.csv", b"0,cat\n1,dog,animal\n", "line 2 has 3 columns, line 1 has 2"),
        ("l.csv", b"0,cat\n2,dog\n", "no column counts the classes from 0 or 1 without a gap"),
        ("l.csv", b"0,cat\n0,dog\n", "no column counts the classes"),
        ("l.csv", b"id,name\n", "no column counts the classes"),
        ("l.csv", b"cat,animal\ndog,animal\n", "no column counts the classes"),
        ("l.csv", b'0,"cat\n1,dog\n', "not valid CSV"),
        ("l.csv", b"\xff\xfe0\x00\xff", "damaged UTF-16"),
        ("l.txt", b"cat\n\x1b[2Jdog\n", r"line 2 holds the control character U\+001B"),
        ("l.txt", b"cat\n\0\0\0\n", r"line 2 holds the control character U\+0000"),
        ("l.txt", "cat\nd\x9bog\n".encode(), r"line 2 holds the control character U\+009B"),
        ("l.txt", b"0 cat\n1 dog\n3 fox\n", "class 2 is missing: every class needs a label"),
        ("l.txt", b"1 cat\n2 dog\n4 fox\n", "class 3 is missing"),
        ("l.txt", b"0 cat\n1 dog\nfox\n3 hen\n", "line 3 has no number, but the others do"),
        ("l.txt", b"<!DOCTYPE html>\n<title>Not Found</title>\n", "a web page, not a label file"),
        ("l.txt", b"\n<html>\n", "a web page, not a label file"),
        ("l.txt", b"<!-- 404 -->\n<html>\n", "a web page, not a label file"),
        (
            "l.txt",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n",
            "a pointer of Git LFS, not the file itself",
        ),
        ("l.json", b'{"0": "cat", "0": "dog", "1": "fox"}', "the key '0' stands there twice"),
        ("l.json", b'[{"id": 0, "name": "cat"}, {"id": 2, "name": "dog"}]', "class 1 is missing"),
        ("l.txt", b"{'task': 'classify', 'imgsz': [8, 8]}", "names no classes"),
        ("l.txt", b"{'names': {0: 'cat', 2: 'dog'}}", "class 1 is missing"),
        ("l.txt", b"{'names': {0: 'cat', 1: 'd", "neither JSON nor a Python dict, or not"),
        ("l.txt", b"{" * 100_000, "neither JSON nor a Python dict"),
        ("l.txt", b'{"names": {"0": "\\u001b[2J"}}', "holds no list of class names"),
        ("l.json", b"cat\ndog\n", "neither JSON nor a Python dict"),
        ("l.json", b"[1, 2]", "holds no list of class names"),
        ("l.yaml", b"task: classify\n", "YAML without `names`"),
        ("l.pbtxt", b"item {\n  id: 1\n}\n", "an item of the label map lacks its id or its name"),
        (
            "l.pbtxt",
            b"item {\n id: 1\n name: 'a'\n}\nitem {\n id: 3\n name: 'b'\n}\n",
            "class 2 is missing",
        ),
    ],
)
def test_a_file_that_is_no_list_of_labels_is_refused_with_the_reason(
    tmp_path: Path, name: str, data: bytes, reason: str
) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(ModelError, match=rf"{name}: {reason}") as caught:
        read_labels(path)
    assert str(path) in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"none\.txt: no such label file"):
        read_labels(tmp_path / "none.txt")
    with pytest.raises(ModelError, match="not a label file, but a folder"):
        read_labels(tmp_path)


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.touch()
    os.truncate(path, 10_000_001)
    with pytest.raises(ModelError, match=r"model\.tflite: too large for a label file"):
        read_labels(path)


# Whatever the labels are

# What ends a line is in no label.
LABEL = (
    st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1)
    .map(lambda text: text.strip().strip("\ufeff\u200b").strip())
    .filter(lambda text: text and text[0] not in "{[<\"'")
)
LISTS = st.lists(LABEL, min_size=1, max_size=20)
# Separators at the front and quotes at the ends are part of the notation.
PLAIN_LISTS = st.lists(
    LABEL.filter(lambda text: text[0] not in ":,;=)-" and text[-1] != '"'), min_size=2, max_size=20
)


def counts(labels: list[str]) -> bool:
    """Tell whether every label begins with a number: then a plain list may be a numbered one."""
    return all(label[0].isdecimal() for label in labels)


@given(LISTS, st.sampled_from(["\n", "\r\n"]))
def test_a_plain_list_is_read_back(labels: list[str], newline: str) -> None:
    assume(not counts(labels))
    assert parse_labels(newline.join(labels).encode(), source="l.txt") == tuple(labels)


@given(PLAIN_LISTS, st.sampled_from([" ", "\t", ": ", ":", ",", ", ", " : "]), st.integers(0, 1))
def test_a_numbered_list_is_read_back(labels: list[str], separator: str, first: int) -> None:
    assume(not any(label[0] in ":;,." for label in labels))  # it would be part of the separator
    assume(2 * len(set(labels)) > len(labels))  # "1 cent", "2 cent" are two labels
    lines = [f"{number}{separator}{label}" for number, label in enumerate(labels, first)]
    assert parse_labels("\n".join(lines).encode(), source="l.txt") == tuple(labels)


@given(LISTS, st.booleans(), st.booleans(), st.integers(0, 1), st.randoms())
def test_a_csv_file_is_read_back(
    labels: list[str],
    header: bool,
    label_first: bool,
    first: int,
    random: Random,
) -> None:
    assume(not counts(labels))
    rows = [[label, str(number)] for number, label in enumerate(labels, first)]
    random.shuffle(rows)
    if header:
        rows.insert(0, ["label", "class"])
    text = io.StringIO()
    csv.writer(text).writerows(row if label_first else row[::-1] for row in rows)
    assert parse_labels(text.getvalue().encode(), source="l.csv") == tuple(labels)


def labels_or_reason(data: bytes, name: str) -> tuple[str, ...] | str:
    try:
        return parse_labels(data, source=name)
    except ModelError as error:
        return str(error)


@given(
    st.binary() | st.text(st.sampled_from('01a,: \n\r"\t')).map(str.encode),
    st.sampled_from(["l.txt", "l.csv"]),
)
@example(b"9" * 5000 + b" cat", "l.txt")
@example(b"9" * 5000 + b",cat", "l.csv")
@example(b"0," + b"x" * 200_000, "l.csv")
@example("² cat\n٣,dog".encode(), "l.csv")
@example(b'"', "l.csv")
@example(b'""', "l.csv")
@example(b"\0", "l.csv")
def test_any_bytes_give_labels_that_are_not_empty_or_a_reason(data: bytes, name: str) -> None:
    found = labels_or_reason(data, name)
    if isinstance(found, str):
        assert found.startswith(f"{name}: ")
    else:
        assert found
        assert all(found)


def test_a_device_is_not_read_for_ever() -> None:
    with pytest.raises(ModelError, match="/dev/zero: not a label file"):
        read_labels(Path("/dev/zero"))
