"""What no single key shows: values that do not go together."""

import operator
from collections.abc import Iterator

from edgeclassifier.config.broker import MqttConfig
from edgeclassifier.config.guests import WebConfig
from edgeclassifier.config.schema import CameraConfig, Config
from edgeclassifier.config.views import view_problems
from edgeclassifier.host.addresses import page_host_problem

_ORDERED = (
    ("accelerator.retry_min_s", "accelerator.retry_max_s"),
    ("mqtt.reconnect_min_s", "mqtt.reconnect_max_s"),
    ("state.leave_threshold", "state.threshold"),
    ("keep.uncertain.lowest", "keep.uncertain.highest"),
)


def _value(config: Config, key: str) -> float:
    found: float = operator.attrgetter(key)(config)
    return found


def contradictions(config: Config) -> list[str]:
    """List the problems that no single key shows."""
    problems = [*_of_the_camera(config.camera)]
    accelerator = config.accelerator
    if accelerator.slow_s >= accelerator.deadline_s:
        problems.append(
            f"accelerator.slow_s ({accelerator.slow_s:g}) must be less than "
            f"accelerator.deadline_s ({accelerator.deadline_s:g})"
        )
    for lower, higher in _ORDERED:
        low, high = _value(config, lower), _value(config, higher)
        if low > high:
            problems.append(f"{lower} ({low:g}) is greater than {higher} ({high:g})")
    if bool(config.model.mean) != bool(config.model.std):
        problems.append("model.mean and model.std belong together: set both or none")
    if config.image.on != "interval" and not config.image.enabled:
        problems.append(
            f'image.on is "{config.image.on}" but image.enabled is false: set it to true'
        )
    problems += _of_the_broker(config.mqtt)
    problems += _of_the_page(config.web)
    problems += view_problems(config)
    return problems


def _of_the_page(web: WebConfig) -> Iterator[str]:
    if not web.enabled:
        return
    if problem := page_host_problem(web.host, has_password=bool(web.password_file)):
        yield problem


def _of_the_camera(camera: CameraConfig) -> Iterator[str]:
    if camera.source == "replay" and not camera.replay.path:
        yield (
            'camera.replay.path is empty, but camera.source is "replay": '
            "name a picture, a folder or a glob"
        )
    if camera.source == "stream" and not camera.stream.url:
        yield (
            'camera.stream.url is empty, but camera.source is "stream": '
            "name a device, a URL or a video file"
        )
    if "@" in camera.stream.url.partition("://")[2].partition("/")[0]:
        yield (
            "camera.stream.url carries a user or password: "
            "use camera.stream.username and camera.stream.password_file"
        )
    if camera.stream.password_file and not camera.stream.username:
        yield "camera.stream.password_file is set without camera.stream.username"
    rate_key, rate_hz = {
        "picamera2": ("camera.picamera2.frame_rate_hz", camera.picamera2.frame_rate_hz),
        "stream": ("camera.stream.max_rate_hz", camera.stream.max_rate_hz),
        "replay": ("camera.replay.rate_hz", camera.replay.rate_hz),
    }[camera.source]
    if rate_hz and 1 / rate_hz >= camera.deadline_s:
        yield (
            f"camera.deadline_s ({camera.deadline_s:g}) must be longer than the pause between two "
            f"frames, {1 / rate_hz:g} s at {rate_key} = {rate_hz:g}"
        )


def _of_the_broker(mqtt: MqttConfig) -> Iterator[str]:
    if mqtt.password_file and not mqtt.username:
        yield "mqtt.password_file is set without mqtt.username"
    if bool(mqtt.tls.cert_file) != bool(mqtt.tls.key_file):
        yield "mqtt.tls.cert_file and mqtt.tls.key_file belong together: set both or none"
    if mqtt.tls.alpn and not mqtt.tls.enabled:
        yield "mqtt.tls.alpn is set but mqtt.tls.enabled is false: ALPN is part of TLS"
    if not mqtt.tls.enabled and (mqtt.tls.ca_file or mqtt.tls.cert_file or mqtt.tls.key_file):
        yield "mqtt.tls has files but mqtt.tls.enabled is false: set it to true"
