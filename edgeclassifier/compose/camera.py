"""The camera that the configuration means, and what a still scene is to it."""

import pkgutil
from pathlib import Path
from typing import Any

from edgeclassifier.cameras import Camera
from edgeclassifier.config import CameraConfig, Config
from edgeclassifier.contract.orientation import orientation
from edgeclassifier.engine.preprocess import Area
from edgeclassifier.errors import ConfigError
from edgeclassifier.pipeline.capture import CameraSettings
from edgeclassifier.pipeline.idle import IdleSettings

_KINDS = {
    "picamera2": "edgeclassifier.cameras.picamera:PiCamera",
    "stream": "edgeclassifier.cameras.stream:StreamCamera",
    "replay": "edgeclassifier.cameras.replay:ReplayCamera",
}
"""The class of each `camera.source`. It takes `camera_id`, `orientation` and the keys of its
section by keyword, and is imported if it is used: it may need what is not installed."""


def camera_settings(config: CameraConfig) -> CameraSettings:
    """Say which camera, and how it is watched.

    Its password is read now, so that opening it again needs nothing but the camera. Raises
    ConfigError if the password file is not usable.
    """
    keywords = _keywords(config)
    return CameraSettings(
        make=lambda: _build(config.source, camera_id=config.id, **keywords),
        deadline_s=config.deadline_s,
        max_recoveries=config.max_recoveries,
        frozen_after_s=config.frozen_after_s,
    )


def build_camera(config: CameraConfig) -> Camera:
    """Build the camera, closed. Raises ConfigError if its password file is not usable."""
    return camera_settings(config).make()


def area(config: Config) -> Area:
    """Return which part of a frame is classified."""
    preprocess = config.preprocess
    return Area(crop_fraction=preprocess.crop_fraction, region=preprocess.region)


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


def _build(source: str, **keywords: Any) -> Camera:
    camera: Camera = pkgutil.resolve_name(_KINDS[source])(**keywords)
    return camera


def _keywords(config: CameraConfig) -> dict[str, Any]:
    """Return the keys of the source's section, with user name and password in the URL."""
    keywords = dict(vars(getattr(config, config.source)))
    keywords["orientation"] = orientation(config.rotation, config.flip)
    if "password_file" in keywords:
        username, password_file = keywords.pop("username"), keywords.pop("password_file")
        keywords["url"] = _with_credentials(keywords["url"], username, password_file)
    return keywords


def _with_credentials(url: str, username: str, password_file: str) -> str:
    if not username:
        return url
    from urllib.parse import quote

    from edgeclassifier.host.credentials import read_password
    from edgeclassifier.host.redaction import redact

    password = f":{quote(read_password(Path(password_file)), safe='')}" if password_file else ""
    scheme, separator, rest = url.partition("://")
    if not separator:
        raise ConfigError([f"camera.stream.username is set, but {redact(url)} is no URL"])
    return f"{scheme}://{quote(username, safe='')}{password}@{rest}"
