"""The camera that the configuration means, and what a still scene is to it."""

from pathlib import Path

from edgeclassifier.cameras import Camera
from edgeclassifier.config import CameraConfig, Config
from edgeclassifier.errors import ConfigError
from edgeclassifier.pipeline.capture import CameraSettings
from edgeclassifier.pipeline.idle import IdleSettings


def camera_settings(config: CameraConfig) -> CameraSettings:
    """Say which camera, and how it is watched.

    Its password is read now, so that opening it again needs nothing but the camera. Raises
    ConfigError where the password file is not usable.
    """
    stream = config.stream
    url = ""
    if config.source == "stream":
        url = _with_credentials(stream.url, stream.username, stream.password_file)
    return CameraSettings(
        make=lambda: _build(config, url),
        deadline_s=config.deadline_s,
        max_recoveries=config.max_recoveries,
        frozen_after_s=config.frozen_after_s,
    )


def build_camera(config: CameraConfig) -> Camera:
    """Build the camera, closed. Raises ConfigError where its password file is not usable."""
    return camera_settings(config).make()


def idle_settings(config: Config) -> IdleSettings | None:
    """Take them from the configuration; None if every frame is to be classified."""
    if not config.idle.skip_unchanged:
        return None
    return IdleSettings(
        max_age_s=config.idle.max_age_s,
        min_area=config.idle.min_area,
        crop_fraction=config.preprocess.crop_fraction,
        region=config.preprocess.region,
    )


def _build(config: CameraConfig, url: str) -> Camera:
    if config.source == "picamera2":
        from edgeclassifier.cameras.picamera import PiCamera

        return PiCamera(
            camera_id=config.id,
            index=config.picamera2.index,
            frame_rate_hz=config.picamera2.frame_rate_hz,
        )
    if config.source == "stream":
        from edgeclassifier.cameras.stream import StreamCamera

        stream = config.stream
        return StreamCamera(
            camera_id=config.id,
            url=url,
            max_rate_hz=stream.max_rate_hz,
            options=stream.options,
            timeout_s=stream.timeout_s,
            reconnect_max_s=stream.reconnect_max_s,
            loop=stream.loop,
        )
    from edgeclassifier.cameras.replay import ReplayCamera

    return ReplayCamera(
        camera_id=config.id,
        path=config.replay.path,
        loop=config.replay.loop,
        rate_hz=config.replay.rate_hz,
    )


def _with_credentials(url: str, username: str, password_file: str) -> str:
    if not username:
        return url
    from urllib.parse import quote

    from edgeclassifier.cameras.ffmpeg import redact
    from edgeclassifier.host.credentials import read_password

    password = f":{quote(read_password(Path(password_file)), safe='')}" if password_file else ""
    scheme, separator, rest = url.partition("://")
    if not separator:
        raise ConfigError([f"camera.stream.username is set, but {redact(url)} is no URL"])
    return f"{scheme}://{quote(username, safe='')}{password}@{rest}"
