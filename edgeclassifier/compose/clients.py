"""Command lines by which a person watches the daemon, or asks it for something."""

import json
import shlex
from pathlib import Path

from edgeclassifier.compose.identity import broker_port, topics_of
from edgeclassifier.config import Config, MqttConfig
from edgeclassifier.config.overrides import Change
from edgeclassifier.host.credentials import password_path


def told_where(config: Config, *, connected: bool) -> str:
    """Say on which topic predictions are published, and what shows them there."""
    topic = _predictions(config)
    kept = "" if connected else " once the broker is connected"
    if config.mqtt.transport == "websockets":
        return f"published on {topic}{kept}"  # not every mosquitto_sub knows them
    return f"published on {topic}{kept}; watch with: {watch_command(config)}"


def watch_command(config: Config) -> str:
    """Return what shows the predictions in a terminal."""
    topic = _predictions(config)
    return f"mosquitto_sub {_access(config.mqtt)} {shlex.join(['-t', topic])}"


def request_command(config: Config, command: str, payload: str) -> str:
    """Return what sends a request."""
    topic = f"{topics_of(config).base}/request/{command}"
    return f"mosquitto_pub {_access(config.mqtt)} {shlex.join(['-t', topic, '-m', payload])}"


def take_back_command(config: Config, change: Change) -> str | None:
    """Return what takes back a change; None if the device does not listen to that."""
    if change.command not in config.commands.allow:
        return None
    arguments: dict[str, str | None] = {change.argument: None}
    if change.view is not None:
        arguments["view"] = change.view
    return request_command(config, change.command, json.dumps(arguments))


def how_to_take_back(config: Config, change: Change) -> str:
    """Say what takes back a change."""
    if command := take_back_command(config, change):
        return f"take it back with: {command}"
    return f"change {change.key} in the configuration to take it back"


def _predictions(config: Config) -> str:
    """Return the topic of the predictions, with a wildcard if there are several views."""
    topics = topics_of(config)
    return f"{topics.base}/+/predictions" if len(config.views) > 1 else topics.predictions


def _access(mqtt: MqttConfig) -> str:
    """Say where the broker is and how it is talked to, without the password itself."""
    options = ["-h", mqtt.host, "-p", str(broker_port(mqtt))]
    if mqtt.tls.enabled:
        options += ["--cafile", mqtt.tls.ca_file] if mqtt.tls.ca_file else ["--tls-use-os-certs"]
    if mqtt.tls.cert_file:
        options += ["--cert", mqtt.tls.cert_file, "--key", mqtt.tls.key_file]
    if mqtt.tls.alpn:
        options += ["--tls-alpn", mqtt.tls.alpn[0]]
    if mqtt.username:
        options += ["-u", mqtt.username]
    return shlex.join(options) + (_password(mqtt.password_file) if mqtt.password_file else "")


def _password(file: str) -> str:
    # A systemd credential is there for the service alone.
    is_open = password_path(Path(file)) == Path(file)
    return f' -P "$(cat {shlex.quote(file)})"' if is_open else " -P PASSWORD"
