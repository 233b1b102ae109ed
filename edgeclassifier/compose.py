"""Builds the parts from the configuration. Only this module knows both."""

import hashlib
import logging
import os
import re
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from edgeclassifier.cameras import Camera
from edgeclassifier.config import CameraConfig, Config, ModelConfig, MqttConfig
from edgeclassifier.errors import ConfigError, ModelError
from edgeclassifier.models.catalogue import CATALOGUE, CatalogueModel
from edgeclassifier.models.store import ModelStore, default_store_root

if TYPE_CHECKING:
    import ssl

    from edgeclassifier.classifier import Classifier
    from edgeclassifier.models.metadata import Metadata
    from edgeclassifier.mqtt.base import Message
    from edgeclassifier.mqtt.session import Session
    from edgeclassifier.preprocess import InputSpec, Normalization, Pixels, Preprocessor
    from edgeclassifier.results import Prediction

log = logging.getLogger(__name__)

BUNDLED_MODEL = "efficientnet_lite2_260_int8"
PREFERRED_MODEL = "inception_v3_299_quant"

_PORT, _TLS_PORT = 1883, 8883
_MAX_QUEUED = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFile:
    """A model file that was chosen, and what is known of it besides its content."""

    name: str
    path: Path
    labels: Path | None
    known: CatalogueModel | None
    reason: str

    def sha256(self) -> str:
        """Hash the file. Raises ModelError where it cannot be read."""
        try:
            with self.path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise ModelError(f"{self.path}: model file cannot be read: {error.strerror}") from None

    def sha256_later(self) -> Callable[[], str]:
        """Hash the file in a thread; return what waits for the result, and raises as sha256()."""
        outcome: list[str | ModelError] = []

        def hash_file() -> None:
            try:
                outcome.append(self.sha256())
            except ModelError as error:
                outcome.append(error)

        thread = threading.Thread(target=hash_file, name="sha256", daemon=True)
        thread.start()

        def result() -> str:
            thread.join()
            if isinstance(outcome[0], ModelError):
                raise outcome[0]
            return outcome[0]

        return result


def device_id(configured: str) -> str:
    """Return the configured id, or the host name in the characters that a topic allows."""
    host = socket.gethostname().partition(".")[0]
    return configured or re.sub(r"[^a-zA-Z0-9_-]+", "-", host).strip("-") or "device"


def model_store(configured: str) -> ModelStore:
    """Return the store at the configured folder, or at the usual one."""
    return ModelStore(root=Path(configured) if configured else default_store_root(os.environ))


def find_model(config: ModelConfig) -> ModelFile:
    """Choose the model file. Raises ModelError where it is not there."""
    store = model_store(config.store)
    configured_labels = Path(config.labels) if config.labels else None
    if config.name == "auto":
        installed = {each.name for each in store.installed()}
        name = PREFERRED_MODEL if PREFERRED_MODEL in installed else BUNDLED_MODEL
        reason = (
            "installed"
            if name == PREFERRED_MODEL
            else f"bundled; {PREFERRED_MODEL} is not installed"
        )
    elif config.name.endswith(".tflite"):
        path = Path(config.name).expanduser()
        known = CATALOGUE.get(path.stem)
        return ModelFile(
            name=path.stem, path=path, labels=configured_labels, known=known, reason="configured"
        )
    else:
        name, reason = config.name, "configured"
    return ModelFile(
        name=name,
        path=store.path(name),
        labels=configured_labels or store.labels_path(name),
        known=CATALOGUE.get(name),
        reason=reason,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """A model, loaded, and what prepares pictures for it."""

    model: ModelFile
    classifier: "Classifier"
    preprocessor: "Preprocessor"

    def classify(self, pixels: "Pixels") -> "tuple[Prediction, ...]":
        """Return the best labels for a picture of H x W x 3 RGB."""
        _crop, tensor = self.preprocessor(pixels)
        return self.classifier.top(self.classifier.invoke(tensor))


def build_engine(config: Config, model: ModelFile | None = None) -> Engine:
    """Load `model`, or the one that find_model() chooses.

    Raises ModelError where it, its labels or the runtime is not usable.
    """
    from edgeclassifier.classifier import Classifier, OutputKind, check_image_classifier
    from edgeclassifier.models.metadata import read_metadata
    from edgeclassifier.preprocess import Preprocessor
    from edgeclassifier.runtime import load_model

    model = model or find_model(config.model)
    loaded = load_model(model.path, runtime=config.model.runtime, threads=config.model.threads)
    # Before the labels: what is no classifier needs none.
    check_image_classifier(model.path, loaded.interpreter)
    metadata = read_metadata(model.path)
    labels, source = _labels(model, metadata)
    classifier = Classifier(
        loaded,
        path=model.path,
        labels=labels,
        labels_source=source,
        output=cast("OutputKind", config.model.output),
        top_k=config.model.top_k,
        threshold=config.model.threshold,
    )
    preprocessor = Preprocessor(
        spec=classifier.input,
        normalization=_normalization(config.model, model, metadata, classifier.input),
        crop_fraction=config.preprocess.crop_fraction,
        region=config.preprocess.region,
    )
    return Engine(model=model, classifier=classifier, preprocessor=preprocessor)


def _labels(model: ModelFile, metadata: "Metadata") -> tuple[tuple[str, ...], str]:
    if model.labels is not None:
        from edgeclassifier.labels import read_labels

        return read_labels(model.labels), str(model.labels)
    if metadata.labels is not None:
        return metadata.labels, f"the labels in {model.path}"
    if model.known is not None and model.known.labels is not None:
        return imagenet_labels(), "the ImageNet labels"
    raise ModelError(f"{model.path}: no labels inside the model: name a label file in model.labels")


def _normalization(
    config: ModelConfig, model: ModelFile, metadata: "Metadata", spec: "InputSpec"
) -> "Normalization":
    from edgeclassifier.preprocess import Normalization, usual_normalization

    if config.mean:
        return Normalization(mean=config.mean, std=config.std)
    if metadata.normalization is not None:
        return metadata.normalization
    if model.known is not None:
        return Normalization(mean=model.known.mean, std=model.known.std)
    usual, sure = usual_normalization(spec)
    if not sure:
        log.warning(
            "%s does not say how its input is normalized: assuming -1 to 1 "
            "(if that is wrong, set model.mean and model.std)",
            model.path,
        )
    return usual


def imagenet_labels() -> tuple[str, ...]:
    """Return the 1000 labels that the bundled model carries."""
    from edgeclassifier.models.metadata import read_metadata

    labels = read_metadata(CATALOGUE[BUNDLED_MODEL].bundled_path).labels
    if labels is None:
        raise ModelError("the bundled model is damaged: install the package again")
    return labels


def build_camera(config: CameraConfig) -> Camera:
    """Build the camera, closed. Raises ConfigError where its password file is not usable."""
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
            url=_with_credentials(stream.url, stream.username, stream.password_file),
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

    from edgeclassifier.credentials import read_password

    password = f":{quote(read_password(Path(password_file)), safe='')}" if password_file else ""
    scheme, separator, rest = url.partition("://")
    if not separator:
        raise ConfigError([f"camera.stream.username is set, but {url} is no URL"])
    return f"{scheme}://{quote(username, safe='')}{password}@{rest}"


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerAccess:
    """Everything needed to talk to the broker, secrets read and certificates loaded."""

    host: str
    port: int
    protocol: Literal["5", "3.1.1"]
    client_id: str
    username: str | None
    password: str | None
    tls: "ssl.SSLContext | None"
    keepalive_s: int


def broker_access(config: MqttConfig, *, device: str) -> BrokerAccess:
    """Read secrets and certificates. Raises ConfigError where one is not usable."""
    tls = None
    if config.tls.enabled:
        from edgeclassifier.mqtt.tls import make_tls_context

        tls = make_tls_context(
            ca_file=_path(config.tls.ca_file),
            cert_file=_path(config.tls.cert_file),
            key_file=_path(config.tls.key_file),
        )
    password = None
    if config.password_file:
        from edgeclassifier.credentials import read_password

        password = read_password(Path(config.password_file))
    return BrokerAccess(
        host=config.host,
        port=config.port or (_TLS_PORT if config.tls.enabled else _PORT),
        protocol="5" if config.protocol == "5" else "3.1.1",
        client_id=config.client_id or f"{config.root.replace('/', '-')}-{device}",
        username=config.username or None,
        password=password,
        tls=tls,
        keepalive_s=config.keepalive_s,
    )


def around_interpreter_nice(config: ModelConfig) -> int:
    """Return the niceness of the threads that are not the interpreter's."""
    from edgeclassifier.priority import background_nice
    from edgeclassifier.runtime import default_threads

    return background_nice(config.threads or default_threads())


def build_session(config: Config, access: BrokerAccess, *, will: "Message") -> "Session":
    """Build the session, not yet started."""
    from edgeclassifier.mqtt.session import Session

    return Session(
        host=access.host,
        port=access.port,
        protocol=access.protocol,
        client_id=access.client_id,
        username=access.username,
        password=access.password,
        tls=access.tls,
        keepalive_s=access.keepalive_s,
        reconnect_min_s=config.mqtt.reconnect_min_s,
        reconnect_max_s=config.mqtt.reconnect_max_s,
        max_queued=_MAX_QUEUED,
        will=will,
        nice=around_interpreter_nice(config.model),
    )


def probe_broker(access: BrokerAccess) -> None:
    """Connect once and leave. Raises BrokerError with what is wrong."""
    from edgeclassifier.mqtt.probe import probe

    probe(
        host=access.host,
        port=access.port,
        protocol=access.protocol,
        # With the id of a daemon that runs, the broker would close the daemon's connection.
        client_id=f"{access.client_id}-check",
        username=access.username,
        password=access.password,
        tls=access.tls,
        keepalive_s=access.keepalive_s,
    )


def _path(configured: str) -> Path | None:
    return Path(configured) if configured else None
