"""Load a TFLite model with LiteRT (ai-edge-litert) or with the older tflite-runtime."""

import contextlib
import functools
import importlib
import logging
import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from edgeclassifier.contract.plain import Plain, plain_data
from edgeclassifier.engine.refusals import refusal
from edgeclassifier.errors import InferenceError, ModelError
from edgeclassifier.host.files import open_regular

log = logging.getLogger(__name__)

_OPEN = -1
"""A side of a tensor's shape that may have any length."""


class Interpreter(Protocol):
    """What is used of the interpreters of both packages. One belongs to one thread."""

    def allocate_tensors(self) -> None:
        """Plan the memory; raises RuntimeError."""

    def get_input_details(self) -> list[dict[str, Any]]:
        """Describe the inputs."""

    def get_output_details(self) -> list[dict[str, Any]]:
        """Describe the outputs."""

    def set_tensor(self, tensor_index: int, value: NDArray[Any]) -> None:
        """Copy `value` in."""

    def get_tensor(self, tensor_index: int) -> NDArray[Any]:
        """Copy a value out."""

    def invoke(self) -> None:
        """Run the model, without the GIL; raises RuntimeError."""


@functools.cache
def _installed_version(package: str) -> str:
    import importlib.metadata

    return importlib.metadata.version(package)


@plain_data
class Runtime(Plain):
    """One of the packages that bring an interpreter."""

    name: str
    package: str
    module: str

    def __str__(self) -> str:
        """Return the name and the installed version."""
        # Costs a tenth of the daemon's start, so only on demand.
        return f"{self.name} {_installed_version(self.package)}"


LITERT = Runtime(name="litert", package="ai-edge-litert", module="ai_edge_litert.interpreter")
TFLITE = Runtime(
    name="tflite-runtime", package="tflite-runtime", module="tflite_runtime.interpreter"
)
RUNTIMES = (LITERT, TFLITE)


@plain_data
class LoadedModel(Plain):
    """An interpreter with its tensors allocated."""

    interpreter: Interpreter
    runtime: Runtime
    threads: int


def default_threads() -> int:
    """One thread fewer than there are cores for this process: the rest has a core of its own."""
    return max(1, len(os.sched_getaffinity(0)) - 1)


def load_model(
    path: Path,
    *,
    runtime: str = "auto",
    threads: int = 0,
    input_size: int = 0,
    delegates: Sequence[Any] = (),
) -> LoadedModel:
    """Load `path` and allocate its tensors.

    `runtime` is a name from RUNTIMES or "auto" for the first that is installed; `threads` 0 is
    default_threads(); `input_size` is height and width in pixels for a model that leaves them
    open; `delegates` come from load_delegate(). Raises ModelError if the file is no usable model
    or no runtime is there, and InferenceError if a delegate fails.
    """
    _check_file(path)
    chosen, module = _import_first(runtime)
    count = threads or default_threads()
    # What a delegate says before it ends the process is all that will be known: it is let through.
    output = contextlib.nullcontext() if delegates else _quiet_native_code()
    try:
        with output:
            interpreter = module.Interpreter(
                model_path=str(path), num_threads=count, experimental_delegates=list(delegates)
            )
            if input_size:
                _resize_input(interpreter, input_size)
            interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        if delegates:
            text = " ".join(str(error).split())
            raise InferenceError(f"{path}: the delegate does not take it: {text}") from None
        raise ModelError(f"{path}: {refusal(str(error))}") from None
    return LoadedModel(interpreter=interpreter, runtime=chosen, threads=count)


def has_unset_sides(signature: Sequence[int], shape: Sequence[int]) -> bool:
    """Tell whether a model leaves height or width open (-1) and nobody has set them."""
    return any(
        wanted == _OPEN and side <= 1 for wanted, side in zip(signature[1:], shape[1:], strict=True)
    )


def _resize_input(interpreter: Any, size: int) -> None:
    """Set height and width where the model leaves them open."""
    inputs = interpreter.get_input_details()
    rank = 4
    if len(inputs) != 1 or len(inputs[0]["shape"]) != rank:
        return  # no image classifier, which is found out next
    shape = [int(each) for each in inputs[0]["shape"]]
    signature = [int(each) for each in inputs[0].get("shape_signature", shape)]
    wanted = [
        side if given != _OPEN else default
        for given, side, default in zip(signature, shape, (1, size, size, 3), strict=True)
    ]
    if wanted != shape:
        interpreter.resize_tensor_input(inputs[0]["index"], wanted)


def load_delegate(library: str, options: Mapping[str, str], *, runtime: str = "auto") -> Any:
    """Load the shared library of a delegate and let it open its device.

    Raises ModelError if no runtime is there or the library is no delegate, OSError if it
    cannot be loaded, and ValueError, with the delegate's own words, if it opens no device. May
    take seconds, with the GIL held, or end the process.
    """
    _, module = _import_first(runtime)
    try:
        return module.load_delegate(library, dict(options))
    except AttributeError:
        raise ModelError(f"{library} is no TFLite delegate") from None
    except ValueError as error:
        _, _, words = str(error).partition("\n")
        raise ValueError(" ".join(words.split())) from None


def runtime_module(runtime: str) -> str:
    """Name the Python module that `runtime` is. Raises ModelError if it is not installed."""
    return _import_first(runtime)[0].module


def _check_file(path: Path) -> None:
    identifier_end = 8
    try:
        with open_regular(path) as file:
            head = file.read(identifier_end)
            graph = head[4:] != b"TFL3" or _has_graph(file)
    except FileNotFoundError:
        raise ModelError(f"{path}: no such model file") from None
    except OSError as error:
        raise ModelError(f"{path}: model file cannot be read: {error.strerror}") from None
    if not head:
        raise ModelError(f"{path}: model file is empty: copy or fetch it again")
    if head[4:] != b"TFL3":
        raise ModelError(f"{path}: not a TFLite model (the identifier TFL3 is missing)")
    if not graph:
        raise ModelError(f"{path}: truncated, damaged or not a TFLite model: it has no graph")


def _has_graph(file: BinaryIO) -> bool:
    """Tell whether a flatbuffer has subgraphs; without, the runtime crashes."""
    subgraphs = 4 + 2 * 2  # where the table's list of fields has the one of this number

    def number(at: int, form: str) -> int:
        file.seek(at)
        return int(struct.unpack(form, file.read(struct.calcsize(form)))[0])

    try:
        root = number(0, "<I")
        fields = root - number(root, "<i")
        if number(fields, "<H") <= subgraphs or not (offset := number(fields + subgraphs, "<H")):
            return False
        vector = root + offset
        return number(vector + number(vector, "<I"), "<I") > 0
    except (struct.error, ValueError, OSError):
        return False


def _import_first(wanted: str) -> tuple[Runtime, Any]:
    reasons = []
    for runtime in (each for each in RUNTIMES if wanted in {"auto", each.name}):
        if runtime is TFLITE and int(np.__version__.partition(".")[0]) >= 2:  # noqa: PLR2004
            reasons.append(f"tflite-runtime does not work with NumPy {np.__version__}: use NumPy 1")
            continue
        try:
            return runtime, importlib.import_module(runtime.module)
        except ImportError as error:
            reasons.append(f"{runtime.package} is not usable ({error})")
    raise ModelError("no TFLite runtime: " + "; ".join(reasons) + ": pip install ai-edge-litert")


@contextlib.contextmanager
def _quiet_native_code() -> Iterator[None]:
    """Keep the runtime's announcements on file descriptor 2 out of a user's terminal.

    LiteRT offers no switch for them. Everything else that was written meanwhile is passed on.
    """
    with os.fdopen(os.memfd_create("stderr"), "w+b") as captured:
        saved = os.dup(2)
        os.dup2(captured.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(saved, 2)
            captured.seek(0)
            for line in captured:
                if line.startswith(b"INFO: "):
                    log.debug("runtime: %s", line[6:].decode(errors="replace").strip())
                else:
                    os.write(saved, line)
            os.close(saved)
