"""What the stream camera needs of FFmpeg, through PyAV: opening, decoding, colours, errors."""

import builtins
import errno
import re
import struct
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import numpy as np
from numpy.typing import NDArray

from edgeclassifier.contract.orientation import UPRIGHT, Orientation, orientation
from edgeclassifier.errors import CameraError

if TYPE_CHECKING:
    from av import FFmpegError
    from av.container import InputContainer
    from av.video.frame import VideoFrame

_BROKEN_IN_A_ROW = 100
_FULL_HD = 1920 * 1080
_ODDEST_ASPECT = 4
_HD_HEIGHT = 720
# FFmpeg's numbers of colour matrices: PyAV has had other names for them.
_BT709, _UNSPECIFIED, _BT601 = 1, 2, 5
_PRIMARIES = {1: _BT709, 5: _BT601, 6: _BT601}
_UNCOMPRESSED = frozenset(("yuyv422", "yvyu422", "uyvy422", "nv12", "nv21"))
# A user name and password before the @; the second form is for a password with a bare / ? or #.
_USER_INFO = re.compile(r"(?<=://)(?:[^/?#]*@|[^/?#:@]*:(?!\d*(?:[/?#]|$)).*@)")
_SECRET_FIELD = re.compile(
    r"(?i)(?<=[?&;])([^=&;#]*(?:user|usr|login|pass|pwd|token|key|auth|secret)[^=&;#]*=)[^&;#]*"
)
# A token by another name, or without one, is longer than the number of a channel.
_LONG_FIELD = re.compile(r"(?<=[?&;])(?:([^=&;#]*=)[^&;#]{9,}|[^=&;#]{9,}(?=[&;#]|$))")


def redact(url: str) -> str:
    """Take user name, password, and secret-looking or long query values out of a URL."""
    shown = _SECRET_FIELD.sub(r"\1***", _USER_INFO.sub("", url))
    return _LONG_FIELD.sub(r"\1***", shown) if "://" in url else shown


def local_file(url: str) -> Path | None:
    """Tell which video file a URL stands for; None if it is a device or a network stream."""
    if url.startswith("file://"):
        return Path(unquote(urlsplit(url).path))
    if "://" in url or url.startswith("/dev/"):
        return None
    return Path(url).expanduser()


def open_video(url: str, *, options: Mapping[str, str], timeout_s: float) -> "InputContainer":
    """Open a file, a V4L2 device or a stream that has video.

    `options` are FFmpeg's; `timeout_s` bounds each connecting and each later read.
    Raises CameraError, without a password of the URL.
    """
    try:
        import av
        from av.video.reformatter import ColorRange  # noqa: F401 - missing in Bookworm's PyAV
    except ImportError as error:
        raise CameraError(
            f"{redact(url)}: needs PyAV 14 or later ({error}): "
            "run 'pip install \"av>=14\"' in its environment"
        ) from None

    file = local_file(url)
    is_device = file is None and url.startswith("/dev/")
    defaults = {"rtsp_transport": "tcp"} if url.startswith("rtsp") else {}
    try:
        container = av.open(
            f"file:{file}" if file else url,
            mode="r",
            format="v4l2" if is_device else None,
            options=defaults | dict(options),
            timeout=timeout_s,
        )
    except av.FFmpegError as error:
        raise CameraError(f"{redact(url)}: {explain(error)}") from None
    if not container.streams.video:
        container.close()
        raise CameraError(f"{redact(url)}: has no video in it")
    return container


def decode(container: "InputContainer", *, name: str) -> Iterator["VideoFrame | None"]:
    """Decode the first video stream to its end: None stands for data that cannot be decoded.

    Raises CameraError if the source breaks.
    """
    from av import FFmpegError
    from av.error import InvalidDataError

    stream = container.streams.video[0]
    broken_in_a_row = 0
    while broken_in_a_row < _BROKEN_IN_A_ROW:
        try:
            for packet in container.demux(stream):
                try:
                    frames = packet.decode()
                except InvalidDataError:
                    yield None
                    continue
                broken_in_a_row = 0
                for frame in frames:
                    yield None if frame.is_corrupt else frame
        except InvalidDataError:
            # Of the demuxer, which can go on after the damage.
            broken_in_a_row += 1
            yield None
        except FFmpegError as error:
            raise CameraError(f"{name}: {explain(error)}") from None
        else:
            return
    raise CameraError(f"{name}: too much of its data is damaged")


def pixel_aspect(container: "InputContainer") -> Fraction | None:
    """Return how wide a pixel of the first video stream is for its height; None if not stated.

    What would make a picture more than four times as wide or as high is taken for a mistake.
    """
    aspect = container.streams.video[0].sample_aspect_ratio
    return aspect if aspect and 1 / _ODDEST_ASPECT <= aspect <= _ODDEST_ASPECT else None


def to_rgb(frame: "VideoFrame", *, aspect: Fraction | None = None) -> NDArray[np.uint8]:
    """Convert a decoded frame to height x width x 3 in RGB, colours in full range.

    Its pixels, `aspect` times as wide as high, become square. A frame that its stream says lies on
    its side, or is mirrored, comes as an upright view.
    """
    from av.video.reformatter import ColorRange

    width, height = _with_square_pixels(frame.width, frame.height, aspect)
    if frame.format.is_rgb:
        pixels = frame.reformat(width=width, height=height, format="rgb24").to_ndarray()
    else:
        # Stated for both sides: older PyAV does not take the source's range from the frame, and
        # takes no notice of what is the same on both sides.
        matrix = _matrix(frame)
        full = frame.color_range == ColorRange.JPEG or frame.format.name.startswith(("yuvj", "gr"))
        pixels = frame.reformat(
            width=width,
            height=height,
            format="rgb24",
            src_colorspace=matrix,
            dst_colorspace=_BT601 if matrix != _BT601 else _BT709,
            src_color_range=ColorRange.JPEG if full else ColorRange.MPEG,
            dst_color_range=ColorRange.JPEG,
        ).to_ndarray()
    return _orientation(frame).turn(np.asarray(pixels, np.uint8))


def _with_square_pixels(width: int, height: int, aspect: Fraction | None) -> tuple[int, int]:
    """Stretch the shorter side, so that nothing is lost, unless that is more than Full HD."""
    if aspect is None or aspect == 1:
        return width, height
    if aspect > 1:
        wider = round(width * aspect)
        larger, smaller = (wider, height), (width, round(height / aspect))
    else:
        higher = round(height / aspect)
        larger, smaller = (width, higher), (round(width * aspect), height)
    return larger if larger[0] * larger[1] <= _FULL_HD else smaller


def _matrix(frame: "VideoFrame") -> int:
    """Say by which matrix a frame became YUV, if need be by its size: FFmpeg's number."""
    if frame.colorspace != _UNSPECIFIED:
        return int(frame.colorspace)
    primaries = int(getattr(frame, "color_primaries", 0))  # PyAV 14 does not have it
    if primaries in _PRIMARIES:
        return _PRIMARIES[primaries]
    # What a camera gives uncompressed is BT.601 at any size, says V4L2.
    high = min(frame.width, frame.height) >= _HD_HEIGHT
    return _BT709 if high and frame.format.name not in _UNCOMPRESSED else _BT601


def _orientation(frame: "VideoFrame") -> Orientation:
    """Read the display matrix, which FFmpeg also makes of a JPEG's EXIF orientation."""
    try:
        stated: Any = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:
        # PyAV 18 does not know the EXIF data beside it, but still the angle, counterclockwise.
        return orientation(90 * round(-frame.rotation / 90) % 360, "none")
    data = bytes(stated) if stated is not None else b""
    if len(data) != 9 * 4:  # nine numbers of four bytes
        return UPRIGHT
    # A pixel at (x, y) is shown at (a x + c y, b x + d y).
    a, b, _, c, d = struct.unpack("=5i", data[:20])
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return Orientation(mirror=a < 0, upside_down=d < 0)
    return Orientation(transpose=True, mirror=c < 0, upside_down=b < 0)


def explain(error: "FFmpegError") -> str:
    """Say what went wrong in words for users; FFmpeg's own text names the URL with its password."""
    from av import error as av_error

    reasons: tuple[tuple[type[Exception], str], ...] = (
        (builtins.FileNotFoundError, "no such file or device"),
        (
            builtins.PermissionError,
            "permission denied (a camera needs the group video: "
            "'sudo usermod -aG video USER', then log in again)",
        ),
        (
            builtins.ConnectionRefusedError,
            "connection refused: is the camera on and its port right?",
        ),
        (av_error.HTTPUnauthorizedError, "user name or password not accepted (HTTP 401)"),
        (av_error.HTTPForbiddenError, "access denied (HTTP 403)"),
        (av_error.HTTPNotFoundError, "no such page on this server (HTTP 404)"),
        (av_error.HTTPServerError, "the server reports an error (HTTP 5xx)"),
        (av_error.ProtocolNotFoundError, "the URL begins with an unknown protocol"),
        (av_error.InvalidDataError, "not a video that FFmpeg can read"),
        (av_error.ExitError, "does not answer"),
    )
    for kind, reason in reasons:
        if isinstance(error, kind):
            return reason
    if error.errno == errno.EBUSY:
        return "in use by another program"
    if error.errno == errno.EIO:
        return "cannot be read: check the host name and that it sends video (Input/output error)"
    return error.strerror or type(error).__name__
