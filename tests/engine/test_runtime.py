"""Loading models with whichever runtime is installed, and saying why where that fails."""

import importlib
import importlib.metadata
import importlib.util
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.open_files import open_files
from support.tiny_models import classifier

from edgeclassifier.engine.runtime import (
    LITERT,
    TFLITE,
    default_threads,
    load_model,
    runtime_module,
)
from edgeclassifier.errors import ModelError

HAS_LITERT = importlib.util.find_spec("ai_edge_litert") is not None
INSTALLED, OTHER = (LITERT, TFLITE) if HAS_LITERT else (TFLITE, LITERT)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "model.tflite"
    path.write_bytes(classifier(last="SOFTMAX"))
    return path


@pytest.mark.parametrize("wanted", ["auto", INSTALLED.name])
def test_the_installed_runtime_is_used_and_named(path: Path, wanted: str) -> None:
    loaded = load_model(path, runtime=wanted, threads=2)
    loaded.interpreter.invoke()
    assert loaded.runtime == INSTALLED
    version = importlib.metadata.version(INSTALLED.package)
    assert str(loaded.runtime) == f"{INSTALLED.name} {version}"
    assert loaded.threads == 2
    assert runtime_module(wanted) == INSTALLED.module


@pytest.mark.parametrize("cores", [1, 2, 4])
def test_one_core_is_left_to_the_rest(
    path: Path, monkeypatch: pytest.MonkeyPatch, cores: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(cores)))
    assert default_threads() == max(1, cores - 1)
    assert load_model(path, threads=0).threads == default_threads()


def test_the_runtime_gets_the_number_of_threads(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def note(make: Callable[..., Any], *, num_threads: int, **others: Any) -> Any:
        asked.append(num_threads)
        return make(num_threads=num_threads, **others)

    intercept(monkeypatch, note)
    load_model(path, threads=3)
    assert asked == [3]


def intercept(monkeypatch: pytest.MonkeyPatch, step_in: Callable[..., Any]) -> None:
    """Call `step_in` with the real Interpreter and its arguments in place of it."""
    module = importlib.import_module(INSTALLED.module)
    real = module.Interpreter
    monkeypatch.setattr(module, "Interpreter", lambda **given: step_in(real, **given))


# Runtimes that are not there


def test_a_runtime_that_is_not_installed_is_told_with_what_to_do(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, OTHER.module, None)
    monkeypatch.setattr(np, "__version__", "1.26.4")
    reason = rf"no TFLite runtime: {OTHER.package} is not usable \(.*\): pip install"
    with pytest.raises(ModelError, match=reason):
        load_model(path, runtime=OTHER.name)
    with pytest.raises(ModelError, match=reason):
        runtime_module(OTHER.name)


def test_without_any_runtime_both_are_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for each in (LITERT, TFLITE):
        monkeypatch.setitem(sys.modules, each.module, None)
    monkeypatch.setattr(np, "__version__", "1.26.4")
    with pytest.raises(ModelError, match=r"ai-edge-litert is not usable.*; tflite-runtime is"):
        load_model(path)


def test_the_older_runtime_is_not_even_imported_beside_numpy_2(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would import, and fail at the first picture."""
    monkeypatch.setattr(np, "__version__", "2.4.6")
    with pytest.raises(ModelError, match=r"does not work with NumPy 2\.4\.6: use NumPy 1"):
        load_model(path, runtime="tflite-runtime")


# Files that are no model


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "model file is empty: copy or fetch it again"),
        (b"TFL3", "not a TFLite model"),
        (b"<html>404</html>", r"not a TFLite model \(the identifier TFL3 is missing\)"),
        (b"cat\ndog\n" * 100, "not a TFLite model"),
        (bytes(1000), "not a TFLite model"),
        (
            classifier(last="edgetpu-custom-op"),
            "compiled for the Edge TPU, it does not run on the CPU: use the model of the same name",
        ),
        (
            classifier(last="TFLite_Detection_PostProcess_9"),
            "needs the custom operation TFLite_Detection_PostProcess_9, which the runtime does not",
        ),
        (classifier(last="DEQUANTIZE"), "cannot be loaded and run, .*DEQUANTIZE"),
    ],
)
def test_what_is_no_usable_model_is_refused_in_one_line(
    path: Path, content: bytes, reason: str
) -> None:
    path.write_bytes(content)
    with pytest.raises(ModelError, match=f"{path}: {reason}") as caught:
        load_model(path)
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"none\.tflite: no such model file"):
        load_model(tmp_path / "none.tflite")
    with pytest.raises(ModelError, match="model file cannot be read: Is a directory"):
        load_model(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_without_the_right_to_read_it_is_named(path: Path) -> None:
    path.chmod(0)
    with pytest.raises(ModelError, match="model file cannot be read: Permission denied"):
        load_model(path)


@pytest.mark.skipif(
    not HAS_LITERT, reason="tflite-runtime does not verify files and crashes on some"
)
def test_a_model_cut_anywhere_is_refused(path: Path) -> None:
    whole = path.read_bytes()
    for length in range(8, len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(ModelError, match="damaged or not a TFLite model"):
            load_model(path)


# What the native code says on file descriptor 2

# The announcement is made once in a process, so that each look at it needs a new one.
LOAD = "import sys; from pathlib import Path; {load}; print('loaded')"
BARE = (
    f"from {INSTALLED.module} import Interpreter; "
    "Interpreter(model_path=sys.argv[1]).allocate_tensors()"
)
QUIET = "from edgeclassifier.engine.runtime import load_model; load_model(Path(sys.argv[1]))"


def stderr_of(load: str, path: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", LOAD.format(load=load), path],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout == "loaded\n"
    return done.stderr


def test_the_announcements_of_the_runtime_do_not_reach_stderr(path: Path) -> None:
    assert "INFO: " in stderr_of(BARE, path), "this runtime announces nothing: a test without worth"
    assert stderr_of(QUIET, path) == ""


def test_announcements_are_logged_and_everything_else_passes(
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    def chatter(make: Callable[..., Any], **given: Any) -> Any:
        os.write(2, b"INFO: Created a delegate\nERROR: node 3\nWARNING: slow\nwithout an end")
        return make(**given)

    intercept(monkeypatch, chatter)
    caplog.set_level(logging.DEBUG, logger="edgeclassifier.engine.runtime")
    load_model(path)
    assert capfd.readouterr().err == "ERROR: node 3\nWARNING: slow\nwithout an end"
    assert "runtime: Created a delegate" in caplog.messages


def test_what_is_said_before_a_failure_passes_too(
    path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(_make: Callable[..., Any], **_given: Any) -> Any:
        os.write(2, b"ERROR: no memory\n")
        raise RuntimeError("no memory\nfor tensors")

    intercept(monkeypatch, fail)
    with pytest.raises(ModelError, match="no memory for tensors"):
        load_model(path)
    os.write(2, b"and stderr is itself again\n")
    assert capfd.readouterr().err == "ERROR: no memory\nand stderr is itself again\n"


def test_loading_leaves_no_file_descriptor_open(path: Path) -> None:
    load_model(path)
    before = open_files()
    for _ in range(3):
        load_model(path)
    assert open_files() <= before
