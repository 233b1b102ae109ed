"""Where the daemon keeps what has to survive it."""

from collections.abc import Mapping
from pathlib import Path

from edgeclassifier.config import DeviceConfig


def state_directory(config: DeviceConfig, environment: Mapping[str, str]) -> Path | None:
    """Return the configured folder, or the systemd unit's, or the user's; None where is none."""
    if config.state_directory:
        return Path(config.state_directory)
    if of_the_unit := environment.get("STATE_DIRECTORY"):
        return Path(of_the_unit.partition(":")[0])
    if base := environment.get("XDG_STATE_HOME"):
        return Path(base) / "edgeclassifier"
    if home := environment.get("HOME"):
        return Path(home) / ".local" / "state" / "edgeclassifier"
    return None
