"""Every key of the configuration with its default. `config.toml` shows the same to people."""

from dataclasses import field

from edgeclassifier.config.broker import BufferConfig, MqttConfig
from edgeclassifier.config.guests import (
    HomeAssistantConfig,
    KeepConfig,
    MetricsConfig,
    WebConfig,
)
from edgeclassifier.config.options import (
    CAMERA,
    IDLE,
    LOG,
    MODEL,
    PUBLISHING,
    SESSION,
    START,
    VIEWS,
    ControlValue,
    above,
    at_least,
    between,
    channels,
    control_table,
    each,
    focus,
    local_file,
    matching,
    model_file,
    non_zero_channels,
    number_table,
    one_of,
    one_of_numbers,
    option,
    region,
    string_table,
    tables,
    time_zone,
    topic_filter,
    topic_id,
    words_of,
)
from edgeclassifier.config.views import ViewConfig
from edgeclassifier.contract.commands import BY_DEFAULT, COMMANDS
from edgeclassifier.contract.orientation import FLIPS, ROTATIONS
from edgeclassifier.contract.plain import Plain, plain_data


@plain_data
class DeviceConfig(Plain):
    """The device in topics and payloads."""

    id: str = option("", lambda value: topic_id(value) if value else None, applies=SESSION)
    state_directory: str = option("", path=True, applies=START)
    time_zone: str = option("", time_zone, applies=START)


@plain_data
class PiCameraConfig(Plain):
    """A camera on the Pi's connector or on USB, through libcamera."""

    index: int = option(0, at_least(0), applies=CAMERA)
    frame_rate_hz: float = option(10.0, between(0.01, 120), applies=CAMERA)
    focus: float | str = option("continuous", focus, applies=CAMERA)
    tuning_file: str = option("", path=True, applies=CAMERA)
    controls: dict[str, ControlValue] = control_table(applies=CAMERA)


@plain_data
class StreamConfig(Plain):
    """A V4L2 device, a network camera or a video file."""

    url: str = option("", path=local_file, applies=CAMERA)
    username: str = option("", applies=CAMERA)
    password_file: str = option("", path=True, applies=CAMERA)
    max_rate_hz: float = option(0.0, at_least(0), applies=CAMERA)
    loop: bool = option(False, applies=CAMERA)
    timeout_s: float = option(10.0, above(0), applies=CAMERA)
    reconnect_max_s: float = option(60.0, at_least(1), applies=CAMERA)
    max_pixels: int = option(12_500_000, at_least(1), applies=CAMERA)
    options: dict[str, str] = string_table(applies=CAMERA)


@plain_data
class ReplayConfig(Plain):
    """Pictures from files."""

    path: str = option("", path=True, applies=CAMERA)
    loop: bool = option(True, applies=CAMERA)
    rate_hz: float = option(1.0, at_least(0), applies=CAMERA)


@plain_data
class CameraConfig(Plain):
    """Where frames come from."""

    id: str = option("cam0", topic_id, applies=(CAMERA, SESSION))
    source: str = option("picamera2", one_of("picamera2", "stream", "replay"), applies=CAMERA)
    rotation: int = option(0, one_of_numbers(*ROTATIONS), applies=CAMERA)
    flip: str = option("none", one_of(*FLIPS), applies=CAMERA)
    deadline_s: float = option(10.0, above(0), applies=CAMERA)
    max_recoveries: int = option(5, at_least(0), applies=CAMERA)
    frozen_after_s: float = option(60.0, at_least(0), applies=CAMERA)
    picamera2: PiCameraConfig = field(default_factory=PiCameraConfig)
    stream: StreamConfig = field(default_factory=StreamConfig)
    replay: ReplayConfig = field(default_factory=ReplayConfig)


@plain_data
class PreprocessConfig(Plain):
    """Which part of a frame is classified."""

    crop_fraction: float = option(0.875, between(0.05, 1), applies=IDLE)
    region: tuple[float, ...] = option((), region, applies=IDLE)


@plain_data
class ModelConfig(Plain):
    """What classifies, and how its input and output are to be read."""

    name: str = option(
        "auto",
        matching(r"\S(.*\S)?", '"auto", a name, or a .tflite file'),
        path=model_file,
        applies=MODEL,
    )
    store: str = option("", path=True, applies=MODEL)
    runtime: str = option("auto", one_of("auto", "litert", "tflite-runtime"), applies=MODEL)
    threads: int = option(0, between(0, 64), applies=MODEL)
    labels: str = option("", path=True, applies=MODEL)
    mean: tuple[float, ...] = option((), channels, applies=MODEL)
    std: tuple[float, ...] = option((), non_zero_channels, applies=MODEL)
    channels: str = option("rgb", one_of("rgb", "bgr"), applies=MODEL)
    input_size: int = option(0, between(0, 4096), applies=MODEL)
    output: str = option("auto", one_of("auto", "probabilities", "logits"), applies=MODEL)
    top_k: int = option(3, between(1, 100), applies=MODEL)
    threshold: float = option(0.0, between(0, 1), applies=MODEL)
    deadline_s: float = option(60.0, above(0), applies=START)


@plain_data
class AcceleratorConfig(Plain):
    """What runs the model in place of the CPU, while it is there."""

    delegate: str = option(
        "auto", matching(r"\S(.*\S)?", '"auto", "none", "edgetpu" or a library'), applies=MODEL
    )
    options: dict[str, str] = string_table(applies=MODEL)
    model: str = option("", path=model_file, applies=MODEL)
    deadline_s: float = option(2.0, above(0), applies=MODEL)
    load_deadline_s: float = option(30.0, above(0), applies=MODEL)
    slow_s: float = option(0.5, at_least(0), applies=MODEL)
    retry_min_s: float = option(2.0, above(0), applies=MODEL)
    retry_max_s: float = option(300.0, above(0), applies=MODEL)


@plain_data
class IdleConfig(Plain):
    """What happens while the scene stands still."""

    skip_unchanged: bool = option(False, applies=IDLE)
    max_age_s: float = option(60.0, above(0), applies=IDLE)
    min_area: float = option(0.005, between(0.001, 1), applies=IDLE)


@plain_data
class StateConfig(Plain):
    """When the stable label changes."""

    threshold: float = option(0.3, between(0, 1), applies=PUBLISHING)
    leave_threshold: float = option(0.0, between(0, 1), applies=PUBLISHING)
    window_s: float = option(1.0, between(0, 3600), applies=PUBLISHING)
    hold_s: float = option(2.0, at_least(0), applies=PUBLISHING)
    heartbeat_s: float = option(60.0, above(0), applies=PUBLISHING)
    cool_down_s: float = option(0.0, at_least(0), applies=PUBLISHING)
    exclude: tuple[str, ...] = option((), applies=PUBLISHING)
    thresholds: dict[str, float] = number_table(between(0, 1), applies=PUBLISHING)


@plain_data
class ImageConfig(Plain):
    """The JPEG of the classified crop."""

    enabled: bool = option(False, applies=PUBLISHING)
    on_request: bool = option(False, applies=PUBLISHING)
    on: str = option("interval", one_of("event", "prediction", "interval"), applies=PUBLISHING)
    max_rate_hz: float = option(0.2, above(0), applies=PUBLISHING)
    quality: int = option(80, between(1, 95), applies=PUBLISHING)


@plain_data
class CommandsConfig(Plain):
    """What may be asked of the device over MQTT."""

    allow: tuple[str, ...] = option(BY_DEFAULT, words_of(*COMMANDS), applies=START)
    max_rate_hz: float = option(2.0, above(0), applies=START)
    reply_topics: tuple[str, ...] = option((), each(topic_filter), applies=START)


@plain_data
class LogConfig(Plain):
    """What is said on stderr, or in the journal."""

    level: str = option("info", one_of("debug", "info", "warning", "error"), applies=LOG)


@plain_data
class Config(Plain):
    """The whole configuration, validated."""

    device: DeviceConfig = field(default_factory=DeviceConfig)
    camera: CameraConfig = field(default_factory=CameraConfig)
    preprocess: PreprocessConfig = field(default_factory=PreprocessConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    accelerator: AcceleratorConfig = field(default_factory=AcceleratorConfig)
    idle: IdleConfig = field(default_factory=IdleConfig)
    state: StateConfig = field(default_factory=StateConfig)
    image: ImageConfig = field(default_factory=ImageConfig)
    mqtt: MqttConfig = field(default_factory=MqttConfig)
    buffer: BufferConfig = field(default_factory=BufferConfig)
    keep: KeepConfig = field(default_factory=KeepConfig)
    commands: CommandsConfig = field(default_factory=CommandsConfig)
    homeassistant: HomeAssistantConfig = field(default_factory=HomeAssistantConfig)
    web: WebConfig = field(default_factory=WebConfig)
    metrics: MetricsConfig = field(default_factory=MetricsConfig)
    log: LogConfig = field(default_factory=LogConfig)
    views: dict[str, ViewConfig] = tables(ViewConfig, applies=VIEWS)
