"""`edgeclassifier teach`, as its user meets it, with a base that takes no time."""

import functools
import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support import lessons
from support.daemon import REPOSITORY, SAMPLES, isolated, run_cli
from support.tiny_models import normalization_metadata

pytestmark = pytest.mark.timeout(300)

OK, FAILURE, USAGE, CONFIG, INTERRUPTED = 0, 1, 2, 78, 130
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return isolated(tmp_path)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return lessons.base(tmp_path)


@pytest.fixture
def teach(env: dict[str, str], base: Path) -> Run:
    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return run_cli("teach", "--base", base, "--name", "gate", *arguments, env=env)

    return run


def taught(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == OK, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def refused(done: subprocess.CompletedProcess[str], code: int) -> str:
    assert (done.returncode, done.stdout) == (code, "")
    assert len(done.stderr.splitlines()) == 1, done.stderr
    return done.stderr


def store(env: dict[str, str]) -> list[str]:
    root = Path(env["EDGECLASSIFIER_MODELS"])
    return sorted(each.name for each in root.iterdir() if each.is_file()) if root.is_dir() else []


def golden(env: dict[str, str]) -> list[str]:
    """The hashes of the models that have pictures of their own."""
    root = Path(env["EDGECLASSIFIER_MODELS"]) / "golden"
    return sorted(each.name for each in root.iterdir()) if root.is_dir() else []


def start(env: dict[str, str], *arguments: str | Path, **more: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "edgeclassifier", "teach", *map(str, arguments)],
        env=env,
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **more,
    )


def test_a_taught_model_is_an_ordinary_one(
    tmp_path: Path, env: dict[str, str], base: Path, teach: Run
) -> None:
    """It needs the base no more."""
    root = lessons.folders(tmp_path / "lights", {"red": 12, "green": 12})
    found = taught(teach(root, "--json"))
    assert found["labels"] == ["green", "red"]
    assert (found["pictures"], found["judged"], found["top1"]) == (24, 24, 1.0)
    assert found["interval"][0] > 0.8
    assert found["confusion"] == [[12, 0], [0, 12]]
    assert found["mistakes"] == []
    base.unlink()
    answers = run_cli("classify", root / "red", "--model", "gate", "--json", env=env)
    tops = [each["predictions"][0]["label"] for each in json.loads(answers.stdout)]
    assert tops == ["red"] * 12
    checked = json.loads(run_cli("models", "verify", "--json", env=env).stdout)
    assert {each["name"]: each["status"] for each in checked}["gate"] == "ok"
    rows = json.loads(run_cli("models", "list", "--json", env=env).stdout)
    row = next(each for each in rows if each["name"] == "gate")
    assert row["state"] == "taught"
    assert row["taught"]["base_sha256"] == found["base"]["sha256"]
    assert (row["taught"]["examples"], row["taught"]["accuracy"]) == (24, 1.0)
    assert run_cli("models", "remove", "gate", env=env).returncode == OK
    assert store(env) == [".lock"]
    assert golden(env) == []


def test_the_same_examples_make_the_same_file(tmp_path: Path, teach: Run) -> None:
    root = lessons.folders(tmp_path / "lights", {"red": 4, "green": 4})
    one, other = (Path(taught(teach(root, "--json"))["path"]).read_bytes() for _ in range(2))
    assert one == other


@pytest.mark.parametrize(
    "options",
    [
        {"metadata": normalization_metadata([0], [255]), "before": []},
        {"dtype": "uint8", "scale": 1 / 255},
        {"dtype": "int8", "scale": 2 / 255, "zero_point": 0, "before": []},
    ],
    ids=["stated", "uint8", "int8"],
)
def test_the_pixels_mean_what_they_meant_to_the_base(
    tmp_path: Path, env: dict[str, str], options: dict[str, Any]
) -> None:
    """A wrong normalization would make every picture look dark, or the same."""
    path = tmp_path / "base.tflite"
    from support.tiny_models import colours, with_files

    content = colours(lessons.CODED, (0, 0, 0), **options)
    path.write_bytes(with_files(content, {"labels.txt": b"r\ng\nb\n"}))
    root = lessons.folders(tmp_path / "lights", {"red": 10, "green": 10, "blue": 10})
    done = run_cli("teach", root, "--base", path, "--name", "gate", "--json", env=env)
    assert taught(done)["top1"] == 1.0
    for colour in ("red", "green", "blue"):
        answers = run_cli("classify", root / colour, "--model", "gate", "--json", env=env)
        assert {each["predictions"][0]["label"] for each in json.loads(answers.stdout)} == {colour}


def test_a_base_needs_no_labels(tmp_path: Path, env: dict[str, str]) -> None:
    from support.tiny_models import colours

    path = tmp_path / "bare.tflite"
    path.write_bytes(colours(lessons.CODED, (0, 0, 0), before=[("MUL", 1 / 255)]))
    root = lessons.folders(tmp_path / "lights", {"red": 4, "green": 4})
    done = run_cli("teach", root, "--base", path, "--name", "gate", "--json", env=env)
    assert taught(done)["labels"] == ["green", "red"]


@pytest.mark.parametrize(
    ("options", "setting"),
    [({"is_open": True}, "model.input_size=8"), ({}, "model.channels='bgr'")],
)
def test_what_a_file_cannot_say_is_recorded_and_told(
    tmp_path: Path, env: dict[str, str], options: dict[str, Any], setting: str
) -> None:
    path = lessons.base(tmp_path, **options)
    root = lessons.folders(tmp_path / "lights", {"red": 4, "green": 4})
    done = run_cli("teach", root, "--base", path, "--name", "gate", "--set", setting, env=env)
    assert done.returncode == OK
    assert f"gate needs what its base needs: {setting}" in done.stderr
    assert "gate: ok" in run_cli("models", "verify", env=env).stdout
    answers = run_cli(
        "classify", root / "red", "--model", "gate", "--set", setting, "--json", env=env
    )
    assert {each["predictions"][0]["label"] for each in json.loads(answers.stdout)} == {"red"}


def test_what_is_none_of_the_classes_is_published_as_unknown(
    tmp_path: Path, env: dict[str, str], teach: Run
) -> None:
    root = lessons.folders(tmp_path / "lights", {"red": 8, "green": 8, "_other": 0})
    found = taught(teach(root, "--json"))
    assert found["labels"] == ["unknown", "green", "red"]
    assert found["judged"] == 16
    answers = run_cli("classify", SAMPLES / "coffee.png", "--model", "gate", "--json", env=env)
    assert json.loads(answers.stdout)[0]["predictions"][0]["name"] == "unknown"


def test_it_says_how_good_it_is_before_anything_is_installed(
    tmp_path: Path, env: dict[str, str], teach: Run
) -> None:
    root = lessons.folders(tmp_path / "lights", {"red": 9, "green": 9, "blue": 3}, spread=2)
    misplaced = root / "green" / "99999.png"
    lessons.coloured(lessons.COLOURS["red"], 77).save(misplaced)
    done = teach(root, "--dry-run")
    assert done.returncode == OK
    said = done.stdout
    assert "right in 21 of 22 pictures that it had not seen" in said
    assert f"wrong: {misplaced}: green, taken for red" in said
    assert "advice: 'blue' has 3 pictures: take more" in said
    assert "calibration error" in said
    assert said.endswith("nothing was installed\n")
    assert store(env) == []


def test_the_table_of_confusions_has_a_row_for_each_class(tmp_path: Path, teach: Run) -> None:
    root = lessons.folders(tmp_path / "lights", {"red": 10, "green": 10})
    lines = teach(root, "--dry-run").stdout.splitlines()
    head = lines.index(next(each for each in lines if each.split() == ["green", "red"]))
    assert [each.split() for each in lines[head + 1 : head + 3]] == [
        ["green", "10", "0"],
        ["red", "0", "10"],
    ]


# Bad input


def test_a_broken_picture_among_good_ones_is_named_and_left_out(tmp_path: Path, teach: Run) -> None:
    root = lessons.folders(tmp_path / "lights", {"red": 5, "green": 5})
    (root / "red" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    done = teach(root, "--json")
    assert str(root / "red" / "broken.png") in done.stderr
    found = taught(done)
    assert found["pictures"] == 10
    assert len(found["unreadable"]) == 1


def test_a_class_of_broken_pictures_is_refused(
    tmp_path: Path, env: dict[str, str], teach: Run
) -> None:
    root = lessons.folders(tmp_path / "lights", {"red": 5, "green": 0})
    (root / "green" / "broken.png").write_bytes(b"no picture")
    said = refused(teach(root), FAILURE)
    assert "'green' has nothing to learn from: none of its pictures can be read" in said
    assert store(env) == [".lock"]


def test_the_same_picture_in_two_classes_is_left_out_of_both(tmp_path: Path, teach: Run) -> None:
    root = lessons.folders(tmp_path / "lights", {"red": 5, "green": 5})
    shared = [root / "green" / "00000.png", root / "red" / "twin.png"]
    shared[1].write_bytes(shared[0].read_bytes())
    found = taught(teach(root, "--json"))
    assert found["contradicting"] == [[str(each) for each in shared]]
    assert found["pictures"] == 9


def test_two_classes_with_the_same_pictures_are_refused(tmp_path: Path, teach: Run) -> None:
    root = lessons.folders(tmp_path / "lights", {"red": 3, "green": 3})
    for each in (root / "red").iterdir():
        (root / "green" / each.name).write_bytes(each.read_bytes())
    said = refused(teach(root), FAILURE)
    assert "'green' has nothing to learn from: all its pictures are in another class, too" in said


def test_a_picture_that_is_there_twice_counts_once(tmp_path: Path, teach: Run) -> None:
    root = lessons.folders(tmp_path / "lights", {"red": 5, "green": 5})
    copy = root / "red" / "copy.png"
    copy.write_bytes((root / "red" / "00000.png").read_bytes())
    found = taught(teach(root, "--json"))
    assert found["repeated"] == [str(copy)]
    assert found["pictures"] == 10


def test_a_class_of_one_picture_is_learned_and_not_judged(tmp_path: Path, teach: Run) -> None:
    root = lessons.folders(tmp_path / "lights", {"red": 6, "green": 1})
    found = taught(teach(root, "--json"))
    assert found["classes"][0] == {"label": "green", "pictures": 1, "judged": 0, "right": 0}
    assert "'green' has one picture, so that nothing tells how good it is" in found["advice"]


def test_classes_of_one_picture_each_are_learned(tmp_path: Path, teach: Run) -> None:
    root = lessons.folders(tmp_path / "lights", {"red": 1, "green": 1})
    done = teach(root)
    assert done.returncode == OK
    assert "nothing tells how good it is" in done.stdout


def test_a_much_rarer_class_is_told(tmp_path: Path, teach: Run) -> None:
    root = lessons.folders(tmp_path / "lights", {"red": 30, "green": 6})
    found = taught(teach(root, "--json", "--no-variants"))
    assert any("'green' is much rarer than 'red' (6 and 30" in each for each in found["advice"])


def test_near_duplicates_are_listed(tmp_path: Path, teach: Run) -> None:
    root = lessons.folders(tmp_path / "lights", {"red": 5, "green": 5})
    first = root / "red" / "00000.png"
    with Image.open(first) as picture:
        picture.point(lambda value: min(255, value + 1)).save(root / "red" / "again.png")
    found = taught(teach(root, "--json"))
    assert [str(first), str(root / "red" / "again.png")] in found["near_duplicates"]


def test_names_that_mean_something_elsewhere_are_only_names(
    tmp_path: Path, env: dict[str, str], teach: Run
) -> None:
    lessons.folders(tmp_path, {"red": 4, "green": 4, "blue": 4})
    names = {"red": "x" * 300, "green": "<b>🐈</b>/a", "blue": "two\nlines"}
    table = tmp_path / "labels.csv"
    rows = [f'{c}/{n:05}.png,"{name}"' for c, name in names.items() for n in range(4)]
    table.write_text("file,class\n" + "\n".join(rows))
    found = taught(teach(tmp_path, "--labels", table, "--json"))
    assert set(found["labels"]) == {"x" * 300, "<b>🐈</b>/a", "two lines"}
    answers = run_cli("classify", tmp_path / "green", "--model", "gate", "--json", env=env)
    assert json.loads(answers.stdout)[0]["predictions"][0]["label"] == "<b>🐈</b>/a"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (["--base", "gone.tflite"], (CONFIG, "gone.tflite: model file cannot be read: No such")),
        (["--base", "no_such_model"], (CONFIG, "unknown model 'no_such_model'")),
        (["--base", str(SAMPLES / "coffee.png")], (CONFIG, "coffee.png")),
        (["--name", "../gate"], (CONFIG, "cannot name a model")),
        (["--name", "inception_v3_299_quant"], (CONFIG, "is a model of the catalogue")),
        (["--name", "efficientnet_lite2_260_int8"], (CONFIG, "is a model of the catalogue")),
        (["--minutes", "0"], (USAGE, "--minutes 0: expected a number above 0")),
        (["--minutes", "0.000001"], (FAILURE, "not done within 1e-06 minutes: use fewer pictures")),
        (["--labels", "gone.csv"], (USAGE, "gone.csv: cannot be read: No such file")),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_taught_is_said_in_one_line(
    tmp_path: Path, env: dict[str, str], teach: Run, change: list[str], expected: tuple[int, str]
) -> None:
    root = lessons.folders(tmp_path / "lights", {"red": 2, "green": 2})
    code, reason = expected
    assert reason in refused(teach(root, *change), code)
    assert set(store(env)) <= {".lock"}


# Its own pictures


def test_it_is_tried_on_pictures_that_it_was_taught_with(
    tmp_path: Path, env: dict[str, str], teach: Run
) -> None:
    """Pixels that mean something else are noticed, which no sample picture would show."""
    root = lessons.folders(tmp_path / "lights", {"red": 10, "green": 10, "blue": 10})
    sha256 = hashlib.sha256(Path(taught(teach(root, "--json"))["path"]).read_bytes()).hexdigest()
    assert golden(env) == [sha256]
    wrong = run_cli("check", "--set", "model.name='gate'", "--set", "model.channels='bgr'", env=env)
    assert "takes 2 of 3 pictures that it was taught with for something else" in wrong.stdout
    right = run_cli("check", "--set", "model.name='gate'", env=env)
    assert "taught with" not in right.stdout


def test_the_pictures_of_a_model_that_is_replaced_go_with_it(
    tmp_path: Path, env: dict[str, str], teach: Run
) -> None:
    root = lessons.folders(tmp_path / "lights", {"red": 6, "green": 6})
    taught(teach(root, "--json"))
    before = golden(env)
    (root / "red" / "00000.png").unlink()
    taught(teach(root, "--json"))
    assert len(golden(env)) == 1
    assert golden(env) != before


# What is there stays


def test_a_model_that_was_not_taught_is_not_replaced(
    tmp_path: Path, env: dict[str, str], base: Path, teach: Run
) -> None:
    assert run_cli("models", "add", base, "--name", "gate", env=env).returncode == OK
    root = lessons.folders(tmp_path / "lights", {"red": 2, "green": 2})
    said = refused(teach(root), CONFIG)
    assert "there is a model gate that was not taught: use another --name" in said


def test_a_base_that_changes_meanwhile_is_noticed(tmp_path: Path, base: Path) -> None:
    from edgeclassifier.config import load_config
    from edgeclassifier.errors import ModelError
    from edgeclassifier.teach.examples import read_folder
    from edgeclassifier.teach.teaching import teach

    root = lessons.folders(tmp_path / "lights", {"red": 2, "green": 2})
    config = load_config(None, overrides=[f'model.name="{base}"'])

    def change(_count: int) -> None:
        replacement = base.with_name("new")
        replacement.write_bytes(base.read_bytes() + b"\0")
        replacement.replace(base)

    with pytest.raises(ModelError, match="was changed while its features were learned: try again"):
        teach(config, read_folder(root), name="gate", advance=change)


def test_a_full_disk_leaves_the_model_before(
    tmp_path: Path, env: dict[str, str], base: Path, teach: Run
) -> None:
    """No file may get larger than that: not the copy, or, a little more, not the record."""
    root = lessons.folders(tmp_path / "lights", {"red": 4, "green": 4})
    path = Path(taught(teach(root, "--json"))["path"])
    before = {each: (path.parent / each).read_bytes() for each in store(env)}
    for most in (100, path.stat().st_size - 1):
        limit = functools.partial(resource.setrlimit, resource.RLIMIT_FSIZE, (most, most))
        process = start(env, root, "--base", base, "--name", "gate", preexec_fn=limit)
        _, said = process.communicate(timeout=60)
        assert process.returncode in {FAILURE, CONFIG}, said
        assert len(said.splitlines()) == 1, said
        assert {each: (path.parent / each).read_bytes() for each in store(env)} == before
        assert len(golden(env)) == 1


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_an_end_at_any_moment_leaves_the_model_before(
    tmp_path: Path, env: dict[str, str], base: Path, teach: Run, sent: signal.Signals
) -> None:
    root = lessons.folders(tmp_path / "lights", {"red": 4, "green": 4})
    path = Path(taught(teach(root, "--json"))["path"])
    before = {each: (path.parent / each).read_bytes() for each in store(env)}
    more = lessons.folders(tmp_path / "more", {"red": 150, "green": 150})
    for pause_s in (0.1, 0.4, 0.7, 1.0, 1.3):
        process = start(env, more, "--base", base, "--name", "gate", "--no-variants")
        time.sleep(pause_s)
        process.send_signal(sent)
        process.communicate(timeout=60)
        if process.returncode == OK:
            break  # it was faster
        assert process.returncode in {INTERRUPTED, -sent}
        left = {each for each in store(env) if not each.endswith(".part")}
        assert {each: (path.parent / each).read_bytes() for each in left} == before


def test_it_gives_way_to_a_daemon(tmp_path: Path, env: dict[str, str], base: Path) -> None:
    more = lessons.folders(tmp_path / "more", {"red": 400, "green": 400})
    process = start(env, more, "--base", base, "--name", "gate")
    try:
        while process.poll() is None:
            is_nice = os.getpriority(os.PRIO_PROCESS, process.pid) == 19
            limit = resource.prlimit(process.pid, resource.RLIMIT_DATA)[0]
            if is_nice and 0 < limit < 2 << 30:
                return
            time.sleep(0.005)
        pytest.fail("it ended without having been nice and limited")
    finally:
        process.kill()
        process.communicate()
