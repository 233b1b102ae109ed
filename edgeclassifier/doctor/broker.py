"""The broker: whether it can be found, reached and spoken to, and lets this device in."""

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from edgeclassifier.doctor.findings import Finding, Level, Problem, fine
from edgeclassifier.doctor.machine import is_closed
from edgeclassifier.doctor.subject import Subject
from edgeclassifier.errors import EXIT_CONFIG, BrokerError, ConfigError

if TYPE_CHECKING:
    from edgeclassifier.compose.probes import Probe

_LOCAL = ("localhost", "127.0.0.1", "::1")

SECRETS = Problem(
    id="broker.secrets",
    level=Level.FAILURE,
    exit_code=EXIT_CONFIG,
    title="The password or a certificate cannot be used",
    meaning="A file that `mqtt.password_file` or `mqtt.tls` names is absent, empty, open to "
    "others, or not what it should be.",
    remedy="fix what the finding names; for a password: `sudo chmod 600 {file}`",
)
UNREADABLE = Problem(
    id="broker.password_unreadable",
    level=Level.WARNING,
    title="The broker is not tried: its password is root's alone",
    meaning="So it should be. This user cannot read it, the service can.",
    remedy="`sudo edgeclassifier doctor`",
)
NAME = Problem(
    id="broker.unknown_host",
    level=Level.FAILURE,
    title="The broker's host name is not known",
    meaning="`mqtt.host` is misspelt, or the name service does not answer.",
    remedy="`getent hosts {host}`; names that end in .local need `sudo apt install libnss-mdns`; "
    "or set `mqtt.host` to the address",
)
DOWN = Problem(
    id="broker.down",
    level=Level.FAILURE,
    title="No broker listens there",
    meaning="The machine answers, but nothing listens on this port.",
    remedy="on the broker's machine: `sudo systemctl status mosquitto`; check `mqtt.host` and "
    "`mqtt.port`. mosquitto listens to its own machine alone, unless its configuration has "
    "`listener {port}`",
)
DOWN_HERE = Problem(
    id="broker.down_here",
    level=Level.FAILURE,
    title="No broker runs on this machine",
    meaning="`mqtt.host` is this device, as it is by default, and nothing listens on this port.",
    remedy="set `mqtt.host` to the broker's machine, or run one here: `sudo apt install "
    "mosquitto` and `sudo systemctl enable --now mosquitto`",
)
UNREACHABLE = Problem(
    id="broker.unreachable",
    level=Level.FAILURE,
    title="The broker's machine does not answer",
    meaning="It is off, in another network, or behind a firewall, or this device has no network.",
    remedy="`ping -c 3 {host}` and `ip route`; check `mqtt.host`, the Wi-Fi and the firewall",
)
TLS = Problem(
    id="broker.tls",
    level=Level.FAILURE,
    title="The encrypted connection does not come about",
    meaning="The broker's certificate is not trusted, has expired or is for another name, a "
    "client certificate is wanted, or the port does not speak TLS.",
    remedy="fix what the finding names in `mqtt.tls`; `openssl s_client -connect "
    "{host}:{port}` shows the certificate",
)
REFUSED = Problem(
    id="broker.refused",
    level=Level.FAILURE,
    title="The broker refuses this device",
    meaning="User name or password are wrong, or the broker's rules do not let this device in.",
    remedy="fix what the finding names in `mqtt`; try it with `mosquitto_pub -h {host} -p "
    "{port} -u USER -P PASSWORD -t test -m hello`; on the broker `sudo mosquitto_passwd "
    "/etc/mosquitto/passwd USER` sets a password",
)
REFUSED_TEST = Problem(
    id="broker.refused_test",
    level=Level.FAILURE,
    title="The broker refuses the test connection",
    meaning="A daemon runs, so the test has used another client id than the daemon's. Either the "
    "broker ties users to client ids, and the daemon works, or it refuses the daemon as well.",
    remedy="allow the client id that the finding names, or set `mqtt.probe_client_id` to one that "
    "is allowed; to try the daemon's own: `sudo systemctl stop edgeclassifier`, `sudo "
    "edgeclassifier check --online` and `sudo systemctl start edgeclassifier`",
)
SILENT = Problem(
    id="broker.no_mqtt",
    level=Level.FAILURE,
    title="What answers there is no MQTT broker",
    meaning="The connection is accepted, but no MQTT session begins: another service, a port that "
    "wants TLS, a broker that hangs, or one that knows MQTT 3.1.1 alone, such as RabbitMQ before "
    "3.13.",
    remedy="check `mqtt.port` (1883, with TLS 8883) and `mqtt.tls.enabled`; try "
    "`--set mqtt.protocol=auto`; on the broker's "
    "machine `sudo journalctl -u mosquitto -n 50`",
)
LEFT_OUT = Problem(
    id="broker.left_out",
    level=Level.WARNING,
    title="The broker does not take everything that the daemon sends",
    meaning="It refuses a topic, closes the connection over it, or a message is too large for it. "
    "The daemon leaves that out and sends the rest (`mqtt.left_out` in `health`).",
    remedy="allow what the finding names in the broker's access list and size limit, or turn off "
    "what sends it, such as `homeassistant.enabled`",
)
DEAF = Problem(
    id="broker.deaf",
    level=Level.WARNING,
    title="The broker does not let the daemon hear requests",
    meaning="Predictions arrive, commands do not (`mqtt.listening` in `health`).",
    remedy="allow this user to subscribe to what the finding names, in the broker's access list; "
    "or set `commands.allow = []`",
)


def check_broker(subject: Subject) -> Iterator[Finding]:
    """Read its secrets, then connect once."""
    from edgeclassifier.compose import probes
    from edgeclassifier.compose.identity import device_id

    mqtt = subject.config.mqtt
    file = Path(mqtt.password_file)
    if mqtt.password_file and is_closed(file) and not subject.as_daemon:
        yield UNREADABLE.found(f"{mqtt.password_file} is not readable by this user")
        return
    try:
        probe = probes.make_probe(
            mqtt, device=device_id(subject.config.device.id), daemon_runs=subject.daemon_runs
        )
        if subject.online:
            probes.probe_broker(probe)
    except ConfigError as error:
        for problem in error.problems:
            yield SECRETS.found(problem, file=mqtt.password_file or "FILE")
    except BrokerError as error:
        access = probe.access
        yield _problem(error, probe).found(str(error), host=access.host, port=access.port)
    else:
        access = probe.access
        user = f" as {access.username}" if access.username else ""
        tls = ", TLS" if access.tls else ""
        seen = f"lets this device in{user}" if subject.online else "not tried without --online"
        yield fine("broker", f"{access.host}:{access.port}{tls}: {seen}")
        if subject.online:
            yield from _said_by_the_daemon(subject, probe)


def _said_by_the_daemon(subject: Subject, probe: "Probe") -> Iterator[Finding]:
    """Find what the broker does not do for a daemon that runs, or ran last."""
    from edgeclassifier.compose.probes import last_health
    from edgeclassifier.compose.publisher import publisher_settings

    topics = publisher_settings(subject.config).topics
    mqtt = (last_health(probe, topics) or {}).get("mqtt")
    mqtt = mqtt if isinstance(mqtt, dict) else {}
    left_out = mqtt.get("left_out")
    said = "; ".join(f"{topic}: {why}" for topic, why in dict(left_out or {}).items())
    if mqtt.get("listening") is False:
        yield DEAF.found(said or f"the daemon does not hear {topics.requests}")
    elif said:
        yield LEFT_OUT.found(said)


def _problem(error: BrokerError, probe: "Probe") -> Problem:
    from edgeclassifier.mqtt.connection import RefusedError
    from edgeclassifier.mqtt.websocket import WebSocketError

    if isinstance(error, RefusedError) or "refused by the broker" in str(error):
        return REFUSED_TEST if probe.is_foreign else REFUSED
    match error.__cause__:
        case WebSocketError():
            return SILENT
        case None:
            return TLS if "certificate" in str(error) else SILENT
        case ssl.SSLError():
            return TLS
        case socket.gaierror() | UnicodeError():
            return NAME
        case ConnectionRefusedError():
            return DOWN_HERE if probe.access.host in _LOCAL else DOWN
        case ConnectionResetError() | BrokenPipeError():
            return TLS if probe.access.tls else SILENT
        case _:
            return UNREACHABLE
