"""What is asked of a sensor that libcamera drives: its mode, its crop, its rate, how it turns."""

from collections.abc import Mapping, Sequence
from typing import Any

from edgeclassifier.cameras.controls import Offered
from edgeclassifier.contract.orientation import UPRIGHT, Orientation


def full_view_mode(
    modes: Sequence[Mapping[str, Any]], *, rate_hz: float, least: int
) -> dict[str, Any]:
    """Choose the mode that sees the largest square, then one fast enough, then the smallest.

    Its shorter side has at least `least` pixels, if there is such a mode.
    """

    def rank(mode: Mapping[str, Any]) -> tuple[bool, int, bool, int, int]:
        width, height = mode["size"]
        side = min(mode["crop_limits"][2:])
        too_small = min(width, height) < least
        return too_small, -side, mode["fps"] < rate_hz, width * height, -mode["bit_depth"]

    known = [mode for mode in modes if "crop_limits" in mode]  # picamera2 ignores some formats
    if not known:
        return {}
    mode = min(known, key=rank)
    return {"output_size": mode["size"], "bit_depth": mode["bit_depth"]}


def view_controls(available: Offered, rate_hz: float) -> dict[str, Any]:
    """Set the rate and the centred square if the camera can. `available`: min, max, default."""
    controls: dict[str, Any] = {}
    if "FrameDurationLimits" in available:
        shortest_us, longest_us, _ = available["FrameDurationLimits"]
        duration_us = min(max(round(1e6 / rate_hz), shortest_us), longest_us)
        controls["FrameDurationLimits"] = (duration_us, duration_us)
    if "ScalerCrop" in available:
        x, y, width, height = available["ScalerCrop"][1]
        side = min(width, height)
        square = (x + (width - side) // 2, y + (height - side) // 2, side, side)
        controls["ScalerCrop"] = square
        if "ScalerCrops" in available:  # the crop of each stream, which overrides the common one
            controls["ScalerCrops"] = [square]
    return controls


def as_transform(wanted: Orientation) -> dict[str, Any]:
    """Return the keyword of picamera2's configuration with which the sensor turns the picture.

    None for a quarter turn: no sensor can swap rows and columns.
    """
    if wanted == UPRIGHT or wanted.transpose:
        return {}
    from libcamera import Transform

    return {"transform": Transform(hflip=wanted.mirror, vflip=wanted.upside_down)}


def left_to_turn(wanted: Orientation, transform: Any) -> Orientation:
    """Return what remains of `wanted` after the sensor's `transform`; None stands for none."""
    if transform is None:
        return wanted
    return Orientation(
        transpose=wanted.transpose,
        mirror=wanted.mirror != bool(transform.hflip),
        upside_down=wanted.upside_down != bool(transform.vflip),
    )
