"""The keys of the broker: how it is reached, and what waits for it."""

from dataclasses import field

from edgeclassifier.config.options import (
    PUBLISHING,
    SESSION,
    START,
    above,
    alpn_protocol,
    at_least,
    between,
    each,
    matching,
    one_of,
    option,
    topic_root,
    url_path,
)
from edgeclassifier.contract.plain import Plain, plain_data


@plain_data
class TlsConfig(Plain):
    """Encryption of the broker's connection. Certificates and host names are always verified."""

    enabled: bool = option(False, applies=SESSION)
    ca_file: str = option("", path=True, applies=SESSION)
    cert_file: str = option("", path=True, applies=SESSION)
    key_file: str = option("", path=True, applies=SESSION)
    alpn: tuple[str, ...] = option((), each(alpn_protocol), applies=SESSION)


@plain_data
class ExpiryConfig(Plain):
    """After how long the broker drops what it could not deliver: MQTT 5 only, 0 is never."""

    predictions: int = option(0, between(0, 2**31), applies=PUBLISHING)
    event: int = option(0, between(0, 2**31), applies=PUBLISHING)


@plain_data
class MqttConfig(Plain):
    """The broker and how it is spoken to."""

    host: str = option(
        "localhost", matching(r"[^\s/:@]+|[0-9a-fA-F:]+", "a host name or address"), applies=SESSION
    )
    port: int = option(0, between(0, 65535), applies=SESSION)
    transport: str = option("tcp", one_of("tcp", "websockets"), applies=SESSION)
    websocket_path: str = option("/mqtt", url_path, applies=SESSION)
    protocol: str = option("5", one_of("5", "3.1.1", "auto"), applies=SESSION)
    root: str = option("edgeclassifier", topic_root, applies=SESSION)
    client_id: str = option("", applies=SESSION)
    probe_client_id: str = option("", applies=SESSION)
    username: str = option("", applies=SESSION)
    password_file: str = option("", path=True, applies=SESSION)
    keepalive_s: int = option(30, between(5, 65535), applies=SESSION)
    will_delay_s: int = option(5, between(0, 3600), applies=SESSION)
    confirm_timeout_s: float = option(10.0, at_least(1), applies=START)
    backlog_rate_hz: float = option(50.0, at_least(0), applies=START)
    reconnect_min_s: float = option(1.0, above(0), applies=START)
    reconnect_max_s: float = option(60.0, above(0), applies=START)
    max_rate_hz: float = option(10.0, at_least(0), applies=PUBLISHING)
    health_interval_s: float = option(30.0, at_least(1), applies=PUBLISHING)
    tls: TlsConfig = field(default_factory=TlsConfig)
    expiry_s: ExpiryConfig = field(default_factory=ExpiryConfig)


@plain_data
class BufferConfig(Plain):
    """What waits for the broker: predictions, states and events, and their pictures."""

    storage: str = option("memory", one_of("memory", "disk"), applies=START)
    max_mib: float = option(8.0, between(0.01, 64), applies=START)
    pictures_max_mib: float = option(8.0, between(0.01, 64), applies=START)
    path: str = option("", path=True, applies=START)
    write_interval_s: float = option(5.0, at_least(0), applies=START)
