"""Reading the truth, and counting how often a model tells it."""

from pathlib import Path

import pytest

from edgeclassifier.contract.results import Prediction
from edgeclassifier.engine.evaluation import Evaluation, class_ids, evaluate, read_truth
from edgeclassifier.errors import PictureError, UsageError

LABELS = ("cat", "dog", "bird", "fish")


def prediction(rank: int, class_id: int) -> Prediction:
    return Prediction(rank=rank, class_id=class_id, label=LABELS[class_id], score=1 / rank)


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
    assert class_ids(truth, LABELS, source="t") == {"a": 0, "b": 3, "c": 1}
    assert class_ids(truth, ("background", *LABELS), source="t") == {"a": 1, "b": 4, "c": 2}
    assert class_ids(truth, ("Background", *LABELS), source="t") == {"a": 1, "b": 4, "c": 2}


def test_a_label_that_occurs_twice_is_the_first_of_its_name() -> None:
    assert class_ids({"a": "crane"}, ("cat", "crane", "crane"), source="t") == {"a": 1}


@pytest.mark.parametrize("value", [4, 1000, "cow", "Dog", ""])
def test_a_class_that_the_model_does_not_have_is_refused(value: int | str) -> None:
    with pytest.raises(UsageError, match=f"t: a: class {value} is not one of the model's"):
        class_ids({"a": value}, LABELS, source="t")


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
    truth = {"right": 0, "second": 0, "third": 0, "fourth": 0, "third of a dog": 1, "nothing": 0}
    asked: list[Path] = []
    steps: list[int] = []

    def classify(path: Path) -> tuple[Prediction, ...]:
        asked.append(path)
        return tuple(prediction(rank, each) for rank, each in enumerate(best[path.name], 1))

    found = evaluate(tmp_path, truth, labels=LABELS, classify=classify, advance=steps.append)
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

    truth = {"good": 2, "broken": 2, "better": 2}
    found = evaluate(tmp_path, truth, labels=LABELS, classify=classify, advance=steps.append)
    assert (found.pictures, found.top1, found.top1_accuracy) == (2, 2, 1.0)
    assert found.unreadable == [f"{tmp_path / 'broken'}: broken"]
    assert not found.confusions
    assert sum(steps) == 3


def test_without_pictures_nothing_is_divided() -> None:
    assert (Evaluation().top1_accuracy, Evaluation().top3_accuracy) == (0.0, 0.0)
