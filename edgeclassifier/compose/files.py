"""The files that the configuration leads to, and whose content counts as if it were in it."""

import contextlib
from pathlib import Path

from edgeclassifier.compose.accelerator import compiled_model
from edgeclassifier.compose.model import find_model
from edgeclassifier.config import Config
from edgeclassifier.daemon.reload import Files
from edgeclassifier.errors import ModelError
from edgeclassifier.host.credentials import password_path


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
        read={key: Path(name) for key, name in named.items() if name} | read | _model_files(config),
        hidden={key: path for key, path in passwords.items() if read[key] != path},
    )


def _model_files(config: Config) -> dict[str, Path]:
    files: dict[str, Path] = {}
    # Whoever builds the model says what is missing.
    with contextlib.suppress(ModelError):
        model = find_model(config.model)
        files["model.name"] = model.path
        if model.labels is not None:
            files["model.labels"] = model.labels
        if config.accelerator.delegate != "none":
            files["accelerator.model"] = compiled_model(config, model).path
    return files
