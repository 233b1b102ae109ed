"""The device's name, topics, broker and folder, as the configuration means them. Needs no NumPy."""

import re
import socket
from collections.abc import Mapping
from pathlib import Path

from edgeclassifier.config import Config, MqttConfig
from edgeclassifier.config.schema import DeviceConfig
from edgeclassifier.contract.messages import Topics

NO_FOLDER = (
    'buffer.storage is "disk", but there is no folder for it: set buffer.path or '
    "device.state_directory"
)
NO_KEEP_FOLDER = (
    "keep.kinds asks for pictures to be kept, but there is no folder for them: set keep.path or "
    "device.state_directory"
)

_PORTS, _WEBSOCKET_PORTS = (1883, 8883), (80, 443)
"""The usual ones, without TLS and with it."""
_LOCAL_DOMAINS = re.compile(
    r"\.(local|lan|home|localdomain|home\.arpa|fritz\.box|internal)\.?$", re.IGNORECASE
)
"""What a router or mDNS puts behind a name: the same for every device."""


def topics_of(config: Config, view: str | None = None) -> Topics:
    """Name the topics of the configured device and of a view; None: of the first one."""
    return Topics(
        root=config.mqtt.root,
        device=device_id(config.device.id),
        camera=config.camera.id,
        view=next(iter(config.views), "") if view is None else view,
    )


def device_id(configured: str) -> str:
    """Return the configured id, or the host name in the characters that a topic allows.

    All its levels count, so that cam.porch.example and cam.garden.example are two devices.
    """
    host = _LOCAL_DOMAINS.sub("", socket.gethostname())
    return configured or re.sub(r"[^a-zA-Z0-9_-]+", "-", host).strip("-") or "device"


def broker_port(config: MqttConfig) -> int:
    """Return the configured port, or the usual one."""
    usual = _WEBSOCKET_PORTS if config.transport == "websockets" else _PORTS
    return config.port or usual[config.tls.enabled]


def state_directory(config: DeviceConfig, environment: Mapping[str, str]) -> Path | None:
    """Return the configured folder, or the systemd unit's, or the user's; None if there is none."""
    if config.state_directory:
        return Path(config.state_directory)
    if of_the_unit := environment.get("STATE_DIRECTORY"):
        return Path(of_the_unit.partition(":")[0])
    if base := environment.get("XDG_STATE_HOME"):
        return Path(base) / "edgeclassifier"
    if home := environment.get("HOME"):
        return Path(home) / ".local" / "state" / "edgeclassifier"
    return None
