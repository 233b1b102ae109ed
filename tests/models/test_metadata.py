"""What a TFLite file says of itself, whole or damaged."""

import json
import struct
import zipfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.tiny_models import (
    LABELS,
    classifier,
    label_metadata,
    metadata_that_repeats,
    normalization_metadata,
    with_files,
)

from edgeclassifier.engine.preprocess import Normalization
from edgeclassifier.engine.runtime import load_model
from edgeclassifier.errors import ModelError
from edgeclassifier.models.metadata import Metadata, read_metadata

LABEL_FILE = "\n".join(LABELS).encode()


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models") / "model.tflite"


def read(path: Path, content: bytes) -> Metadata:
    path.write_bytes(content)
    return read_metadata(path)


# Labels


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize(
    "files",
    [
        {"labels.txt": LABEL_FILE},
        {"anything.txt": LABEL_FILE},
        {"a readme.txt": b"Read me", "zoo_labels.txt": LABEL_FILE},
        {"zoo_labels.txt": LABEL_FILE, "a readme.txt": b"Read me"},
        {"labels.txt": LABEL_FILE, "labels_de.txt": b"eins\nzwei"},
        {"score_calibration.csv": b"1,2", "labelmap.txt": LABEL_FILE},
        {"LABELS.txt": LABEL_FILE, "a.txt": b"Read me"},
        {"a.txt": b"Read me", "names.txt": LABEL_FILE, "z.txt": b"x\ny"},
        {"temp_meta.txt": f"{{'task': 'classify', 'names': {dict(enumerate(LABELS))}}}".encode()},
        {"temp_meta.txt": b"{'task': 'classify', 'imgsz': [8, 8]}", "names.txt": LABEL_FILE},
        {"metadata.json": json.dumps({"names": dict(enumerate(LABELS))}).encode()},
        {"metadata.yaml": "\n".join(["names:", *(f"- {each}" for each in LABELS)]).encode()},
        {"labels.json": json.dumps(LABELS).encode()},
        {"a_labels.txt": b"eins\nzwei", "labels.txt": LABEL_FILE},
        {"../../labels.txt": LABEL_FILE},
        {"__MACOSX/._labels.txt": b"\0\5\x16\7", "labels.txt": LABEL_FILE},
        {"LICENSE.txt": b"word\n" * len(LABELS), "names.txt": LABEL_FILE},
    ],
)
def test_labels_are_found_among_the_files_behind_the_model(
    path: Path, files: dict[str, bytes], compression: int
) -> None:
    assert read(path, with_files(classifier(), files, compression=compression)).labels == LABELS


def test_the_file_that_the_metadata_names_for_the_output_has_the_labels(path: Path) -> None:
    names = {"words_de.txt": "de", "words.txt": "", "words_fr.txt": "fr"}
    files = {
        "input_labels.txt": b"x\ny",
        "words_de.txt": b"\n".join(b"d%d" % n for n in range(12)),
        "words.txt": LABEL_FILE,
    }
    described = classifier(metadata=label_metadata(names))
    assert read(path, with_files(described, files)).labels == LABELS


@pytest.mark.parametrize("count", [2, 3])
def test_the_notes_of_an_exporter_are_never_labels(path: Path, count: int) -> None:
    """Its names of classes are, though there may be too few: that is refused with both numbers."""
    names = {n: f"name {n}" for n in range(count)}
    content = with_files(
        classifier(), {"temp_meta.txt": f"{{'task': 'classify',\n 'names': {names}}}".encode()}
    )
    assert read(path, content).labels == tuple(names.values())
    with pytest.raises(ModelError, match=r"temp_meta\.txt: names no classes"):
        read(path, with_files(classifier(), {"temp_meta.txt": b"{'task': 'classify'}"}))


def test_labels_inside_are_not_read_if_others_are_used(path: Path) -> None:
    path.write_bytes(with_files(classifier(), {"labels.txt": b"K\x81se"}))
    assert read_metadata(path, labels=False) == Metadata(labels=None, normalization=None)


def test_the_files_behind_it_do_not_disturb_the_model(path: Path) -> None:
    path.write_bytes(with_files(classifier(), {"labels.txt": LABEL_FILE}))
    load_model(path).interpreter.invoke()


@pytest.mark.parametrize(
    "content", [classifier(), with_files(classifier(), {"scores.csv": b"1,2"})]
)
def test_a_model_without_a_label_file_has_none(path: Path, content: bytes) -> None:
    assert read(path, content) == Metadata(labels=None, normalization=None)


@pytest.mark.parametrize(
    ("name", "line"), [("README.txt", b"words %d\n"), ("temp_meta.txt", b"field: %d\n")]
)
def test_a_text_that_happens_to_have_as_many_lines_is_no_label_file(
    path: Path, name: str, line: bytes
) -> None:
    text = b"".join(line % number for number in range(len(LABELS)))
    assert read(path, with_files(classifier(), {name: text})).labels is None


def test_of_two_files_that_fit_one_has_to_be_chosen(path: Path) -> None:
    files = {"labels_en.txt": LABEL_FILE, "labels_de.txt": LABEL_FILE.replace(b"a", b"b")}
    with pytest.raises(ModelError, match=r"labels_de\.txt or labels_en\.txt inside .* set model"):
        read(path, with_files(classifier(), files))


def test_metadata_that_would_take_hours_is_read_in_part(path: Path) -> None:
    # 3000 tables that name each of 3000 tables that name each of 3000, in 36 kB.
    metadata = metadata_that_repeats(3000)
    assert len(metadata) < 40_000
    content = with_files(classifier(metadata=metadata), {"labels.txt": LABEL_FILE})
    assert read(path, content) == Metadata(labels=LABELS, normalization=None)


def test_many_large_texts_are_not_all_read(path: Path) -> None:
    files = {f"{number}.txt": b"a\n" * 300_000 for number in range(50)}
    content = with_files(classifier(), files, compression=zipfile.ZIP_DEFLATED)
    assert read(path, content).labels is None


def test_a_label_file_that_is_damaged_is_named_with_the_model(path: Path) -> None:
    content = with_files(classifier(), {"labels.txt": b"K\x81se"})
    with pytest.raises(ModelError, match=r"model\.tflite:labels\.txt: line 1 is neither UTF-8 nor"):
        read(path, content)


def test_a_label_file_that_expands_beyond_reason_is_not_unpacked(path: Path) -> None:
    content = with_files(
        classifier(), {"labels.txt": bytes(10_000_001)}, compression=zipfile.ZIP_DEFLATED
    )
    assert len(content) < 100_000
    with pytest.raises(ModelError, match=r"the label file labels\.txt inside has 10000001 bytes"):
        read(path, content)


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_compression_that_models_do_not_use_is_refused(path: Path, compression: int) -> None:
    content = with_files(classifier(), {"labels.txt": LABEL_FILE}, compression=compression)
    with pytest.raises(ModelError, match=rf"are damaged: unknown compression {compression}"):
        read(path, content)


def test_an_archive_in_several_parts_is_refused(path: Path) -> None:
    """Damage can look like that, and Python 3.11 raises where it only asks whether it is a zip."""
    content = with_files(classifier(), {"labels.txt": LABEL_FILE})
    end = content.rindex(b"PK\5\6")
    parts = b"PK\6\7" + struct.pack("<LQL", 0, 0, 2)
    with pytest.raises(
        ModelError, match=r"the files inside the model are damaged: .*multiple disks"
    ):
        read(path, content[:end] + parts + content[end:])


def test_the_name_of_a_file_inside_cannot_break_the_line(path: Path) -> None:
    content = with_files(classifier(), {"a\n\x1b[2Jb.txt": b"K\x81se"})
    with pytest.raises(ModelError) as caught:
        read(path, content)
    assert str(caught.value).isprintable()


def test_a_wrong_checksum_in_the_archive_is_told(path: Path) -> None:
    content = with_files(classifier(), {"labels.txt": LABEL_FILE}).replace(
        b"label b", b"label x", 1
    )
    with pytest.raises(ModelError, match=r"the files inside the model are damaged: Bad CRC-32"):
        read(path, content)


# Normalization


@pytest.mark.parametrize(
    ("mean", "std"),
    [
        ((127.5,), (127.5,)),
        ((0,), (255,)),
        ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
        ((127,), (127, 128, 129)),
    ],
)
def test_the_normalization_of_the_input_is_read_back(
    path: Path, mean: tuple[float, ...], std: tuple[float, ...]
) -> None:
    found = read(path, classifier(metadata=normalization_metadata(mean, std))).normalization
    assert found is not None
    assert found.mean == pytest.approx(mean)
    assert found.std == pytest.approx(std)


def test_labels_and_normalization_come_from_the_same_file(path: Path) -> None:
    described = classifier(metadata=normalization_metadata([1], [2]))
    assert read(path, with_files(described, {"labels.txt": LABEL_FILE})) == Metadata(
        labels=LABELS, normalization=Normalization(mean=(1.0,), std=(2.0,))
    )


@pytest.mark.parametrize(
    ("mean", "std"),
    [
        ((), ()),
        ((127.5,), ()),
        ((1, 2), (1, 2)),
        ((127.5,), (0,)),
        ((127.5,), (-1,)),
        ((float("nan"),), (1,)),
        ((float("inf"),), (1,)),
        ((1,), (float("nan"),)),
        ((1,), (float("inf"),)),
    ],
)
def test_a_normalization_that_no_pixel_could_pass_is_none(
    path: Path, mean: tuple[float, ...], std: tuple[float, ...]
) -> None:
    content = classifier(metadata=normalization_metadata(mean, std))
    assert read(path, content).normalization is None


@pytest.mark.parametrize("metadata", [b"", b"\0" * 64, b"\xff" * 64, b"not a flatbuffer, by far"])
def test_metadata_that_is_none_is_left_out(path: Path, metadata: bytes) -> None:
    assert read(path, classifier(metadata=metadata)).normalization is None


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"none\.tflite: .* cannot be read: No such file"):
        read_metadata(tmp_path / "none.tflite")
    with pytest.raises(ModelError, match="cannot be read: Is a directory"):
        read_metadata(tmp_path)


def test_the_score_that_its_makers_ask_for_is_read(path: Path) -> None:
    described = normalization_metadata([1], [2], threshold=0.25)
    assert read(path, classifier(metadata=described)).score_threshold == 0.25
    assert read(path, classifier()).score_threshold is None


# Damage

NORMALIZED = classifier(
    metadata=normalization_metadata([127.5, 127, 128], [127.5, 127, 128], threshold=0.5)
)
FILES = {"labels.txt": LABEL_FILE, "readme.txt": b"Read me"}
COMPRESSIONS = {
    "stored": zipfile.ZIP_STORED,
    "deflated": zipfile.ZIP_DEFLATED,
    "bzip2": zipfile.ZIP_BZIP2,
    "lzma": zipfile.ZIP_LZMA,
}
WHOLE = [with_files(NORMALIZED, FILES, compression=each) for each in COMPRESSIONS.values()]
DAMAGES = st.lists(st.tuples(st.integers(0), st.binary(min_size=1, max_size=8)))


def complaint(path: Path, content: bytes) -> str | None:
    try:
        read(path, content)
    except ModelError as error:
        return str(error)
    return None


@pytest.mark.parametrize("content", WHOLE, ids=COMPRESSIONS)
def test_a_file_cut_anywhere_is_read_or_refused(path: Path, content: bytes) -> None:
    """Every length, the empty file included, raises nothing but ModelError."""
    for length in range(len(content)):
        told = complaint(path, content[:length])
        assert told is None or (str(path) in told and "None" not in told)


@pytest.mark.parametrize("content", WHOLE, ids=COMPRESSIONS)
def test_a_file_with_any_byte_damaged_is_read_or_refused(path: Path, content: bytes) -> None:
    for position in range(len(content)):
        for damage in (0x01, 0xFF):
            damaged = bytearray(content)
            damaged[position] ^= damage
            told = complaint(path, bytes(damaged))
            assert told is None or (str(path) in told and "None" not in told)


@settings(deadline=None)
@given(st.sampled_from(WHOLE), DAMAGES)
@example(WHOLE[0], [(0, struct.pack("<I", 0xFFFFFFF0))])
def test_a_file_overwritten_in_places_is_read_or_refused(
    path: Path, content: bytes, damages: list[tuple[int, bytes]]
) -> None:
    damaged = bytearray(content)
    for position, data in damages:
        start = position % len(damaged)
        damaged[start : start + len(data)] = data
    told = complaint(path, bytes(damaged))
    assert told is None or (str(path) in told and "None" not in told)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(path: Path, content: bytes) -> None:
    told = complaint(path, content)
    assert told is None or str(path) in told
