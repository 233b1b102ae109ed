"""The command line as a person or a script meets it."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from support.daemon import SAMPLES, isolated, run_cli
from support.delegate.build import Device, build, needs_gcc, tiny_models
from support.tiny_models import LABELS

from edgeclassifier import __version__

USAGE, CONFIG = 2, 78
COMMANDS = (
    *("run", "classify", "evaluate", "check", "doctor"),
    *("bench", "models", "teach", "config", "demo", "discovery", "kept"),
)
CHECKS = (
    *("config", "model", "labels", "camera"),
    *("accelerator", "broker", "web", "metrics"),
)
ACTIONS = ("list", "fetch", "add", "verify", "remove", "path")
CAT, COFFEE = SAMPLES / "chelsea.png", SAMPLES / "coffee.png"


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return isolated(tmp_path)


def succeeded(done: subprocess.CompletedProcess[str]) -> str:
    """Return what a command printed that had nothing to complain of."""
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


# Usage


def test_the_version_is_the_package_s(env: dict[str, str]) -> None:
    """This and all the others run `python -m edgeclassifier`."""
    assert succeeded(run_cli("--version", env=env)) == f"edgeclassifier {__version__}\n"


def test_the_installed_command_is_the_same_program(env: dict[str, str]) -> None:
    command = Path(sys.executable).with_name("edgeclassifier")
    if not command.exists():
        pytest.skip("the package is not installed beside this Python")
    done = subprocess.run(
        [command, "--version"], env=env, capture_output=True, text=True, check=False, timeout=60
    )
    assert succeeded(done) == f"edgeclassifier {__version__}\n"


def test_help_lists_every_command_and_the_exit_codes(env: dict[str, str]) -> None:
    text = succeeded(run_cli("--help", env=env))
    listed = [line.split()[0] for line in text.splitlines() if line.startswith("    ")]
    assert {*COMMANDS} <= {*listed}
    assert "0 done, 1 failure, 2 usage, 78 bad configuration or model" in " ".join(text.split())


@pytest.mark.parametrize(
    "command",
    [*((name,) for name in COMMANDS), *(("models", name) for name in ACTIONS)],
    ids=" ".join,
)
def test_every_command_explains_itself(env: dict[str, str], command: tuple[str, ...]) -> None:
    text = succeeded(run_cli(*command, "--help", env=env))
    assert text.startswith(f"usage: edgeclassifier {' '.join(command)}")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("clasify",), "'clasify' is no command: did you mean classify?"),
        (("chekc",), "'chekc' is no command: did you mean check?"),
        (("status",), "'status' is no command: there are run, classify, evaluate, check, doctor, "),
        (("models", "lst"), "'lst' is no action: did you mean list?"),
        (("models", "purge"), "'purge' is no action: there are list, fetch, add, verify, "),
        (("--bogus",), "required: COMMAND"),
        (("config", "--bogus"), "unrecognized arguments: --bogus"),
        (("run", "--confg", "x"), "unrecognized arguments: --confg x: did you mean --config?"),
        (("models", "fetch", "x", "--mirror=y"), "unrecognized arguments: --mirror=y"),
        (("run", "surplus"), "unrecognized arguments: surplus"),
        (("classify",), "required: PATH"),
        (("evaluate", "."), "required: --labels"),
        (("models",), "required: ACTION"),
        (("models", "fetch"), "required: NAME"),
        (("config", "--set"), "argument --set: expected one argument"),
        (("demo", "--count", "few"), "argument --count: invalid int value: 'few'"),
    ],
    ids=lambda value: " ".join(value) or "nothing" if isinstance(value, tuple) else "",
)
def test_wrong_usage_is_explained(
    env: dict[str, str], arguments: tuple[str, ...], reason: str
) -> None:
    done = run_cli(*arguments, env=env)
    assert done.returncode == USAGE
    assert done.stderr.startswith("usage: ")
    assert reason in done.stderr.splitlines()[-1]
    assert done.stdout == ""


def test_a_command_that_is_not_named_is_chosen_from_the_help(env: dict[str, str]) -> None:
    bare, asked = run_cli(env=env), run_cli("--help", env=env)
    assert (bare.returncode, bare.stdout, bare.stderr) == (USAGE, asked.stdout, "")


# Configuration


def test_the_configuration_that_is_shown_is_one_that_loads(
    tmp_path: Path, env: dict[str, str]
) -> None:
    settings = (
        *("--set", "camera.id=front-door"),
        *("--set", "preprocess.region=[0.1, 0.2, 0.5, 0.5]"),
        *(
            "--set",
            'camera.stream.options={video_size="640x480", "odd key"="a \\"quoted\\" \\u007f"}',
        ),
        *("--set", "mqtt.client_id=Käfer ☃ \x7f"),
        *("--set", "state.threshold=1"),
    )
    shown = succeeded(run_cli("config", *settings, env=env))
    path = tmp_path / "shown.toml"
    path.write_text(shown, encoding="utf-8")
    assert succeeded(run_cli("config", "--config", path, env=env)) == shown
    as_json = succeeded(run_cli("config", "--json", "--config", path, env=env))
    table = tomllib.loads(shown)
    assert table == json.loads(as_json)
    assert table["camera"]["id"] == "front-door"
    assert table["preprocess"]["region"] == [0.1, 0.2, 0.5, 0.5]
    assert table["mqtt"]["client_id"] == "Käfer ☃ \x7f"


@pytest.mark.parametrize("form", [(), ("--json",)], ids=["toml", "json"])
def test_secrets_are_never_shown(
    tmp_path: Path, env: dict[str, str], form: tuple[str, ...]
) -> None:
    password = tmp_path / "password"
    password.write_text("hunter2")
    password.chmod(0o600)
    config = tmp_path / "config.toml"
    config.write_text(
        f"""
        [camera.stream]
        url = "http://host/video?token=hunter2"
        [camera.stream.options]
        headers = "Authorization: hunter2"
        [mqtt]
        username = "device"
        password_file = "{password}"
        """
    )
    shown = succeeded(run_cli("config", "--config", config, *form, env=env))
    assert "hunter2" not in shown
    assert str(password) in shown
    assert "http://host/***" in shown


def shown_device(env: dict[str, str], *arguments: str | Path) -> Any:
    shown = json.loads(succeeded(run_cli("config", "--json", *arguments, env=env)))
    return shown["device"]["id"]


def test_the_environment_names_the_file_unless_the_option_does(
    tmp_path: Path, env: dict[str, str]
) -> None:
    paths = {name: tmp_path / f"{name}.toml" for name in ("environment", "option")}
    for name, path in paths.items():
        path.write_text(f'[device]\nid = "{name}"\n')
    told = {**env, "EDGECLASSIFIER_CONFIG": str(paths["environment"])}
    assert shown_device(told) == "environment"
    assert shown_device(told, "--config", paths["option"]) == "option"
    assert shown_device(told, "--set", "device.id=set") == "set"

    done = run_cli("config", env={**env, "EDGECLASSIFIER_CONFIG": str(tmp_path / "nothing.toml")})
    assert done.returncode == CONFIG
    assert done.stderr == f"edgeclassifier: {tmp_path}/nothing.toml: no such file\n"


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("mqtt.port=2", 2),
        (" mqtt.port = 2 ", 2),
        ("mqtt.max_rate_hz=1", 1.0),
        ("mqtt.host=broker", "broker"),
        ('mqtt.host="broker"', "broker"),
        ("mqtt.username=", ""),
        ("mqtt.client_id=a=b # c", "a=b # c"),
        ("mqtt.client_id=a\x7fb", "a\x7fb"),
        ('mqtt.client_id="3"', "3"),
    ],
)
def test_a_key_can_be_set(env: dict[str, str], setting: str, value: Any) -> None:
    shown = json.loads(succeeded(run_cli("config", "--json", "--set", setting, env=env)))
    key = setting.partition("=")[0].strip().removeprefix("mqtt.")
    assert shown["mqtt"][key] == value


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ("model.threshold=.5", 'model.threshold = ".5": expected a number'),
        ("model.name=3", "model.name = 3: expected a string in quotes"),
        ("model.threads=two", 'model.threads = "two": expected a whole number'),
        ("model.threads=65", "model.threads = 65: expected a number from 0 to 64"),
        ("model.thread=2", "model.thread: unknown key, did you mean threads?"),
        ("model=2", "model = 2: expected a table, [model]"),
        ("model.threads.x=2", "expected a whole number"),
        ("model.threads", "--set model.threads: expected TABLE.KEY=VALUE"),
        ("=2", "--set =2: expected TABLE.KEY=VALUE"),
        ("mod\xe8le.threads=2", "expected TABLE.KEY=VALUE"),
        ("", "expected TABLE.KEY=VALUE"),
    ],
)
def test_a_key_that_cannot_be_set_so_is_explained(
    env: dict[str, str], setting: str, reason: str
) -> None:
    done = run_cli("config", "--set", setting, env=env)
    assert (done.returncode, done.stdout) == (CONFIG, "")
    [line] = done.stderr.splitlines()
    assert reason in line


def test_keys_set_several_times_are_all_looked_at_and_the_last_wins(env: dict[str, str]) -> None:
    assert shown_device(env, "--set", "device.id=a", "--set", "device.id=b") == "b"
    done = run_cli("config", "--set", "a.b=1", "--set", "device.id=a", "--set", "nonsense", env=env)
    assert done.returncode == CONFIG
    assert len(done.stderr.splitlines()) == 2


# Results


def test_the_bundled_model_knows_the_samples(env: dict[str, str]) -> None:
    answers = json.loads(succeeded(run_cli("classify", "--json", CAT, COFFEE, env=env)))
    assert [answer["file"] for answer in answers] == [str(CAT), str(COFFEE)]
    assert [answer["predictions"][0]["label"] for answer in answers] == ["Egyptian cat", "espresso"]
    third = answers[0]["predictions"][2]
    assert (third["name"], third["label"]) == ("tabby", "tabby, tabby cat")
    for answer in answers:
        scores = [each["score"] for each in answer["predictions"]]
        assert [each["rank"] for each in answer["predictions"]] == [1, 2, 3]
        assert 1 >= scores[0] >= scores[1] >= scores[2] > 0


def test_classify_prints_a_table(env: dict[str, str]) -> None:
    lines = succeeded(run_cli("classify", CAT, env=env)).splitlines()
    assert lines[0].startswith(f"{CAT}  (efficientnet_lite2_260_int8, ")
    assert lines[1].endswith("%  Egyptian cat")
    assert lines[3].endswith("%  tabby  (tabby cat)")
    assert len(lines) == 4


def test_results_and_complaints_go_separate_ways(tmp_path: Path, env: dict[str, str]) -> None:
    missing = tmp_path / "missing.png"
    done = run_cli("classify", CAT, missing, COFFEE, env=env)
    assert done.returncode == 1
    assert "Egyptian cat" in done.stdout
    assert "espresso" in done.stdout
    assert "missing.png" not in done.stdout
    assert done.stderr == (f"edgeclassifier: {missing}: no such file or folder\n")


def classified(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [Path(each["file"]).name for each in json.loads(done.stdout)]


def test_classify_takes_folders_and_patterns_as_the_demo_does(
    tmp_path: Path, env: dict[str, str]
) -> None:
    folder = tmp_path / "my [pictures]"
    (folder / "deeper").mkdir(parents=True)
    for name in ("b.png", "a.png", ".hidden.png", "deeper/c.png", "odd*name"):
        (folder / name).write_bytes(CAT.read_bytes())
    (folder / "notes.txt").write_text("not a picture")
    found = run_cli("classify", "--json", folder, env=env)
    assert (found.returncode, classified(found)) == (0, ["a.png", "b.png"])
    given = (str(SAMPLES / "c*.png"), folder / "odd*name", COFFEE)
    found = run_cli("classify", "--json", *given, env=env)
    assert classified(found) == ["chelsea.png", "coffee.png", "odd*name", "coffee.png"]


def test_a_picture_in_a_folder_that_cannot_be_read_does_not_stop_the_rest(
    tmp_path: Path, env: dict[str, str]
) -> None:
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8\xff broken")
    (tmp_path / "b.png").write_bytes(CAT.read_bytes())
    found = run_cli("classify", "--json", tmp_path, env=env)
    assert (found.returncode, classified(found)) == (1, ["b.png"])
    assert f"{tmp_path / 'a.jpg'}: " in found.stderr


@pytest.mark.parametrize("where", ["nothing", "none/*.jpg", "~no-such-user/a.jpg"])
def test_a_place_without_pictures_is_explained(
    tmp_path: Path, env: dict[str, str], where: str
) -> None:
    (tmp_path / "nothing").mkdir()
    found = run_cli("classify", where, env=env)
    assert (found.returncode, found.stdout) == (1, "")
    assert found.stderr.startswith(f"edgeclassifier: {where}: ")
    assert len(found.stderr.splitlines()) == 1


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    """Classes of the samples, one of them wrong on purpose."""
    path = tmp_path / "truth.csv"
    path.write_text(
        "file,class\n"
        "chelsea.png,Egyptian cat\n"
        "coffee.png,967\n"
        "rocket.jpg,missile\n"
        'grace_hopper.jpg,"tabby, tabby cat"\n'
    )
    return path


def test_evaluate_counts_what_is_right(env: dict[str, str], truth: Path) -> None:
    found = json.loads(
        succeeded(run_cli("evaluate", SAMPLES, "--labels", truth, "--json", env=env))
    )
    [confusion] = found.pop("confusions")
    assert found == {
        "model": "efficientnet_lite2_260_int8",
        "pictures": 4,
        "unreadable": 0,
        "top1": 0.75,
        "top3": 0.75,
    }
    assert (confusion["label"], confusion["count"]) == ("tabby, tabby cat", 1)
    assert (confusion["name"], confusion["instead_name"]) == ("tabby", "suit")
    assert confusion["instead"] == "suit, suit of clothes"


def test_evaluate_prints_the_figures(env: dict[str, str], truth: Path) -> None:
    words = succeeded(run_cli("evaluate", SAMPLES, "--labels", truth, env=env)).split()
    assert words[words.index("pictures") + 1] == "4"
    assert words[words.index("top-1") + 1] == "0.750"


def test_evaluate_names_pictures_that_cannot_be_read(env: dict[str, str], truth: Path) -> None:
    with truth.open("a") as file:
        file.write("nothing.png,3\n")
    done = run_cli("evaluate", SAMPLES, "--labels", truth, "--json", env=env)
    assert done.returncode == 1
    assert f"{SAMPLES / 'nothing.png'}: cannot be read" in done.stderr
    found = json.loads(done.stdout)
    assert (found["pictures"], found["unreadable"]) == (4, 1)


NO_UNICORN = 'the model has no class "unicorn": it has "tench", "goldfish", "great white shark", …'


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "cannot be read: No such file or directory"),
        ("", "no pictures in it; expected lines of FILE,CLASS"),
        ("chelsea.png\n", "line 1: expected FILE,CLASS"),
        ("chelsea.png,unicorn\n", f"chelsea.png: {NO_UNICORN}"),
        (
            "chelsea.png,1000\n",
            "chelsea.png: class 1000: the model has 1000 classes, counted from 0",
        ),
    ],
)
def test_evaluate_explains_what_is_wrong_with_the_classes(
    tmp_path: Path, env: dict[str, str], content: str | None, reason: str
) -> None:
    path = tmp_path / "truth.csv"
    if content is not None:
        path.write_text(content)
    done = run_cli("evaluate", SAMPLES, "--labels", path, env=env)
    assert done.returncode == USAGE
    assert done.stderr == f"edgeclassifier: {path}: {reason}\n"


def test_check_says_what_it_found(env: dict[str, str]) -> None:
    settings = ("--set", "camera.source=replay", "--set", f"camera.replay.path={SAMPLES}")
    lines = succeeded(run_cli("check", *settings, env=env)).splitlines()
    assert lines[-2:] == ["", "no failures, no warnings"]
    assert [line.split()[:2] for line in lines[:-2]] == [["OK", name] for name in CHECKS]
    found = json.loads(succeeded(run_cli("check", "--json", *settings, env=env)))
    assert [(each["check"], each["level"]) for each in found] == [(name, "ok") for name in CHECKS]
    assert [f"OK       {each['check']:<11}  {each['detail']}" for each in found] == lines[:-2]


def test_check_goes_on_after_a_failure_and_exits_with_the_first_one(
    tmp_path: Path, env: dict[str, str]
) -> None:
    settings = (
        *("--set", "camera.source=replay", "--set", f"camera.replay.path={tmp_path}/nothing"),
        *("--set", "mqtt.username=me", "--set", f"mqtt.password_file={tmp_path}/nothing"),
    )
    done = run_cli("check", "--json", *settings, env=env)
    failed = [each["check"] for each in json.loads(done.stdout) if each["level"] == "failure"]
    assert failed == ["camera", "broker"]
    assert done.returncode == 1


@pytest.mark.parametrize("mode", [None, 0o600, 0o644])
def test_check_reads_what_the_daemon_will_read(
    tmp_path: Path, env: dict[str, str], mode: int | None
) -> None:
    """A password for the page that cannot be used ends the daemon, as does the name of a file."""
    password = tmp_path / "password"
    if mode is not None:
        password.write_text("secret")
        password.chmod(mode)
    textfile = tmp_path / ("m.prom" if mode == 0o600 else "m.txt")
    settings = (
        *("--set", "camera.source=replay", "--set", f"camera.replay.path={SAMPLES}"),
        *("--set", "web.enabled=true", "--set", f"web.password_file={password}"),
        *("--set", f"metrics.textfile={textfile}"),
    )
    done = run_cli("check", "--json", *settings, env=env)
    found = {each["check"]: each for each in json.loads(done.stdout)}
    expected = "ok" if mode == 0o600 else "failure"
    assert [found[name]["level"] for name in ("web", "metrics")] == [expected] * 2
    assert done.returncode == (0 if mode == 0o600 else CONFIG)
    if mode != 0o600:
        assert str(password) in found["web"]["detail"]
        assert found["metrics"]["id"] == "metrics.name"


@pytest.fixture
def tiny(tmp_path: Path) -> tuple[str, ...]:
    """Settings for a model of a kilobyte, with the one for the delegate of the tests beside it."""
    tiny_models(tmp_path)
    labels = tmp_path / "tiny.txt"
    labels.write_text("\n".join(LABELS))
    return ("--set", f"model.name={tmp_path}/tiny.tflite", "--set", f"model.labels={labels}")


def check_accelerator(env: dict[str, str], *settings: str) -> tuple[int, str | None, str]:
    """Return the exit code of `check`, and the first problem or word of the accelerator."""
    camera = ("--no-camera", "--set", "camera.source=replay", "--set", f"camera.replay.path={CAT}")
    done = run_cli("check", "--json", *camera, *settings, env=env)
    assert done.stderr == ""
    found = next(each for each in json.loads(done.stdout) if each["check"] == "accelerator")
    return done.returncode, found["id"], found["detail"]


def delegate_is(library: str | Path) -> tuple[str, str]:
    return ("--set", f"accelerator.delegate={library}")


def test_check_needs_no_accelerator(env: dict[str, str], tiny: tuple[str, ...]) -> None:
    assert check_accelerator(env, *tiny, *delegate_is("none")) == (0, None, "none is configured")
    outcome = check_accelerator(env, *tiny)
    assert outcome == (0, None, "auto: no Edge TPU is plugged in, the CPU runs the model")


@needs_gcc
def test_check_tries_the_accelerator(
    tmp_path: Path, env: dict[str, str], tiny: tuple[str, ...]
) -> None:
    device, library = Device(tmp_path), build(tmp_path)
    control = ("--set", f"accelerator.options.control={device.options['control']}")
    settings = (*tiny, *delegate_is(library), *control)
    assert check_accelerator(env, *settings) == (0, None, f"{library}: runs tiny_edgetpu")
    device.act("run abort")
    code, problem, reason = check_accelerator(env, *settings)
    assert (code, problem) == (1, "accelerator.fails")
    assert reason.startswith(f"{library}: its process was killed by SIGABRT: ")
    device.act("load hang")
    load = ("--set", "accelerator.load_deadline_s=0.5")
    assert check_accelerator(env, *settings, *load) == (
        1,
        "accelerator.fails",
        f"{library}: not ready within 0.5 s",
    )


def test_check_explains_an_accelerator_that_is_not_usable(
    tmp_path: Path, env: dict[str, str], tiny: tuple[str, ...]
) -> None:
    code, problem, reason = check_accelerator(env, *tiny, *delegate_is(tmp_path / "libnone.so"))
    assert (code, problem) == (1, "accelerator.no_library")
    assert reason.startswith(f"{tmp_path}/libnone.so: cannot open shared object file")
    (tmp_path / "tiny_edgetpu.tflite").unlink()
    code, problem, reason = check_accelerator(env, *tiny, *delegate_is("edgetpu"))
    assert (code, problem) == (CONFIG, "accelerator.no_model")
    assert f"accelerator.model: {tmp_path}/tiny_edgetpu.tflite is not there" in reason
    (tmp_path / "tiny.txt").unlink()
    code, problem, reason = check_accelerator(env, *tiny, *delegate_is("edgetpu"))
    assert (code, problem) == (CONFIG, "doctor.not_tried")
    assert "it needs a model that runs on the CPU as well" in reason


def test_models_lists_the_bundled_one(env: dict[str, str]) -> None:
    rows = json.loads(succeeded(run_cli("models", "list", "--json", env=env)))
    [bundled] = [row for row in rows if row["state"] == "bundled"]
    assert bundled["name"] == "efficientnet_lite2_260_int8"
    assert succeeded(run_cli("models", "path", bundled["name"], env=env)) == f"{bundled['path']}\n"
    assert "installed" not in {row["state"] for row in rows}
    results = json.loads(succeeded(run_cli("models", "verify", "--json", env=env)))
    assert [(each["name"], each["status"]) for each in results] == [(bundled["name"], "ok")]


# Streams


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("models", "list"),
        ("models", "fetch", "--help"),
        ("config",),
        ("check", "--no-camera"),
        ("classify", COFFEE),
        ("classify", "--json", COFFEE),
    ],
    ids=lambda arguments: " ".join(Path(word).name for word in arguments),
)
def test_a_reader_that_has_seen_enough_is_no_error(
    env: dict[str, str], arguments: tuple[str | Path, ...]
) -> None:
    """As in `edgeclassifier … | head -1`, with a reader that leaves before the first line."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as stdout:
        done = run_cli(*arguments, env=env, stdout=stdout)
    assert (done.returncode, done.stderr) == (0, "")


def test_output_goes_where_letters_are_missing(env: dict[str, str]) -> None:
    ascii_only = {**env, "PYTHONIOENCODING": "ascii:strict"}
    shown = succeeded(run_cli("config", "--set", "mqtt.client_id=Käfer", env=ascii_only))
    assert 'client_id = "K\\xe4fer"' in shown
