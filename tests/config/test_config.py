"""The configuration: the shipped file, its errors, its drop-ins."""

import contextlib
import dataclasses
import errno
import importlib.util
import json
import os
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.daemon import isolated, run_cli

from edgeclassifier.config import Config, load_config, masked, to_toml
from edgeclassifier.doctor.config import read_config
from edgeclassifier.errors import ConfigError

ROOT = Path(__file__).parents[2]


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def problems(path: Path) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    return caught.value.problems


def keys(table: dict[str, Any], prefix: str = "") -> set[str]:
    found = set()
    for key, value in table.items():
        found |= keys(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key}
    return found


def test_the_shipped_file_shows_every_key_with_its_default() -> None:
    shipped = tomllib.loads((ROOT / "config.toml").read_text(encoding="utf-8"))
    assert load_config(ROOT / "config.toml") == Config()
    assert keys(shipped) == keys(dataclasses.asdict(Config()))


def test_no_file_gives_the_defaults() -> None:
    assert load_config(None) == Config()


def test_what_is_shown_can_be_read_again(tmp_path: Path) -> None:
    text = (
        '[camera]\nsource = "stream"\n[camera.stream]\nurl = "é\\"x.mp4"\n'
        "[model]\nmean = [1]\nstd = [2]\n"
    )
    config = load_config(write(tmp_path / "a.toml", text))
    shown = write(tmp_path / "b.toml", to_toml(masked(config)))
    assert load_config(shown) == config


def test_secrets_are_masked(tmp_path: Path) -> None:
    text = (
        '[camera]\nsource = "stream"\n[camera.stream]\nurl = "http://h/v?token=hunter2"\n'
        '[camera.stream.options]\nheaders = "Authorization: hunter2"\n'
    )
    shown = to_toml(masked(load_config(write(tmp_path / "a.toml", text))))
    assert "hunter2" not in shown
    assert 'url = "http://h/***"' in shown
    assert 'headers = "***"' in shown


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    file = write(
        tmp_path / "a.toml",
        '[camera]\nsource = "webcam"\n[model]\nthreds = 2\ntop_k = "3"\n[mqtt]\nport = 70000\n',
    )
    assert problems(file) == (
        f'{file}: camera.source = "webcam": expected one of "picamera2", "stream", "replay"',
        f"{file}: model.threds: unknown key, did you mean threads?",
        f'{file}: model.top_k = "3": expected a whole number',
        f"{file}: mqtt.port = 70000: expected a number from 0 to 65535",
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[mqtt", "not valid TOML"),
        ("mqtt = 1", "mqtt = 1: expected a table, [mqtt]"),
        ("nonsense = 1", "nonsense: unknown key, known here: device, camera"),
        ("[device]\nid = 'a#b'", 'device.id = "a#b": expected letters, digits'),
        ("[camera]\nid = ''", 'camera.id = "": expected letters, digits'),
        ("[mqtt]\nroot = 'a/#'", "mqtt.root = \"a/#\": expected a topic without '#'"),
        ("[mqtt]\nroot = '/a'", "mqtt.root"),
        ("[mqtt]\nhost = ''", "mqtt.host"),
        ("[mqtt]\nhost = 'mqtt://pi'", "mqtt.host"),
        ("[model]\nthreads = true", "model.threads = true: expected a whole number"),
        ("[model]\nthreshold = nan", "model.threshold = nan: expected a number"),
        ("[model]\nthreshold = 1.5", "expected a number from 0 to 1"),
        ("[model]\nmean = [1, 2]\nstd = [1]", "one number each for R, G and B"),
        ("[model]\nmean = [1]\nstd = [0]", "greater than 0"),
        ("[model]\nmean = [1]", "model.mean and model.std belong together"),
        ("[image]\non = 'change'", 'expected one of "event", "prediction", "interval"'),
        ("[image]\non = 'event'", "image.enabled is false: set it to true"),
        ("[mqtt]\nexpiry_s = 60", "mqtt.expiry_s"),
        ("[mqtt.expiry_s]\nevent = -1", "mqtt.expiry_s.event"),
        ("[mqtt.expiry_s]\nstate = 60", "mqtt.expiry_s.state: unknown key"),
        ("[buffer]\npictures_max_mib = 65", "buffer.pictures_max_mib"),
        ("[preprocess]\nregion = [0, 0, 2, 1]", "fractions of the frame, inside it"),
        ("[preprocess]\nregion = [0, 0, 1]", "fractions of the frame, inside it"),
        ('[web]\nframe_ancestors = ["*"]', 'a list of which each is "self" or an origin'),
        ('[web]\nframe_ancestors = ["http://x; script-src *"]', '"self" or an origin'),
        ('[web]\nframe_ancestors = ["http://ha:8123/"]', '"self" or an origin'),
        ("[camera]\nsource = 'replay'", "camera.replay.path is empty"),
        ("[camera]\nsource = 'stream'", "camera.stream.url is empty"),
        ("[camera.stream]\nurl = 'rtsp://me:secret@h/'", "camera.stream.password_file"),
        ("[camera.picamera2]\nframe_rate_hz = 0.1", "camera.deadline_s (10) must be longer"),
        ("[camera.stream.options]\na = 1", "expected a table of strings"),
        ("[mqtt]\npassword_file = 'p'", "without mqtt.username"),
        ("[mqtt]\nreconnect_min_s = 100", "is greater than"),
        ("[mqtt.tls]\ncert_file = 'c'", "belong together"),
        ("[mqtt.tls]\nca_file = 'c'", "mqtt.tls.enabled is false"),
    ],
)
def test_a_problem_names_the_file_the_key_and_what_was_expected(
    tmp_path: Path, text: str, said: str
) -> None:
    file = write(tmp_path / "a.toml", text)
    found = problems(file)
    assert any(said in problem for problem in found), found
    assert all(problem.startswith(f"{file}: ") for problem in found)
    assert "secret" not in "".join(found)


def test_an_unreadable_file_is_a_clear_error(tmp_path: Path) -> None:
    assert problems(tmp_path / "absent.toml") == (f"{tmp_path / 'absent.toml'}: no such file",)
    assert "cannot be read" in problems(tmp_path)[0]
    (tmp_path / "latin.toml").write_bytes("# é".encode("latin-1"))
    assert "not UTF-8 text (byte 2)" in problems(tmp_path / "latin.toml")[0]


def test_what_an_installed_device_keeps_from_its_users_takes_sudo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: object) -> NoReturn:
        raise PermissionError(errno.EACCES, "Permission denied")

    file = write(tmp_path / "a.toml", "")
    monkeypatch.setattr(os, "open", refuse)
    assert problems(file) == (
        f"{file}: cannot be read by this user: use sudo, or another file with --config",
    )


def test_drop_ins_are_merged_key_by_key_in_sorted_order(tmp_path: Path) -> None:
    main = write(
        tmp_path / "config.toml", '[mqtt]\nhost = "a"\nport = 1\n[mqtt.tls]\nenabled = true'
    )
    write(tmp_path / "conf.d/20-b.toml", '[mqtt]\nhost = "c"')
    write(tmp_path / "conf.d/10-a.toml", '[mqtt]\nhost = "b"\nkeepalive_s = 60')
    config = load_config(main)
    assert config.mqtt.host == "c"
    assert config.mqtt.port == 1
    assert config.mqtt.keepalive_s == 60
    assert config.mqtt.tls.enabled


def test_what_an_editor_hides_beside_a_drop_in_is_not_read(tmp_path: Path) -> None:
    main = write(tmp_path / "config.toml", "")
    write(tmp_path / "conf.d/10-site.toml", "[mqtt]\nport = 1")
    (tmp_path / "conf.d/.#10-site.toml").symlink_to("me@here.1234:5678")
    write(tmp_path / "conf.d/.20-half.toml", "[mqtt]\nport = 2")
    assert load_config(main).mqtt.port == 1
    assert read_config(main, ["mqtt.host="]).config.mqtt.port == 1


def test_a_bad_drop_in_is_named(tmp_path: Path) -> None:
    main = write(tmp_path / "config.toml", "")
    drop_in = write(tmp_path / "conf.d/a.toml", "[log]\nlevel = 'loud'")
    assert problems(main)[0].startswith(f'{drop_in}: log.level = "loud"')


def test_relative_paths_belong_to_the_file_they_are_written_in(tmp_path: Path) -> None:
    main = write(tmp_path / "config.toml", "[camera.replay]\npath = 'pictures'")
    write(
        tmp_path / "conf.d/a.toml",
        "[model]\nlabels = '/etc/labels.txt'\n[mqtt.tls]\nenabled=true\nca_file = 'ca.pem'",
    )
    config = load_config(main)
    assert config.camera.replay.path == str(tmp_path / "pictures")
    assert config.model.labels == "/etc/labels.txt"
    assert config.mqtt.tls.ca_file == str(tmp_path / "conf.d/ca.pem")


MODEL_AND_VIDEO = """
[camera.stream]
url = "{url}"
[model]
name = "{name}"
[accelerator]
model = "{compiled}"
delegate = "{delegate}"
"""


@pytest.mark.parametrize(
    "read",
    [load_config, lambda file: read_config(file, ["mqtt.port=-1"]).config],
    ids=["daemon", "doctor"],
)
def test_a_model_and_a_video_are_files_where_they_are_no_names(
    tmp_path: Path, read: Callable[[Path], Config]
) -> None:
    def told(**values: str) -> tuple[str, ...]:
        config = read(write(tmp_path / "a.toml", MODEL_AND_VIDEO.format(**values)))
        accelerator = config.accelerator
        return config.camera.stream.url, config.model.name, accelerator.model, accelerator.delegate

    files = {"url": "clip.mp4", "name": "birds.tflite", "compiled": "tpu/birds.tflite"}
    assert told(**files, delegate="libedgetpu.so.1") == (
        *(str(tmp_path / file) for file in files.values()),
        "libedgetpu.so.1",
    )
    names = {"name": "birds", "compiled": "birds_edgetpu", "delegate": "/opt/libother.so"}
    for url in ("/dev/video0", "rtsp://host/a.mp4", "http://host/video", "file:///srv/a.mp4", ""):
        assert told(url=url, **names) == (url, *names.values())


def test_a_path_of_the_command_line_belongs_to_the_current_folder(tmp_path: Path) -> None:
    config = load_config(
        write(tmp_path / "a.toml", "[model]\nname = 'birds.tflite'"),
        overrides=["model.name=bees.tflite", "model.labels=bees.txt", "camera.stream.url=clip.mp4"],
    )
    assert (config.model.name, config.model.labels) == ("bees.tflite", "bees.txt")
    assert config.camera.stream.url == "clip.mp4"


TOML_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(sorted(keys(dataclasses.asdict(Config())))), TOML_VALUES)
def test_any_value_of_any_key_is_accepted_or_refused_by_name(
    tmp_path_factory: pytest.TempPathFactory, key: str, value: Any
) -> None:
    table: Any = value
    for part in reversed(key.split(".")):
        table = {part: table}
    if value is None:
        return
    file = tmp_path_factory.getbasetemp() / "support.fuzz.toml"
    try:
        file.write_text(to_toml(table), encoding="utf-8")
        tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeError, TypeError):
        return  # not a TOML value
    with contextlib.suppress(ConfigError):
        load_config(file)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('"a\\nb" = 1', '"a\\nb": unknown key'),
        ('[model]\n"\\u2028\\u001b[2J" = 1', 'model."\\u2028\\u001b[2J": unknown key'),
        ('[mqtt]\nhost = "a\\u0085b"', 'mqtt.host = "a\\u0085b"'),
        ("camera = " + "[" * 5000, "lie too deep in it"),
        ("[camera]\nid" + ".a" * 5000 + " = 1", ": expected a string in quotes"),
        ("[model]\nthreads = 0x" + "f" * 5000, "model.threads = …: expected a whole number"),
        ("[camera]\nmax_recoveries = 0xffffffffffffffff", "expected a whole number"),
        ('[camera.replay]\npath = "a\\u0000b"', "expected a string without NUL"),
        ('[camera.stream.options]\na = "b\\u0000"', "expected a table of strings"),
        ('[model]\nlabels = "~nobody-of-this-name/a"', "there is no such user's home"),
        ('[model]\nname = "~nobody-of-this-name/a.tflite"', "there is no such user's home"),
        ("#" * (1 << 20) + "\n", "too large for a configuration"),
    ],
)
def test_a_hostile_file_is_refused_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    [problem] = problems(write(tmp_path / "a.toml", text))
    assert said in problem
    assert problem.isprintable()


@pytest.mark.parametrize("override", ["camera=" + "[" * 5000, "a\nb=1", "x" * 1000])
def test_a_hostile_override_is_refused_in_one_line(override: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(None, overrides=[override])
    [problem] = caught.value.problems
    assert problem.startswith("--set ")
    assert problem.isprintable()
    assert len(problem) < 150


def test_an_editor_may_begin_the_file_with_a_byte_order_mark(tmp_path: Path) -> None:
    text = "\ufeff[model]\r\nthreads = 2\r\n"
    assert load_config(write(tmp_path / "a.toml", text)).model.threads == 2


@pytest.mark.parametrize("name", ["Europe/Zurich", "UTC", ""])
def test_a_time_zone_is_taken_by_its_name(name: str) -> None:
    assert load_config(None, overrides=[f"device.time_zone={name}"]).device.time_zone == name


@pytest.mark.parametrize(
    "name", ["Mars/Base", "Europe", "../../etc/passwd", "/etc/localtime", "\u0000", "x" * 300, "."]
)
def test_a_time_zone_that_does_not_exist_is_an_error(name: str) -> None:
    with pytest.raises(ConfigError, match="time_zone"):
        load_config(None, overrides=[f"device.time_zone={json.dumps(name)}"])


def test_a_machine_without_time_zones_is_told_apart_from_a_wrong_name(tmp_path: Path) -> None:
    env = isolated(tmp_path, PYTHONTZPATH="")
    done = run_cli("config", "--set", "device.time_zone=Europe/Zurich", env=env)
    if importlib.util.find_spec("tzdata"):
        pytest.skip("this environment has the data of time zones as a package")
    assert done.returncode == 78
    assert "apt install tzdata" in done.stderr
    assert run_cli("config", "--set", "device.time_zone=UTC", env=env).returncode == 0
