"""Secrets, which are never in the configuration but in files of their own."""

import os
import pwd
import stat
from pathlib import Path

from edgeclassifier.errors import ConfigError
from edgeclassifier.host.files import open_named

_MAX_PASSWORD_BYTES = 65_535
"""What fits into MQTT's CONNECT."""


def read_password(path: Path) -> str:
    """Read a password file, without the newline at its end.

    A systemd credential of the same name is read in its place, unless that is blank: under systemd
    the file itself need be readable by root alone. A file that others may read is refused, unless
    it is a systemd credential, whose access systemd looks after.
    Raises ConfigError.
    """
    path = password_path(path)
    try:
        with open_named(path) as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            content = file.read(_MAX_PASSWORD_BYTES + 2)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        remedy = "create it with mode 600"
        if isinstance(error, PermissionError):
            remedy = f"this runs as {_user()}, who has to own it: sudo chown {_user()} {path}"
        raise ConfigError([f"password file {path} cannot be read: {reason}; {remedy}"]) from error
    if mode & 0o077 and not _is_systemd_credential(path):
        raise ConfigError(
            [f"password file {path} can be read by others (mode {mode:03o}); chmod 600 it"]
        )
    content = content.removesuffix(b"\n").removesuffix(b"\r")
    if not content:
        raise ConfigError([f"password file {path} is empty; write the password into it"])
    if len(content) > _MAX_PASSWORD_BYTES:
        raise ConfigError([f"password file {path} is too large to be a password"])
    try:
        return content.decode()
    except UnicodeDecodeError:
        # The cause would carry the password along.
        raise ConfigError([f"password file {path} is not text in UTF-8"]) from None


def password_path(path: Path) -> Path:
    """Return the file that is read for a password file: perhaps a systemd credential."""
    return _systemd_credential(path.name) or path


def _systemd_credential(name: str) -> Path | None:
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if not folder or not name:
        return None
    path = Path(folder) / name
    try:
        # The unit gives a blank one where there is no file, which would fail its start.
        return path if path.read_bytes().strip() else None
    except OSError:
        return None


def _is_systemd_credential(path: Path) -> bool:
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    return bool(folder) and path.resolve().is_relative_to(Path(folder or "").resolve())


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
