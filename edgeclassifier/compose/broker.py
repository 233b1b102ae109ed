"""The session with the broker that the configuration means."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgeclassifier.compose.engine import around_interpreter_nice
from edgeclassifier.compose.identity import NO_FOLDER, broker_port
from edgeclassifier.config import Config, MqttConfig
from edgeclassifier.config.broker import BufferConfig
from edgeclassifier.errors import ConfigError
from edgeclassifier.mqtt.broker import Broker

if TYPE_CHECKING:
    from edgeclassifier.buffer import Buffer
    from edgeclassifier.contract.messages import Message, Topics
    from edgeclassifier.mqtt.session import Session

_MAX_QUEUED = 1000
_MARGIN_S = 5.0
_BUFFER_FILE = "buffer.sqlite"


def broker_access(config: MqttConfig, *, device: str) -> Broker:
    """Read secrets and certificates. Raises ConfigError if one is not usable."""
    tls = None
    if config.tls.enabled:
        from edgeclassifier.mqtt.tls import make_tls_context

        tls = make_tls_context(
            ca_file=_path(config.tls.ca_file),
            cert_file=_path(config.tls.cert_file),
            key_file=_path(config.tls.key_file),
            alpn=config.tls.alpn,
        )
    password = None
    if config.password_file:
        from edgeclassifier.host.credentials import read_password

        password = read_password(Path(config.password_file))
    return Broker(
        host=config.host,
        port=broker_port(config),
        protocol="3.1.1" if config.protocol == "3.1.1" else "5",
        websocket_path=config.websocket_path if config.transport == "websockets" else None,
        older_too=config.protocol == "auto",
        client_id=config.client_id or f"{config.root.replace('/', '-')}-{device}",
        username=config.username or None,
        password=password,
        tls=tls,
        keepalive_s=config.keepalive_s,
        will_delay_s=config.will_delay_s,
    )


def subscriptions(config: Config, topics: "Topics") -> tuple[str, ...]:
    """Name the topics that the session subscribes to."""
    wanted = [topics.requests] if config.commands.allow else []
    if config.homeassistant.enabled:
        from edgeclassifier.homeassistant import birth_topic

        wanted.append(birth_topic(config.homeassistant.prefix))
    return tuple(wanted)


def build_session(
    config: Config,
    access: Broker,
    *,
    will: "Message",
    state_directory: Path | None = None,
    subscriptions: Sequence[str] = (),
) -> "Session":
    """Build the session, not yet started.

    A buffer on disk is in `state_directory` where the configuration names no other place. Raises
    ConfigError if there is none.
    """
    from edgeclassifier.mqtt.session import Session

    return Session(
        broker=access,
        buffer=_build_buffer(config.buffer, state_directory),
        reconnect_min_s=config.mqtt.reconnect_min_s,
        reconnect_max_s=config.mqtt.reconnect_max_s,
        max_queued=_MAX_QUEUED,
        backlog_rate_hz=config.mqtt.backlog_rate_hz,
        confirm_s=config.mqtt.confirm_timeout_s,
        will=will,
        subscriptions=subscriptions,
        nice=around_interpreter_nice(config.model),
    )


def _build_buffer(config: BufferConfig, state_directory: Path | None) -> "Buffer":
    max_bytes, max_picture_bytes = (
        int(mib * 1024 * 1024) for mib in (config.max_mib, config.pictures_max_mib)
    )
    if config.storage == "memory":
        from edgeclassifier.buffer import MemoryBuffer

        return MemoryBuffer(max_bytes=max_bytes, max_picture_bytes=max_picture_bytes)
    from edgeclassifier.buffer.disk import DiskBuffer

    path = _path(config.path) or (state_directory and state_directory / _BUFFER_FILE)
    if path is None:
        raise ConfigError([NO_FOLDER])
    return DiskBuffer(
        path=path,
        max_bytes=max_bytes,
        max_picture_bytes=max_picture_bytes,
        write_interval_s=config.write_interval_s,
    )


def will_wait_s(config: MqttConfig) -> float:
    """Return how long after the end of a connection a broker may publish its last will."""
    # A connection of which nothing is heard is given up after one and a half of its keepalives.
    return 1.5 * config.keepalive_s + config.will_delay_s + _MARGIN_S


def _path(configured: str) -> Path | None:
    return Path(configured) if configured else None
