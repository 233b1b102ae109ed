"""What the stream camera needs of FFmpeg, through PyAV: opening, decoding, colours, errors."""

import builtins
import errno
import struct
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import numpy as np
from numpy.typing import NDArray

from edgeclassifier.cameras.rtsplogin import unknown_login
from edgeclassifier.contract.orientation import UPRIGHT, Orientation, orientation
from edgeclassifier.errors import CameraError
from edgeclassifier.host.redaction import redact

if TYPE_CHECKING:
    from av import FFmpegError
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.reformatter import VideoReformatter

_FULL_HD = 1920 * 1080
_ODDEST_ASPECT = 4
_HD_HEIGHT = 720
# FFmpeg's numbers of colour matrices: PyAV has had other names for them.
_BT709, _UNSPECIFIED, _BT601 = 1, 2, 5
_PRIMARIES = {1: _BT709, 5: _BT601, 6: _BT601}
# What a network camera sends may be a list of other places. It must not lead to this machine's
# files, and HTTP to nothing but HTTP: a session description would keep FFmpeg waiting for RTP.
_NOT_FROM_AFAR = "async,bluray,cache,concat,concatf,fd,file,pipe,subfile,unix"
_FROM_HTTP = "http,https,httpproxy,tls,tcp,crypto,data"
_REFERS_ELSEWHERE = "what it sends refers to what it may not"
_UNCOMPRESSED = frozenset(("yuyv422", "yvyu422", "uyvy422", "nv12", "nv21"))


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

    try:
        container = _open(url, options, timeout_s)
    except av.FFmpegError as error:
        reason = explain(error)
        if isinstance(error, builtins.PermissionError) and not url.startswith("/dev/"):
            is_file = local_file(url) is not None
            reason = (
                "permission denied (who runs this must be able to read it)"
                if is_file
                else _REFERS_ELSEWHERE
            )
        if isinstance(error, av.error.HTTPUnauthorizedError):
            unknown = unknown_login(url, timeout_s=timeout_s)
            reason = not_for_ffmpeg(unknown) if unknown else reason
        raise CameraError(f"{redact(url)}: {reason}") from None
    if not container.streams.video:
        container.close()
        raise CameraError(f"{redact(url)}: has no video in it")
    return container


def not_for_ffmpeg(login: str) -> str:
    """Say that a log-in of this kind cannot be answered."""
    return (
        f"wants a log-in that FFmpeg cannot answer ({login}): choose Basic or Digest with MD5 "
        "in the camera's settings"
    )


def _open(url: str, options: Mapping[str, str], timeout_s: float) -> "InputContainer":
    import av

    file = local_file(url)
    stated = dict(options)
    is_device = file is None and url.startswith("/dev/")
    container_format = stated.pop("format", "v4l2" if is_device else None)
    where = f"file:{file}" if file else url
    if file is None and not is_device:
        limits = {"protocol_blacklist": _NOT_FROM_AFAR}
        if url.lower().startswith("http"):
            limits["protocol_whitelist"] = _FROM_HTTP
        stated = limits | stated
    ways: list[dict[str, str]] = [{}]
    if url.lower().startswith("rtsp") and not {"rtsp_transport", "rtsp_flags"} & set(stated):
        # FFmpeg takes another way only if the first is refused as the standard says.
        ways = [{"rtsp_flags": "prefer_tcp"}, {"rtsp_transport": "udp"}]
    for way in ways:
        try:
            return av.open(
                where, mode="r", format=container_format, options=way | stated, timeout=timeout_s
            )
        except av.FFmpegError as error:
            if way == ways[-1] or isinstance(error, _final_errors()):
                raise
    raise AssertionError("one way is the last")


def _final_errors() -> tuple[type[Exception], ...]:
    """Name the errors after which another transport would not do better."""
    from av import error as av_error

    return (
        builtins.ConnectionRefusedError,
        av_error.ExitError,
        av_error.HTTPUnauthorizedError,
        av_error.HTTPForbiddenError,
        av_error.HTTPNotFoundError,
    )


def pixel_aspect(container: "InputContainer") -> Fraction | None:
    """Return how wide a pixel of the first video stream is for its height; None if not stated.

    What would make a picture more than four times as wide or as high is taken for a mistake.
    """
    aspect = container.streams.video[0].sample_aspect_ratio
    return aspect if aspect and 1 / _ODDEST_ASPECT <= aspect <= _ODDEST_ASPECT else None


class Converter:
    """Turns the decoded frames of one camera into RGB, in one thread.

    It keeps FFmpeg's tables from frame to frame: making them takes as long as using them.
    """

    def __init__(self) -> None:
        self._reformatter: VideoReformatter | None = None

    def to_rgb(self, frame: "VideoFrame", *, aspect: Fraction | None = None) -> NDArray[np.uint8]:
        """Convert a frame to height x width x 3 in RGB, colours in full range.

        Its pixels, `aspect` times as wide as high, become square. A frame that its stream says
        lies on its side, or is mirrored, comes as an upright view.
        """
        from av.video.reformatter import ColorRange, VideoReformatter

        reformatter = self._reformatter = self._reformatter or VideoReformatter()
        width, height = _with_square_pixels(frame.width, frame.height, aspect)
        if frame.format.is_rgb:
            rgb = reformatter.reformat(frame, width=width, height=height, format="rgb24")
        else:
            # Stated for both sides: older PyAV does not take the source's range from the frame,
            # and takes no notice of what is the same on both sides.
            matrix = _matrix(frame)
            name = frame.format.name
            full = frame.color_range == ColorRange.JPEG or name.startswith(("yuvj", "gr"))
            rgb = reformatter.reformat(
                frame,
                width=width,
                height=height,
                format="rgb24",
                src_colorspace=matrix,
                dst_colorspace=_BT601 if matrix != _BT601 else _BT709,
                src_color_range=ColorRange.JPEG if full else ColorRange.MPEG,
                dst_color_range=ColorRange.JPEG,
            )
        return _orientation(frame).turn(np.asarray(rgb.to_ndarray(), np.uint8))


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
    from av.sidedata import sidedata

    # Not frame.side_data: the two would hold each other, and the picture, until gc runs.
    container: Any = sidedata.SideDataContainer
    try:
        stated = container(frame).get("DISPLAYMATRIX")
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
