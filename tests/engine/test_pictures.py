"""Every kind of picture file becomes plain RGB, or one clear error."""

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from edgeclassifier.engine import decoding
from edgeclassifier.engine.pictures import find_pictures, load_picture, scale
from edgeclassifier.errors import PictureError

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def quadrants() -> Image.Image:
    """Red top left, green top right, blue bottom left, white bottom right; wider than high."""
    image = Image.new("RGB", (32, 16))
    for box, colour in (
        ((0, 0, 16, 8), RED),
        ((16, 0, 32, 8), GREEN),
        ((0, 8, 16, 16), BLUE),
        ((16, 8, 32, 16), WHITE),
    ):
        image.paste(colour, box)
    return image


def saved(image: Image.Image, path: Path, **options: Any) -> Path:
    image.save(path, **options)
    return path


def png_of(width: int, height: int) -> bytes:
    """A valid header of a PNG of any size, with next to no data behind it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0"))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("suffix", ["png", "bmp", "webp", "tif", "ppm", "gif"])
def test_lossless_kinds_keep_their_pixels(tmp_path: Path, suffix: str) -> None:
    options = {"lossless": True} if suffix == "webp" else {}
    pixels = load_picture(saved(quadrants(), tmp_path / f"q.{suffix}", **options))
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    np.testing.assert_array_equal(pixels, np.asarray(quadrants()))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
def test_exif_orientation_is_undone(tmp_path: Path, orientation: int, suffix: str) -> None:
    # What a camera held in each of the eight ways stores of the upright picture.
    stored = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a, -1),
    }[orientation](np.asarray(quadrants()))
    exif = Image.Exif()
    exif[0x0112] = orientation
    options: dict[str, Any] = {"exif": exif}
    if suffix == "jpg":
        options |= {"quality": 95, "subsampling": 0}
    if suffix == "webp":
        options["lossless"] = True
    image = Image.fromarray(np.ascontiguousarray(stored))
    pixels = load_picture(saved(image, tmp_path / f"turned.{suffix}", **options))
    assert pixels.shape == (16, 32, 3)
    assert pixels.flags.c_contiguous
    for (y, x), colour in {(4, 8): RED, (4, 24): GREEN, (12, 8): BLUE, (12, 24): WHITE}.items():
        np.testing.assert_allclose(pixels[y, x].astype(int), colour, atol=6)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")  # an error here, but not in the service
def test_damaged_exif_does_not_matter(tmp_path: Path) -> None:
    data = b"Exif\0\0" + b"II*\0\x08\0\0\0\xff\xff" + b"\xff" * 40
    path = saved(Image.new("RGB", (8, 8), RED), tmp_path / "a.jpg", exif=data, quality=95)
    np.testing.assert_allclose(load_picture(path)[4, 4].astype(int), RED, atol=6)


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_16_bit_grey_is_scaled_not_clipped(tmp_path: Path, suffix: str) -> None:
    deep = np.array([[0, 255, 256, 32768, 65535]], np.uint16)
    path = tmp_path / f"deep.{suffix}"
    if suffix == "pgm":  # older Pillow reads what it cannot write
        path.write_bytes(b"P5 5 1 65535\n" + deep.astype(">u2").tobytes())
    else:
        saved(Image.fromarray(deep), path)
    np.testing.assert_array_equal(load_picture(path)[0, :, 0], [0, 1, 1, 128, 255])


def test_transparency_is_seen_on_white(tmp_path: Path) -> None:
    rgba = Image.new("RGBA", (4, 1))
    rgba.putdata([(255, 0, 0, 255), (255, 0, 0, 0), (0, 0, 0, 128), (0, 0, 255, 255)])
    pixels = load_picture(saved(rgba, tmp_path / "rgba.png"))
    np.testing.assert_allclose(pixels[0].astype(int), [RED, WHITE, (127, 127, 127), BLUE], atol=1)


def test_transparent_palette_entries_are_white(tmp_path: Path) -> None:
    image = Image.new("P", (3, 1))
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    image.putdata([0, 1, 2])
    by_index = load_picture(saved(image, tmp_path / "index.png", transparency=1))
    by_alpha = load_picture(saved(image, tmp_path / "alpha.png", transparency=b"\xff\x00\xff"))
    for pixels in (by_index, by_alpha):
        np.testing.assert_array_equal(pixels[0], [RED, WHITE, BLUE])


def test_grey_with_alpha_one_bit_and_cmyk(tmp_path: Path) -> None:
    grey = load_picture(saved(Image.new("LA", (1, 1), (0, 0)), tmp_path / "la.png"))
    bit = load_picture(saved(Image.new("1", (1, 1), 1), tmp_path / "bit.png"))
    cmyk = load_picture(
        saved(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), tmp_path / "c.jpg", quality=95)
    )
    assert grey.tolist() == [[[255, 255, 255]]]
    assert bit.tolist() == [[[255, 255, 255]]]
    np.testing.assert_allclose(cmyk[4, 4].astype(int), RED, atol=6)


def test_first_frame_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (5, 4), colour) for colour in (GREEN, RED, BLUE)]
    path = tmp_path / "a.gif"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    assert load_picture(path)[0, 0].tolist() == list(GREEN)


def test_floating_point_pixels_are_refused(tmp_path: Path) -> None:
    path = saved(Image.new("F", (2, 2)), tmp_path / "f.tif")
    with pytest.raises(PictureError, match="floating point"):
        load_picture(path)


def test_large_jpeg_is_reduced_and_upright(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "MAX_PIXELS", 16 * 8)
    exif = Image.Exif()
    exif[0x0112] = 3
    path = saved(quadrants(), tmp_path / "big.jpg", quality=95, exif=exif)
    pixels = load_picture(path)
    assert pixels.shape == (8, 16, 3)
    np.testing.assert_allclose(pixels[6, 13].astype(int), RED, atol=10)


def test_jpeg_that_stays_too_large_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "MAX_PIXELS", 31)
    with pytest.raises(PictureError, match="too large"):
        load_picture(saved(quadrants(), tmp_path / "big.jpg"))
    monkeypatch.setattr(decoding, "MAX_PIXELS", 16 * 8)
    with pytest.raises(PictureError, match="too large"):
        load_picture(saved(quadrants(), tmp_path / "slow.jpg", progressive=True))


def test_a_200_megapixel_jpeg_is_quartered(tmp_path: Path) -> None:
    """Where Pillow's own check of Image.open() would have stopped it."""
    path = saved(Image.new("L", (20000, 10000), 77), tmp_path / "phone.jpg")
    pixels = load_picture(path)
    assert pixels.shape == (2500, 5000, 3)
    assert abs(int(pixels[1250, 2500, 1]) - 77) <= 2


@pytest.mark.parametrize("size", [(8001, 8000), (10000, 10000), (20000, 20000)])
def test_large_png_is_refused_from_its_header(tmp_path: Path, size: tuple[int, int]) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png_of(*size))
    with pytest.raises(PictureError, match=r"bomb\.png: too large \(the limit is 32 megapixels\)"):
        load_picture(path)


@pytest.mark.parametrize("size", [(1, 20_000), (20_000, 1), (1, 32_000_000)])
def test_a_strip_is_refused_from_its_header(tmp_path: Path, size: tuple[int, int]) -> None:
    """Its pixels are few, but each row takes memory of its own."""
    path = tmp_path / "strip.png"
    path.write_bytes(png_of(*size))
    with pytest.raises(PictureError, match="the limit is 16384 pixels a side"):
        load_picture(path)


def test_a_panorama_is_reduced_to_the_longest_side_that_is_taken(tmp_path: Path) -> None:
    path = saved(Image.new("L", (40_000, 400), 77), tmp_path / "panorama.jpg")
    assert load_picture(path).shape == (100, 10_000, 3)


def test_a_strip_is_not_scaled_beyond_the_largest_picture() -> None:
    strip = np.zeros((2, 16_000, 3), np.uint8)
    with pytest.raises(PictureError, match="16000x2 is too narrow to be scaled"):
        scale(strip, 1080)


@pytest.mark.parametrize("order", ["<u2", ">u2"])
def test_sixteen_bits_are_rounded_to_eight(tmp_path: Path, order: str) -> None:
    deep = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    path = saved(Image.fromarray(deep.astype(order)), tmp_path / "deep.tif")
    expected = np.rint(deep.astype(np.float64) * 255 / 65535)
    np.testing.assert_array_equal(load_picture(path)[..., 1], expected)


def test_a_picture_cannot_ask_for_another_program(tmp_path: Path) -> None:
    """Pillow would start Ghostscript for this one."""
    path = tmp_path / "photo.png"
    quadrants().save(path, "EPS")
    with pytest.raises(PictureError, match="not a picture in a known format"):
        load_picture(path)


@pytest.mark.parametrize(
    ("mode", "kind"),
    [("RGB", "PNG"), ("RGBA", "PNG"), ("I;16", "PNG"), ("P", "GIF"), ("LA", "WEBP")],
)
def test_the_largest_pictures_take_bounded_memory(tmp_path: Path, mode: str, kind: str) -> None:
    """However few bytes the file has: these have less than 150000."""
    path = tmp_path / "bomb"
    Image.new(mode, (5656, 5656)).save(path, kind)
    assert path.stat().st_size < 150_000
    # Not getrusage(): its peak includes that of the process which started this one.
    code = (
        "import pathlib, sys; from edgeclassifier.engine.pictures import load_picture; "
        "load_picture(pathlib.Path(sys.argv[1])); "
        "status = pathlib.Path('/proc/self/status').read_text(); "
        "print(status.partition('VmHWM:')[2].split()[0])"
    )
    peak = subprocess.run(
        [sys.executable, "-c", code, path], capture_output=True, text=True, check=True, timeout=60
    )
    assert int(peak.stdout) < 900_000


@pytest.mark.parametrize(
    ("name", "data"),
    [("empty.jpg", b""), ("text.png", b"hello, I am text"), ("short.jpg", b"\xff\xd8\xff")],
)
def test_what_is_no_picture(tmp_path: Path, name: str, data: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(PictureError, match=name) as caught:
        load_picture(path)
    assert "\n" not in str(caught.value)


def test_absent_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match=r"none\.jpg: cannot be read: No such file"):
        load_picture(tmp_path / "none.jpg")
    with pytest.raises(PictureError, match="directory"):
        load_picture(tmp_path)


@pytest.mark.parametrize("suffix", ["jpg", "png", "gif", "webp", "tif", "bmp"])
def test_truncated_files(tmp_path: Path, suffix: str) -> None:
    rng = np.random.default_rng(1)
    noise = Image.fromarray(rng.integers(0, 256, (64, 64, 3), np.uint8))
    path = saved(noise, tmp_path / f"cut.{suffix}")
    data = path.read_bytes()
    for part in (0.05, 0.5, 0.9):
        path.write_bytes(data[: int(len(data) * part)])
        with pytest.raises(PictureError, match=f"cut.{suffix}"):
            load_picture(path)


@pytest.mark.parametrize("suffix", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "PPM"])
def test_damage_gives_pixels_or_picture_error_and_nothing_else(tmp_path: Path, suffix: str) -> None:
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    quadrants().save(buffer, suffix, exif=exif)
    original = buffer.getvalue()
    path = tmp_path / "damaged"

    @settings(
        max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @given(
        st.lists(st.tuples(st.integers(0, len(original) - 1), st.integers(0, 255)), max_size=8),
        st.integers(0, len(original)),
    )
    def check(changes: list[tuple[int, int]], cut: int) -> None:
        data = bytearray(original)
        for position, value in changes:
            data[position] = value
        path.write_bytes(data[: len(data) - cut // 4])
        try:
            pixels = load_picture(path)
        except PictureError as error:
            assert str(error).startswith(f"{path}: ")  # noqa: PT017  # either outcome is right
            assert "\n" not in str(error)  # noqa: PT017
        else:
            assert pixels.dtype == np.uint8
            assert pixels.shape[2] == 3

    check()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.JPG", "a.png", ".hidden.png", "notes.txt", "sub/c.gif", "sub/d.tif"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    (tmp_path / "folder.png").mkdir()
    return tmp_path


def found(folder: Path, spec: str) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in find_pictures(spec)]


def test_find_in_a_folder(folder: Path) -> None:
    assert found(folder, str(folder)) == ["a.png", "b.JPG"]


def test_find_by_pattern(folder: Path) -> None:
    assert found(folder, f"{folder}/*") == ["a.png", "b.JPG"]
    assert found(folder, f"{folder}/**") == ["a.png", "b.JPG", "sub/c.gif", "sub/d.tif"]
    assert found(folder, f"{folder}/**/*.gif") == ["sub/c.gif"]


def test_find_one_file_whatever_its_name(folder: Path) -> None:
    odd = folder / "x[1].dat"
    odd.touch()
    assert find_pictures(str(odd)) == [odd]


def test_find_below_home(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder))
    assert found(folder, "~/sub") == ["sub/c.gif", "sub/d.tif"]


@pytest.mark.parametrize("spec", ["nothing", "folder.png", "*.jpeg", "notes*"])
def test_finding_nothing_is_an_error(folder: Path, spec: str) -> None:
    with pytest.raises(PictureError) as caught:
        find_pictures(f"{folder}/{spec}")
    assert str(caught.value).startswith(f"{folder}/{spec}: no ")
