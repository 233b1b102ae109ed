"""What strangers send is decoded in a child, whose memory and time are limited whatever it is."""

import io
import os
import signal
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
from PIL import Image

from edgeclassifier.engine import decoding, pictures
from edgeclassifier.engine.pictures import decode_untrusted, load_picture
from edgeclassifier.errors import PictureError
from edgeclassifier.host import children

TEAL = (0, 128, 128)
SIDE = 5656
"""Squared, what a local file may have."""
PEAK_KB = 130_000
"""Of the child, with the upload's 20 MB of 150."""
PEAK_CODE = f"""
import atexit, runpy, sys
def say():
    status = open("/proc/self/status").read()
    sys.stderr.write("peak " + status.partition("VmHWM:")[2].split()[0])
atexit.register(say)
runpy.run_module({decoding.__name__!r}, run_name="__main__")
"""


@contextmanager
def sent(content: bytes) -> Iterator[BinaryIO]:
    with os.fdopen(os.memfd_create("picture"), "w+b") as file:
        file.write(content)
        file.flush()
        yield file


def decode(content: bytes) -> Any:
    with sent(content) as file:
        return decode_untrusted(file)


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def square(mode: str, kind: str, side: int = SIDE, **options: Any) -> Callable[[], bytes]:
    return lambda: saved(Image.new(mode, (side, side)), kind, **options)


def chunk(kind: bytes, data: bytes) -> bytes:
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))


def png(width: int, height: int, *, colour: int = 2, interlaced: int = 0) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, interlaced)
    row = bytes(1 + width * (3 if colour == 2 else 1))
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", packed), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def webp_of(side: int) -> bytes:
    """An animation whose canvas is large and whose frames are small."""
    frame = saved(Image.new("RGBA", (64, 64)), "WEBP", lossless=True)[12:]
    size = (side - 1).to_bytes(3, "little") * 2
    place = bytes(6) + (63).to_bytes(3, "little") * 2 + (1).to_bytes(3, "little") + b"\0"
    body = b"WEBPVP8X" + struct.pack("<I", 10) + b"\x12\0\0\0" + size
    body += b"ANIM" + struct.pack("<I", 6) + bytes(6)
    body += (b"ANMF" + struct.pack("<I", len(place + frame)) + place + frame) * 3
    return b"RIFF" + struct.pack("<I", len(body)) + body


def with_scans(count: int) -> bytes:
    """A progressive JPEG whose last scan comes again and again."""
    content = saved(Image.new("RGB", (4000, 3000)), "JPEG", quality=5, progressive=True)
    return content[:-2] + content[content.rfind(b"\xff\xda") : -2] * count + content[-2:]


BOMBS: dict[str, Callable[[], bytes]] = {
    "png": square("RGB", "PNG"),
    "png with alpha": square("RGBA", "PNG"),
    "png of 16 bits": square("I;16", "PNG"),
    "png of 1 bit": square("1", "PNG"),
    "png, interlaced": lambda: png(SIDE, 4000, interlaced=1),
    "png of one column": lambda: png(1, 1_000_000, colour=0),
    "png of one row": lambda: png(10_000_000, 1),
    "webp": square("RGB", "WEBP", lossless=True, method=0),
    "webp with alpha": square("RGBA", "WEBP", 2000, lossless=True, method=0),
    "webp, animated": lambda: webp_of(SIDE),
    "gif": square("P", "GIF"),
    "bmp": square("L", "BMP", 4000),
    "jpeg": square("RGB", "JPEG", 12_000, quality=5),
    "jpeg, progressive": square("RGB", "JPEG", progressive=True, subsampling=0),
    "jpeg, CMYK": square("CMYK", "JPEG", quality=5),
    "tiff": square("RGB", "TIFF", compression="tiff_lzw"),
    "tiff of 32 bits": square("I", "TIFF", 3000, compression="tiff_adobe_deflate"),
    "tiff, CMYK": square("CMYK", "TIFF", 3000, compression="packbits"),
    "tiff in one strip": lambda: saved(
        Image.new("RGB", (SIDE, 2000)),
        "TIFF",
        compression="tiff_adobe_deflate",
        tiffinfo={278: 2000},
    ),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_no_picture_takes_more_memory_than_is_set_aside(
    kind: str, figures: Callable[[str], None]
) -> None:
    with sent(BOMBS[kind]()) as file:
        file.seek(0)
        done = subprocess.run(
            [sys.executable, "-c", PEAK_CODE],
            stdin=file,
            capture_output=True,
            check=False,
            timeout=60,
        )
    said, _, peak = done.stderr.decode().rpartition("peak ")
    figures(f"{kind}: {int(peak) // 1000} MB; {said.strip() or 'decoded'}")
    assert done.returncode in {0, os.EX_DATAERR}, said
    assert len(said.splitlines()) == (1 if done.returncode else 0), said
    assert int(peak) < PEAK_KB


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"hello", "this picture: not a picture in a known format"),
        (b"", "this picture: not a picture in a known format"),
        (png(800, 800)[:60], "this picture: cannot be read: "),
        (png(1, 20_000), "this picture: too large (the limit is 16384 pixels a side)"),
        (webp_of(SIDE), "this picture: damaged, or too large to be decoded here"),
        (
            square("RGB", "PNG", 5000)(),
            "this picture: too large: decoding it would take 100 MB, and 84 is the limit: "
            "send it smaller, or as a baseline JPEG",
        ),
    ],
    ids=["text", "nothing", "cut", "strip", "webp", "png"],
)
def test_what_cannot_be_decoded_is_refused_in_one_line(content: bytes, why: str) -> None:
    with pytest.raises(PictureError) as caught:
        decode(content)
    assert str(caught.value).startswith(why)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "make", [lambda: b"P3 2600 2600 255\n" + b"1 " * 9_500_000, lambda: with_scans(20_000)]
)
def test_what_takes_too_long_is_given_up(
    make: Callable[[], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "_UNTRUSTED_S", 1.0)
    with pytest.raises(PictureError, match="this picture: decoding it takes too long"):
        decode(make())


@pytest.mark.parametrize(
    ("code", "why"),
    [
        (f"import os; os.kill(os.getpid(), {signal.SIGSEGV})", "it crashes the decoder"),
        (f"import os; os.kill(os.getpid(), {signal.SIGKILL})", "too long or too much memory"),
        ("raise SystemExit('broken')", "this picture: broken"),
        ("import sys; sys.stdout.write('x')", "the decoder failed"),
        (
            "import struct, sys; sys.stdout.buffer.write(struct.pack('<II', 9, 9))",
            "the decoder failed",
        ),
        (
            "import struct, sys; sys.stdout.buffer.write(struct.pack('<II', 0, 9))",
            "the decoder failed",
        ),
    ],
)
def test_whatever_becomes_of_the_child_is_an_error_of_the_picture(
    monkeypatch: pytest.MonkeyPatch, code: str, why: str
) -> None:
    command = [sys.executable, "-c", code]
    monkeypatch.setattr(children, "module_command", lambda _: command)
    with pytest.raises(PictureError, match=why):
        decode(b"anything")


@pytest.mark.parametrize("progressive", [False, True])
def test_a_photo_is_decoded_at_a_size_that_is_enough(*, progressive: bool) -> None:
    photo = Image.new("RGB", (4000, 3000), TEAL)
    pixels = decode(saved(photo, "JPEG", progressive=progressive))
    assert pixels.shape == (1500, 2000, 3)
    np.testing.assert_allclose(pixels[750, 1000].astype(int), TEAL, atol=3)
    small = saved(photo.resize((1600, 1200)), "JPEG")
    assert decode(small).shape == (1200, 1600, 3)


@pytest.mark.parametrize("kind", ["PNG", "GIF", "TIFF", "BMP"])
def test_other_kinds_are_reduced_by_whole_blocks(kind: str) -> None:
    rng = np.random.default_rng(7)
    noise = rng.integers(0, 256, (3001, 2002, 3), np.uint8)
    image = Image.fromarray(noise)
    if kind == "GIF":
        image = image.quantize(16)
    pixels = decode(saved(image, kind))
    np.testing.assert_array_equal(pixels, np.asarray(image.convert("RGB").reduce(2)))


def test_a_turned_picture_comes_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.new("RGB", (3000, 2000), "white")
    image.paste((255, 0, 0), (0, 1000, 1500, 2000))
    pixels = decode(saved(image, "PNG", exif=exif))
    assert pixels.shape == (1500, 1000, 3)
    assert pixels[0, 0].tolist() == [255, 0, 0]
    assert pixels[-1, 0].tolist() == [255, 255, 255]


def test_a_small_picture_is_the_same_as_from_a_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    noise = Image.fromarray(rng.integers(0, 256, (300, 400, 4), np.uint8), "RGBA")
    for kind in ("PNG", "WEBP", "TIFF"):
        path = tmp_path / kind.lower()
        noise.save(path, kind)
        np.testing.assert_array_equal(decode(path.read_bytes()), load_picture(path))
