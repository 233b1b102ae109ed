"""Reading the truth, and counting how often a model tells it."""

import re
from pathlib import Path

import pytest

from edgeclassifier.contract.results import Prediction
from edgeclassifier.engine.evaluation import Evaluation, class_ids, evaluate, read_truth
from edgeclassifier.engine.names import Names
from edgeclassifier.errors import PictureError, UsageError

NAMES = Names(("cat, pussy", "dog", "bird", "fish"))


def prediction(rank: int, class_id: int) -> Prediction:
    return Prediction(
        rank=rank,
        class_id=class_id,
        name=NAMES.all[class_id],
        label=NAMES.labels[class_id],
        score=1 / rank,
    )


# The truth


@pytest.mark.parametrize(
    "text",
    [
        "a.jpg,1\nb.jpg,dog\n",
        "a.jpg,1\r\nb.jpg,dog\r\n",
        "\ufeffa.jpg,1\nb.jpg,dog",
        "file,class\na.jpg,1\nb.jpg,dog\n",
        "\ufeffFilename,label\r\na.jpg,1\r\nb.jpg,dog\r\n",
        " image ,class\n a.jpg , 1 \n b.jpg , dog \n",
        "path,class,more\na.jpg,1,x\nb.jpg,dog,y\n",
        "\na.jpg,1\n\n\nb.jpg,dog\n\n",
        '"a.jpg","1"\n"b.jpg","dog"\n',
    ],
)
def test_every_form_gives_the_same_truth(tmp_path: Path, text: str) -> None:
    path = tmp_path / "truth.csv"
    path.write_bytes(text.encode())
    assert read_truth(path) == {"a.jpg": 1, "b.jpg": "dog"}


def test_names_and_labels_may_have_commas_and_leading_zeros(tmp_path: Path) -> None:
    path = tmp_path / "truth.csv"
    path.write_text('"a, b.jpg","tabby, tabby cat"\nsub/c.jpg,007\n')
    assert read_truth(path) == {"a, b.jpg": "tabby, tabby cat", "sub/c.jpg": 7}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "no pictures in it; expected lines of FILE,CLASS"),
        (b"\n\n", "no pictures in it"),
        (b"file,class\n", "no pictures in it"),
        (b"a.jpg,1\nb.jpg\n", "line 2: expected FILE,CLASS"),
        (b"a.jpg,1\n\nb.jpg, \n", "line 3: expected FILE,CLASS"),
        (b"a.jpg;1\n", "line 1: expected FILE,CLASS"),
        (b"K\xe4se.jpg,1\n", "not a CSV file in UTF-8"),
        (b"a.jpg," + b"x" * 200_000, "not a CSV file in UTF-8: field larger"),
    ],
)
def test_what_is_no_truth_is_refused_with_the_reason(
    tmp_path: Path, data: bytes, reason: str
) -> None:
    path = tmp_path / "truth.csv"
    path.write_bytes(data)
    with pytest.raises(UsageError, match=rf"truth\.csv: {reason}"):
        read_truth(path)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.csv: cannot be read: No such file"):
        read_truth(tmp_path / "none.csv")
    with pytest.raises(UsageError, match="cannot be read: Is a directory"):
        read_truth(tmp_path)


# Its classes in the model's numbers


def test_an_index_does_not_count_the_background() -> None:
    truth: dict[str, int | str] = {"a": 0, "b": 3, "c": "dog"}
    assert class_ids(truth, NAMES, source="t") == {"a": (0,), "b": (3,), "c": (1,)}
    for background in ("background", "Background"):
        names = Names((background, *NAMES.labels))
        assert class_ids(truth, names, source="t") == {"a": (1,), "b": (4,), "c": (2,)}


@pytest.mark.parametrize("word", ["cat", "cat, pussy", "pussy", "Cat"])
def test_a_class_is_known_by_its_name_its_label_and_its_synonyms(word: str) -> None:
    assert class_ids({"a": word}, NAMES, source="t") == {"a": (0,)}


def test_a_word_for_several_classes_means_all_of_them() -> None:
    names = Names(("cat", "crane", "crane"))
    assert class_ids({"a": "crane"}, names, source="t") == {"a": (1, 2)}


def test_a_number_that_is_a_name_is_no_index() -> None:
    coins = Names(("1", "2", "5", "10"))
    assert class_ids({"a": 5, "b": 3}, coins, source="t") == {"a": (2,), "b": (3,)}


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (4, "class 4: the model has 4 classes, counted from 0"),
        (1000, "class 1000: the model has 4 classes, counted from 0"),
        ("cow", 'the model has no class "cow": it has "cat", "dog", "bird", …'),
        ("birdd", 'the model has no class "birdd": did you mean "bird"?'),
        ("pusy", 'the model has no class "pusy": did you mean "cat"?'),
    ],
)
def test_a_class_that_the_model_does_not_have_is_refused(value: int | str, reason: str) -> None:
    with pytest.raises(UsageError, match=re.escape(f"t: a: {reason}")):
        class_ids({"a": value}, NAMES, source="t")


# Counting


def test_right_answers_and_confusions_are_counted(tmp_path: Path) -> None:
    best = {
        "right": [0, 1, 2],
        "second": [1, 0, 2],
        "third": [1, 2, 0],
        "fourth": [1, 2, 3, 0],
        "third of a dog": [3, 2, 1],
        "nothing": [],
    }
    truth = {name: (1,) if "dog" in name else (0,) for name in best}
    asked: list[Path] = []
    steps: list[int] = []

    def classify(path: Path) -> tuple[Prediction, ...]:
        asked.append(path)
        return tuple(prediction(rank, each) for rank, each in enumerate(best[path.name], 1))

    found = evaluate(tmp_path, truth, names=NAMES, classify=classify, advance=steps.append)
    assert (found.pictures, found.top1, found.top3) == (6, 1, 4)
    assert found.top1_accuracy == pytest.approx(1 / 6)
    assert found.top3_accuracy == pytest.approx(4 / 6)
    assert found.confusions.most_common() == [
        (("cat", "dog"), 3),
        (("dog", "fish"), 1),
        (("cat", "nothing"), 1),
    ]
    assert asked == [tmp_path / name for name in best]
    assert steps == [1] * 6


def test_a_picture_that_cannot_be_read_is_told_and_not_counted(tmp_path: Path) -> None:
    steps: list[int] = []

    def classify(path: Path) -> tuple[Prediction, ...]:
        if path.name == "broken":
            raise PictureError(f"{path}: broken")
        return (prediction(1, 2),)

    truth = dict.fromkeys(("good", "broken", "better"), (2, 3))
    found = evaluate(tmp_path, truth, names=NAMES, classify=classify, advance=steps.append)
    assert (found.pictures, found.top1, found.top1_accuracy) == (2, 2, 1.0)
    assert found.unreadable == [f"{tmp_path / 'broken'}: broken"]
    assert not found.confusions
    assert sum(steps) == 3


def test_without_pictures_nothing_is_divided() -> None:
    assert (Evaluation().top1_accuracy, Evaluation().top3_accuracy) == (0.0, 0.0)
