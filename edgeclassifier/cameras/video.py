"""Video through FFmpeg: frames that are whole, and how late they are."""

import math
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from edgeclassifier.cameras import h264
from edgeclassifier.cameras.ffmpeg import explain
from edgeclassifier.cameras.mjpeg import picture_size
from edgeclassifier.cameras.source import Captured, Piece
from edgeclassifier.cameras.stills import SizeLimit
from edgeclassifier.errors import CameraError

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

_BROKEN_IN_A_ROW = 100
# A source without marked key frames renews its picture bit by bit.
_PATIENCE_PACKETS = 300
_MOST_WAITING = 200
_WINDOW_S = 30.0
_JUMP_S = 10.0
_AT_ONCE_S = 0.02
_MOST_EARLY = 500
_LONGEST_PAUSE_S = 1.0
_PLAYLISTS = frozenset({"hls", "dash"})


def packets(
    container: "InputContainer", *, name: str, broken: Callable[[], None]
) -> Iterator["Packet[VideoStream]"]:
    """Read the first video stream to its end; `broken` is called for data that cannot be read.

    Raises CameraError if the source breaks.
    """
    from av import FFmpegError
    from av.error import InvalidDataError

    stream = container.streams.video[0]
    broken_in_a_row = 0
    while broken_in_a_row < _BROKEN_IN_A_ROW:
        try:
            for packet in container.demux(stream):
                broken_in_a_row = 0
                yield packet
        except InvalidDataError:
            # The demuxer can go on after the damage.
            broken_in_a_row += 1
            broken()
        except FFmpegError as error:
            raise CameraError(f"{name}: {explain(error)}") from None
        else:
            return
    raise CameraError(f"{name}: too much of its data is damaged")


class WholeFrames:
    """Decodes a video stream, and gives only frames that are whole and refer to whole ones.

    After damage, and at the beginning, it waits for the next key frame. What it leaves out is
    counted in `unreadable`.
    """

    def __init__(self, stream: "VideoStream", *, name: str, limit: SizeLimit) -> None:
        """Prepare to decode. Raises CameraError if its frames are too large."""
        context = stream.codec_context
        if limit.refuses(context.width, context.height):
            raise CameraError(f"{name}: {limit.refusal}")
        codec = context.codec
        self._limit = limit
        self._is_jpeg = codec.name.startswith("mjpeg")
        self.all_keys: bool = codec.intra_only
        """Whether each packet can be decoded by itself."""
        self._order = h264.Order(context.extradata) if codec.name.startswith("h264") else None
        # Its decoder gives no frame that refers to a missing one, and says nothing.
        self._awaited: set[int] | None = set() if codec.name == "hevc" else None
        options = {"max_pixels": str(limit.max_pixels)}
        if self._is_jpeg:
            # FFmpeg would fill up what is missing of a picture with grey.
            options["err_detect"] = "explode"
        context.options = options
        self.unreadable = 0
        self._waits_for_key = not self.all_keys
        self._any_key = False
        self._skipped = 0
        self._whole_from: int | None = None
        """Time stamp of the key frame that ended the wait: what is older may refer to damage."""

    def decode(self, packet: "Packet[VideoStream]") -> list["VideoFrame"]:
        """Decode the next packet: the whole frames that it completes."""
        from av import FFmpegError

        if not self._may_decode(packet):
            self.unreadable += 1
            return []
        try:
            frames = packet.decode()
        except FFmpegError:
            self._lose()
            return []
        if self._awaited is not None and packet.pts is not None:
            self._awaited.add(packet.pts)
        whole = []
        for frame in frames:
            self._count_missing(frame)
            if frame.is_corrupt:
                self._lose()
            elif self._waits_for_key or self._is_before_key(frame):
                self.unreadable += 1
            else:
                whole.append(frame)
        return whole

    def skip(self) -> None:
        """Note that packets were left out on purpose."""
        self._waits_for_key = not self.all_keys
        if self._order is not None:
            self._order.forget()

    def _may_decode(self, packet: "Packet[VideoStream]") -> bool:
        if packet.size == 0:
            return True  # asks the decoder for what it still has
        if self._is_jpeg and self._limit.refuses(*picture_size(bytes(packet))):
            return False
        if self._order is not None and not self._order.continues(bytes(packet)):
            self._waits_for_key = True
        if packet.is_corrupt:
            self._waits_for_key = not self.all_keys
            return False
        if self._waits_for_key and self._may_begin(packet):
            self._waits_for_key = False
        return not self._waits_for_key

    def _may_begin(self, packet: "Packet[VideoStream]") -> bool:
        if packet.is_keyframe:
            self._any_key = True
            self._whole_from = packet.pts
            return True
        self._skipped += 1
        return not self._any_key and self._skipped >= _PATIENCE_PACKETS

    def _count_missing(self, frame: "VideoFrame") -> None:
        if self._awaited and frame.pts is not None:
            missing = {each for each in self._awaited if each < frame.pts}
            self.unreadable += len(missing)
            self._awaited -= missing | {frame.pts}

    def _lose(self) -> None:
        self.unreadable += 1
        self._waits_for_key = not self.all_keys

    def _is_before_key(self, frame: "VideoFrame") -> bool:
        since = self._whole_from
        return since is not None and frame.pts is not None and frame.pts < since


class StreamClock:
    """Tells from the time stamps of a stream how late its frames come.

    The least delay of the last half minute counts as none: what a camera always needs is not
    seen, but what piles up on the way is.
    """

    def __init__(self) -> None:
        self._least = self._least_before = math.inf
        self._window_ends_s = 0.0

    def note(self, stamp_s: float, arrived_s: float) -> None:
        """Note when a packet of this stamp came."""
        delay = arrived_s - stamp_s
        if delay - min(self._least, self._least_before) > _JUMP_S:
            # The camera has set its clock, or has begun to count again.
            self._least = self._least_before = math.inf
        if arrived_s >= self._window_ends_s:
            self._window_ends_s = arrived_s + _WINDOW_S
            self._least_before, self._least = self._least, math.inf
        self._least = min(self._least, delay)

    def captured_s(self, stamp_s: float) -> float:
        """Return when a frame of this stamp was captured, on the clock of the arrivals."""
        return stamp_s + min(self._least, self._least_before)


class VideoSource:
    """A Source: what FFmpeg reads live."""

    def __init__(self, container: "InputContainer", *, name: str, limit: SizeLimit) -> None:
        """Take over an open container. Raises CameraError if its frames are too large."""
        self._container = container
        self._name = name
        self._limit = limit
        self._stream = container.streams.video[0]
        self._decoder = WholeFrames(self._stream, name=name, limit=limit)
        self._clock = StreamClock()
        self._arrived: dict[int, float] = {}
        self._broken = 0

    @property
    def unreadable(self) -> int:
        """How many frames were damaged, or refer to such."""
        return self._broken + self._decoder.unreadable

    @property
    def refusal(self) -> str | None:
        """Why whole frames are refused; None if they are not."""
        return self._limit.refusal

    def pieces(self, wait: Callable[[float], bool]) -> Iterator[Piece]:  # noqa: ARG002  # it flows
        """Receive until the stream ends. Raises CameraError if the connection breaks."""
        if self._has_end():
            yield from self._played()
            return
        early: list[Piece] = []
        settled = False
        asked_s = time.monotonic()
        for packet in packets(self._container, name=self._name, broken=self._note_broken):
            if packet.size:
                piece = self._piece(packet)
                # What came while FFmpeg looked into the stream is there at once, and is old.
                settled = settled or piece.arrived_s - asked_s > _AT_ONCE_S
                if settled or len(early) >= _MOST_EARLY:
                    yield from early
                    early = []
                    yield piece
                else:
                    early = [piece] if piece.is_key else [*early, piece]
            asked_s = time.monotonic()
        yield from early

    def _has_end(self) -> bool:
        container = self._container
        listed = container.format.name in _PLAYLISTS  # of which the size is known, not the end
        return bool(container.duration) or (container.size > 0 and not listed)

    def _played(self) -> Iterator[Piece]:
        """Receive what has an end, such as a clip on a server, at the speed of its time stamps."""
        ahead_s: float | None = None
        for packet in packets(self._container, name=self._name, broken=self._note_broken):
            if packet.size and packet.dts is not None:
                stamp_s = _seconds(packet.dts, packet)
                ahead_s = stamp_s - time.monotonic() if ahead_s is None else ahead_s
                early_s = stamp_s - time.monotonic() - ahead_s
                time.sleep(min(max(0.0, early_s), _LONGEST_PAUSE_S))
            if packet.size:
                yield self._piece(packet)

    def decode(self, piece: Piece, *, after_gap: bool) -> list[Captured]:
        """Decode the next packet; after a gap it is a key frame."""
        if after_gap:
            self._decoder.skip()
        packet: Packet[VideoStream] = piece.data
        arrived = self._arrived
        if packet.pts is not None:
            arrived[packet.pts] = piece.arrived_s
            while len(arrived) > _MOST_WAITING:
                arrived.pop(next(iter(arrived)))
        return [self._captured(frame, piece) for frame in self._decoder.decode(packet)]

    def _captured(self, frame: "VideoFrame", piece: Piece) -> Captured:
        if frame.pts is None:
            return Captured(frame, piece.arrived_s)
        arrived_s = self._arrived.pop(frame.pts, piece.arrived_s)
        stamp_s = _seconds(frame.pts, piece.data)
        return Captured(frame, min(arrived_s, self._clock.captured_s(stamp_s)))

    def _piece(self, packet: "Packet[VideoStream]") -> Piece:
        arrived_s = time.monotonic()
        if packet.pts is not None:
            self._clock.note(_seconds(packet.pts, packet), arrived_s)
        is_key = packet.is_keyframe or self._decoder.all_keys
        return Piece(data=packet, arrived_s=arrived_s, size=packet.size, is_key=is_key)

    def abort(self) -> None:
        """Do nothing: FFmpeg ends its wait itself."""

    def close(self) -> None:
        """Disconnect."""
        self._container.close()

    def _note_broken(self) -> None:
        self._broken += 1


def _seconds(stamp: int, packet: "Packet[VideoStream]") -> float:
    return float(stamp * (packet.time_base or 0))
