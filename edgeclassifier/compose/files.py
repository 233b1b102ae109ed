"""Files whose content counts as if it were in the configuration, and which version each has."""

import contextlib
from collections.abc import Mapping
from pathlib import Path

from edgeclassifier.compose.accelerator import compiled_model
from edgeclassifier.compose.model import find_model
from edgeclassifier.config import Config
from edgeclassifier.config.views import views_of
from edgeclassifier.contract.plain import Plain, plain_data
from edgeclassifier.errors import ModelError
from edgeclassifier.host.credentials import password_path

Version = tuple[str, int, int]
"""Of a file, to be compared: its path, when it was written, and how large it is."""


@plain_data
class Files(Plain):
    """Files whose content counts as if it were in the configuration, by the keys that name them."""

    read: Mapping[str, Path]
    hidden: Mapping[str, Path]
    """In place of these a systemd credential is read, which is renewed at the next start."""


def files_in_use(config: Config) -> Files:
    """Name the files that are read, by the key that leads to each."""
    mqtt = config.mqtt
    named = {
        "mqtt.tls.ca_file": mqtt.tls.ca_file,
        "mqtt.tls.cert_file": mqtt.tls.cert_file,
        "mqtt.tls.key_file": mqtt.tls.key_file,
    }
    secrets = {
        "camera.stream.password_file": config.camera.stream.password_file,
        "mqtt.password_file": mqtt.password_file,
        "web.password_file": config.web.password_file if config.web.enabled else "",
    }
    passwords = {key: Path(name) for key, name in secrets.items() if name}
    read = {key: password_path(path) for key, path in passwords.items()}
    return Files(
        read={key: Path(name) for key, name in named.items() if name}
        | read
        | _files_of_the_models(config),
        hidden={key: path for key, path in passwords.items() if read[key] != path},
    )


def _files_of_the_models(config: Config) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for view, own in views_of(config).items():
        found = model_files(own)
        if view and own.model != config.model:
            found = {f"views.{view}.{key.partition('.')[2]}": path for key, path in found.items()}
            found = {key.replace(".name", ".model"): path for key, path in found.items()}
        files |= found
    return files


def model_files(config: Config) -> dict[str, Path]:
    """Name the files of the model of one view; none of one that is not there."""
    files: dict[str, Path] = {}
    # What builds the model says what is missing.
    with contextlib.suppress(ModelError):
        model = find_model(config.model)
        files["model.name"] = model.path
        if model.labels is not None:
            files["model.labels"] = model.labels
        if config.accelerator.delegate != "none":
            files["accelerator.model"] = compiled_model(config, model).path
    return files


def stamped(files: Mapping[str, Path]) -> dict[str, Version]:
    """Return which version each file has, of those that are there."""
    return {key: version for key, path in files.items() if (version := _version(path))}


def _version(path: Path) -> Version | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return str(path), status.st_mtime_ns, status.st_size


def differing(before: Mapping[str, Version], after: Mapping[str, Version]) -> frozenset[str]:
    """Name the files that are other ones."""
    return frozenset(key for key in before.keys() | after if before.get(key) != after.get(key))
