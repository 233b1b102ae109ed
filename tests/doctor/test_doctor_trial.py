"""Trials in real processes: real models, labels, delegates and streams, and what they do wrong."""

import dataclasses
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.delegate.build import Device, build, needs_gcc, tiny_models
from support.tiny_models import LABELS, classifier, colours

from edgeclassifier.compose.engine import build_engine
from edgeclassifier.compose.model import BUNDLED_MODEL
from edgeclassifier.config import load_config
from edgeclassifier.doctor import trials as trial
from edgeclassifier.doctor.accelerator import check_accelerator
from edgeclassifier.doctor.camera import check_camera
from edgeclassifier.doctor.findings import Finding
from edgeclassifier.doctor.machine import Machine
from edgeclassifier.doctor.model import check_labels, check_model
from edgeclassifier.doctor.subject import Subject
from edgeclassifier.host.children import own_command

Look = Callable[[Subject], Iterator[Finding]]


def looked(folder: Path, looks: Sequence[Look], **settings: Any) -> list[Finding]:
    """Carry out checks on an empty machine with `settings`, their dots written as `__`."""
    overrides = [f"{key.replace('__', '.')}={json.dumps(value)}" for key, value in settings.items()]
    root = folder / "root"
    root.mkdir(exist_ok=True)
    subject = Subject(machine=Machine(root=root), config=load_config(None, overrides=overrides))
    return [finding for look in looks for finding in look(subject)]


def ids(findings: Sequence[Finding]) -> list[str | None]:
    return [each.problem.id if each.problem else None for each in findings]


def tiny(folder: Path, content: bytes, labels: Sequence[str]) -> dict[str, str]:
    (folder / "tiny.tflite").write_bytes(content)
    (folder / "tiny.txt").write_text("\n".join(labels))
    return {
        "model__name": str(folder / "tiny.tflite"),
        "model__labels": str(folder / "tiny.txt"),
    }


def test_a_configuration_survives_the_way_to_a_trial() -> None:
    """Every kind of value is among them."""
    overrides = [
        "model.mean=[1.5, 2.5, 3.5]",
        "model.std=[1, 2, 3]",
        'state.exclude=["web site"]',
        'camera.stream.options={video_size="640x480"}',
        'state.thresholds={"house finch"=0.5}',
        'views.gate={region=[0.0, 0.0, 0.5, 1.0], state={exclude=["web site"]}}',
    ]
    config = load_config(None, overrides=overrides)
    sent = json.loads(json.dumps(dataclasses.asdict(config)))
    assert trial.rebuilt(type(config), sent) == config


def test_a_package_of_this_name_in_the_current_folder_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever types `sudo edgeclassifier doctor` may be anywhere; an installation is not needed."""
    (tmp_path / "edgeclassifier").mkdir()
    (tmp_path / "edgeclassifier" / "__init__.py").write_text("raise SystemExit('of the folder')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    tried = Subject(machine=Machine()).trial("runtime")
    assert tried.results["ran"] is True, tried.outcome
    shown = subprocess.run(
        own_command("config", {"device.id": "mine"}), capture_output=True, check=False, text=True
    )
    assert 'id = "mine"' in shown.stdout, shown.stderr


@pytest.mark.parametrize(
    ("content", "labels", "expected"),
    [
        (classifier("uint8", scale=1 / 256), LABELS, [None, None]),
        (classifier("uint8", scale=1 / 256), LABELS[:5], [None, "labels.unfit"]),
        (classifier("uint8", scale=1 / 256), [], [None, "labels.unfit"]),
        (colours(4 * np.eye(12, 3), [0] * 12), LABELS, ["model.pixels_guessed", None, None]),
        (
            colours(np.eye(12, 3) / 1e6, [0] * 12),
            LABELS,
            ["model.pixels_unclear", "doctor.not_tried"],
        ),
        (b"\x20\0\0\0TFL3" + bytes(40), LABELS, ["model.unusable", "doctor.not_tried"]),
        (b"", LABELS, ["model.unusable", "doctor.not_tried"]),
    ],
    ids=["sound", "too few labels", "no labels", "guessed", "unclear", "damaged", "empty"],
)
def test_a_model_and_its_labels(
    tmp_path: Path, content: bytes, labels: Sequence[str], expected: list[str | None]
) -> None:
    settings = tiny(tmp_path, content, labels)
    assert ids(looked(tmp_path, [check_model, check_labels], **settings)) == expected


def test_labels_in_another_order_are_noticed(tmp_path: Path) -> None:
    """There is one for each class, and only a look at a picture tells."""
    engine = build_engine(load_config(None))
    (tmp_path / "labels.txt").write_text("\n".join(reversed(engine.classifier.labels)))
    settings = {"model__name": BUNDLED_MODEL, "model__labels": str(tmp_path / "labels.txt")}
    found = looked(tmp_path, [check_model, check_labels], **settings)
    assert ids(found) == [None, "labels.doubtful"]


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        ("import libcamera_that_is_absent", "camera.no_picamera2"),
        ("raise ValueError('numpy.dtype size changed')", "camera.numpy"),
        ("class Picamera2:\n  global_camera_info = staticmethod(list)", "camera.none"),
        ("import os; os.abort()", "camera.crashes"),
        (
            "class Picamera2:\n"
            "  def __init__(self, index): raise RuntimeError('Camera is busy')\n"
            "  @staticmethod\n  def global_camera_info(): return [{'Model': 'imx708'}]\n",
            "camera.busy",
        ),
    ],
)
def test_a_picamera2_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, expected: str
) -> None:
    (tmp_path / "picamera2.py").write_text(module)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert ids(looked(tmp_path, [check_camera])) == [expected]


@pytest.mark.parametrize(
    ("url", "expected"),
    [("/dev/video97", "camera.no_such"), ("http://127.0.0.1:1/video", "camera.unreachable")],
)
def test_a_stream_that_is_not_there(tmp_path: Path, url: str, expected: str) -> None:
    pytest.importorskip("av", reason="PyAV is not installed: it reads streams")
    found = looked(tmp_path, [check_camera], camera__source="stream", camera__stream__url=url)
    assert ids(found) == [expected]


# Accelerator


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("delegate")
    return Path(shutil.copy(build(folder), folder / "libedgetpu.so.1"))


@needs_gcc
@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("", None),
        ("load segfault", "accelerator.library_mismatch"),
        ("load fail", "accelerator.unavailable"),
        ("run fail", "accelerator.fails"),
    ],
)
def test_a_delegate(tmp_path: Path, library: Path, order: str, expected: str | None) -> None:
    device = Device(tmp_path)
    device.act(order)
    compiled, _ = tiny_models(tmp_path)
    (tmp_path / "tiny.txt").write_text("\n".join(LABELS))
    settings = {
        "model__name": str(tmp_path / "tiny.tflite"),
        "model__labels": str(tmp_path / "tiny.txt"),
        "accelerator__delegate": str(library),
        "accelerator__options__control": device.options["control"],
    }
    assert ids(looked(tmp_path, [check_accelerator], **settings)) == [expected]
    if not order:
        compiled.unlink()
        found = looked(tmp_path, [check_accelerator], **settings)
        assert ids(found) == ["accelerator.no_model"]


@pytest.mark.parametrize("library", ["libnone.so", "libc.so.6"])
def test_a_library_that_is_no_delegate(tmp_path: Path, library: str) -> None:
    settings = tiny(tmp_path, classifier("uint8", scale=1 / 256), LABELS)
    shutil.copy(tmp_path / "tiny.tflite", tmp_path / "tiny_edgetpu.tflite")
    found = looked(tmp_path, [check_accelerator], accelerator__delegate=library, **settings)
    expected = "accelerator.no_library" if library == "libnone.so" else "accelerator.unfit"
    assert ids(found) == [expected]
