"""What is wrong with a camera, by its source: a sensor, a device, the network, or files."""

from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple

from edgeclassifier.config import CameraConfig
from edgeclassifier.doctor import camera_problems as of
from edgeclassifier.doctor.findings import Problem

Source = Literal["sensor", "device", "network", "video", "pictures"]

Words = Sequence[tuple[tuple[str, ...], Problem]]
_SILENT: Final = ("no frame", "does not answer")
_BY_WORDS: Final[Mapping[Source, Words]] = {
    "sensor": (
        (("in use", "busy", "another program"), of.BUSY),
        (("permission denied",), of.PERMISSION),
        (("finds no camera",), of.NONE),
        (("no camera ",), of.NO_SUCH),
        (_SILENT, of.SILENT),
    ),
    "device": (
        (("in use", "busy", "another program"), of.BUSY),
        (("permission denied",), of.PERMISSION),
        (("no such file or device", "no such device"), of.NO_SUCH),
        (_SILENT, of.DEVICE_SILENT),
    ),
    "network": (
        (("not accepted", "access denied", "HTTP 401", "HTTP 403"), of.LOGIN),
        (("no such page", "HTTP 404", "not a video", "has no video"), of.WRONG_PATH),
        (("connection refused", "host name", "no route", "unreachable"), of.UNREACHABLE),
        ((*_SILENT, "timed out", "has ended", "reset"), of.STREAM_SILENT),
    ),
    "video": ((("no such file", "permission denied", "not a video", "has no video"), of.NO_VIDEO),),
    "pictures": (
        (("no such file", "no picture found", "can be read", "cannot be"), of.NO_PICTURES),
    ),
}
_LATE: Final[Mapping[Source, Problem]] = {
    "sensor": of.SILENT,
    "device": of.DEVICE_SILENT,
    "network": of.STREAM_SILENT,
    "video": of.NO_VIDEO,
    "pictures": of.NO_PICTURES,
}


def source_of(camera: CameraConfig) -> Source:
    """Tell by what kind of connection frames come."""
    if camera.source == "picamera2":
        return "sensor"
    if camera.source == "replay":
        return "pictures"
    if camera.stream.url.startswith("/dev/"):
        return "device"
    scheme, separator, _ = camera.stream.url.partition("://")
    return "network" if separator and scheme != "file" else "video"


def by_words(source: Source, text: str) -> Problem:
    """Tell a problem from what the camera says of it."""
    kinds = (problem for words, problem in _BY_WORDS[source] if any(each in text for each in words))
    return next(kinds, of.FAILS)


def without_answer(source: Source, *, late: bool) -> Problem:
    """Name the problem of a camera whose trial hangs, or ends its process."""
    if late:
        return _LATE[source]
    return of.CRASHES if source == "sensor" else of.STREAM_CRASHES


class Names(NamedTuple):
    """What remedies name of a source."""

    url: str
    host: str
    path: str


def names_of(camera: CameraConfig) -> Names:
    """Return them without a user, a password or a query."""
    url, question, _ = camera.stream.url.removeprefix("file://").partition("?")
    host = url.partition("://")[2].partition("/")[0].rpartition("@")[2]
    bracketed = host.partition("]")[0].strip("[") if host.startswith("[") else ""
    return Names(
        url=url + (question and "?…"),
        host=bracketed or host.partition(":")[0] or "HOST",
        path=camera.replay.path or "PATH",
    )
