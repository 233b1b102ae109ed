"""How the pixels of a model are normalized: the one order in which this is decided."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from edgeclassifier.contract.plain import Plain, plain_data
from edgeclassifier.engine.preprocess import InputSpec, Normalization, Quantizer
from edgeclassifier.errors import PixelsError

RAW = Normalization(mean=(0.0,), std=(1.0,))
ZERO_TO_ONE = Normalization(mean=(0.0,), std=(255.0,))
MINUS_ONE_TO_ONE = Normalization(mean=(127.5,), std=(127.5,))
USUAL = {"0 to 255": RAW, "0 to 1": ZERO_TO_ONE, "-1 to 1": MINUS_ONE_TO_ONE}
"""What networks are trained with, by the range that pixels get."""
IMAGENET = Normalization(mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375))
"""The mean and the standard deviation of ImageNet's pixels, as torchvision has them."""

_ENOUGH_LEVELS = 200
_COARSE_LEVELS = 128
_LARGEST_CLIPPED = 0.02


@plain_data
class Choice(Plain):
    """A normalization, and what it was chosen by."""

    normalization: Normalization
    reason: str = ""
    """Worth a line in the log; empty if the choice is what everybody expects."""
    doubt: str = ""
    """Worth a warning."""


def choose_normalization(
    path: Path,
    spec: InputSpec,
    *,
    configured: Normalization | None,
    stated: Normalization | None,
    examine: Callable[[], Choice],
) -> Choice:
    """Decide for the model in `path`, by the first of these that says something.

    1. the configuration; 2. a quantized input tensor of a usual range, which raw pixels fill;
    3. what the metadata states; 4. what is seen by trying it, `examine`.
    Raises PixelsError if what is configured does not fit the tensor, and as `examine` does.
    """
    configured, stated = _for_channels(spec, configured), _for_channels(spec, stated)
    if configured is not None:
        return _configured(path, spec, configured)
    straight = raw_pixels(spec)
    if straight is not None:
        return Choice(normalization=straight, reason=_overruled(spec, stated))
    if stated is not None:
        _check_channels(path, spec, stated, said_by="its metadata")
        in_pixels = _in_pixels(stated)
        converted = in_pixels is not stated
        if mixed := _mixed_units(stated):
            raise PixelsError(
                f"{path}: its metadata states {in_words(stated).replace('model.', '')}: {mixed}: "
                "set model.mean and model.std to what it was trained with"
            )
        if _loss(spec, in_pixels) is None:
            said = "its metadata counts pixels from 0 to 1, these are from 0 to 255"
            return Choice(normalization=in_pixels, reason=said if converted else "")
    if spec.dtype.kind != "f":
        return _by_span(path, spec)
    return examine()


def raw_pixels(spec: InputSpec) -> Normalization | None:
    """Return what makes a quantized input store the pixels as they are (int8: less 128).

    None if the input does not span one of the usual ranges, 0 to 255, 0 to 1 or -1 to 1, for
    which that is right. An input without a quantization holds 0 to 255.
    """
    if spec.dtype.kind == "f":
        return None
    lowest = int(np.iinfo(spec.dtype).min)
    straight = Normalization(
        mean=(float(spec.zero_point - lowest),), std=(1 / (spec.scale or 1.0),)
    )
    if not spec.scale:
        return straight
    low, high = spec.span
    for usual_low, usual_high in ((-1, 1), (0, 1), (0, 255), (-128, 127)):
        tolerance = 0.015 * (usual_high - usual_low)
        if abs(low - usual_low) <= tolerance and abs(high - usual_high) <= tolerance:
            return straight
    return None


def in_words(normalization: Normalization) -> str:
    """Write mean and std the way they are configured."""
    return f"model.mean = {_numbers(normalization.mean)} and model.std = " + _numbers(
        normalization.std
    )


def _configured(path: Path, spec: InputSpec, configured: Normalization) -> Choice:
    _check_channels(path, spec, configured, said_by="the configuration")
    if mixed := _mixed_units(configured):
        raise PixelsError(
            f"{path}: {in_words(configured)}: {mixed}: set both for pixels from 0 to 255"
        )
    normalization = _in_pixels(configured)
    reason = ""
    if normalization is not configured:
        reason = (
            f"{in_words(configured)} count pixels from 0 to 1: taken as {in_words(normalization)}"
        )
    loss = _loss(spec, normalization)
    if loss is None:
        return Choice(normalization=normalization, reason=reason)
    levels, clipped = loss
    low, high = spec.span
    said = (
        f"{in_words(configured)} keep {levels} of 256 levels of brightness: its input holds "
        f"{low:.3g} to {high:.3g}"
    )
    straight = raw_pixels(spec)
    if straight is not None:
        raise PixelsError(f"{path}: {said}, so raw pixels are right: remove model.mean and std")
    if levels < _COARSE_LEVELS or clipped > _LARGEST_CLIPPED:
        raise PixelsError(
            f"{path}: {said}: set model.mean and model.std to what it was trained with"
        )
    return Choice(normalization=normalization, reason=reason, doubt=said)


def _overruled(spec: InputSpec, stated: Normalization | None) -> str:
    if stated is None or len(stated.mean) > spec.channels or len(stated.std) > spec.channels:
        return ""
    loss = _loss(spec, stated)
    if loss is None:
        return ""
    return (
        f"its metadata states {in_words(stated).replace('model.', '')}, of which its {spec.dtype} "
        f"input would keep {loss[0]} of 256 levels: it gets raw pixels"
    )


def _by_span(path: Path, spec: InputSpec) -> Choice:
    """Choose for a quantized input of an unusual range what fills it without being cut off."""
    low, high = spec.span
    held = f"its {spec.dtype} input holds {low:.3g} to {high:.3g}"
    candidates = dict(USUAL)
    if spec.channels > 1:
        candidates["the mean and deviation of ImageNet"] = IMAGENET
    losses = {name: _loss(spec, each) for name, each in candidates.items()}
    fine = [name for name, loss in losses.items() if loss is None]
    coarse = [
        name
        for name, loss in losses.items()
        if loss and loss[0] >= _COARSE_LEVELS and loss[1] <= _LARGEST_CLIPPED
    ]
    if len(fine) == 1:
        return Choice(normalization=candidates[fine[0]], reason=f"{held}: taken for {fine[0]}")
    if not fine and len(coarse) == 1:
        name = coarse[0]
        levels, _clipped = losses[name] or (0, 0)
        return Choice(
            normalization=candidates[name],
            doubt=f"{held}: taken for {name}, which keeps {levels} of 256 levels of brightness; "
            "set model.mean and model.std if it was trained with others",
        )
    raise PixelsError(
        f"{path}: {held}, which none of the usual normalizations fits: set model.mean and "
        "model.std to what it was trained with, in pixels from 0 to 255"
    )


def _loss(spec: InputSpec, normalization: Normalization) -> tuple[int, float] | None:
    """Return levels and clipped share if too little of the pixels is left, else None."""
    if spec.dtype.kind == "f":
        return None
    quantizer = Quantizer(spec, normalization)
    if quantizer.levels >= _ENOUGH_LEVELS:
        return None
    return quantizer.levels, quantizer.clipped


def _in_pixels(normalization: Normalization) -> Normalization:
    """Recognize constants for pixels from 0 to 1, as PyTorch has them, and convert them."""
    numbers = (*normalization.mean, *normalization.std)
    is_raw = not any(normalization.mean) and set(normalization.std) == {1.0}
    if is_raw or any(abs(each) > 1 for each in numbers):
        return normalization
    return Normalization(
        mean=tuple(255 * each for each in normalization.mean),
        std=tuple(255 * each for each in normalization.std),
    )


def _for_channels(spec: InputSpec, given: Normalization | None) -> Normalization | None:
    """Make three equal numbers one, for a model that takes brightness alone."""
    if given is None or spec.channels != 1 or {len(set(given.mean)), len(set(given.std))} != {1}:
        return given
    return Normalization(mean=given.mean[:1], std=given.std[:1])


def _mixed_units(given: Normalization) -> str:
    """Say that one of mean and std is for pixels from 0 to 1 and the other for 0 to 255, or ""."""
    is_fraction = [
        any(each) and all(abs(x) <= 1 and x != 1 for x in each) for each in (given.mean, given.std)
    ]
    of_pixels = [any(abs(x) > 1 for x in each) for each in (given.mean, given.std)]
    if (is_fraction[0] and of_pixels[1]) or (is_fraction[1] and of_pixels[0]):
        return "one of them counts pixels from 0 to 1, the other from 0 to 255"
    return ""


def _check_channels(path: Path, spec: InputSpec, given: Normalization, *, said_by: str) -> None:
    most = max(len(given.mean), len(given.std))
    if most > spec.channels:
        raise PixelsError(
            f"{path}: {said_by} gives {most} numbers for mean and std, but the model takes "
            "brightness alone: one number each"
        )


def _numbers(values: tuple[float, ...]) -> str:
    return f"[{', '.join(f'{each:.6g}' for each in values)}]"
