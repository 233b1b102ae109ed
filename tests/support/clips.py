"""Small video files with the tags that cameras set, or do not."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

RATE_HZ = 10
# By which red and blue count for luma.
BT601 = (0.299, 0.114)
BT709 = (0.2126, 0.0722)
BT2020 = (0.2627, 0.0593)


def yuv_clip(
    path: Path,
    colour: tuple[int, int, int],
    *,
    size: tuple[int, int],
    weights: tuple[float, float],
    full_range: bool = False,
    colorspace: int | None = None,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
) -> Path:
    """Encode a flat colour by a matrix of known `weights`, whatever the tags say."""
    red, green, blue = (each / 255 for each in colour)
    of_red, of_blue = weights
    luma = of_red * red + (1 - of_red - of_blue) * green + of_blue * blue
    cb, cr = (blue - luma) / (2 - 2 * of_blue), (red - luma) / (2 - 2 * of_red)
    y, u, v = (
        (255 * luma, 128 + 255 * cb, 128 + 255 * cr)
        if full_range
        else (16 + 219 * luma, 128 + 224 * cb, 128 + 224 * cr)
    )
    frame = av.VideoFrame(*size, pix_fmt)
    packed = [y, u, y, v]
    for plane, value in zip(frame.planes, (y, u, v), strict=False):
        row = packed if len(frame.planes) == 1 else [value]
        cells = np.resize(np.rint(row).astype(np.uint8), plane.buffer_size)
        plane.update(cells.tobytes())
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=RATE_HZ)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = *size, pix_fmt
        if codec == "libx264":
            stream.options = {"qp": "1", "preset": "ultrafast"}
        context = stream.codec_context
        context.color_range = frame.color_range = 2 if full_range else 1
        if colorspace is not None:
            context.colorspace = frame.colorspace = colorspace
        frame.pts, frame.time_base = 0, Fraction(1, RATE_HZ)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def clip(path: Path, picture: NDArray[np.uint8], *, aspect: Fraction | None = None) -> Path:
    """Encode one picture, whose pixels are said to be `aspect` times as wide as high."""
    height, width, _ = picture.shape
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE_HZ)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv444p"
        stream.options = {"qp": "8", "preset": "ultrafast"}
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame.pts, frame.time_base = 0, Fraction(1, RATE_HZ)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
