"""Whether a file from outside is a whole TFLite model, or a label file.

As a program it loads a model and runs it once, in a process that may die of that.
"""

import contextlib
import mmap
import os
import re
import sys
import zipfile
from pathlib import Path
from typing import Any

from edgeclassifier.engine.refusals import is_for_edge_tpu, refusal
from edgeclassifier.errors import ModelError
from edgeclassifier.host import children
from edgeclassifier.host.files import open_regular
from edgeclassifier.host.limits import limit_memory

MAX_MODEL_BYTES = 512 << 20
_MAX_LABELS_BYTES = 4 << 20

_IDENTIFIER_AT = 4
_IDENTIFIER = b"TFL3"
_CHUNK_BYTES = 1 << 20
_TRIAL_TIMEOUT_S = 120.0

# The signature and the version of a zip entry: a model's metadata is a zip behind the model.
_ZIP_ENTRY = re.compile(rb"PK\x03\x04[\x0a\x14\x2d]\x00")

_MEMORY_BYTES = 1 << 30
_WEIGHTS_COPIES = 2
"""The runtime packs weights once more, beside the file's."""
_NO_CLASSIFIER = 3
"""The exit code of a trial that knows more than the runtime."""


def check_regular(file: Path, *, limit_bytes: int = MAX_MODEL_BYTES) -> None:
    """Raise ModelError if `file` is not a regular file that is neither empty nor too large."""
    try:
        if not file.exists():
            raise ModelError(f"{file} does not exist")
        if not file.is_file():
            raise ModelError(f"{file} is not a file")
        size = file.stat().st_size
    except OSError as error:
        raise ModelError(f"cannot read {file}: {error.strerror}") from error
    if size == 0:
        raise ModelError(f"{file} is empty")
    if size > limit_bytes:
        raise ModelError(f"{file} is too large: {size} bytes, at most {limit_bytes} are taken")


def check_model(path: Path, *, shown: Path) -> None:
    """Raise ModelError if a file is no TFLite model, not the whole of one, or does not run.

    It is loaded and run once, in a child process with limited memory and time. Messages call
    it `shown`. Raises OSError if it cannot be read.
    """
    with open_regular(path) as file:
        head = file.read(_IDENTIFIER_AT + len(_IDENTIFIER))
    if head[_IDENTIFIER_AT:] != _IDENTIFIER:
        raise ModelError(f"{shown}: not a TFLite model (the identifier TFL3 is missing)")
    if _has_zip_entry(path) and not _is_whole_zip(path):
        raise ModelError(f"{shown}: truncated: the metadata at its end is not whole")
    outcome = children.run([*children.module_command(__name__), path], timeout_s=_TRIAL_TIMEOUT_S)
    match outcome.end:
        case "answered" if outcome.code == 0:
            return
        case "late":
            reason = f"could not be loaded and run within {_TRIAL_TIMEOUT_S:.0f} s"
        case "crashed" | "killed":
            reason = "truncated or damaged: it crashes the TFLite runtime, or needs too much memory"
        case "answered" if outcome.code == _NO_CLASSIFIER:
            reason = outcome.last_words.removeprefix(f"{path}: ")
        case _:
            reason = refusal(outcome.last_words or "no reason given")
    raise ModelError(f"{shown}: {reason}")


def limit_resources(path: Path) -> None:
    """Let this process have no more memory than a sound model of the size of `path` may need."""
    limit_memory(_MEMORY_BYTES + _WEIGHTS_COPIES * path.stat().st_size)


def run_once(path: Path, interpreter_class: Any) -> None:
    """Load `path` and run it on zeros; what is compiled for an Edge TPU is only loaded.

    Raises ValueError, RuntimeError, MemoryError or TypeError with the runtime's reason, and
    ModelError if it is no classifier of pictures for an Edge TPU.
    """
    import numpy as np

    interpreter = interpreter_class(model_path=str(path), num_threads=1)
    try:
        interpreter.allocate_tensors()
    except RuntimeError as error:
        if is_for_edge_tpu(str(error)):
            # All that can be known of it without the device.
            from edgeclassifier.engine.classifier import check_image_classifier

            check_image_classifier(path, interpreter)
            return
        raise
    # It reads every name, where damage shows as well. Both packages have it.
    getattr(interpreter, "_get_ops_details", list)()
    for each in interpreter.get_input_details():
        interpreter.set_tensor(each["index"], np.zeros(each["shape"], each["dtype"]))
    interpreter.invoke()
    for each in interpreter.get_output_details():
        interpreter.get_tensor(each["index"])


def _main(path: Path) -> int:
    # A damaged file can make the runtime crash, hang, or ask for all memory there is.
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        from tflite_runtime.interpreter import Interpreter
    limit_resources(path)
    try:
        run_once(path, Interpreter)
    except (ValueError, RuntimeError, MemoryError, TypeError) as error:
        sys.stderr.write(f"\n{' '.join(str(error).split()) or type(error).__name__}\n")
        return os.EX_DATAERR
    except ModelError as error:
        sys.stderr.write(f"\n{error}\n")
        return _NO_CLASSIFIER
    return 0


def read_labels(file: Path) -> str:
    """Return what a label file says, as UTF-8 with one label a line. Raises ModelError."""
    from edgeclassifier.engine import labels

    check_regular(file, limit_bytes=_MAX_LABELS_BYTES)
    found = labels.read_labels(file)
    text = "\n".join(found) + "\n"
    with contextlib.suppress(ModelError):
        if labels.parse_labels(text.encode(), source=str(file.with_suffix(".txt"))) == found:
            return text
    # Read back, these would be taken for something else: a number in front makes them plain.
    return "".join(f"{number} {label}\n" for number, label in enumerate(found))


def needs_edge_tpu(path: Path) -> bool:
    """Tell whether a model is compiled for the Edge TPU, in whole or in part. Raises OSError."""
    with open_regular(path) as file:
        if os.fstat(file.fileno()).st_size == 0:
            return False  # which cannot be mapped
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return content.find(b"edgetpu-custom-op") >= 0


def _is_whole_zip(path: Path) -> bool:
    try:
        return zipfile.is_zipfile(path)
    except zipfile.BadZipFile:
        return False  # damaged in its count of its parts


def _has_zip_entry(path: Path) -> bool:
    overlap = b""
    with open_regular(path) as file:
        while chunk := file.read(_CHUNK_BYTES):
            if _ZIP_ENTRY.search(overlap + chunk):
                return True
            overlap = chunk[-5:]
    return False


if __name__ == "__main__":
    sys.exit(_main(Path(sys.argv[1])))
