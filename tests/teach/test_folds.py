"""What is held back together when a head is judged."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support import lessons

from edgeclassifier.engine.pictures import time_taken
from edgeclassifier.teach.folds import assign_folds, group, near_duplicates

HOUR = 3600.0


def of_files(*seconds: float) -> list[tuple[float, bool]]:
    return [(each, False) for each in seconds]


def of_cameras(*seconds: float) -> list[tuple[float, bool]]:
    return [(each, True) for each in seconds]


def test_pictures_of_one_moment_stay_together() -> None:
    classes = np.zeros(5, np.intp)
    moments, single = group(classes, of_files(0, HOUR, 3, HOUR + 9, 2 * HOUR), [])
    assert moments[0] == moments[2]
    assert moments[1] == moments[3]
    assert len(set(moments)) == 3
    assert single == []


def test_files_that_were_copied_together_say_nothing_of_their_time() -> None:
    moments, single = group(np.zeros(6, np.intp), of_files(0, 1, 2, 3, 4, 5), [])
    assert len(set(moments)) == 6
    assert single == []


def test_a_burst_of_a_camera_is_told() -> None:
    classes = np.array([0, 0, 0, 1, 1], np.intp)
    moments, single = group(classes, of_cameras(0, 1, 2, 0, HOUR), [])
    assert len(set(moments)) == 5
    assert single == [0]


def test_near_duplicates_stay_together_unless_all_are() -> None:
    classes = np.zeros(4, np.intp)
    times = of_files(0, HOUR, 2 * HOUR, 3 * HOUR)
    assert len(set(group(classes, times, [(0, 3)])[0])) == 3
    assert len(set(group(classes, times, [(0, 1), (1, 2), (2, 3)])[0])) == 4


def test_likeness_is_found_within_a_class_alone() -> None:
    random = np.random.default_rng(0)
    one, other = random.uniform(0, 255, (2, 256)).astype(np.float32)
    thumbnails = np.array([one, other, one + 1, one])
    classes = np.array([0, 0, 0, 1], np.intp)
    assert near_duplicates(thumbnails, classes) == [(0, 2)]


def test_small_classes_are_held_back_one_by_one() -> None:
    classes = np.repeat(np.arange(3, dtype=np.intp), 4)
    folds = assign_folds(classes, np.arange(12, dtype=np.intp))
    assert sorted(folds) == list(range(12))


def test_folds_are_stratified() -> None:
    classes = np.repeat(np.arange(2, dtype=np.intp), [40, 20])
    folds = assign_folds(classes, np.arange(60, dtype=np.intp))
    for fold in range(10):
        held_back = classes[folds == fold].tolist()
        assert (held_back.count(0), held_back.count(1)) == (4, 2)


def test_a_small_class_beside_large_ones_is_still_held_back_one_by_one() -> None:
    """With as many folds as there are pictures, ten thousand would take days."""
    classes = np.repeat(np.arange(2, dtype=np.intp), [5000, 3])
    folds = assign_folds(classes, np.arange(5003, dtype=np.intp))
    assert folds.max() == 9
    assert len(set(folds[classes == 1])) == 3


def test_a_moment_is_in_one_fold() -> None:
    classes = np.repeat(np.arange(2, dtype=np.intp), 30)
    moments = np.arange(60, dtype=np.intp) // 2
    folds = assign_folds(classes, moments)
    assert all(len(set(folds[moments == each])) == 1 for each in range(30))


def test_a_class_of_one_picture_is_never_held_back() -> None:
    folds = assign_folds(np.array([0, 0, 1], np.intp), np.arange(3, dtype=np.intp))
    assert folds[2] == -1
    assert min(folds[:2]) >= 0


@pytest.mark.parametrize(
    ("written", "expected"),
    [("2026:06:01 12:00:00", True), ("yesterday", False), ("", False), (None, False)],
)
def test_the_time_is_the_camera_s_if_it_says_one(
    tmp_path: Path, written: str | None, expected: bool
) -> None:
    picture, exif = lessons.coloured((10, 20, 30), 0), Image.Exif()
    if written is not None:
        exif.get_ifd(0x8769)[0x9003] = written
    path = tmp_path / "a.jpg"
    picture.save(path, exif=exif)
    seconds, from_exif = time_taken(path)
    assert from_exif is expected
    assert seconds == (1780315200 if expected else path.stat().st_mtime)
