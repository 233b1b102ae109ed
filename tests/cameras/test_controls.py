"""What a user sets of a libcamera camera reaches it, or is refused with what it offers."""

from pathlib import Path
from typing import Any

import pytest
from support.picamera2 import IMX708_CONTROLS, FakePicamera2, install

from edgeclassifier.cameras.controls import Offered, Value, chosen_controls
from edgeclassifier.compose.camera import build_camera, camera_settings
from edgeclassifier.config import load_config
from edgeclassifier.errors import EXIT_CONFIG, CameraError, CameraSettingError, ConfigError
from edgeclassifier.pipeline.capture import Capture

FIXED_FOCUS = {name: each for name, each in IMX708_CONTROLS.items() if name[:2] not in ("Af", "Le")}


def chosen(
    controls: dict[str, Value] | None = None,
    *,
    focus: float | str = "manual",
    offered: Offered = IMX708_CONTROLS,
) -> dict[str, Any]:
    return chosen_controls(focus=focus, controls=controls or {}, offered=offered, camera="imx708")


@pytest.mark.parametrize(
    ("focus", "expected"),
    [
        ("continuous", {"AfMode": 2}),
        ("auto", {"AfMode": 1, "AfTrigger": 0}),
        ("manual", {"AfMode": 0}),
        (2.5, {"AfMode": 0, "LensPosition": 2.5}),
        (0.0, {"AfMode": 0, "LensPosition": 0.0}),
    ],
)
def test_the_lens(focus: float | str, expected: dict[str, Any]) -> None:
    assert chosen(focus=focus) == expected


def test_a_lens_that_does_not_move() -> None:
    assert chosen(focus="continuous", offered=FIXED_FOCUS) == {}
    assert chosen(focus="manual", offered=FIXED_FOCUS) == {}
    for focus in ("auto", 2.0):
        with pytest.raises(CameraSettingError, match="no autofocus"):
            chosen(focus=focus, offered=FIXED_FOCUS)


@pytest.mark.parametrize(
    ("name", "value", "number"),
    [
        ("AeConstraintMode", "highlight", 1),
        ("AeExposureMode", "short", 1),
        ("AeExposureMode", "long", 2),
        ("AeMeteringMode", "centre-weighted", 0),
        ("AeMeteringMode", "Spot", 1),
        ("AeMeteringMode", "matrix", 2),
        ("AfMode", "continuous", 2),
        ("AfRange", "macro", 1),
        ("AfSpeed", "fast", 1),
        ("AwbMode", "auto", 0),
        ("AwbMode", "incandescent", 1),
        ("AwbMode", "tungsten", 2),
        ("AwbMode", "fluorescent", 3),
        ("AwbMode", "indoor", 4),
        ("AwbMode", "daylight", 5),
        ("AwbMode", "cloudy", 6),
        ("AwbMode", 5, 5),
        ("HdrMode", "single-exposure", 3),
        ("HdrMode", "SingleExposure", 3),
        ("HdrMode", "night", 4),
        ("NoiseReductionMode", "off", 0),
        ("NoiseReductionMode", "HighQuality", 2),
        ("NoiseReductionMode", "minimal", 3),
    ],
)
def test_words_are_the_numbers_of_libcamera(name: str, value: Value, number: int) -> None:
    assert chosen({name: value})[name] == number


def test_numbers_have_the_type_that_libcamera_takes() -> None:
    set_ = chosen(
        {"Brightness": 0, "Contrast": 1.5, "AeEnable": False, "ExposureTime": 5000, "Sharpness": 2}
    )
    del set_["AfMode"]
    assert [type(each) for each in set_.values()] == [float, float, bool, int, float]


@pytest.mark.parametrize(
    ("controls", "also"),
    [
        ({"LensPosition": 4.0}, {"AfMode": 0}),
        ({"ColourGains": (1.5, 2.0)}, {"AwbEnable": False}),
        ({"ExposureTime": 5000}, {"ExposureTimeMode": 1}),
        ({"AnalogueGain": 2.0}, {"AnalogueGainMode": 1}),
        ({"ExposureTime": 5000, "ExposureTimeMode": "auto"}, {"ExposureTimeMode": 0}),
    ],
)
def test_what_libcamera_would_ignore_is_made_to_count(
    controls: dict[str, Value], also: dict[str, Any]
) -> None:
    modes = {"ExposureTimeMode": (0, 1, 0), "AnalogueGainMode": (0, 1, 0)}
    set_ = chosen(controls, focus="continuous", offered=IMX708_CONTROLS | modes)
    assert {name: set_[name] for name in also} == also


def test_an_older_libcamera_has_no_modes_of_the_exposure() -> None:
    """It fixes an exposure that is set."""
    assert chosen({"ExposureTime": 5000}, offered=FIXED_FOCUS) == {"ExposureTime": 5000}


@pytest.mark.parametrize(
    ("controls", "said"),
    [
        ({"AwbMod": "daylight"}, r"controls\.AwbMod: did you mean AwbMode\? imx708 offers AeConst"),
        ({"awbmode": "daylight"}, r"did you mean AwbMode\?"),
        ({"Zoom": 2}, r"controls\.Zoom: imx708 offers .*Sharpness$"),
        ({"AwbMode": "dayligth"}, r'AwbMode = "dayligth": did you mean daylight\? imx708 takes "a'),
        ({"AwbMode": 9}, r'AwbMode = 9: .* a whole number from 0 to 7, or "auto", '),
        ({"AwbMode": 1.5}, "a whole number from 0 to 7"),
        ({"AwbMode": True}, "a whole number from 0 to 7"),
        ({"Contrast": 33}, r"Contrast = 33: imx708 takes a number from 0 to 32$"),
        ({"Contrast": "high"}, r'Contrast = "high": takes numbers, not words'),
        ({"ExposureTime": 5}, "ExposureTime = 5: imx708 takes a whole number from 26 to "),
        ({"ExposureTime": 5000.5}, "a whole number"),
        ({"AeEnable": 1}, "true or false"),
        ({"AeEnable": "yes"}, "not words"),
        ({"AwbEnable": 0}, "true or false"),
        ({"ColourGains": 1.5}, "a list of 2 numbers from 0 to 32"),
        ({"ColourGains": (1.5, 99.0)}, "a list of 2 numbers from 0 to 32"),
        ({"ColourGains": (1.5,)}, "a list of 2 numbers"),
        ({"Sharpness": (1.0, 2.0)}, "a number from 0 to 16"),
        ({"FrameDurationLimits": (1, 2)}, "camera.picamera2.frame_rate_hz sets it"),
        ({"ScalerCrop": (1, 2, 3, 4)}, "preprocess.region"),
        ({"AfWindows": (1, 2, 3, 4)}, "AfWindows cannot be set: neither a number nor a word"),
    ],
)
def test_what_the_camera_does_not_take_is_refused(controls: dict[str, Value], said: str) -> None:
    with pytest.raises(CameraSettingError, match=said) as caught:
        chosen(controls)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == EXIT_CONFIG, "starting again would not help"


def test_words_beyond_what_this_camera_has_are_refused() -> None:
    with pytest.raises(CameraSettingError, match=r'takes "off", "manual"$'):
        chosen({"AeFlickerMode": "auto"})


def open_with(monkeypatch: pytest.MonkeyPatch, *keys: str) -> FakePicamera2:
    fake = install(monkeypatch)
    monkeypatch.setattr(fake, "cameras", [{"Model": "imx708", "Num": 0, "Rotation": 180}])
    monkeypatch.setattr(fake, "controls", IMX708_CONTROLS)
    camera = build_camera(load_config(None, overrides=keys).camera)
    try:
        camera.open()
    finally:
        camera.close()
    return fake.last


def test_from_the_configuration_to_the_camera(monkeypatch: pytest.MonkeyPatch) -> None:
    table = (
        'AwbMode = "daylight", ExposureTime = 5000, AeExposureMode = "short", '
        'ColourGains = [1.5, 2.0], NoiseReductionMode = "high-quality", HdrMode = "off"'
    )
    camera = open_with(monkeypatch, f"camera.picamera2.controls={{{table}}}")
    assert camera.set == {
        "FrameDurationLimits": (100000, 100000),
        "ScalerCrop": (1008, 0, 2592, 2592),
        "AfMode": 2,
        "AwbMode": 5,
        "ExposureTime": 5000,
        "AeExposureMode": 1,
        "ColourGains": (1.5, 2.0),
        "AwbEnable": False,
        "NoiseReductionMode": 2,
        "HdrMode": 0,
    }
    assert open_with(monkeypatch, "camera.picamera2.focus=2").set["LensPosition"] == 2.0
    assert camera.tuning is None


def test_a_refused_control_leaves_the_camera_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CameraError, match=r"^cam0: camera\.picamera2\.controls\.Contrast = 99"):
        open_with(monkeypatch, "camera.picamera2.controls={Contrast = 99}")
    assert FakePicamera2.last.calls[-1] == "close"


def test_an_exposure_longer_than_a_frame_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    said = r"ExposureTime = 200000: .* 100000 µs .* lower that to 5$"
    with pytest.raises(CameraError, match=said):
        open_with(monkeypatch, "camera.picamera2.controls={ExposureTime = 200000}")


def test_a_tuning_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LIBCAMERA_RPI_TUNING_FILE", "")  # so that it is undone
    file = tmp_path / "imx708_noir.json"
    with pytest.raises(CameraSettingError, match=r"tuning_file: .*noir\.json: no such file"):
        open_with(monkeypatch, f"camera.picamera2.tuning_file={file}")
    file.write_text("{}")
    camera = open_with(monkeypatch, f"camera.picamera2.tuning_file={file}")
    assert camera.tuning == str(file)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("camera.picamera2.focus=sharp", '"continuous", "auto", "manual", or a number of dioptres'),
        ("camera.picamera2.focus=-1", "a number of dioptres from 0 up"),
        ("camera.picamera2.focus=true", "a number"),
        ("camera.picamera2.controls={AwbMode = {}}", "a table of words, numbers"),
        ("camera.picamera2.controls={Contrast = nan}", "a table of words, numbers"),
        ("camera.rotation=45", "one of 0, 90, 180, 270"),
        ("camera.flip=both", 'one of "none", "horizontal", "vertical"'),
    ],
)
def test_what_no_camera_takes_is_an_error_of_the_configuration(override: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load_config(None, overrides=[override])


def test_the_daemon_ends_at_once_and_is_not_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)
    config = load_config(None, overrides=["camera.picamera2.controls={Zoom = 2}"])
    capture = Capture(
        camera_settings(config.camera), deliver=lambda *_, **__: True, on_end=lambda: None
    )
    capture.open()
    capture.join(5)
    with pytest.raises(CameraSettingError, match="Zoom") as caught:
        capture.check()
    assert caught.value.exit_code == EXIT_CONFIG
