"""A base that is cut and gets a new head is an ordinary model with the same network."""

import sys
from pathlib import Path

import numpy as np
import pytest
from support import lessons
from support.shared_data import FOLDER, needs_shared_data
from support.tiny_models import classifier

from edgeclassifier.engine.normalization import RAW as UNCHANGED
from edgeclassifier.engine.runtime import load_model
from edgeclassifier.errors import ModelError, TeachingError
from edgeclassifier.models.catalogue import CATALOGUE
from edgeclassifier.teach.described import metadata, with_labels
from edgeclassifier.teach.logistic import Matrix, softmax
from edgeclassifier.teach.network import Head, Network

BUNDLED = next(each.bundled_path for each in CATALOGUE.values() if each.bundled)


def answer(content: bytes, folder: Path, seed: int = 0) -> Matrix:
    """What a model gives for a picture of noise, as real numbers."""
    path = folder / "answers.tflite"
    path.write_bytes(content)
    interpreter = load_model(path).interpreter
    given, result = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    random = np.random.default_rng(seed).integers(0, 256, given["shape"])
    interpreter.set_tensor(given["index"], random.astype(given["dtype"]))
    interpreter.invoke()
    stored = interpreter.get_tensor(result["index"]).reshape(1, -1).astype(np.float32)
    scale, zero_point = result["quantization"]
    real: Matrix = (stored - zero_point) * np.float32(scale) if scale else stored
    return real


@pytest.mark.parametrize("of_directions", [False, True])
@pytest.mark.parametrize("of_roots", [False, True])
@pytest.mark.parametrize(
    ("file", "width"),
    [
        (BUNDLED, 1280),
        *(
            pytest.param(FOLDER / "models" / name, width, marks=needs_shared_data)
            for name, width in (
                ("mobilenet_v1_0.25_128_quant.tflite", 256),
                ("mobilenet_v2_1.0_224_quant.tflite", 1280),
                ("inception_v3_299_arch_int8.tflite", 2048),
                ("inception_v3_299_arch_float32.tflite", 2048),
                ("efficientnet_edgetpu_m_quant.tflite", 1280),
            )
        ),
    ],
    ids=lambda value: value.stem if isinstance(value, Path) else "",
)
def test_the_head_calculates_what_numpy_does(
    tmp_path: Path, file: Path, width: int, of_roots: bool, of_directions: bool
) -> None:
    network = Network(file.read_bytes(), path=file)
    features = answer(network.features(), tmp_path)
    assert features.shape == (1, width)
    random = np.random.default_rng(1)
    weights = random.normal(0, 1, (3, width)).astype(np.float32)
    bias = random.normal(0, 1, 3).astype(np.float32)
    head = Head(weights=weights, bias=bias, of_roots=of_roots, of_directions=of_directions)
    if of_roots:
        features = np.sqrt(features.clip(0))
    if of_directions:
        features = features / np.linalg.norm(features)
    expected = softmax(features @ weights.T + bias)
    np.testing.assert_allclose(
        answer(network.with_head(head, metadata=b""), tmp_path), expected, atol=2e-4
    )


def test_the_old_head_is_gone_from_the_file() -> None:
    """Its weights are what the new file is smaller by."""
    content = BUNDLED.read_bytes()
    features = Network(content, path=BUNDLED).features()
    assert len(features) < len(content) - 1000 * 1280


@pytest.mark.parametrize("dtype", ["float32", "uint8", "int8"])
def test_each_type_of_input_is_taught(tmp_path: Path, dtype: str) -> None:
    scale = {} if dtype == "float32" else {"scale": 1 / 255, "zero_point": -128 * (dtype == "int8")}
    path = lessons.base(tmp_path, dtype=dtype, **scale)
    network = Network(path.read_bytes(), path=path)
    assert network.classes == 3
    head = Head(weights=np.eye(3, dtype=np.float32)[:2], bias=np.zeros(2, np.float32))
    assert answer(network.with_head(head, metadata=b""), tmp_path).shape == (1, 2)


def test_a_convolution_of_one_pixel_is_a_head(tmp_path: Path) -> None:
    network = Network(lessons.convolved(), path=Path("m"))
    head = Head(weights=np.ones((2, 3), np.float32), bias=np.array([0, 1], np.float32))
    found = answer(network.with_head(head, metadata=b""), tmp_path)
    np.testing.assert_allclose(found, softmax(np.array([[0, 1]], np.float32)), atol=1e-5)


def test_a_taught_model_can_be_the_base_of_another(tmp_path: Path) -> None:
    path = lessons.base(tmp_path)
    first = Network(path.read_bytes(), path=path)
    head = Head(weights=np.eye(3, dtype=np.float32), bias=np.zeros(3, np.float32), of_roots=True)
    whole = with_labels(first.with_head(head, metadata=metadata("m", UNCHANGED)), b"a\nb\nc\n")
    again = Network(whole, path=path)
    np.testing.assert_allclose(
        answer(again.features(), tmp_path),
        np.sqrt(answer(first.features(), tmp_path)),
        rtol=1e-5,
    )


def test_without_the_schema_it_says_what_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    with pytest.raises(TeachingError, match="teaching needs the package ai-edge-litert: pip"):
        Network(BUNDLED.read_bytes(), path=BUNDLED)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (classifier(), "no layer with weights was found"),
        (classifier(last="LOGISTIC"), "it ends in LOGISTIC"),
        (lessons.convolved(kernel=3), "a convolution of 3x3"),
        (lessons.convolved(side=2), "a convolution of a map"),
        (b"\xff\xff\xff\x7fTFL3", "cannot be cut: it is damaged"),
    ],
)
def test_what_cannot_be_cut_is_refused_with_the_reason(content: bytes, reason: str) -> None:
    with pytest.raises(ModelError, match=reason):
        Network(content, path=Path("m.tflite"))


@needs_shared_data
def test_what_is_compiled_for_an_edge_tpu_is_refused() -> None:
    path = FOLDER / "models" / "mobilenet_v1_0.25_128_quant_edgetpu.tflite"
    with pytest.raises(ModelError, match="compiled for the Edge TPU: name the model that it was"):
        Network(path.read_bytes(), path=path)


def test_damage_anywhere_is_refused_or_harmless() -> None:
    """Bytes of a whole model are overwritten: nothing but a ModelError comes of it."""
    whole = lessons.convolved()
    random = np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(whole)
        for place in random.integers(0, len(whole), 4):
            damaged[place] = random.integers(0, 256)
        try:
            Network(bytes(damaged), path=Path("m")).features()
        except ModelError:
            continue
