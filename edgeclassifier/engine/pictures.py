"""Picture files: finding them, and decoding them to RGB whatever their kind."""

import contextlib
import glob
import os
import struct
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from edgeclassifier.engine import decoding
from edgeclassifier.errors import PictureError
from edgeclassifier.host import children
from edgeclassifier.host.files import open_regular

SUFFIXES = frozenset(
    (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
)
_UNTRUSTED_S = 3.5
"""With what comes before and after it, nobody waits longer than five seconds."""


def load_picture(path: Path) -> NDArray[np.uint8]:
    """Decode the first frame of a picture file, upright and on white: height x width x 3, RGB.

    A baseline JPEG above decoding.MAX_PIXELS is decoded at a half or a quarter of its size.
    Raises PictureError if the file is absent, broken, no picture, or too large.
    """
    try:
        with open_regular(path) as file:
            return np.array(decoding.decode_file(file, str(path)), dtype=np.uint8, order="C")
    except OSError as error:
        raise PictureError(f"{path}: cannot be read: {error.strerror or error}") from None


def time_taken(path: Path) -> tuple[float, bool]:
    """Return when a picture was taken, in seconds since 1970, and whether its EXIF data say so.

    Otherwise it is the time of the file. The time zone is not known; damage counts as silence.
    """
    try:
        with open_regular(path) as file:
            status = os.fstat(file.fileno())
            written = decoding.read_time(file)
    except OSError:
        return 0.0, False
    with contextlib.suppress(ValueError, OverflowError):
        taken = datetime.strptime(written, "%Y:%m:%d %H:%M:%S").replace(tzinfo=UTC)
        return taken.timestamp(), True
    return status.st_mtime, False


def decode_untrusted(picture: BinaryIO) -> NDArray[np.uint8]:
    """Decode what a stranger has sent: height x width x 3, RGB, at most UNTRUSTED_PIXELS.

    `picture` has a file descriptor. It is decoded in a child process with limited memory, within
    some seconds. Raises PictureError if it cannot be decoded, or not within these limits.
    """
    with os.fdopen(os.memfd_create("pixels"), "rb") as pixels:
        command = children.module_command(decoding.__name__)
        picture.seek(0)
        outcome = children.run(command, timeout_s=_UNTRUSTED_S, given=picture, into=pixels)
        if outcome.succeeded:
            return _read_pixels(pixels)
    if outcome.end == "answered" and outcome.code == os.EX_DATAERR:
        raise PictureError(outcome.last_words)
    reason = {
        "late": "decoding it takes too long: send it smaller, or as a JPEG",
        "killed": "decoding it takes too long or too much memory: send it smaller, or as a JPEG",
        "crashed": "it is damaged: it crashes the decoder",
        "absent": f"the decoder cannot be started: {outcome.errors}",
    }.get(outcome.end, outcome.last_words or "the decoder failed")
    raise PictureError(f"this picture: {reason}")


def _read_pixels(file: BinaryIO) -> NDArray[np.uint8]:
    """Read what the child has written, which a picture may have taken over."""
    file.seek(0)
    content = file.read(decoding.HEADER.size + 3 * decoding.UNTRUSTED_PIXELS)
    try:
        width, height = decoding.HEADER.unpack_from(content)
        pixels = np.frombuffer(content, np.uint8, offset=decoding.HEADER.size)
        shaped = pixels.reshape(height, width, 3)
    except (struct.error, ValueError):
        shaped = np.empty((0, 0, 3), np.uint8)
    if not shaped.size:
        raise PictureError("this picture: the decoder failed")
    return shaped


def find_pictures(spec: str) -> list[Path]:
    """List the pictures that a file name, a folder or a pattern (*, ?, [], **) stands for, sorted.

    Folders are not searched recursively and hidden files are left out.
    Raises PictureError if there is none.
    """
    try:
        place = Path(spec).expanduser()
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
    except RuntimeError:
        raise PictureError(f"{spec}: there is no such user's home") from None
    if not found:
        kinds = " ".join(sorted(SUFFIXES))
        raise PictureError(f"{spec}: no picture found (looked for {kinds})")
    return found


def cover(pixels: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """Scale a picture until it covers `width` x `height`, and cut what stands out evenly."""
    fitted = ImageOps.fit(Image.fromarray(pixels), (width, height), Image.Resampling.BICUBIC)
    return np.asarray(fitted)


def scale(pixels: NDArray[np.uint8], short_side: int) -> NDArray[np.uint8]:
    """Scale a picture until its shorter side has `short_side` pixels.

    Raises PictureError if it would be too large then.
    """
    image = Image.fromarray(pixels)
    factor = short_side / min(image.size)
    size = (round(image.width * factor), round(image.height * factor))
    if size[0] * size[1] > decoding.MAX_PIXELS:
        limit = decoding.MAX_PIXELS // 1_000_000
        raise PictureError(
            f"a picture of {image.width}x{image.height} is too narrow to be scaled: with "
            f"{short_side} pixels on its short side it would have more than {limit} megapixels"
        )
    return np.asarray(image.resize(size, Image.Resampling.BICUBIC))
