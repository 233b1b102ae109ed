"""Video that is damaged: what refers to damage is counted, and not given out as good."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from edgeclassifier.cameras.h264 import Order
from edgeclassifier.cameras.source import MAX_PIXELS
from edgeclassifier.cameras.stills import SizeLimit
from edgeclassifier.cameras.stream import StreamCamera
from edgeclassifier.cameras.video import StreamClock, WholeFrames
from edgeclassifier.config.schema import StreamConfig
from edgeclassifier.errors import CameraError

FRAMES, GOP = 60, 20
X264 = {"tune": "zerolatency", "preset": "ultrafast"}
CODECS = {
    "h264": ("libx264", X264),
    "h264 with B": ("libx264", {"preset": "fast", "bf": "2"}),
    "hevc": ("libx265", {"tune": "zerolatency", "x265-params": "log-level=none"}),
    "mpeg4": ("mpeg4", {}),
    "mpeg2": ("mpeg2video", {}),
    "vp8": ("libvpx", {"deadline": "realtime"}),
}


def write(path: Path, codec: str, *, size: tuple[int, int] = (160, 120)) -> Path:
    """Encode a pattern that moves on with each frame."""
    encoder, options = CODECS[codec]
    cells = np.random.default_rng(1).integers(0, 255, (size[1] // 8, size[0] // 8, 3), np.uint8)
    pattern = np.kron(cells, np.ones((8, 8, 1), np.uint8))
    with av.open(str(path), "w") as container:
        stream = container.add_stream(encoder, rate=10, options=options)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height = size
        stream.pix_fmt, stream.gop_size = "yuv420p", GOP
        if codec != "h264 with B":
            stream.max_b_frames = 0
        for number in range(FRAMES):
            moved = np.ascontiguousarray(np.roll(pattern, 4 * number, 1))
            frame = av.VideoFrame.from_ndarray(moved, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


Damage = Callable[[int, bytes], bytes | None]


def cut(number: int, data: bytes) -> bytes | None:
    return data[: len(data) // 2] if number == 27 else data


def lost(number: int, data: bytes) -> bytes | None:
    return None if number == 27 else data


def lost_key(number: int, data: bytes) -> bytes | None:
    return None if number == GOP else data


def late(number: int, data: bytes) -> bytes | None:
    return None if number < 13 else data


def decode(path: Path, damage: Damage) -> tuple[dict[int, NDArray[np.uint8]], int]:
    found: dict[int, NDArray[np.uint8]] = {}
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        limit = SizeLimit(name="x", max_pixels=MAX_PIXELS)
        decoder = WholeFrames(stream, name="x", limit=limit)
        for number, packet in enumerate(container.demux(stream)):
            given: av.Packet[Any] = packet
            if packet.size:
                data = damage(number, bytes(packet))
                if data is None:
                    continue
                given = av.Packet(len(data))
                given.update(data)
                given.pts, given.dts = packet.pts, packet.dts
                given.time_base, given.is_keyframe = packet.time_base, packet.is_keyframe
                given.stream = stream
            for frame in decoder.decode(given):
                assert frame.time is not None
                found[round(frame.time * 10)] = np.asarray(
                    frame.to_ndarray(format="rgb24"), np.uint8
                )
    return found, decoder.unreadable


@pytest.mark.parametrize(
    ("codec", "damage"),
    [
        *((codec, cut) for codec in CODECS if codec != "vp8"),
        *((codec, late) for codec in CODECS),
        *((codec, lost) for codec in ("h264", "h264 with B", "hevc")),
        *((codec, lost_key) for codec in ("h264", "h264 with B", "hevc")),
    ],
)
def test_what_is_given_out_is_whole(tmp_path: Path, codec: str, damage: Damage) -> None:
    """The others have no numbers in their frames: a missing one cannot be noticed in them."""
    path = write(tmp_path / "v.mkv", codec)
    whole, unreadable = decode(path, lambda _number, data: data)
    assert len(whole) == FRAMES
    assert unreadable == 0
    found, unreadable = decode(path, damage)
    assert set(range(2 * GOP, FRAMES)) <= set(found)
    assert unreadable >= 7
    for number, pixels in found.items():
        off = np.abs(pixels.astype(int) - whole[number]).mean()
        assert off < 3, f"frame {number} is off by {off:.0f}"


def test_a_video_of_too_many_pixels_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "v.mkv", "h264")
    camera = StreamCamera(
        camera_id="cam0",
        url=str(path),
        max_rate_hz=0,
        options={},
        timeout_s=5,
        reconnect_max_s=1,
        loop=False,
        max_pixels=160 * 120 - 1,
    )
    with pytest.raises(CameraError, match=r"frames of 160x120 are refused: camera\.stream\.max_p"):
        camera.open()
    camera.close()
    assert StreamConfig().max_pixels == MAX_PIXELS


@pytest.mark.parametrize(
    "data", [b"", b"\x00\x00\x01", b"\x00\x00\x01\x67", b"\x00\x00\x01\x65\xff"]
)
def test_what_is_no_h264_breaks_nothing(data: bytes) -> None:
    for extradata in (None, data, b"\x01" + data * 4, b"\x01\x64\x00\x0a\xff\xe1\xff\xff" + data):
        order = Order(extradata)
        assert order.continues(data)
        assert order.continues(b"\x00\x00\x01\x67\x64\x00\x0a" + bytes(40) + data)


def test_the_delay_of_a_stream_is_measured_by_its_stamps() -> None:
    clock = StreamClock()
    for second in range(20):
        clock.note(second, 1000.5 + second)
    assert clock.captured_s(19) == pytest.approx(1019.5)
    clock.note(20, 1023.0)  # two and a half seconds later than the others
    assert clock.captured_s(20) == pytest.approx(1020.5)
    clock.note(0, 1024.0)  # counts from the beginning again
    assert clock.captured_s(0) == pytest.approx(1024.0)
    for second in range(1, 100):
        clock.note(second, 1026.0 + second)  # takes longer from now on
    assert clock.captured_s(99) == pytest.approx(1125.0)
