import argparse
import errno
import fcntl
import io
import json
import os
import re
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from support.shared_data import FOLDER
from support.tiny_models import Operation, Tensor, classifier
from support.tiny_models import model as tiny_model

from edgeclassifier.commands import models as models_command
from edgeclassifier.errors import ModelError
from edgeclassifier.host.progress import progress
from edgeclassifier.models.catalogue import CATALOGUE, CatalogueModel, Digest, DigestError
from edgeclassifier.models.store import ModelStore, default_store_root

BUNDLED = CATALOGUE["efficientnet_lite2_260_int8"]
INCEPTION = "inception_v3_299_quant"


@pytest.fixture(scope="session")
def own_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole model that the catalogue does not know: the bundled one without its label zip."""
    with zipfile.ZipFile(BUNDLED.bundled_path) as archive:
        end = min(entry.header_offset for entry in archive.infolist())
    path = tmp_path_factory.mktemp("own") / "garden.tflite"
    path.write_bytes(BUNDLED.bundled_path.read_bytes()[:end])
    return path


@pytest.fixture(scope="session")
def imagenet_labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The labels of own_model, in a file."""
    path = tmp_path_factory.mktemp("labels") / "labels.txt"
    with zipfile.ZipFile(BUNDLED.bundled_path) as archive:
        path.write_bytes(archive.read("labels.txt"))
    return path


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(root=tmp_path / "store")


def stray_files(store: ModelStore) -> list[str]:
    """What an interrupted or refused installation must not leave."""
    suffixes = (".tflite", ".json", ".labels.txt")
    if not store.root.exists():
        return []
    names = (path.name for path in store.root.iterdir())
    return [name for name in names if not name.endswith(suffixes) and name != ".lock"]


# Catalogue


def test_bundled_file_is_the_pinned_one() -> None:
    BUNDLED.digest.verify(BUNDLED.bundled_path)


def test_catalogue_is_consistent() -> None:
    for name, model in CATALOGUE.items():
        assert name == model.name
        assert re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", model.digest.value)
        assert (model.url is None) == model.bundled
        assert model.url is None or model.url.endswith(f"/{model.file_name}")
        if model.edgetpu_twin:
            assert CATALOGUE[model.edgetpu_twin].cpu_twin == name
            assert CATALOGUE[model.edgetpu_twin].accelerator == "edgetpu"
        if model.cpu_twin:
            assert CATALOGUE[model.cpu_twin].edgetpu_twin == name
            assert CATALOGUE[model.cpu_twin].accelerator == "cpu"
            assert CATALOGUE[model.cpu_twin].input_size == model.input_size


def test_digests_are_those_of_git_and_sha256sum(tmp_path: Path) -> None:
    path = tmp_path / "hello"
    path.write_bytes(b"hello\n")
    # `git hash-object` and `sha256sum` of the same six bytes.
    Digest("git-blob-sha1", "ce013625030ba8dba906f756967f9e9ca394464a").verify(path)
    right = Digest("sha256", "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03")
    right.verify(path)
    path.write_bytes(b"hellO\n")
    with pytest.raises(DigestError, match=f"expected {right}, found sha256 "):
        right.verify(path)


# Where models are


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({"EDGECLASSIFIER_MODELS": "/m", "STATE_DIRECTORY": "/s", "HOME": "/h"}, "/m"),
        ({"STATE_DIRECTORY": "/s", "XDG_DATA_HOME": "/x", "HOME": "/h"}, "/s/models"),
        ({"STATE_DIRECTORY": "/s:/other", "HOME": "/h"}, "/s/models"),
        ({"XDG_DATA_HOME": "/x", "HOME": "/h"}, "/x/edgeclassifier/models"),
        ({"XDG_DATA_HOME": "not/absolute", "HOME": "/h"}, "/h/.local/share/edgeclassifier/models"),
        ({"STATE_DIRECTORY": "", "HOME": "/h"}, "/h/.local/share/edgeclassifier/models"),
    ],
)
def test_default_root(env: dict[str, str], expected: str) -> None:
    assert default_store_root(env) == Path(expected)


def test_default_root_without_a_home_says_what_to_set() -> None:
    with pytest.raises(ModelError, match="EDGECLASSIFIER_MODELS"):
        default_store_root({})


def test_bundled_model_is_found_without_a_store(store: ModelStore) -> None:
    assert store.path(BUNDLED.name) == BUNDLED.bundled_path
    assert store.installed() == ()


def test_unknown_model_gets_a_suggestion_and_the_installed_names(
    store: ModelStore, own_model: Path
) -> None:
    store.add(own_model)
    with pytest.raises(ModelError, match=r"did you mean 'garden'\? Installed: .*garden"):
        store.path("gardn")


def test_known_but_absent_model_says_how_to_fetch_it(store: ModelStore) -> None:
    with pytest.raises(ModelError, match=f"edgeclassifier models fetch {INCEPTION}"):
        store.path(INCEPTION)


def test_path_never_leaves_the_folder(store: ModelStore, own_model: Path) -> None:
    store.root.mkdir()
    (store.root.parent / "x.tflite").write_bytes(own_model.read_bytes())
    with pytest.raises(ModelError, match="unknown model"):
        store.path("../x")
    assert store.labels_path("../x") is None


# Adding


def test_added_model_is_a_whole_copy_with_labels_and_record(
    store: ModelStore, own_model: Path, tmp_path: Path
) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("Löwenzahn\nRose\n", encoding="utf-8")
    added = store.add(own_model, labels=labels)
    assert (added.name, added.path) == ("garden", store.root / "garden.tflite")
    assert added.path.read_bytes() == own_model.read_bytes()
    assert added.labels is not None
    assert added.labels.read_text(encoding="utf-8") == "Löwenzahn\nRose\n"
    assert store.installed() == (added,)
    assert store.path("garden") == added.path
    record = json.loads((store.root / "garden.json").read_text())
    Digest("sha256", record["sha256"]).verify(added.path)
    assert record["size_bytes"] == own_model.stat().st_size
    assert record["source"] == str(own_model)
    assert stray_files(store) == []


def test_replacing_a_model_drops_its_old_labels(
    store: ModelStore, own_model: Path, tmp_path: Path
) -> None:
    """Labels of another model would be wrong without anybody noticing."""
    labels = tmp_path / "labels.txt"
    labels.write_text("a\n")
    store.add(own_model, labels=labels)
    assert store.add(own_model).labels is None
    assert store.labels_path("garden") is None


def test_a_model_that_is_recorded_where_it_is_keeps_its_labels(
    store: ModelStore, own_model: Path
) -> None:
    """Somebody has put both there by hand."""
    store.root.mkdir()
    by_hand = store.root / "garden.tflite"
    by_hand.write_bytes(own_model.read_bytes())
    (store.root / "garden.labels.txt").write_text("a\n")
    added = store.add(by_hand)
    assert added.labels is not None
    assert added.labels.read_text() == "a\n"
    assert {each.name: each.status for each in store.verify()}["garden"] == "ok"
    assert stray_files(store) == []


@pytest.mark.parametrize("name", ["../x", "", ".", "..", ".hidden", "-x", "a b", "a/b", "ü", "x\n"])
def test_bad_names_are_refused(store: ModelStore, own_model: Path, name: str) -> None:
    with pytest.raises(ModelError, match="cannot name a model"):
        store.add(own_model, name=name)
    assert store.installed() == ()


def test_bad_stem_is_refused_with_the_way_out(
    store: ModelStore, own_model: Path, tmp_path: Path
) -> None:
    file = tmp_path / "my model (1).tflite"
    file.write_bytes(own_model.read_bytes())
    with pytest.raises(ModelError, match="--name"):
        store.add(file)
    assert store.add(file, name="my-model").name == "my-model"
    assert stray_files(store) == []


def test_files_that_are_no_models_are_refused(store: ModelStore, tmp_path: Path) -> None:
    empty, text = tmp_path / "empty.tflite", tmp_path / "text.tflite"
    empty.write_bytes(b"")
    text.write_text("<!DOCTYPE html><title>Not Found</title>")
    fifo = tmp_path / "fifo.tflite"
    os.mkfifo(fifo)
    for file, message in (
        (empty, "is empty"),
        (text, "the identifier TFL3 is missing"),
        (fifo, "is not a file"),
        (tmp_path, "is not a file"),
        (tmp_path / "absent.tflite", "does not exist"),
    ):
        with pytest.raises(ModelError, match=message) as caught:
            store.add(file, name="x")
        assert str(file) in str(caught.value)
    assert store.installed() == ()
    assert stray_files(store) == []


@pytest.mark.parametrize("kept", [8, 100, 5000, 0.5, -8])
def test_truncated_model_is_refused(
    store: ModelStore, own_model: Path, tmp_path: Path, kept: float
) -> None:
    content = own_model.read_bytes()
    size = int(kept * len(content)) if isinstance(kept, float) else kept
    cut = tmp_path / "cut.tflite"
    cut.write_bytes(content[:size])
    with pytest.raises(ModelError, match=r"cut\.tflite: truncated"):
        store.add(cut)
    assert store.installed() == ()
    assert stray_files(store) == []


def test_model_that_lost_the_end_of_its_metadata_is_refused(
    store: ModelStore, tmp_path: Path
) -> None:
    """The runtime would take it, but its labels are gone."""
    cut = tmp_path / "cut.tflite"
    cut.write_bytes(BUNDLED.bundled_path.read_bytes()[:-100])
    with pytest.raises(ModelError, match="truncated"):
        store.add(cut)


def without_a_graph() -> bytes:
    """Take the list of graphs away: LiteRT 2.3 looks there without a check, and crashes."""
    content = bytearray(classifier())
    (root,) = struct.unpack_from("<I", content)
    (to_fields,) = struct.unpack_from("<i", content, root)
    subgraphs = 4 + 2 * 2
    struct.pack_into("<H", content, root - to_fields + subgraphs, 0)
    return bytes(content)


def too_wide() -> bytes:
    """Have it compute more than the memory that a model is given holds."""
    picture = Tensor(shape=(1, 2, 2, 3), dtype="float32")
    sizes = (picture, Tensor(shape=(1, 2_000_000_000), dtype="float32"))
    return tiny_model(sizes, [Operation(name="RESHAPE", input=0, output=1)])


def failing() -> bytes:
    """Load well, and fail with every picture: a row of 12 numbers cannot become 13."""
    return classifier(output_shape=(1, 13))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (without_a_graph, r"it crashes|cannot be loaded and run"),
        (too_wide, r"cannot be loaded and run|it crashes"),
        (failing, "cannot be loaded and run"),
    ],
)
def test_a_model_that_would_end_the_daemon_is_refused(
    store: ModelStore, tmp_path: Path, make: Callable[[], bytes], message: str
) -> None:
    file = tmp_path / "bad.tflite"
    file.write_bytes(make())
    with pytest.raises(ModelError, match=message) as caught:
        store.add(file)
    assert len(str(caught.value).splitlines()) == 1
    assert store.installed() == ()
    assert stray_files(store) == []


@pytest.mark.parametrize("name", ["classifier", "edgetpu"])
def test_a_model_that_is_sound_is_taken(store: ModelStore, tmp_path: Path, name: str) -> None:
    """One for the Edge TPU too, though nothing here can run it."""
    tensors = [Tensor(shape=shape, dtype="uint8") for shape in ((1, 2, 2, 3), (1, 12))]
    compiled = tiny_model(tensors, [Operation(name="edgetpu-custom-op", input=0, output=1)])
    file = tmp_path / f"{name}.tflite"
    file.write_bytes(compiled if name == "edgetpu" else classifier("int8", scale=0.5))
    assert store.add(file).name == name


@pytest.mark.parametrize("content", [b"", b"\n \n", b"\xff\xfe\x00", b"cat\n\x1b[2Jdog"])
def test_bad_label_files_are_refused(
    store: ModelStore, own_model: Path, tmp_path: Path, content: bytes
) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_bytes(content)
    with pytest.raises(ModelError, match=r"labels\.txt"):
        store.add(own_model, labels=labels)
    assert store.installed() == ()


def test_another_file_under_a_catalogue_name_is_refused(store: ModelStore, own_model: Path) -> None:
    expected = CATALOGUE[INCEPTION].digest
    with pytest.raises(ModelError, match=f"expected {expected}, found git-blob-sha1 [0-9a-f]+"):
        store.add(own_model, name=INCEPTION)
    with pytest.raises(ModelError, match="comes with the package"):
        store.add(own_model, name=BUNDLED.name)
    assert store.installed() == ()


def test_genuine_file_gets_its_catalogue_name(
    store: ModelStore, own_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rose = catalogue_model("rose", own_model)
    monkeypatch.setattr("edgeclassifier.models.catalogue.CATALOGUE", {"rose": rose})
    monkeypatch.setattr("edgeclassifier.models.store.CATALOGUE", {"rose": rose})
    assert store.add(own_model).name == "rose"
    assert store.intact(rose)


def catalogue_model(name: str, file: Path) -> CatalogueModel:
    return CatalogueModel(
        name=name,
        file_name=f"{name}.tflite",
        digest=Digest("sha256", "").measure(file),
        url=None,
        license="CC0-1.0",
        origin="test",
        labels=None,
        input_size=8,
    )


def test_a_file_in_place_of_the_folder_is_reported(tmp_path: Path, own_model: Path) -> None:
    (tmp_path / "store").write_text("in the way")
    store = ModelStore(root=tmp_path / "store")
    with pytest.raises(ModelError, match="not a folder"):
        store.add(own_model)
    with pytest.raises(ModelError, match="Not a directory"):
        store.installed()
    with pytest.raises(ModelError, match="Not a directory"):
        store.path("garden")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
def test_full_or_read_only_disk_leaves_the_installed_model(
    store: ModelStore, own_model: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    before = store.add(own_model)

    def refuse(_source: object, target: io.BufferedWriter) -> None:
        target.write(b"half")
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("edgeclassifier.host.durable.shutil.copyfileobj", refuse)
    with pytest.raises(ModelError, match=os.strerror(code)):
        store.add(own_model)
    assert store.installed() == (before,)
    assert [result.status for result in store.verify() if result.name == "garden"] == ["ok"]
    assert stray_files(store) == []


def test_leftovers_of_a_power_cut_do_not_matter(store: ModelStore, own_model: Path) -> None:
    store.root.mkdir()
    for name in (".add.part", "garden.json.part", "garden.labels.txt.part"):
        (store.root / name).write_bytes(b"rubbish " * 1000)
    assert store.installed() == ()
    store.add(own_model)
    assert store.path("garden").read_bytes() == own_model.read_bytes()
    assert stray_files(store) == ["garden.labels.txt.part"]


def test_second_writer_is_told_to_wait(store: ModelStore, own_model: Path) -> None:
    store.root.mkdir()
    with (store.root / ".lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ModelError, match="another process"):
            store.add(own_model)
    store.add(own_model)


# Verifying


def status_of(store: ModelStore, name: str) -> str:
    return next(result.status for result in store.verify() if result.name == name)


def test_verify_finds_a_flipped_bit(store: ModelStore, own_model: Path) -> None:
    path = store.add(own_model).path
    assert status_of(store, "garden") == "ok"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert status_of(store, "garden") == "changed"


def test_verify_tells_missing_unrecorded_and_unreadable_apart(
    store: ModelStore, own_model: Path
) -> None:
    for name in ("gone", "by_hand", "bad_record", "folder"):
        store.add(own_model, name=name)
    (store.root / "gone.tflite").unlink()
    (store.root / "by_hand.json").unlink()
    (store.root / "bad_record.json").write_text("{}")
    (store.root / "folder.tflite").unlink()
    (store.root / "folder.tflite").mkdir()
    statuses = {result.name: result.status for result in store.verify()}
    assert statuses == {
        BUNDLED.name: "ok",
        "gone": "missing",
        "by_hand": "unrecorded",
        "bad_record": "unreadable",
        "folder": "unreadable",
    }


@pytest.mark.parametrize(
    "record",
    [
        "[" * 10_000,
        '{"sha256": "a\\nb"}',
        '{"sha256": 1}',
        "[]",
        "\x00",
        '{"sha256": "' + "0" * 99_999,
    ],
)
def test_a_damaged_record_is_told_in_one_line(
    store: ModelStore, own_model: Path, record: str
) -> None:
    store.add(own_model)
    (store.root / "garden.json").write_text(record)
    [found] = [each for each in store.verify() if each.name == "garden"]
    assert found.status == "unreadable"
    assert f"{store.root / 'garden.json'} is damaged: " in found.detail
    assert found.detail.isprintable()


# Command line


def run_command(*arguments: str | Path) -> int:
    parser = argparse.ArgumentParser()
    models_command.add_parser(parser.add_subparsers())
    args = parser.parse_args(["models", *map(str, arguments)])
    code = args.run(args)
    assert isinstance(code, int)
    return code


def test_list_shows_every_state(
    store: ModelStore, own_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store.add(own_model)
    assert run_command("list", "--store", store.root) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = {line.split()[0]: line for line in lines[1:]}
    assert " installed " in rows["garden"]
    assert " bundled " in rows[BUNDLED.name]
    assert " 260x260 " in rows[BUNDLED.name]
    assert " available " in rows[INCEPTION]
    assert rows[INCEPTION].endswith("Apache-2.0")

    assert run_command("list", "--json", "--store", store.root) == 0
    objects = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert set(objects) == {"garden", *CATALOGUE}
    assert objects["garden"]["size_bytes"] == own_model.stat().st_size
    assert objects[INCEPTION]["path"] is None
    assert objects[f"{INCEPTION}_edgetpu"]["accelerator"] == "edgetpu"


def test_add_path_and_verify_speak_on_stdout(
    store: ModelStore,
    own_model: Path,
    imagenet_labels: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    expected = f"{store.root / 'rose.tflite'}\n"
    labels = ("--labels", imagenet_labels)
    assert run_command("add", own_model, "--name", "rose", *labels, "--store", store.root) == 0
    assert capsys.readouterr().out == expected
    assert run_command("path", "rose", "--store", store.root) == 0
    assert capsys.readouterr().out == expected
    assert run_command("verify", "--store", store.root) == 0
    assert "rose: ok" in capsys.readouterr().out.splitlines()

    store.path("rose").write_bytes(b"other")
    assert run_command("verify", "--json", "--store", store.root) == 1
    results = {row["name"]: row["status"] for row in json.loads(capsys.readouterr().out)}
    assert results == {"rose": "changed", BUNDLED.name: "ok"}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("inception_v3_299_quan", rf"fetched: did you mean '{INCEPTION}'"),
        ("inception", rf"fetched: did you mean '{INCEPTION}' or '{INCEPTION}_edgetpu'\?"),
        ("mobilnet_v2_1.0_224_quant", r"fetched: did you mean 'mobilenet_v2_1\.0_224_quant'\?"),
        ("zebra", r"no model 'zebra' can be fetched\. To"),
        ("", r"no model '' can be fetched\. To"),
    ],
)
def test_fetch_of_an_unknown_name_says_what_can_be_fetched(
    store: ModelStore, name: str, said: str
) -> None:
    with pytest.raises(ModelError, match=said) as caught:
        run_command("fetch", name, "--store", store.root)
    everything = sorted(model.name for model in CATALOGUE.values() if model.url)
    assert f"To be fetched: {', '.join(everything)}. " in str(caught.value)


def test_the_size_of_a_model_is_shown_before_it_is_fetched(
    store: ModelStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny = tmp_path / "tiny.tflite"
    tiny.write_bytes(classifier())
    store.add(tiny)
    run_command("list", "--store", store.root)
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert " 3.6 MB " in rows["mobilenet_v2_1.0_224_quant"]
    assert f" {tiny.stat().st_size / 1000:.1f} kB " in rows["tiny"]


@pytest.mark.parametrize("model", CATALOGUE.values(), ids=lambda model: model.name)
def test_a_noted_size_is_that_of_the_file(model: CatalogueModel) -> None:
    path = model.bundled_path if model.bundled else FOLDER / "models" / model.file_name
    if not path.exists():
        pytest.skip(f"{path} is not there")
    model.digest.verify(path)
    assert model.size_bytes == path.stat().st_size


def test_store_comes_from_the_environment_unless_given(
    store: ModelStore,
    own_model: Path,
    imagenet_labels: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("EDGECLASSIFIER_MODELS", str(store.root))
    assert run_command("add", own_model, "--labels", imagenet_labels) == 0
    assert capsys.readouterr().out == f"{store.root / 'garden.tflite'}\n"


# Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_silent_in_a_log() -> None:
    log = io.StringIO()
    with progress(1000, label="model", unit="pictures", stream=log) as advance:
        advance(1000)
    assert log.getvalue() == ""


def test_progress_on_a_terminal_is_one_line_that_counts_what_was_there() -> None:
    terminal = Terminal()
    with progress(4_000_000, label="m", unit="B", initial=2_000_000, stream=terminal) as advance:
        for _ in range(1000):
            advance(2000)
    assert terminal.getvalue().count("\n") == 1
    assert "100%" in terminal.getvalue().split("\r")[-1]
    assert "50%" in terminal.getvalue().split("\r")[1]
    assert "4.00M/4.00M" in terminal.getvalue().split("\r")[-1]


def test_progress_ends_its_line_when_the_work_fails() -> None:
    terminal = Terminal()

    def fail() -> None:
        with progress(10, label="m", unit="B", stream=terminal):
            raise ConnectionError

    with pytest.raises(ConnectionError):
        fail()
    assert terminal.getvalue().endswith("\n")
    assert "100%" not in terminal.getvalue()
