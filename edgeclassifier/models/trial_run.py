"""Loads a model and runs it once, in a process that may die of that: python trial_run.py MODEL.

A damaged file can make the runtime crash, hang, or ask for all memory there is. Run by its path,
this needs nothing but the runtime.
"""

import contextlib
import os
import resource
import sys
from pathlib import Path
from typing import Any

_MEMORY_BYTES = 1 << 30
_WEIGHTS_COPIES = 2
"""The runtime packs weights anew, beside the file's."""
_FIRST_TO_GO = "1000"


def limit_resources(path: Path) -> None:
    """Let this process have no more memory than a sound model of the size of `path` may need."""
    memory_bytes = _MEMORY_BYTES + _WEIGHTS_COPIES * path.stat().st_size
    resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Where less is free than that, the kernel shall not end the daemon instead.
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_FIRST_TO_GO)


def run_once(path: Path, interpreter_class: Any) -> None:
    """Load `path` and run it on zeros; what needs a delegate, such as an Edge TPU, is only loaded.

    Raises ValueError, RuntimeError, MemoryError or TypeError with the runtime's reason.
    """
    import numpy as np

    interpreter = interpreter_class(model_path=str(path), num_threads=1)
    try:
        interpreter.allocate_tensors()
    except RuntimeError as error:
        if "unresolved custom op" in str(error):
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
    return 0


if __name__ == "__main__":
    sys.exit(_main(Path(sys.argv[1])))
