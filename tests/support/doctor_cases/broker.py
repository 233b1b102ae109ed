"""The broker."""

import errno
import socket
import ssl
from pathlib import Path

from edgeclassifier.errors import BrokerError, ConfigError
from edgeclassifier.mqtt.connection import RefusedError
from support.doctor_cases.registry import case, warns
from support.doctor_device import Device


def broker(device: Device, error: Exception, cause: Exception | None = None) -> None:
    def probe() -> None:
        raise error from cause

    device.probe = probe


@case("broker.unknown_host")
def a_host_name_that_nobody_knows(device: Device) -> None:
    broker(device, BrokerError("cannot find this host"), socket.gaierror(-2, "not known"))


@case("broker.unknown_host")
def a_host_name_that_cannot_be_one(device: Device) -> None:
    broker(device, BrokerError("cannot find this host"), UnicodeError("label too long"))


@case("broker.down_here")
def no_broker_on_this_machine(device: Device) -> None:
    broker(device, BrokerError("connection refused"), ConnectionRefusedError())


@case("broker.down")
def no_broker_on_that_machine(device: Device) -> None:
    device.settings["mqtt.host"] = "192.0.2.1"
    no_broker_on_this_machine(device)


@case("broker.unreachable")
def a_broker_that_is_switched_off(device: Device) -> None:
    broker(device, BrokerError("no answer within 10 s"), TimeoutError())


@case("broker.unreachable")
def no_network(device: Device) -> None:
    broker(device, BrokerError("network is unreachable"), OSError(errno.ENETUNREACH, "…"))


@case("broker.tls")
def a_certificate_that_has_expired(device: Device) -> None:
    broker(device, BrokerError("certificate has expired"), ssl.SSLCertVerificationError())


@case("broker.tls")
def a_client_certificate_that_is_wanted(device: Device) -> None:
    broker(device, BrokerError("wants a client certificate; set its certificate and key file"))


@case("broker.refused")
def a_wrong_password(device: Device) -> None:
    broker(device, RefusedError("wrong user name or password"))


@case("broker.refused")
def a_broker_that_is_too_busy(device: Device) -> None:
    broker(device, BrokerError("connection refused by the broker: it says that it is too busy"))


@case("broker.refused_test")
def a_client_id_that_is_not_the_daemons(device: Device) -> None:
    state = Path(device.settings["device.state_directory"])
    state.mkdir()
    (state / "lock").symlink_to("not-to-be-followed")
    device.start(4711, "/opt/x/bin/edgeclassifier", "run")
    broker(device, RefusedError("connection refused by the broker: not authorized"))


@case("broker.no_mqtt")
def something_else_on_that_port(device: Device) -> None:
    broker(device, BrokerError("accepted the connection but did not answer within 10 s"))


@case("broker.no_mqtt")
def something_that_hangs_up(device: Device) -> None:
    broker(device, BrokerError("does not speak"), ConnectionResetError())


@case("broker.secrets")
def a_password_file_that_is_not_there(device: Device) -> None:
    device.settings |= {"mqtt.username": "x", "mqtt.password_file": str(device.folder / "absent")}


@case("broker.secrets")
def certificates_that_cannot_be_used(device: Device) -> None:
    broker(device, ConfigError(["MQTT: CA file x holds no certificate", "MQTT: key file y …"]))


@case("broker.password_unreadable", level=warns)
def a_password_that_is_root_s_alone(device: Device) -> None:
    from edgeclassifier.doctor import broker as examined

    device.settings |= {"mqtt.username": "x", "mqtt.password_file": "/etc/edgeclassifier/x"}
    device.monkeypatch.setattr(examined, "is_closed", lambda _file: True)


@case("broker.left_out", level=warns)
def a_broker_that_does_not_take_a_topic(device: Device) -> None:
    left_out = {"homeassistant/device/porch/config": "the broker closes the connection over it"}
    device.health = {"mqtt": {"listening": True, "left_out": left_out}}


@case("broker.deaf", level=warns)
def a_broker_that_does_not_let_the_daemon_listen(device: Device) -> None:
    left_out = {"edgeclassifier/porch/request/+": "refused by the broker: not authorized"}
    device.health = {"mqtt": {"listening": False, "left_out": left_out}}
