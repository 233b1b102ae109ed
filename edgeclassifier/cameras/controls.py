"""The controls of libcamera that a user sets, checked against what a camera offers."""

import difflib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from edgeclassifier.errors import CameraSettingError

Value = bool | float | str | Sequence[float]
Offered = Mapping[str, tuple[Any, Any, Any]]
"""Of each control its least value, its greatest, and its default, as picamera2 has them."""

TABLE: Final = "camera.picamera2.controls"
_FOCUS: Final = "camera.picamera2.focus"
# In the order of libcamera's numbers, which do not change. Its enumerations are not asked: they
# are in different places in different versions, and not all controls have one in Python.
_WORDS: Final[Mapping[str, tuple[str, ...]]] = {
    "AeConstraintMode": ("normal", "highlight", "shadows", "custom"),
    "AeExposureMode": ("normal", "short", "long", "custom"),
    "AeFlickerMode": ("off", "manual", "auto"),
    "AeMeteringMode": ("centre-weighted", "spot", "matrix", "custom"),
    "AfMetering": ("auto", "windows"),
    "AfMode": ("manual", "auto", "continuous"),
    "AfRange": ("normal", "macro", "full"),
    "AfSpeed": ("normal", "fast"),
    "AnalogueGainMode": ("auto", "manual"),
    "AwbMode": (
        "auto",
        "incandescent",
        "tungsten",
        "fluorescent",
        "indoor",
        "daylight",
        "cloudy",
        "custom",
    ),
    "ExposureTimeMode": ("auto", "manual"),
    "HdrMode": ("off", "multi-exposure-unmerged", "multi-exposure", "single-exposure", "night"),
    "NoiseReductionMode": ("off", "fast", "high-quality", "minimal", "zsl"),
}
_MANUAL, _AUTO, _CONTINUOUS = 0, 1, 2
_START = 0
_LENGTHS: Final = {"ColourGains": 2, "ColourCorrectionMatrix": 9}
# libcamera ignores the first of each pair, without a word, unless the second has this value.
_WITH: Final[Mapping[str, tuple[str, Any]]] = {
    "AnalogueGain": ("AnalogueGainMode", 1),
    "ColourGains": ("AwbEnable", False),
    "ColourTemperature": ("AwbEnable", False),
    "ExposureTime": ("ExposureTimeMode", 1),
    "LensPosition": ("AfMode", _MANUAL),
}
_OURS: Final = {
    "FrameDurationLimits": "camera.picamera2.frame_rate_hz sets it",
    "ScalerCrop": "it is the largest square; preprocess.region chooses a part of it",
    "ScalerCrops": "it is the largest square; preprocess.region chooses a part of it",
}
_TRIGGERS: Final = ("AfPause", "AfTrigger")
"""Of use only at a certain moment."""


def chosen_controls(
    *, focus: float | str, controls: Mapping[str, Value], offered: Offered, camera: str
) -> dict[str, Any]:
    """Return what is to be set, by libcamera's names, with numbers in place of words.

    `focus` is "continuous", "auto", "manual", or a distance in dioptres; `controls` win over it.
    `camera` is a name for messages. Raises CameraSettingError for a control that is not offered,
    and for a value that it does not take.
    """
    chosen = {
        name: _checked(name, value, f"{TABLE}.{name}", offered, camera)
        for name, value in controls.items()
    }
    for name in tuple(chosen):
        other, needed = _WITH.get(name, ("", None))
        # AeEnable is the older name of both modes of the exposure.
        if other in offered and not (other.endswith("Mode") and "AeEnable" in chosen):
            chosen.setdefault(other, needed)
    return _focus(focus, offered, camera) | chosen


def _focus(focus: float | str, offered: Offered, camera: str) -> dict[str, Any]:
    if "AfMode" not in offered:
        if focus in ("continuous", "manual"):  # a lens that does not move is all of these
            return {}
        raise CameraSettingError(
            f'{_FOCUS} = {json.dumps(focus)}: {camera} has no autofocus: leave it "continuous"'
        )
    if focus == "continuous":
        return {"AfMode": _CONTINUOUS}
    if focus == "auto":
        return {"AfMode": _AUTO, "AfTrigger": _START}
    if focus == "manual":
        return {"AfMode": _MANUAL}
    position = _checked("LensPosition", focus, _FOCUS, offered, camera)
    return {"AfMode": _MANUAL, "LensPosition": position}


def _checked(name: str, value: Value, key: str, offered: Offered, camera: str) -> Any:
    if name in _OURS:
        raise CameraSettingError(f"{key} cannot be set: {_OURS[name]}")
    if name not in offered:
        names = sorted(set(offered) - set(_OURS) - set(_TRIGGERS))
        known = ", ".join(names) or "no controls"
        raise CameraSettingError(f"{key}: {_hint(name, names)}{camera} offers {known}")
    low, high, default = offered[name]
    if isinstance(value, str):
        return _number_of(name, value, key, (low, high), camera)
    if not isinstance(low, int | float):
        raise CameraSettingError(f"{key} cannot be set: neither a number nor a word")
    shown = f"{key} = {_toml(value)}"
    if length := _LENGTHS.get(name):
        fits = isinstance(value, Sequence) and len(value) == length
        if not fits or not all(_within(each, low, high) for each in value):  # type: ignore[union-attr]  # fits
            limits = _limits(low, high)
            raise CameraSettingError(f"{shown}: {camera} takes a list of {length} numbers{limits}")
        return tuple(float(each) for each in value)  # type: ignore[union-attr]  # it fits
    if isinstance(low, bool) or isinstance(default, bool):
        if not isinstance(value, bool):
            raise CameraSettingError(f"{shown}: {camera} takes true or false")
        return value
    whole = isinstance(low, int)
    kind = "a whole number" if whole else "a number"
    fits = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
    if not fits or not _within(value, low, high):
        words = f", or {_quoted(_words_within(name, (low, high)))}" if name in _WORDS else ""
        raise CameraSettingError(f"{shown}: {camera} takes {kind}{_limits(low, high)}{words}")
    return value if whole else float(value)  # type: ignore[arg-type]  # a number, it fits


def _number_of(name: str, word: str, key: str, limits: tuple[Any, Any], camera: str) -> int:
    """Return libcamera's number for a word; its own spelling (HighQuality) is understood, too."""
    words = _words_within(name, limits)
    if not words:
        raise CameraSettingError(f"{key} = {json.dumps(word)}: takes numbers, not words")
    wanted = _plain(word)
    for number, known in enumerate(_WORDS[name]):
        if _plain(known) == wanted and known in words:
            return number
    raise CameraSettingError(
        f"{key} = {json.dumps(word)}: {_hint(word, words)}{camera} takes {_quoted(words)}"
    )


def _words_within(name: str, limits: tuple[Any, Any]) -> list[str]:
    known = enumerate(_WORDS.get(name, ()))
    return [word for number, word in known if _within(number, *limits)]


def _within(value: Any, low: Any, high: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return not all(_is_number(each) for each in (low, high)) or bool(low <= value <= high)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _limits(low: Any, high: Any) -> str:
    return f" from {low:g} to {high:g}" if _is_number(low) and _is_number(high) else ""


def _hint(word: str, known: Sequence[str]) -> str:
    by_plain = {_plain(each): each for each in known}
    close = difflib.get_close_matches(_plain(word), by_plain, n=1)
    return f"did you mean {by_plain[close[0]]}? " if close else ""


def _plain(word: str) -> str:
    return "".join(each for each in word.lower() if each.isalnum())


def _quoted(words: Sequence[str]) -> str:
    return ", ".join(f'"{word}"' for word in words)


def _toml(value: Value) -> str:
    return json.dumps(list(value) if isinstance(value, Sequence) else value)
