"""`models add` asks what `check` asks; `models verify` says what cannot be used."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support.shared_data import FOLDER
from support.tiny_models import LABELS, Operation, Tensor, classifier, colours, model, with_files

from edgeclassifier.cli import main
from edgeclassifier.compose.model import find_model
from edgeclassifier.config import ModelConfig
from edgeclassifier.models.catalogue import CATALOGUE, CatalogueModel, Digest
from edgeclassifier.models.store import ModelStore

CASES = FOLDER / "cases" / "models"
LABEL_FILE = "\n".join(LABELS).encode()
PICTURE, ROW = Tensor(shape=(1, 2, 2, 3), dtype="float32"), Tensor(shape=(1, 12), dtype="float32")
FLATTEN = Operation(name="RESHAPE", input=0, output=1)
SOUND = classifier("uint8", scale=1 / 256, last="SOFTMAX")
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """Return what carries out a command: its exit code, and what it says on stdout and stderr."""
    monkeypatch.setenv("EDGECLASSIFIER_MODELS", str(tmp_path / "store"))
    monkeypatch.setenv("EDGECLASSIFIER_CONFIG", "/dev/null")

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        code = main([*map(str, arguments)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def check_says(command: Command, path: Path, labels: Path | None) -> str:
    """Return what `check` says of a model that fails."""
    settings = ["--set", f"model.labels={json.dumps(str(labels))}"] if labels else []
    code, out, _ = command("check", "--no-camera", "--json", "--model", path, *settings)
    assert code == 78
    [failure] = [each for each in json.loads(out) if each["level"] == "failure"]
    detail: str = failure["detail"]
    return detail


NO_CLASSIFIERS = {
    "detection": (
        model(
            [PICTURE, *[ROW] * 4],
            [Operation(name="RESHAPE", input=0, output=n) for n in range(1, 5)],
            outputs=(1, 2, 3, 4),
        ),
        "a detection model",
    ),
    "segmentation": (classifier(output_shape=(1, 2, 2, 3)), "output shape [1, 2, 2, 3]"),
    "nchw": (classifier(shape=(1, 3, 2, 2)), "input shape [1, 3, 2, 2]"),
    "two inputs": (
        model([PICTURE, PICTURE, ROW], [Operation(name="RESHAPE", input=0, output=2)],
              inputs=(0, 1)),
        "2 inputs",
    ),
    "embedding": (classifier(last="L2_NORMALIZATION"), "gives features of a picture"),
    "custom operation": (classifier(last="MyNorm"), "needs the custom operation MyNorm"),
    "flex": (classifier(last="FlexErf"), "needs TensorFlow's Flex operations (FlexErf)"),
}  # fmt: skip


@pytest.mark.parametrize("kind", NO_CLASSIFIERS)
def test_what_can_never_run_is_refused_with_the_words_of_check(
    tmp_path: Path, command: Command, kind: str
) -> None:
    content, said = NO_CLASSIFIERS[kind]
    path, labels = tmp_path / "own.tflite", tmp_path / "own.txt"
    path.write_bytes(content)
    labels.write_bytes(LABEL_FILE)
    code, out, error = command("models", "add", path, "--labels", labels)
    assert (code, out) == (78, "")
    assert said in error
    assert error == f"edgeclassifier: {check_says(command, path, labels)}\n"
    assert ModelStore(root=tmp_path / "store").installed() == ()


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (LABEL_FILE.rpartition(b"\n")[0], "own.txt: 11 labels, but the model has 12 classes"),
        (b"background\n" + LABEL_FILE, "own.txt: 13 labels, but the model has 12 classes"),
        (None, "own.tflite: no labels inside the model: name a file with one label a line"),
    ],
)
def test_labels_that_do_not_fit_are_refused_with_the_words_of_check(
    tmp_path: Path, command: Command, labels: bytes | None, said: str
) -> None:
    path, file = tmp_path / "own.tflite", tmp_path / "own.txt"
    path.write_bytes(SOUND)
    if labels is not None:
        file.write_bytes(labels)
    given = file if labels is not None else None
    code, _, error = command("models", "add", path, *(["--labels", given] if given else []))
    assert code == 78
    assert said in error
    assert error == f"edgeclassifier: {check_says(command, path, given)}\n"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le"])
def test_labels_of_any_encoding_are_kept_as_utf8(
    tmp_path: Path, command: Command, encoding: str
) -> None:
    path, labels = tmp_path / "own.tflite", tmp_path / "own.txt"
    path.write_bytes(SOUND)
    labels.write_bytes("\r\n".join(LABELS).encode(encoding))
    assert command("models", "add", path, "--labels", labels)[0] == 0
    assert (tmp_path / "store" / "own.labels.txt").read_bytes() == LABEL_FILE + b"\n"


def test_labels_that_only_look_numbered_are_kept_as_they_are(
    tmp_path: Path, command: Command
) -> None:
    path, labels = tmp_path / "own.tflite", tmp_path / "own.json"
    path.write_bytes(SOUND)
    names = [f"{number} euro" for number in range(1, 13)]
    labels.write_text(json.dumps(names))
    assert command("models", "add", path, "--labels", labels)[0] == 0
    assert command("classify", "--model", "own", CHELSEA)[1].count(" euro\n") == 3


CHELSEA = Path(__file__).parents[2] / "edgeclassifier" / "samples" / "chelsea.png"


def test_a_model_is_tried_with_what_it_needs_to_be_told(tmp_path: Path, command: Command) -> None:
    path = tmp_path / "own.tflite"
    path.write_bytes(with_files(classifier(last="TANH"), {"labels.txt": LABEL_FILE}))
    assert command("models", "add", path)[0] == 78
    assert command("models", "add", path, "--set", "model.output=logits")[0] == 0
    code, out, _ = command("models", "verify")
    assert code == 0
    assert "\nown: ok" in out


def test_a_guess_of_its_pixels_is_said_with_what_to_set(tmp_path: Path, command: Command) -> None:
    path, labels = tmp_path / "own.tflite", tmp_path / "labels.txt"
    path.write_bytes(colours(20 * np.eye(3), [0.0, 0.0, 0.0]))
    labels.write_text("red\ngreen\nblue\n")
    code, _, err = command("models", "add", path, "--labels", labels)
    assert code == 0
    assert "warning: own: does not say how its pixels are normalized: taken for -1 to 1" in err
    assert "set model.mean = [0] and model.std = [255]" in err


def test_verify_says_what_cannot_be_used(tmp_path: Path, command: Command) -> None:
    store = ModelStore(root=tmp_path / "store")
    for name, content in (
        ("sound", with_files(SOUND, {"labels.txt": LABEL_FILE})),
        ("unlabelled", SOUND),
        ("embedding", with_files(classifier(last="TANH"), {"labels.txt": LABEL_FILE})),
    ):
        (tmp_path / f"{name}.tflite").write_bytes(content)
        store.add(tmp_path / f"{name}.tflite")
    tensors = [Tensor(shape=shape, dtype="uint8") for shape in ((1, 2, 2, 3), (1, 12))]
    compiled = model(tensors, [Operation(name="edgetpu-custom-op", input=0, output=1)])
    (tmp_path / "compiled.tflite").write_bytes(compiled)
    store.add(tmp_path / "compiled.tflite")
    code, out, _ = command("models", "verify", "--json")
    found = {each["name"]: each for each in json.loads(out)}
    assert code == 1
    assert {name: each["status"] for name, each in found.items()} == {
        "compiled": "ok",
        "efficientnet_lite2_260_int8": "ok",
        "embedding": "unusable",
        "sound": "ok",
        "unlabelled": "unusable",
    }
    assert "no labels inside the model" in found["unlabelled"]["detail"]
    assert "gives features" in found["embedding"]["detail"]


def test_one_for_an_edge_tpu_must_have_the_form_of_a_classifier(
    tmp_path: Path, command: Command
) -> None:
    tensors = [Tensor(shape=shape, dtype="uint8") for shape in ((1, 2, 2, 3), (1, 2, 2, 3))]
    path = tmp_path / "compiled.tflite"
    path.write_bytes(model(tensors, [Operation(name="edgetpu-custom-op", input=0, output=1)]))
    code, _, error = command("models", "add", path)
    assert (code, error) == (
        78,
        f"edgeclassifier: {path}: output shape [1, 2, 2, 3]; expected [1, classes]\n",
    )


# By content, not by name


def test_a_file_of_another_content_gets_nothing_from_the_catalogue(tmp_path: Path) -> None:
    name = "inception_v3_299_quant"
    for path in (tmp_path / f"{name}.tflite", tmp_path / "store" / f"{name}.tflite"):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(SOUND)
        assert find_model(ModelConfig(name=str(path))).known is None
    assert find_model(ModelConfig(name=name, store=str(tmp_path / "store"))).known is None


def test_the_catalogues_file_is_known_under_any_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "anything.lite"
    path.write_bytes(SOUND)
    rose = CatalogueModel(
        name="rose",
        file_name="rose.tflite",
        digest=Digest("sha256", "").measure(path),
        url=None,
        license="CC0-1.0",
        origin="test",
        labels=None,
        input_size=2,
        size_bytes=path.stat().st_size,
    )
    monkeypatch.setattr("edgeclassifier.models.catalogue.CATALOGUE", {"rose": rose})
    found = find_model(ModelConfig(name=str(path)))
    assert (found.name, found.known) == ("anything", rose)
    path.write_bytes(SOUND + b"more")
    assert find_model(ModelConfig(name=str(path))).known is None


def test_a_bundled_model_is_known_without_a_look_at_its_content(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def measure(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(Digest, "measure", measure)
    assert find_model(ModelConfig()).known is CATALOGUE["efficientnet_lite2_260_int8"]


@pytest.mark.parametrize("name", ["own.lite", "./own.lite", "own.TFLITE", "./own", "./own.bin"])
def test_a_file_is_told_from_a_name(
    tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(with_files(SOUND, {"labels.txt": LABEL_FILE}))
    assert command("classify", "--model", name, CHELSEA)[0] == 0
    Path("own.toml").write_text(f"[model]\nname = {json.dumps(name)}\n")
    monkeypatch.chdir("/")
    assert command("classify", "--config", tmp_path / "own.toml", CHELSEA)[0] == 0


def test_a_file_without_a_suffix_is_named_with_a_slash(
    tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own.bin").write_bytes(SOUND)
    assert "write './own.bin'" in command("classify", "--model", "own.bin", CHELSEA)[2]


# Public models


@pytest.mark.skipif(not CASES.is_dir(), reason=f"no folder {CASES}")
@pytest.mark.parametrize(
    ("name", "labels", "said"),
    [
        ("four", "short.txt", "short.txt: 3 labels, but the model has 4 classes"),
        ("four", "utf16.txt", None),
        ("flowers_teachable_uint8", "flowers_teachable_five.txt", None),
        ("flowers_teachable_uint8", "flowers_four_of_five.txt", "4 labels, but the model has 5"),
        ("ultra2_txt", None, None),
        ("flex", None, "needs TensorFlow's Flex operations (FlexErf)"),
        ("int8_0to1_96", None, "no labels inside the model"),
        ("cifar10_float_raw", "cifar10.txt", None),
    ],
)
def test_a_case(command: Command, name: str, labels: str | None, said: str | None) -> None:
    given = ["--labels", CASES / labels] if labels else []
    code, _, error = command("models", "add", CASES / f"{name}.tflite", *given)
    assert (code == 0) == (said is None), error
    assert said is None or said in error


@pytest.mark.skipif(not CASES.is_dir(), reason=f"no folder {CASES}")
@pytest.mark.parametrize("colour", ["red", "green"])
def test_the_names_in_an_exporters_notes_are_right(command: Command, colour: str) -> None:
    picture = CASES / f"{colour}.png"
    _, out, _ = command("classify", "--json", "--model", CASES / "ultra2_txt.tflite", picture)
    assert json.loads(out)[0]["predictions"][0]["label"] == colour
