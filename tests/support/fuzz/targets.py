"""What reads bytes from outside, and what it may make of any: a result, or one line."""

import io
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from PIL import Image

from edgeclassifier.config import Config, load_config, masked, to_toml
from edgeclassifier.config.overrides import Overrides
from edgeclassifier.contract.messages import Incoming
from edgeclassifier.daemon.exit_record import ExitRecord
from edgeclassifier.daemon.requests import failure, read_request, success
from edgeclassifier.engine.labels import fit_labels, read_labels
from edgeclassifier.engine.pictures import load_picture
from edgeclassifier.errors import ConfigError, EdgeclassifierError
from edgeclassifier.models.metadata import read_metadata
from edgeclassifier.models.records import verify_model
from support.fuzz.mutations import mutate
from support.fuzz.network import NETWORK_TARGETS
from support.fuzz.target import Target, assert_one_line
from support.tiny_models import (
    LABELS,
    classifier,
    label_metadata,
    nested_metadata,
    normalization_metadata,
    repeated_metadata,
    with_files,
)

_ROOT = Path(__file__).parents[3]
_LARGEST_INPUT_BYTES = 1 << 16


def config_file(data: bytes, folder: Path) -> bool:
    """What is accepted can be shown, and read again as the same."""
    file = folder / "config.toml"
    file.write_bytes(data)
    with _one_line_for_users() as outcome:
        config = load_config(file)
        json.dumps(masked(config))
        file.write_text(to_toml(asdict(config)), encoding="utf-8")
        assert load_config(file) == config
    return outcome.accepted


def drop_in(data: bytes, folder: Path) -> bool:
    (folder / "conf.d").mkdir(exist_ok=True)
    (folder / "conf.d" / "10-mutated.toml").write_bytes(data)
    file = folder / "config.toml"
    file.write_bytes((_ROOT / "config.toml").read_bytes())
    with _one_line_for_users() as outcome:
        load_config(file)
    return outcome.accepted


def override(data: bytes, folder: Path) -> bool:  # noqa: ARG001 - a target
    """An argument of the command line is any bytes, as the system hands them over."""
    words = [word.decode(errors="surrogateescape") for word in data.split(b"\0")]
    with _one_line_for_users() as outcome:
        to_toml(masked(load_config(None, overrides=words)))
    return outcome.accepted


def labels(data: bytes, folder: Path) -> bool:
    """The first byte chooses the kind of file and the number of classes; any form is tried."""
    kind, content = data[:1], data[1:]
    outputs = len(content.splitlines()) + (kind[0] // 2 % 4 - 2 if kind else 0)
    file = folder / ("labels.csv" if kind and kind[0] % 2 else "labels.txt")
    file.write_bytes(content)
    with _one_line_for_users() as outcome:
        found = read_labels(file)
        assert all(found), "an empty label"
        assert len(fit_labels(found, outputs, source=str(file))) == outputs
    return outcome.accepted


def metadata(data: bytes, folder: Path) -> bool:
    file = folder / "model.tflite"
    file.write_bytes(data)
    with _one_line_for_users() as outcome:
        found = read_metadata(file)
        assert found.labels is None or all(found.labels)
        if found.normalization is not None:
            assert np.isfinite(found.normalization.mean).all()
            assert (np.array(found.normalization.std) > 0).all()
    return outcome.accepted


def record(data: bytes, folder: Path) -> bool:
    """Raises nothing at all."""
    model, file = folder / "model.tflite", folder / "model.json"
    model.write_bytes(b"content")
    file.write_bytes(data)
    found = verify_model("model", path=model, record_path=file, pinned=None)
    assert_one_line(found.detail)
    return found.status == "ok"


def picture(data: bytes, folder: Path) -> bool:
    file = folder / "picture"
    file.write_bytes(data)
    with _one_line_for_users() as outcome:
        pixels = load_picture(file)
        assert pixels.dtype == np.uint8
        assert pixels.shape[2:] == (3,)
        assert pixels.size > 0
    return outcome.accepted


def exit_record(data: bytes, folder: Path) -> bool:
    """Raises nothing at all: a daemon whose last words are damaged starts like any other."""
    (folder / "last-exit.json").write_bytes(data)
    crash = ExitRecord(folder).previous()
    json.dumps(None if crash is None else asdict(crash))
    return crash is not None


def request(data: bytes, folder: Path) -> bool:  # noqa: ARG001 - a target
    """The first line is the topic's last level and the response topic, the rest is the payload.

    Raises nothing at all; whoever asks is told what is wrong.
    """
    line, _, payload = data.partition(b"\n")
    command, _, response_topic = line.decode(errors="replace").partition(" ")
    incoming = Incoming(
        topic=f"home/porch/request/{command}",
        payload=payload,
        response_topic=response_topic or None,
        correlation=payload[:4] or None,
    )
    found = read_request(incoming, base="home/porch")
    if found is None:
        return False
    if found.refusal is None:
        answer = success(found, {})
    else:
        assert_one_line(found.refusal)
        answer = failure(found, found.refusal)
    assert json.loads(answer.payload).get("transaction") == found.transaction
    return found.refusal is None


def overrides(data: bytes, folder: Path) -> bool:
    """A damaged record of what was changed on request is as good as none."""
    (folder / "overrides.json").write_bytes(data)
    found = Overrides(folder)
    with _one_line_for_users():
        found.apply(Config())
    return bool(found.values)


class _one_line_for_users:  # noqa: N801 - as a context manager it reads like a function
    def __init__(self) -> None:
        self.accepted = False

    def __enter__(self) -> "_one_line_for_users":
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> bool:
        if isinstance(error, ConfigError):
            assert error.problems
            for problem in error.problems:
                assert_one_line(problem)
        elif isinstance(error, EdgeclassifierError):
            assert str(error)
            assert_one_line(str(error))
        self.accepted = error is None
        return error is None or isinstance(error, EdgeclassifierError)


def _config_seeds() -> list[bytes]:
    deep = b"[camera]\nid.%s = 1\n" % b".".join([b"a"] * 3000)
    return [
        (_ROOT / "config.toml").read_bytes(),
        b'[camera]\nsource = "stream"\n[camera.stream]\nurl = "rtsp://h/v?t=1"\n'
        b'username = "u"\npassword_file = "~/p"\n[camera.stream.options]\nx = "y"\n',
        b'[model]\nmean = [1, 2.5, 3e0]\nstd = [1, inf, -nan]\nthreads = 0xff\nname = """a"""\n',
        b'[mqtt]\nport = 1979-05-27T07:32:00Z\nhost = "::1"\n"key\\n" = {a.b = [{}]}\n',
        b"[mqtt]\nport = 0x%s\n" % (b"f" * 6000),
        b"camera = " + b"[" * 3000,
        deep,
    ]


def _override_seeds() -> list[bytes]:
    return [
        b"camera.source=replay\0camera.replay.path=~/pictures\0mqtt.port=1883",
        b'model.mean=[1, 2, 3]\0model.std=[1]\0log.level="debug"\0device.id=',
        b'camera.stream.options={a = "b"}\0preprocess.region=[0, 0, 1, 1]',
    ]


def _label_seeds() -> list[bytes]:
    return [
        b"\x04background\ntench\n3 toed sloth\n",
        b"\x040 tench\n1: goldfish\n2, shark\n",
        b'\x05index,name\n0,"tench, a fish"\n1,goldfish\n',
        "\x04\ufeffétang\r\nmer\r\n".encode(),
        b"\x04" + "tench\nshark\n".encode("utf-16"),
        b'\x04["tench", "goldfish"]\n',
        b'\x04{"0": "tench", "1": "goldfish"}\n',
        b"\x04{0: 'tench', 1: 'goldfish'}\n",
        b"\x04nc: 2\nnames:\n  0: tench\n  1: 'goldfish'\n",
        b"\x04names: [tench, 'gold fish']\n",
        b"\x04item {\n  id: 1\n  display_name: \"tench\"\n}\nitem {\n  id: 2\n  name: 'b'\n}\n",
    ]


def _metadata_seeds() -> list[bytes]:
    named = {"labels.txt": "\n".join(LABELS).encode()}
    described = normalization_metadata([127.5], [127.5], threshold=0.5)
    languages = label_metadata({"labels.txt": "", "labels_de.txt": "de"})
    whole = classifier(metadata=normalization_metadata([1, 2, 3], [4, 5, 6]))
    return [
        classifier(metadata=described),
        with_files(whole, named),
        with_files(whole, named, compression=8),
        with_files(classifier(metadata=languages), {**named, "labels_de.txt": named["labels.txt"]}),
        with_files(classifier(metadata=nested_metadata(20)), named),
        repeated_metadata(40),
    ]


def _record_seeds() -> list[bytes]:
    fields = {"sha256": "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73"}
    more: Mapping[str, object] = {"size_bytes": 7, "source": "/a/b", "added": "2026-01-01"}
    return [json.dumps(fields | dict(more), indent=2).encode(), b"[" * 3000]


def _picture_seeds() -> list[bytes]:
    chance = np.random.default_rng(0)
    pixels = Image.fromarray(chance.integers(0, 256, (24, 32, 3), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    seeds = [_saved(pixels, kind, exif=exif) for kind in ("JPEG", "PNG", "WEBP", "TIFF")]
    seeds += [_saved(pixels, kind) for kind in ("BMP", "GIF", "PPM")]
    seeds += [_saved(pixels, "JPEG", progressive=True), _saved(pixels.convert("CMYK"), "JPEG")]
    seeds += [_saved(pixels.convert(mode), "PNG") for mode in ("1", "L", "LA", "P", "RGBA")]
    deep = Image.fromarray(chance.integers(0, 65536, (24, 32), np.uint16))
    seeds += [_saved(deep, "PNG"), _saved(deep, "TIFF"), _saved(pixels, "TIFF", compression="jpeg")]
    seeds += [_saved(pixels, "TIFF", compression=each) for each in ("tiff_lzw", "tiff_deflate")]
    return seeds


def _saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _exit_record_seeds() -> list[bytes]:
    ended = {"state": "ended", "reason": "no frame", "exit_code": 1, "timestamp": "2026-01-01"}
    running = {"state": "running", "kernel_boot": "0", "timestamp": "2026-01-01"}
    return [json.dumps(ended).encode(), json.dumps(running).encode(), b"[" * 3000]


def _request_seeds() -> list[bytes]:
    return [
        b"classify\n",
        b'set_threshold home/answers\n{"threshold": 0.6, "transaction": "a"}',
        b'set_model\n{"model": "tiny", "transaction": 7}',
        b'set_model +/#\n{"model": null}',
        b"pause\n" + b"[" * 3000,
        b'health\n{"transaction": ' + b"9" * 5000 + b"}",
    ]


def _override_file_seeds() -> list[bytes]:
    threshold = {"state.threshold": {"value": 0.6, "instead_of": 0.3}}
    model = {"model.name": {"value": "tiny", "instead_of": "auto"}}
    return [json.dumps(each).encode() for each in (threshold, model, threshold | model, {})]


TARGETS: Mapping[str, Target] = {
    "config": Target(read=config_file, seeds=_config_seeds),
    "drop_in": Target(read=drop_in, seeds=_config_seeds),
    "override": Target(read=override, seeds=_override_seeds),
    "labels": Target(read=labels, seeds=_label_seeds),
    "metadata": Target(read=metadata, seeds=_metadata_seeds),
    "record": Target(read=record, seeds=_record_seeds),
    "picture": Target(read=picture, seeds=_picture_seeds),
    "exit_record": Target(read=exit_record, seeds=_exit_record_seeds),
    "request": Target(read=request, seeds=_request_seeds),
    "overrides": Target(read=overrides, seeds=_override_file_seeds),
    **NETWORK_TARGETS,
}
GUIDED = (
    "config",
    "override",
    "labels",
    "metadata",
    "record",
    "exit_record",
    "request",
    "overrides",
    *NETWORK_TARGETS,
)
"""Those in pure Python, whose coverage can be followed."""


def random_input(seeds: Sequence[bytes], chance: random.Random) -> bytes:
    """Return one of `seeds`, damaged, or now and then nothing but noise."""
    noise = 0.02
    if chance.random() < noise:
        return chance.randbytes(chance.randrange(200))
    return mutate(chance.choice(seeds), chance)[:_LARGEST_INPUT_BYTES]
