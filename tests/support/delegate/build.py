"""Builds the delegate of the tests, and tells it what to do."""

import shutil
import subprocess
from pathlib import Path

import pytest

from support.tiny_models import Operation, Tensor, classifier, model

SOURCE = Path(__file__).parent / "delegate.c"

needs_gcc = pytest.mark.skipif(
    shutil.which("gcc") is None, reason="gcc is not installed: it builds the tests' delegate"
)
_FLAGS = ("-std=c11", "-D_DEFAULT_SOURCE", "-O2", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared")


def build(folder: Path) -> Path:
    """Compile the delegate into `folder` and return the library."""
    library = folder / "libtestdelegate.so"
    subprocess.run(["gcc", *_FLAGS, str(SOURCE), "-o", str(library)], check=True)
    return library


class Device:
    """What the delegate drives: works until it is told otherwise, see delegate.c."""

    def __init__(self, folder: Path) -> None:
        """Work; `folder` is for the file with the orders."""
        self._control = folder / "control"
        self.options = {"control": str(self._control)}
        self.mend()

    def mend(self) -> None:
        """Have it work."""
        self.act("")

    def act(self, order: str) -> None:
        """Have it do what delegate.c says about `order`."""
        new = self._control.with_suffix(".new")
        new.write_text(order)
        new.replace(self._control)

    @staticmethod
    def answer(value: int, classes: int) -> list[int]:
        """Say what it makes of a picture whose first byte is `value`."""
        return [(value + 7 * i) % 256 for i in range(classes)]


def tiny_models(folder: Path) -> tuple[Path, Path]:
    """Write a model compiled for the device and its CPU twin: uint8, 2 x 2 pixels, 12 classes."""
    compiled, twin = folder / "tiny_edgetpu.tflite", folder / "tiny.tflite"
    scale = 1 / 256
    picture = Tensor(shape=(1, 2, 2, 3), dtype="uint8", scale=scale)
    row = Tensor(shape=(1, 12), dtype="uint8", scale=scale)
    operation = Operation(name="edgetpu-custom-op", input=0, output=1)
    compiled.write_bytes(model([picture, row], [operation]))
    twin.write_bytes(classifier("uint8", scale=scale, last="SOFTMAX"))
    return compiled, twin
