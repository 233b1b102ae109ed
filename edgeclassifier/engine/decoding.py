"""Decoding one picture to RGB, with bounded memory.

As a program it decodes what a stranger has sent, in a process with limited memory and time: its
standard input is the picture, its standard output width and height, then RGB pixels. It has to
start soon, so this module needs Pillow alone.
"""

import os
import struct
import sys
import warnings
from collections.abc import Iterable
from typing import BinaryIO

from PIL import Image, JpegImagePlugin, TiffImagePlugin, UnidentifiedImageError, WebPImagePlugin

from edgeclassifier.errors import PictureError
from edgeclassifier.host.limits import limit_memory, limit_work

MAX_PIXELS = 32_000_000
MAX_SIDE = 16_384
"""A picture of one column takes 16 bytes for each of its rows, beside its pixels."""
UNTRUSTED_PIXELS = 4_000_000
"""More than any classifier looks at: what strangers send is reduced until it has no more."""
UNTRUSTED_DATA_BYTES = 112_000_000
"""With an upload of 20 MB and the result, 150 MB in all."""
UNTRUSTED_DECODER_BYTES = 84_000_000
"""What is left of these beside the interpreter and the reduced picture."""
UNTRUSTED_CPU_S = 4
HEADER = struct.Struct("<II")
"""Width and height, before the pixels that the program writes."""
# Pillow knows dozens more; for one of them, EPS, it would run another program. Those that
# Image.open() does not import are imported here, or it would import all of the dozens.
_FORMATS = (
    *("BMP", "DIB", "GIF", "JPEG", "PNG", "PPM"),
    *(TiffImagePlugin.TiffImageFile.format, WebPImagePlugin.WebPImageFile.format),
)
_MOST_REDUCED = 4
_STRIP_PIXELS = 1_000_000
_BYTES_IN_MEMORY = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2}
"""For each pixel; other modes take 4."""
_WEBP_BYTES = 20
"""For each pixel: two canvases, what is decoded, a copy for Python, and Pillow's."""
_WEBP_REFUSAL = "could not create decoder object"
"""Its canvases are allocated when the file is opened, before anything can be asked."""
_COEFFICIENT_BYTES = 2
_BITS_PER_SAMPLE_TAG = 0x0102
_ORIENTATION_TAG = 0x0112
_TIME_TAG, _EXIF_TAG, _TIME_TAKEN_TAG = 0x0132, 0x8769, 0x9003
_JPEG_SIGNATURE = b"\xff\xd8\xff"
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


def decode_file(file: BinaryIO, name: str) -> Image.Image:
    """Decode the first frame, upright and on white, to RGB; messages call the picture `name`.

    A baseline JPEG above MAX_PIXELS is decoded at a half or a quarter of its size. Raises
    PictureError if it is broken, no picture, or too large.
    """
    return _decode(file, name, enough=MAX_PIXELS)


def read_time(file: BinaryIO) -> str:
    """Return when a picture was taken as its EXIF data say it; "" if they do not."""
    try:
        with _open(file) as image:
            exif = image.getexif()
            taken = exif.get_ifd(_EXIF_TAG).get(_TIME_TAKEN_TAG) or exif.get(_TIME_TAG)
    except (UnidentifiedImageError, Image.DecompressionBombError, *_BROKEN):
        return ""
    return taken.strip("\0 ") if isinstance(taken, str) else ""


def _decode(
    file: BinaryIO, name: str, *, enough: int, most_bytes: int | None = None
) -> Image.Image:
    """Decode as decode_file() does; with `most_bytes`, reduce to `enough` pixels, whatever it is.

    `most_bytes` is what the decoder may take.
    """
    try:
        with _open(file) as image:
            reduction = _draft(image, enough=enough)
            _limit_size(image, name, reduction=reduction, most_bytes=most_bytes)
            image.load()
            rgb = _to_rgb(image, reduction=1 if most_bytes is None else _excess(image, enough))
            upright = _UPRIGHT.get(_orientation(image))
            # Pillow turns TIFF itself, and its older versions leave the tag.
            if image.format == "TIFF":
                upright = None
        # What the decoder holds goes first.
        del image
        return rgb if upright is None else rgb.transpose(upright)
    except UnidentifiedImageError:
        raise PictureError(f"{name}: not a picture in a known format") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _too_large(name) from None
    except MemoryError:
        raise PictureError(f"{name}: too large: there is too little memory to decode it") from None
    except _BROKEN as error:
        if str(error) == _WEBP_REFUSAL:
            raise PictureError(f"{name}: damaged, or too large to be decoded here") from None
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        reason = " ".join(reason.split()) or type(error).__name__
        raise PictureError(f"{name}: cannot be read: {reason}") from None


def _open(file: BinaryIO) -> Image.Image:
    signature = file.read(len(_JPEG_SIGNATURE))
    file.seek(0)
    if signature == _JPEG_SIGNATURE:
        # Image.open() would refuse the largest before _draft() can reduce them.
        return JpegImagePlugin.JpegImageFile(file)
    return Image.open(file, formats=_FORMATS)


def _draft(image: Image.Image, *, enough: int) -> int:
    """Let a JPEG be decoded at a half or a quarter, and return by what its sides are divided."""
    width, height = image.size
    reduction = 1
    if image.format == "JPEG":
        while reduction < _MOST_REDUCED and (
            width * height > enough * reduction**2 or max(width, height) > MAX_SIDE * reduction
        ):
            reduction *= 2
        image.draft(None, (width // reduction, height // reduction))
    return reduction


def _limit_size(image: Image.Image, name: str, *, reduction: int, most_bytes: int | None) -> None:
    width, height = image.size
    # A progressive JPEG keeps all its coefficients in memory, however small it is decoded.
    pixels = width * height * (reduction**2 if "progressive" in image.info else 1)
    if pixels > MAX_PIXELS:
        raise _too_large(name)
    if max(width, height) > MAX_SIDE:
        raise PictureError(f"{name}: too large (the limit is {MAX_SIDE} pixels a side)")
    if most_bytes is not None and (needed := _decoder_bytes(image, pixels)) > most_bytes:
        raise PictureError(
            f"{name}: too large: decoding it would take {needed // 1_000_000} MB, and "
            f"{most_bytes // 1_000_000} is the limit: send it smaller, or as a baseline JPEG"
        )


def _decoder_bytes(image: Image.Image, pixels: int) -> int:
    """Return what decoding takes at its peak; `pixels` are those that it decodes at once."""
    result = image.width * image.height * _BYTES_IN_MEMORY.get(image.mode, 4)
    match image.format:
        case "WEBP":
            return pixels * _WEBP_BYTES
        case "JPEG" if "progressive" in image.info:
            sampling = [(int(layer[1]), int(layer[2])) for layer in getattr(image, "layer", ())]
            blocks = sum(across * down for across, down in sampling)
            whole = max(across for across, _ in sampling) * max(down for _, down in sampling)
            return result + _COEFFICIENT_BYTES * pixels * blocks // whole
        case "TIFF":
            # A strip may be as high as the picture.
            bits: Iterable[int] = getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE_TAG, (8,))
            return result + pixels * sum(bits) // 8
    return result


def _excess(image: Image.Image, enough: int) -> int:
    """Return by what the sides have to be divided for a picture of at most `enough` pixels."""
    reduction = 1
    while image.width * image.height > enough * reduction**2:
        reduction += 1
    return reduction


def _too_large(name: str) -> PictureError:
    return PictureError(f"{name}: too large (the limit is {MAX_PIXELS // 1_000_000} megapixels)")


def _orientation(image: Image.Image) -> int:
    """Read the EXIF orientation; damaged EXIF data does not make a picture unreadable."""
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    except _BROKEN:
        return 1


def _to_rgb(image: Image.Image, *, reduction: int) -> Image.Image:
    """Return the picture in RGB on white; blocks of `reduction` squared pixels become one."""
    if image.mode == "F":
        raise ValueError("pixels are floating point numbers, whose range is not known")
    if image.mode == "RGB" and "transparency" not in image.info and reduction == 1:
        return image
    # Strip by strip, so that what is in between takes no memory to speak of.
    rgb = Image.new("RGB", (-(-image.width // reduction), -(-image.height // reduction)))
    rows = max(1, _STRIP_PIXELS // image.width // reduction) * reduction
    for top in range(0, image.height, rows):
        strip = image.crop((0, top, image.width, min(top + rows, image.height)))
        strip = _strip_to_rgb(strip)
        rgb.paste(strip.reduce(reduction) if reduction > 1 else strip, (0, top // reduction))
    return rgb


def _strip_to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        # Pillow would clip 16-bit values at 255 instead of scaling them.
        image = image.convert("I").point(lambda value: value * (1 / 257) + 0.5).convert("L")
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        white = Image.new("RGB", image.size, "white")
        image = image.convert("RGBA")
        white.paste(image, mask=image)
        return white
    return image if image.mode == "RGB" else image.convert("RGB")


def _main() -> int:
    limit_memory(UNTRUSTED_DATA_BYTES)
    limit_work(cpu_s=UNTRUSTED_CPU_S, file_bytes=HEADER.size + 3 * UNTRUSTED_PIXELS)
    try:
        image = _decode(
            sys.stdin.buffer,
            "this picture",
            enough=UNTRUSTED_PIXELS,
            most_bytes=UNTRUSTED_DECODER_BYTES,
        )
    except PictureError as error:
        sys.stderr.write(f"{error}\n")
        return os.EX_DATAERR
    sys.stdout.buffer.write(HEADER.pack(*image.size))
    rows = max(1, _STRIP_PIXELS // image.width)
    for top in range(0, image.height, rows):
        strip = image.crop((0, top, image.width, min(top + rows, image.height)))
        sys.stdout.buffer.write(strip.tobytes())
    return 0


if __name__ == "__main__":
    sys.exit(_main())
