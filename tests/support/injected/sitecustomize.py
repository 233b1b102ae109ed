"""Makes the daemon's own parts fail on demand.

Python imports this where the folder is on PYTHONPATH. While the file that EDGECLASSIFIER_FAULT
names holds the name of a fault, that fault happens; an empty or absent file is no fault.
"""

import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

_POLL_S = 0.01


def _wanted(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _hang_while(file: Path, fault: str) -> None:
    while _wanted(file) == fault:
        time.sleep(_POLL_S)


class InjectedError(Exception):
    """What no part expects."""


def _mortal(file: Path, start: Callable[..., threading.Thread]) -> Callable[..., threading.Thread]:
    """Let a thread die, at its beginning or in the middle, while the file names it."""

    def start_mortal(target: Callable[..., None], *, name: str, **more: Any) -> threading.Thread:
        def run(*arguments: Any) -> None:
            if _wanted(file) == f"thread {name} dies":
                raise InjectedError
            over = threading.Event()
            watcher = threading.Thread(target=kill, args=(threading.get_ident(), over), daemon=True)
            watcher.start()
            try:
                target(*arguments)
            finally:
                over.set()

        def kill(thread: int, over: threading.Event) -> None:
            while not over.wait(_POLL_S):
                if _wanted(file) == f"thread {name} dies":
                    raise_in = ctypes.pythonapi.PyThreadState_SetAsyncExc
                    raise_in(ctypes.c_ulong(thread), ctypes.py_object(InjectedError))
                    return

        return start(run, name=name, **more)

    return start_mortal


def _install(file: Path) -> None:
    from edgeclassifier.cameras.replay import ReplayCamera
    from edgeclassifier.engine import runtime
    from edgeclassifier.engine.classifier import Classifier
    from edgeclassifier.errors import CameraError, CameraTimeout, InferenceError
    from edgeclassifier.host import threads

    load = runtime.load_model
    run, read, close = Classifier.run, ReplayCamera.read, ReplayCamera.close

    def faulty_load(path: Path, **options: Any) -> Any:
        if "classify" in sys.orig_argv:
            _hang_while(file, "trial hangs")
            if _wanted(file) == "trial is killed":
                os.kill(os.getpid(), signal.SIGKILL)
        if _wanted(file) == f"loading crashes {path.name}":
            os.kill(os.getpid(), signal.SIGSEGV)
        return load(path, **options)

    def faulty_run(self: Classifier, tensor: Any) -> Any:
        _hang_while(file, "inference hangs")
        if _wanted(file) == f"inference fails {self.path.name}":
            raise InferenceError(f"{self.path}: the model does not run: injected")
        return run(self, tensor)

    def faulty_read(self: ReplayCamera, timeout_s: float) -> Any:
        _hang_while(file, "camera hangs")
        if _wanted(file) == "camera is gone":
            raise CameraError("the camera is gone: injected")
        if _wanted(file) == "camera is silent":
            time.sleep(timeout_s)
            raise CameraTimeout("no frame")
        return read(self, timeout_s)

    def faulty_close(self: ReplayCamera) -> None:
        _hang_while(file, "camera does not close")
        close(self)

    threads.start = _mortal(file, threads.start)
    runtime.load_model = faulty_load
    Classifier.run = faulty_run  # type: ignore[method-assign]
    ReplayCamera.read = faulty_read  # type: ignore[method-assign]
    ReplayCamera.close = faulty_close  # type: ignore[method-assign]
    # As a real camera is: what fails is opened again.
    ReplayCamera.live = "EDGECLASSIFIER_LIVE" in os.environ


if "EDGECLASSIFIER_FAULT" in os.environ:
    _install(Path(os.environ["EDGECLASSIFIER_FAULT"]))
