"""The files that the configuration leads to, and whose content counts as if it were in it."""

import contextlib
from pathlib import Path

from edgeclassifier.compose.accelerator import compiled_model
from edgeclassifier.compose.model import find_model
from edgeclassifier.config import Config
from edgeclassifier.errors import ModelError


def files_read(config: Config) -> dict[str, Path | None]:
    """Return for each key the file that is read because of it, None where there is none."""
    mqtt, stream = config.mqtt, config.camera.stream
    named = {
        "camera.stream.password_file": stream.password_file,
        "mqtt.password_file": mqtt.password_file,
        "mqtt.tls.ca_file": mqtt.tls.ca_file,
        "mqtt.tls.cert_file": mqtt.tls.cert_file,
        "mqtt.tls.key_file": mqtt.tls.key_file,
    }
    files = {key: Path(name) if name else None for key, name in named.items()}
    return files | _model_files(config)


def _model_files(config: Config) -> dict[str, Path | None]:
    files: dict[str, Path | None] = dict.fromkeys(
        ("model.name", "model.labels", "accelerator.model")
    )
    # Whoever builds the model says what is missing.
    with contextlib.suppress(ModelError):
        model = find_model(config.model)
        files |= {"model.name": model.path, "model.labels": model.labels}
        if config.accelerator.delegate != "none":
            files["accelerator.model"] = compiled_model(config, model).path
    return files
