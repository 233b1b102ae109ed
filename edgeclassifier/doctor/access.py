"""What the service's user has to be let at, which root, who tries the configuration, always is."""

import os
from collections.abc import Iterator
from pathlib import Path

from edgeclassifier.config import Config
from edgeclassifier.doctor.machine import Machine

_CREDENTIAL = "/etc/edgeclassifier/mqtt-password"
"""systemd reads it for the service (LoadCredential= of the unit), so it may be root's alone."""


def closed_secrets(config: Config, machine: Machine) -> list[tuple[str, str]]:
    """List key and file of the secrets that the service's user may not read.

    There are none where the service is not installed.
    """
    user = machine.service_user()
    if user is None:
        return []
    return [
        (key, file) for key, file in _secrets(config) if not machine.may_reach(user, file, os.R_OK)
    ]


def closed_folder(file: str, machine: Machine) -> str | None:
    """Say why who runs the daemon cannot write `file` into its folder; None where that is open."""
    folder, user = os.fspath(Path(file).absolute().parent), machine.user()
    if not machine.exists(folder):
        return f"{folder} is not there"
    if not machine.may_reach(user, folder, os.W_OK | os.X_OK):
        return f"{folder} is not open to {user.name}, to write"
    return None


def _secrets(config: Config) -> Iterator[tuple[str, str]]:
    stream, mqtt, web = config.camera.stream, config.mqtt, config.web
    named = (
        ("camera.stream.password_file", stream.password_file, config.camera.source == "stream"),
        ("mqtt.password_file", mqtt.password_file, True),
        ("mqtt.tls.key_file", mqtt.tls.key_file, mqtt.tls.enabled),
        ("web.password_file", web.password_file, web.enabled),
    )
    for key, file, is_used in named:
        path = os.fspath(Path(file).absolute())
        if file and is_used and path != _CREDENTIAL:
            yield key, path
