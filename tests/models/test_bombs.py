"""Small model files that would take hours or gigabytes to read in full."""

import contextlib
import os
import time
import zipfile
from pathlib import Path

import pytest
from support.brokers import free_port
from support.daemon import SAMPLES, Daemon, isolated, run_cli
from support.tiny_models import (
    LABELS,
    classifier,
    nested_metadata,
    normalization_metadata,
    repeated_metadata,
    with_files,
)

from edgeclassifier.errors import ModelError
from edgeclassifier.models.metadata import read_metadata

LABEL_FILE = {"labels.txt": "\n".join(LABELS).encode()}
ENOUGH_S = 10
"""A hundred times what each takes; without a bound, it would be hours."""
WORKS, REFUSED = 0, 78
IN_TIME_S = 30

BOMBS = {
    "vectors in vectors": lambda: with_files(
        classifier(last="SOFTMAX", metadata=nested_metadata(3000)), LABEL_FILE
    ),
    "the same metadata 20,000 times": lambda: repeated_metadata(20_000),
    "a thousand files of 10 MB": lambda: with_files(
        classifier(last="SOFTMAX", metadata=normalization_metadata([127.5], [127.5])),
        {f"{number}.txt": b"a\n" * 400_000 for number in range(100)},
        compression=zipfile.ZIP_DEFLATED,
    ),
    "a million labels": lambda: with_files(
        classifier(last="SOFTMAX", metadata=normalization_metadata([127.5], [127.5])),
        {"labels.txt": b"a\n" * 4_900_000},
        compression=zipfile.ZIP_DEFLATED,
    ),
    "a list of numbers without end": lambda: classifier(
        metadata=normalization_metadata([1.0] * 5000, [1.0])
    ),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_read_or_refused_in_no_time(name: str, tmp_path: Path) -> None:
    path = tmp_path / "bomb.tflite"
    path.write_bytes(BOMBS[name]())
    began_s = time.process_time()
    with contextlib.suppress(ModelError):
        read_metadata(path)
    assert time.process_time() - began_s < ENOUGH_S


def test_the_bomb_of_vectors_is_small() -> None:
    assert len(BOMBS["vectors in vectors"]()) < 64_000
    assert len(BOMBS["the same metadata 20,000 times"]()) < 256_000


@pytest.fixture(
    params=[
        "vectors in vectors",
        "the same metadata 20,000 times",
        "a million labels",
        "a pipe",
        "damaged",
        "cut off",
    ]
)
def hostile(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "hostile.tflite"
    good = with_files(classifier(last="SOFTMAX"), LABEL_FILE)
    if request.param == "a pipe":
        os.mkfifo(path)
    elif request.param == "damaged":
        path.write_bytes(good[:200] + bytes(60) + good[260:])
    elif request.param == "cut off":
        path.write_bytes(good[: len(good) // 2])
    else:
        path.write_bytes(BOMBS[request.param]())
    return path


@pytest.mark.timeout(200)
def test_no_command_hangs_on_a_hostile_model(hostile: Path, tmp_path: Path) -> None:
    """It works, or ends with 78 within 30 s, the daemon's start too."""
    env = isolated(tmp_path)
    for arguments in (
        ("classify", "--model", hostile, SAMPLES / "coffee.png"),
        ("check", "--no-camera", "--model", hostile),
        ("models", "add", hostile),
        ("models", "verify"),
    ):
        done = run_cli(*arguments, env=env, timeout_s=IN_TIME_S)
        assert done.returncode in {WORKS, REFUSED}, done
        assert "Traceback" not in done.stderr
    settings: dict[str, str | int | float] = {
        "model.name": str(hostile),
        "camera.source": "replay",
        "camera.replay.path": str(SAMPLES / "coffee.png"),
        "mqtt.port": free_port(),
    }
    with Daemon(env=env, settings=settings) as daemon:
        if not daemon.wait_for_line("first prediction", IN_TIME_S):
            assert daemon.wait(1) == REFUSED
        assert not any("Traceback" in line for line in daemon.lines)


def test_what_is_no_model_in_the_store_is_said_and_nothing_ends(tmp_path: Path) -> None:
    env, store = isolated(tmp_path), tmp_path / "models"
    store.mkdir()
    os.mkfifo(store / "pipe.tflite")
    (store / "empty.tflite").touch()
    (store / "folder.tflite").mkdir()
    (store / "gone.tflite").symlink_to("nowhere")
    (store / "circle.tflite").symlink_to("circle.tflite")
    (store / "zero.tflite").symlink_to("/dev/zero")
    (store / "good.tflite").write_bytes(with_files(classifier(last="SOFTMAX"), LABEL_FILE))
    for command in ("list", "verify"):
        done = run_cli("models", command, env=env, timeout_s=IN_TIME_S)
        assert "Traceback" not in done.stderr
    said = dict(line.split(": ", 1) for line in done.stdout.splitlines())
    assert said["pipe"].startswith("unreadable (it is a pipe")
    assert said["empty"].startswith("unusable")
    assert said["good"].startswith("unrecorded")
    assert str(store / "folder.tflite") in said["folder"]
    for each in ("folder", "gone", "circle", "zero"):
        assert said[each].startswith("unreadable")


def test_a_pipe_in_the_store_does_not_keep_anything_waiting(tmp_path: Path) -> None:
    env, store = isolated(tmp_path), tmp_path / "models"
    store.mkdir()
    os.mkfifo(store / "pipe.tflite")
    os.mkfifo(store / "pipe.json")
    (store / "good.tflite").write_bytes(with_files(classifier(last="SOFTMAX"), LABEL_FILE))
    os.mkfifo(store / "good.labels.txt")
    for arguments in (("models", "list"), ("models", "verify"), ("doctor", "--json")):
        done = run_cli(*arguments, env=env, timeout_s=IN_TIME_S)
        assert "Traceback" not in done.stderr
