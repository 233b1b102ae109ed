"""Picture files: finding them, and decoding them to RGB whatever their kind."""

import glob
import io
import struct
import warnings
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, JpegImagePlugin, UnidentifiedImageError

from edgeclassifier.errors import PictureError
from edgeclassifier.host.files import open_regular

SUFFIXES = frozenset(
    (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
)
MAX_PIXELS = 32_000_000
"""Decoding takes 15 bytes for each, 22 of WebP, however small the file is."""
_PLENTY_OF_PIXELS = 4_000_000
"""More than any classifier looks at."""
# Pillow knows dozens more; for one of them, EPS, it would run another program.
_FORMATS = ("BMP", "DIB", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
_MOST_REDUCED = 4
_JPEG_SIGNATURE = b"\xff\xd8\xff"
_ORIENTATION_TAG = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# What matters of Pillow's warnings is said by PictureError; they would print lines of code.
warnings.filterwarnings("ignore", module=r"PIL\.")
# What Pillow's decoders raise on broken data; Warning only where warnings are made errors.
_BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    EOFError,
    ArithmeticError,
    MemoryError,
    struct.error,
    Warning,
)


def load_picture(path: Path) -> NDArray[np.uint8]:
    """Decode the first frame of a picture file, upright and on white: height x width x 3, RGB.

    A baseline JPEG above MAX_PIXELS is decoded at a half or a quarter of its size.
    Raises PictureError if the file is absent, broken, no picture, or too large.
    """
    try:
        with open_regular(path) as file:
            return _decode(file, str(path), enough=MAX_PIXELS)
    except OSError as error:
        raise PictureError(f"{path}: cannot be read: {error.strerror or error}") from None


def decode_picture(content: bytes) -> NDArray[np.uint8]:
    """Decode the content of a picture file as load_picture() does, but large JPEGs at less.

    Above four megapixels they are halved or quartered: a photo of twelve then takes 35 MB.
    """
    return _decode(io.BytesIO(content), "this picture", enough=_PLENTY_OF_PIXELS)


def _decode(file: BinaryIO, name: str, *, enough: int) -> NDArray[np.uint8]:
    try:
        with _open(file) as image:
            _limit_size(image, name, enough=enough)
            image.load()
            rgb = _to_rgb(image)
            upright = _UPRIGHT.get(_orientation(image))
            # Pillow turns TIFF itself, and its older versions leave the tag.
            if upright is not None and image.format != "TIFF":
                rgb = rgb.transpose(upright)
            return np.array(rgb, dtype=np.uint8, order="C")
    except UnidentifiedImageError:
        raise PictureError(f"{name}: not a picture in a known format") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _too_large(name) from None
    except _BROKEN as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        reason = " ".join(reason.split()) or type(error).__name__
        raise PictureError(f"{name}: cannot be read: {reason}") from None


def find_pictures(spec: str) -> list[Path]:
    """List the pictures that a file name, a folder or a pattern (*, ?, [], **) stands for, sorted.

    Folders are not searched recursively and hidden files are left out.
    Raises PictureError if there is none.
    """
    place = Path(spec).expanduser()
    try:
        if place.is_file():
            return [place]
        if place.is_dir():
            candidates = [path for path in place.iterdir() if not path.name.startswith(".")]
        elif glob.has_magic(spec):
            # Path.glob takes no absolute pattern.
            names = glob.glob(str(place), recursive=True)  # noqa: PTH207
            candidates = [Path(name) for name in names]
        else:
            raise PictureError(f"{spec}: no such file or folder")
        found = sorted(p for p in candidates if p.suffix.lower() in SUFFIXES and p.is_file())
    except OSError as error:
        raise PictureError(f"{spec}: cannot be read: {error.strerror}") from None
    if not found:
        kinds = " ".join(sorted(SUFFIXES))
        raise PictureError(f"{spec}: no picture found (looked for {kinds})")
    return found


def _open(file: BinaryIO) -> Image.Image:
    signature = file.read(len(_JPEG_SIGNATURE))
    file.seek(0)
    if signature == _JPEG_SIGNATURE:
        # Image.open() would refuse the largest before _limit_size() can reduce them.
        return JpegImagePlugin.JpegImageFile(file)
    return Image.open(file, formats=_FORMATS)


def _limit_size(image: Image.Image, name: str, *, enough: int) -> None:
    width, height = image.size
    reduction = 1
    if image.format == "JPEG":
        while reduction < _MOST_REDUCED and width * height > enough * reduction**2:
            reduction *= 2
        image.draft(None, (width // reduction, height // reduction))
    # A progressive JPEG keeps all its coefficients in memory, however small it is decoded.
    in_memory = 1 if "progressive" in image.info else reduction**2
    if width * height > MAX_PIXELS * in_memory:
        raise _too_large(name)


def _too_large(name: str) -> PictureError:
    return PictureError(f"{name}: too large (the limit is {MAX_PIXELS // 1_000_000} megapixels)")


def _orientation(image: Image.Image) -> int:
    """Read the EXIF orientation; damaged EXIF data does not make a picture unreadable."""
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    except _BROKEN:
        return 1


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise ValueError("pixels are floating point numbers, whose range is not known")
    if image.mode.startswith("I"):
        # Pillow would clip 16-bit values at 255 instead of scaling them.
        deep = np.asarray(image).clip(0, 65535).astype(np.int32)
        deep *= 255
        deep += 32767
        deep //= 65535
        image = Image.fromarray(deep.astype(np.uint8))
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        white = Image.new("RGB", image.size, "white")
        image = image.convert("RGBA")
        white.paste(image, mask=image)
        return white
    return image if image.mode == "RGB" else image.convert("RGB")


def cover(pixels: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """Scale a picture until it covers `width` x `height`, and cut what stands out evenly."""
    fitted = ImageOps.fit(Image.fromarray(pixels), (width, height), Image.Resampling.BICUBIC)
    return np.asarray(fitted)


def scale(pixels: NDArray[np.uint8], short_side: int) -> NDArray[np.uint8]:
    """Scale a picture until its shorter side has `short_side` pixels."""
    image = Image.fromarray(pixels)
    factor = short_side / min(image.size)
    size = (round(image.width * factor), round(image.height * factor))
    return np.asarray(image.resize(size, Image.Resampling.BICUBIC))
