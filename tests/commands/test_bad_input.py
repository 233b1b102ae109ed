"""What users get wrong, through the real command: one line that helps, and the right exit code."""

import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.brokers import (
    Certificates,
    Mosquitto,
    Subscriber,
    free_port,
    make_certificates,
    needs_mosquitto,
    needs_openssl,
    wait_until,
)
from support.daemon import SAMPLES, Daemon, isolated, run_cli
from support.tiny_models import (
    LABELS,
    Operation,
    Tensor,
    classifier,
    model,
    normalization_metadata,
    with_files,
)

BUNDLED = SAMPLES.parent / "models" / "bundled" / "efficientnet_lite2_260_int8.tflite"
FAILURE, CONFIG = 1, 78
Settings = dict[str, str | int | float]


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return isolated(tmp_path)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that has nothing to complain of."""
    content = classifier(last="SOFTMAX", metadata=normalization_metadata([127.5], [127.5]))
    path = tmp_path_factory.mktemp("model") / "tiny.tflite"
    path.write_bytes(with_files(content, {"labels.txt": "\n".join(LABELS).encode()}))
    return path


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


def options(settings: Mapping[str, str | int | float]) -> list[str]:
    return [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]


def the_line(done: CompletedProcess[str], *parts: str | Path) -> str:
    """Return the only line of the output that has all `parts`; there is no traceback."""
    output = done.stdout + done.stderr
    assert "Traceback" not in output
    lines = [line for line in output.splitlines() if all(str(part) in line for part in parts)]
    assert len(lines) == 1, f"{parts} is in {len(lines)} lines of:\n{output}"
    return lines[0]


# Models and labels


def several_outputs(count: int) -> bytes:
    picture = Tensor(shape=(1, 2, 2, 3), dtype="float32")
    rows = [Tensor(shape=(1, 12), dtype="float32") for _ in range(count)]
    operations = [
        Operation(name="RESHAPE", input=0, output=number) for number in range(1, count + 1)
    ]
    return model([picture, *rows], operations, outputs=range(1, count + 1))


def for_the_edge_tpu() -> bytes:
    tensors = [Tensor(shape=shape, dtype="uint8") for shape in ((1, 2, 2, 3), (1, 12))]
    return model(tensors, [Operation(name="edgetpu-custom-op", input=0, output=1)])


BAD_MODELS: dict[str, tuple[Callable[[], bytes | None], str]] = {
    "missing": (lambda: None, "no such model file"),
    "empty": (lambda: b"", "model file is empty: copy or fetch it again"),
    "truncated": (lambda: BUNDLED.read_bytes()[:1_000_000], "damaged or not a TFLite model"),
    "no model": (lambda: b"<html>not found</html>", "not a TFLite model"),
    "four channels": (
        lambda: classifier(shape=(1, 2, 2, 4)),
        "input shape [1, 2, 2, 4]; expected [1, height, width, 3]",
    ),
    "two outputs": (lambda: several_outputs(2), "2 outputs"),
    "detection": (
        lambda: several_outputs(4),
        "(a detection model?); an image classifier has one",
    ),
    "edge tpu": (
        for_the_edge_tpu,
        "compiled for the Edge TPU, it does not run on the CPU: use the model of the same name "
        "without _edgetpu",
    ),
}


@pytest.mark.parametrize("kind", BAD_MODELS)
def test_a_model_that_cannot_be_used(tmp_path: Path, env: dict[str, str], kind: str) -> None:
    make, reason = BAD_MODELS[kind]
    path = tmp_path / "bad.tflite"
    if (content := make()) is not None:
        path.write_bytes(content)

    labels = tmp_path / "labels.txt"
    labels.write_text("\n".join(LABELS))
    settings: Settings = {"model.labels": str(labels)}
    picture = SAMPLES / "coffee.png"
    done = run_cli("classify", "--model", path, *options(settings), picture, env=env)

    assert done.returncode == CONFIG
    assert done.stderr.splitlines() == [the_line(done, path, reason)]
    assert done.stdout == ""


def test_the_daemon_leaves_for_a_bad_model_as_well(tmp_path: Path, env: dict[str, str]) -> None:
    path = tmp_path / "bad.tflite"
    path.write_bytes(b"")
    with replaying(SAMPLES, env=env, model=path, settings={"mqtt.port": free_port()}) as daemon:
        assert daemon.wait() == CONFIG
    assert sum("model file is empty" in line for line in daemon.lines) == 1
    assert not any("Traceback" in line for line in daemon.lines)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "does not exist"),
        (b"", "is empty"),
        (b"<html>not found</html>", "not a TFLite model"),
        (BUNDLED.read_bytes()[:1_000_000], "truncated, damaged or not a TFLite model"),
    ],
    ids=["missing", "empty", "no model", "truncated"],
)
def test_a_model_that_is_not_added(
    tmp_path: Path, env: dict[str, str], content: bytes | None, reason: str
) -> None:
    path = tmp_path / "bad.tflite"
    if content is not None:
        path.write_bytes(content)

    done = run_cli("models", "add", path, env=env)

    assert done.returncode == CONFIG
    assert done.stderr.splitlines() == [the_line(done, path, reason)]
    assert not list((tmp_path / "models").glob("*.tflite"))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "no such label file"),
        (b"\n\n", "label file is empty"),
        (b"cat\ndog\n", "2 labels, but the model has 12 classes: use the label file that belongs"),
        (b"K\x81fer\n" * 12, "line 1 is neither UTF-8 nor Windows-1252: save the file as UTF-8"),
    ],
    ids=["missing", "empty", "wrong length", "no encoding"],
)
def test_labels_that_cannot_be_used(
    tmp_path: Path, env: dict[str, str], tiny: Path, content: bytes | None, reason: str
) -> None:
    labels = tmp_path / "labels.txt"
    if content is not None:
        labels.write_bytes(content)

    settings: Settings = {"model.labels": str(labels)}
    done = run_cli("check", "--no-camera", "--model", tiny, *options(settings), env=env)

    assert done.returncode == CONFIG
    assert the_line(done, labels, reason).startswith("FAILURE  labels ")


# The configuration

BAD_CONFIGS = {
    "[camera]\nsorce = 'replay'": "camera.sorce: unknown key, did you mean source?",
    "[modle]": "modle: unknown key, did you mean model?",
    "mqtt = 5": "mqtt = 5: expected a table, [mqtt]",
    "[mqtt]\nport = '1883'": 'mqtt.port = "1883": expected a whole number',
    "[mqtt]\nport = true": "mqtt.port = true: expected a whole number",
    "[image]\nenabled = 'yes'": 'image.enabled = "yes": expected true or false',
    "[mqtt]\nport = 70000": "mqtt.port = 70000: expected a number from 0 to 65535",
    "[camera]\ndeadline_s = -1": "camera.deadline_s = -1: expected a number greater than 0",
    "[state]\nthreshold = nan": "state.threshold = nan: expected a number",
    f"[state]\nhold_s = 1{400 * '0'}": "state.hold_s = 1000",
    f"[state]\nhold_s = 1{5000 * '0'}": "not valid TOML: Exceeds the limit",
    "[camera]\nsource = 'webcam'": 'camera.source = "webcam": expected one of "picamera2"',
    "[model]\nmean = [1.0, 2.0]": "model.mean = [1.0, 2.0]: expected []",
    "[camera]\nsource = 'replay'": "camera.replay.path is empty",
    "[device]\nid = 'a#b'": "device.id = \"a#b\": expected letters, digits, '_' and '-' only",
    "[camera]\nid = 'a/b'": "camera.id = \"a/b\": expected letters, digits, '_' and '-' only",
    "[mqtt]\nroot = 'home/#'": "mqtt.root = \"home/#\": expected a topic without '#'",
    '[device]\nid = "two\\nlines"': 'device.id = "two\\nlines": expected letters',
    "[mqtt": "not valid TOML: ",
    "# K\udce4fer": "not UTF-8 text",
}


@pytest.mark.parametrize("text", BAD_CONFIGS, ids=BAD_CONFIGS.values())
def test_a_config_with_one_error(tmp_path: Path, env: dict[str, str], text: str) -> None:
    path = tmp_path / "config.toml"
    path.write_text(text, encoding="utf-8", errors="surrogateescape")

    done = run_cli("config", "--config", path, env=env)

    assert done.returncode == CONFIG
    assert done.stderr.splitlines() == [the_line(done, path, BAD_CONFIGS[text])]
    assert done.stdout == ""


@pytest.mark.parametrize("command", ["run", "check", "config"])
def test_all_errors_of_a_config_are_told_at_once(
    tmp_path: Path, env: dict[str, str], command: str
) -> None:
    path = tmp_path / "config.toml"
    path.write_text("[camera]\nsorce = 1\n[mqtt]\nport = 'x'\n[model]\ntop_k = 0\n")

    done = run_cli(command, "--config", path, env=env)

    assert done.returncode == CONFIG
    for key in ("camera.sorce", "mqtt.port", "model.top_k"):
        the_line(done, path, key)
    # `check` has a remedy below each, and a sum at the end.
    lines = (done.stdout + done.stderr).splitlines()
    assert len([line for line in lines if str(path) in line and line[0] != " "]) == 3


@pytest.mark.parametrize("command", ["run", "check", "config"])
def test_a_config_that_is_not_there(tmp_path: Path, env: dict[str, str], command: str) -> None:
    path = tmp_path / "nothing.toml"
    done = run_cli(command, "--config", path, env=env)
    assert done.returncode == CONFIG
    the_line(done, path, "no such file")


# Secrets and certificates


def test_a_password_file_that_is_not_there(tmp_path: Path, env: dict[str, str]) -> None:
    path = tmp_path / "password"
    settings: Settings = {"mqtt.username": "device", "mqtt.password_file": str(path)}
    done = run_cli("check", "--no-camera", *options(settings), env=env)
    assert done.returncode == CONFIG
    the_line(done, path, "no such file or directory; create it with mode 600")


def test_a_password_file_that_others_may_read(
    tmp_path: Path, env: dict[str, str], tiny: Path
) -> None:
    path = tmp_path / "password"
    path.write_text("hunter2\n")
    path.chmod(0o644)
    settings: Settings = {"mqtt.username": "device", "mqtt.password_file": str(path)}
    done = run_cli("check", "--no-camera", *options(settings), env=env)
    assert done.returncode == CONFIG
    the_line(done, path, "can be read by others (mode 644); chmod 600 it")
    assert "hunter2" not in done.stdout + done.stderr

    with replaying(SAMPLES, env=env, model=tiny, settings=settings) as daemon:
        assert daemon.wait() == CONFIG
    assert len(daemon.lines) == 1
    assert "chmod 600 it" in daemon.lines[0]


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("ca_file", "CA file"),
        ("cert_file", "certificate file"),
        ("key_file", "key file"),
    ],
)
@needs_openssl
def test_tls_files_that_are_not_there(
    tmp_path: Path, env: dict[str, str], certificates: Certificates, key: str, name: str
) -> None:
    missing = tmp_path / "missing.pem"
    settings: Settings = {
        "mqtt.tls.enabled": "true",
        "mqtt.tls.ca_file": str(certificates.ca),
        "mqtt.tls.cert_file": str(certificates.client_cert),
        "mqtt.tls.key_file": str(certificates.client_key),
        f"mqtt.tls.{key}": str(missing),
    }
    done = run_cli("check", "--no-camera", *options(settings), env=env)
    assert done.returncode == CONFIG
    the_line(done, f"{name} {missing} cannot be read: no such file", "check the path")


# Cameras

ABSENT = "raise ImportError(\"No module named 'libcamera'\", name='libcamera')\n"
BUSY = """
class Picamera2:
    @staticmethod
    def global_camera_info():
        return [{"Model": "imx708", "Num": 0}]

    def __init__(self, camera_num=0):
        try:
            raise RuntimeError("Failed to acquire camera: Device or resource busy")
        except RuntimeError as error:
            raise RuntimeError("Camera __init__ sequence did not complete.") from error
"""


@pytest.mark.parametrize(
    ("module", "parts", "remedy"),
    [
        (ABSENT, ("No module named 'libcamera'",), "apt install python3-picamera2"),
        (BUSY, ("camera 0", "Device or resource busy (another program uses the camera)"), ""),
    ],
    ids=["not installed", "busy"],
)
def test_a_pi_camera_that_cannot_be_used(
    tmp_path: Path, tiny: Path, module: str, parts: tuple[str, ...], remedy: str
) -> None:
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "picamera2.py").write_text(module)
    env = isolated(tmp_path, PYTHONPATH=str(folder))

    done = run_cli("check", "--model", tiny, env=env)
    assert done.returncode == FAILURE
    assert the_line(done, *parts).startswith("FAILURE  camera ")
    assert remedy in done.stdout

    settings: Settings = {"model.name": str(tiny), "mqtt.port": free_port()}
    with Daemon(env=env, settings=settings) as daemon:
        assert daemon.wait() == FAILURE
    said = [line for line in daemon.lines if all(part in line for part in (*parts, remedy))]
    assert len(said) == 1
    assert not any("Traceback" in line for line in daemon.lines)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("/dev/video99", "no such file or device"),
        ("rtsp://127.0.0.1:{port}/live", "connection refused: is the camera on"),
        ("http://127.0.0.1:{port}/live", "connection refused: is the camera on"),
        ("nothing.mp4", "no such file"),
    ],
)
def test_a_stream_that_cannot_be_opened(
    env: dict[str, str], tiny: Path, url: str, reason: str
) -> None:
    pytest.importorskip("av", reason="needs PyAV (the extra 'stream')")
    told = url.format(port=free_port())
    settings: Settings = {"camera.source": "stream", "camera.stream.url": told}
    done = run_cli("check", "--model", tiny, *options(settings), env=env)
    assert done.returncode == FAILURE
    assert the_line(done, told.replace("/live", "/***"), reason).startswith("FAILURE  camera ")


# Pictures


@contextmanager
def replaying(
    pictures: Path,
    *,
    env: Mapping[str, str],
    model: Path,
    settings: Mapping[str, str | int | float],
) -> Iterator[Daemon]:
    """Run the daemon on `pictures`, once and as fast as it can unless `settings` differ."""
    all_settings = {
        "model.name": str(model),
        "camera.source": "replay",
        "camera.replay.path": str(pictures),
        "camera.replay.loop": "false",
        "camera.replay.rate_hz": 0,
        "mqtt.host": "127.0.0.1",
        "mqtt.max_rate_hz": 0,
        "device.id": "device",
        **settings,
    }
    with Daemon(env=env, settings=all_settings) as daemon:
        yield daemon


def test_a_folder_without_pictures(tmp_path: Path, env: dict[str, str], tiny: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "notes.txt").write_text("no picture")
    settings: Settings = {"camera.source": "replay", "camera.replay.path": str(folder)}
    done = run_cli("check", "--model", tiny, *options(settings), env=env)
    assert done.returncode == FAILURE
    the_line(done, folder, "no picture found (looked for .bmp")

    with replaying(folder, env=env, model=tiny, settings={"mqtt.port": free_port()}) as daemon:
        assert daemon.wait() == FAILURE
    assert sum("no picture found" in line for line in daemon.lines) == 1
    assert not any("Traceback" in line for line in daemon.lines)


@dataclass(frozen=True, slots=True)
class Pictures:
    folder: Path
    good: set[str] = field(default_factory=set)
    bad: dict[str, str] = field(default_factory=dict)
    """Name of the file to the reason why it cannot be read."""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Pictures:
    """Pictures of every odd kind; what cannot be read comes early, in the middle and last."""
    folder = tmp_path_factory.mktemp("pictures")
    found = Pictures(folder)
    colours = np.random.default_rng(1).integers(0, 256, (48, 64, 3), np.uint8)
    picture = Image.fromarray(colours)

    def keep(image: Image.Image, name: str, **how: Any) -> None:
        image.save(folder / name, **how)
        found.good.add(name)

    keep(picture, "b plain.jpg")
    keep(Image.new("RGB", (1, 1), "red"), "c one pixel.png")
    keep(Image.fromarray(colours[..., 0].astype(np.uint16) * 257), "d 16 bit.png")
    keep(picture.convert("CMYK"), "e cmyk.jpg")
    keep(picture.convert("P"), "g palette.png", transparency=0)
    keep(
        picture, "h animated.gif", save_all=True, append_images=[Image.new("RGB", (64, 48), "blue")]
    )
    whole = (folder / "b plain.jpg").read_bytes()
    (folder / "a truncated.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "f text.jpg").write_text("<html>not found</html>")
    (folder / "f zero.png").write_bytes(b"")
    Image.new("L", (10_000, 10_000)).save(folder / "i huge.png")
    found.bad.update(
        {
            "a truncated.jpg": "cannot be read",
            "f text.jpg": "not a picture in a known format",
            "f zero.png": "not a picture in a known format",
            "i huge.png": "too large (the limit is 32 megapixels)",
        }
    )
    return found


def test_classify_names_bad_pictures_and_goes_on(
    env: dict[str, str], tiny: Path, pictures: Pictures
) -> None:
    files = sorted(pictures.folder.iterdir())
    done = run_cli("classify", "--json", "--model", tiny, *files, env=env)
    assert done.returncode == FAILURE
    for name, reason in pictures.bad.items():
        the_line(done, pictures.folder / name, reason)
    assert len(done.stderr.splitlines()) == len(pictures.bad)
    answers = json.loads(done.stdout)
    assert {Path(answer["file"]).name for answer in answers} == pictures.good
    assert all(len(answer["predictions"]) == 3 for answer in answers)


@needs_mosquitto
def test_the_daemon_skips_names_and_counts_bad_pictures(
    tmp_path: Path, env: dict[str, str], tiny: Path, pictures: Pictures
) -> None:
    with Mosquitto(tmp_path) as broker, Subscriber(broker.port) as subscriber:
        settings: Settings = {"mqtt.port": broker.port, "camera.replay.rate_hz": 4}
        with replaying(pictures.folder, env=env, model=tiny, settings=settings) as daemon:
            assert daemon.wait() == 0
        assert subscriber.wait_for(
            lambda received: [m for m in received if m.payload == b"offline" and not m.retain]
        )
        predictions = map(json.loads, subscriber.payloads("edgeclassifier/device/cam0/predictions"))
        health = json.loads(subscriber.payloads("edgeclassifier/device/health")[-1])
    assert {prediction["origin"] for prediction in predictions} == pictures.good
    assert health["drops"]["unreadable_frames"] == len(pictures.bad)
    assert health["frames"] == len(pictures.good)
    for name, reason in pictures.bad.items():
        assert sum(name in line and reason in line for line in daemon.lines) == 1
    assert not any("Traceback" in line for line in daemon.lines)


@needs_mosquitto
def test_a_name_that_is_no_text_does_not_stop_the_daemon(
    tmp_path: Path, env: dict[str, str], tiny: Path
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    picture = folder / os.fsdecode(b"caf\xe9.png")
    try:
        Image.new("RGB", (8, 8)).save(picture)
    except OSError:
        pytest.skip("this file system takes no names but UTF-8")

    # As where the terminal is strictly UTF-8.
    done = run_cli(
        "classify", "--model", tiny, picture, env={**env, "PYTHONIOENCODING": "utf-8:strict"}
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "caf\\udce9.png" in done.stdout

    with Mosquitto(tmp_path) as broker, Subscriber(broker.port) as subscriber:
        settings: Settings = {"mqtt.port": broker.port, "camera.replay.loop": "true"}
        with replaying(folder, env=env, model=tiny, settings=settings) as daemon:
            topic = "edgeclassifier/device/cam0/predictions"
            assert wait_until(lambda: subscriber.payloads(topic)), daemon.lines
            daemon.stop()
            assert daemon.wait() == 0
    assert json.loads(subscriber.payloads(topic)[0])["origin"] == "caf?.png"


# Brokers

BROKERS = {
    "unknown host": "cannot find this host",
    "port closed": "connection refused; does a broker run there and listen on this port?",
    "credentials": "check user name",
    "plain to TLS": "closed the connection without an answer; check that an MQTT broker listens",
    "TLS to plain": "does not speak TLS on this port; by convention TLS is on 8883",
    "unknown CA": "its certificate is not signed by a trusted CA",
    "other name": "its certificate is for another name; use a host name or address that is among",
}


def require_quick_resolver(name: str) -> None:
    """Skip where the pictures would come to their end before the answer does."""
    began_s = time.monotonic()
    with pytest.raises(socket.gaierror):
        socket.getaddrinfo(name, None)
    if (took_s := time.monotonic() - began_s) > 0.3:
        pytest.skip(f"this machine's resolver takes {took_s:.1f} s to find that a name is unknown")


@contextmanager
def unusable_broker(kind: str, folder: Path, certificates: Certificates) -> Iterator[Settings]:
    """Run a broker that does not fit the settings, or none."""
    password = folder / "password"
    password.write_text("wrong")
    password.chmod(0o600)
    tls: Settings = {"mqtt.tls.enabled": "true", "mqtt.tls.ca_file": str(certificates.ca)}
    server = certificates.server_cert, certificates.server_key
    settings: Settings = {}
    match kind:
        case "unknown host":
            require_quick_resolver("broker.invalid")
            yield {"mqtt.host": "broker.invalid"}
            return
        case "port closed":
            yield {"mqtt.port": free_port()}
            return
        case "credentials":
            broker = Mosquitto(folder, passwords={"device": "right"})
            settings = {"mqtt.username": "device", "mqtt.password_file": str(password)}
        case "plain to TLS":
            broker = Mosquitto(folder, tls=server)
        case "TLS to plain":
            broker, settings = Mosquitto(folder), tls
        case "unknown CA":
            broker = Mosquitto(folder, tls=server)
            settings = {**tls, "mqtt.tls.ca_file": str(certificates.other_ca)}
        case "other name":
            elsewhere = certificates.elsewhere_cert, certificates.server_key
            broker, settings = Mosquitto(folder, tls=elsewhere), tls
    with broker:
        yield {**settings, "mqtt.port": broker.port}


@needs_mosquitto
@needs_openssl
@pytest.mark.parametrize("kind", BROKERS)
def test_a_broker_that_cannot_be_used(
    tmp_path: Path, env: dict[str, str], tiny: Path, certificates: Certificates, kind: str
) -> None:
    """The daemon says so once and goes on classifying; check --online fails with the same line."""
    reason = BROKERS[kind]
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(15):
        Image.new("RGB", (8, 8)).save(folder / f"{number:02}.png")
    (folder / "last.png").write_bytes(b"")
    with unusable_broker(kind, tmp_path, certificates) as access:
        settings: Settings = {
            **access,
            "camera.replay.rate_hz": 20,
            "mqtt.reconnect_min_s": 0.05,
            "mqtt.reconnect_max_s": 0.1,
        }
        with replaying(folder, env=env, model=tiny, settings=settings) as daemon:
            assert daemon.wait() == 0
        done = run_cli(
            *("check", "--online", "--no-camera", "--model", tiny),
            *options({"mqtt.host": "127.0.0.1", **access}),
            env=env,
        )
    told = [number for number, line in enumerate(daemon.lines) if "MQTT broker" in line]
    reached_the_last = [number for number, line in enumerate(daemon.lines) if "last.png" in line]
    assert len(told) == 1, daemon.lines
    assert reason in daemon.lines[told[0]]
    assert told < reached_the_last
    assert not any("Traceback" in line for line in daemon.lines)
    assert done.returncode == FAILURE
    assert the_line(done, "MQTT broker ", reason).startswith("FAILURE  broker ")


# Signals


@contextmanager
def broker_that_is(state: str, folder: Path) -> Iterator[int]:
    """Yield the port of a broker that is up, down, or silent: never answers."""
    if state == "up":
        with Mosquitto(folder) as broker:
            yield broker.port
    elif state == "down":
        yield free_port()
    else:
        with socket.create_server(("127.0.0.1", 0), backlog=50) as server:
            yield server.getsockname()[1]


@needs_mosquitto
@pytest.mark.parametrize("broker", ["up", "down", "silent"])
def test_a_signal_during_start_up_ends_the_daemon_in_order(
    tmp_path: Path, env: dict[str, str], tiny: Path, broker: str
) -> None:
    """Exit code 0 and no traceback, from the moment on that the kernel shows its handler.

    Before that it is not the program's to decide: SIGTERM kills, and SIGINT is Python's.
    """

    def outcome(case: tuple[float, signal.Signals]) -> bool:
        delay_s, number = case
        settings: Settings = {
            "mqtt.port": port,
            "camera.replay.loop": "true",
            "camera.replay.rate_hz": 10,
            "device.id": f"device-{number}-{delay_s * 1000:.0f}",
        }
        with replaying(SAMPLES, env=env, model=tiny, settings=settings) as daemon:
            time.sleep(delay_s)
            handled = daemon.handles(signal.SIGTERM)
            daemon.stop(number)
            code = daemon.wait()
        if handled:
            assert code == 0, (case, daemon.lines)
        elif number == signal.SIGTERM:
            assert code in {0, -signal.SIGTERM}, (case, daemon.lines)
        if handled or number == signal.SIGTERM:
            assert not any("Traceback" in line for line in daemon.lines), (case, daemon.lines)
        return handled

    delays_s = [step / 11 for step in range(12)]
    cases = [
        *((delay_s, signal.SIGTERM) for delay_s in delays_s),
        *((delay_s, signal.SIGINT) for delay_s in delays_s[1::2]),
    ]
    with broker_that_is(broker, tmp_path) as port, ThreadPoolExecutor(3) as pool:
        handled = list(pool.map(outcome, cases))
    assert any(handled), "the program was never far enough"


@needs_mosquitto
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("stage", ["handler", "INFO    model", ": connected", "picture left out"])
def test_a_signal_at_a_certain_stage_ends_the_daemon_in_order(
    tmp_path: Path, env: dict[str, str], tiny: Path, stage: str, number: signal.Signals
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    Image.new("RGB", (8, 8)).save(folder / "good.png")
    (folder / "left out.png").write_bytes(b"")
    with Mosquitto(tmp_path) as broker, Subscriber(broker.port) as subscriber:
        settings: Settings = {"mqtt.port": broker.port, "camera.replay.loop": "true"}
        with replaying(folder, env=env, model=tiny, settings=settings) as daemon:
            if stage == "handler":
                assert wait_until(lambda: daemon.handles(signal.SIGTERM))
            else:
                assert daemon.wait_for_line(stage)
            daemon.stop(number)
            assert daemon.wait() == 0
        availability = subscriber.payloads("edgeclassifier/device/availability")
        if stage == "picture left out":
            assert availability == [b"online", b"offline"]
    assert b"online" not in availability[-1:]
    assert not any("Traceback" in line for line in daemon.lines)
