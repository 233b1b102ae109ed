"""The pixel formats of libcamera, turned into RGB."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgeclassifier.errors import CameraError

_FORWARD = slice(0, 3)
_BACKWARD = slice(2, None, -1)
# Where R, G and B are among the bytes of a pixel. libcamera names formats like the kernel's DRM:
# from the last byte to the first.
_RGB_BYTES = {
    "BGR888": _FORWARD,
    "RGB888": _BACKWARD,
    "XBGR8888": _FORWARD,
    "XRGB8888": _BACKWARD,
    "MJPEG": _FORWARD,
}
# Where luma is in each pair of bytes, and whether U comes before V.
_PACKED = {"YUYV": (0, True), "YVYU": (0, False), "UYVY": (1, True), "VYUY": (1, False)}
_SEMI_PLANAR = {"NV12": True, "NV21": False}
_PLANAR = {"YUV420": True, "YVU420": False}


class _Planes(NamedTuple):
    """Luma at full size, chroma as the camera subsampled it; all views on one array."""

    y: NDArray[np.uint8]
    u: NDArray[np.uint8]
    v: NDArray[np.uint8]


def to_rgb(
    array: NDArray[np.uint8],
    *,
    format: str,  # noqa: A002  # what libcamera calls it, and nothing here formats text
    width: int,
    height: int,
    full_range: bool,
) -> NDArray[np.uint8]:
    """Turn what picamera2's make_array() gives into height x width x 3 in R, G, B order.

    `array` may have padding on its right. YUV is taken as BT.601, with luma from 0 to 255 if
    `full_range`, else from 16 to 235.
    Raises CameraError for a format that is not known, or an array that does not have its shape.
    """
    if format in _RGB_BYTES:
        # A greyscale JPEG has no third axis.
        pixels = np.dstack((array,) * 3) if array.shape == (height, width) else array
        _check_shape(pixels, format, width, height, channels=(3, 4))
        return np.ascontiguousarray(pixels[:, :width, _RGB_BYTES[format]])
    if format in _PACKED:
        _check_shape(array, format, width, height, channels=(2,))
        planes = _packed(array, width, *_PACKED[format])
    elif format in _SEMI_PLANAR:
        _check_shape(array, format, width, height * 3 // 2)
        planes = _semi_planar(array, width, height, u_first=_SEMI_PLANAR[format])
    elif format in _PLANAR:
        _check_shape(array, format, width, height * 3 // 2)
        planes = _planar(array, width, height, u_first=_PLANAR[format])
    else:
        raise CameraError(f"the camera's pixel format {format} is not supported")
    return _from_yuv(planes, full_range=full_range)


def _check_shape(
    array: NDArray[np.uint8], name: str, width: int, rows: int, channels: tuple[int, ...] = ()
) -> None:
    axes = 3 if channels else 2
    fits = array.ndim == axes and array.shape[0] == rows and array.shape[1] >= width
    if not fits or (channels and array.shape[2] not in channels):
        raise CameraError(f"an array of {array.shape} holds no {name} picture {width} pixels wide")


def _packed(array: NDArray[np.uint8], width: int, luma: int, u_first: bool) -> _Planes:
    chroma = array[:, :width, 1 - luma]
    first, second = chroma[:, 0::2], chroma[:, 1::2]
    u, v = (first, second) if u_first else (second, first)
    return _Planes(array[:, :width, luma], u, v)


def _semi_planar(array: NDArray[np.uint8], width: int, height: int, *, u_first: bool) -> _Planes:
    chroma = array[height:, :width]
    first, second = chroma[:, 0::2], chroma[:, 1::2]
    u, v = (first, second) if u_first else (second, first)
    return _Planes(array[:height, :width], u, v)


def _planar(array: NDArray[np.uint8], width: int, height: int, *, u_first: bool) -> _Planes:
    # Each row of the array behind the luma holds two rows of chroma, each with half the padding.
    chroma = array[height:].reshape(height, -1)
    first, second = chroma[: height // 2, : width // 2], chroma[height // 2 :, : width // 2]
    u, v = (first, second) if u_first else (second, first)
    return _Planes(array[:height, :width], u, v)


def _from_yuv(planes: _Planes, *, full_range: bool) -> NDArray[np.uint8]:
    height, width = planes.y.shape
    levels = np.arange(256, dtype=np.float32)
    if full_range:
        luma, chroma = levels, levels - 128
    else:
        luma, chroma = (levels - 16) * (255 / 219), (levels - 128) * (255 / 224)
    # Tables keep the arithmetic per pixel to additions of small integers.
    y = np.rint(luma).astype(np.int16)[planes.y]
    u, v = chroma[planes.u], chroma[planes.v]
    rgb = np.empty((height, width, 3), np.uint8)
    shares = (1.402 * v, -0.344136 * u - 0.714136 * v, 1.772 * u)
    for channel, share in enumerate(shares):
        offset = np.rint(share).astype(np.int16)
        for axis in (0, 1):
            offset = offset.repeat(y.shape[axis] // offset.shape[axis], axis=axis)
        rgb[:, :, channel] = np.clip(y + offset, 0, 255)
    return rgb
