"""Why there is no connection, in words that say what to do."""

import errno
import os
import socket
import ssl
from collections.abc import Mapping

from edgeclassifier.mqtt.websocket import WebSocketError

# Values of OpenSSL's x509_vfy.h.
_EXPIRED = 10
_NOT_YET_VALID = 9
_UNTRUSTED = frozenset({2, 18, 19, 20, 21})
_OTHER_NAME = frozenset({62, 64})

_NOT_TLS = frozenset({"WRONG_VERSION_NUMBER", "UNEXPECTED_EOF_WHILE_READING", "HTTP_REQUEST"})

# MQTT 5 reason codes; paho translates those of 3.1.1 into them.
_REFUSALS: Mapping[int, str] = {
    132: 'it does not speak this version of MQTT; set mqtt.protocol = "auto"',
    133: "it does not accept the client id {client_id!r}; choose another one",
    134: "wrong user name or password; check both, and the password file",
    135: "not authorized; check user name, password and the broker's access list",
    136: "it says that it is not available",
    137: "it says that it is too busy",
    138: "it has banned this client; ask who runs it",
    154: "it does not keep retained messages, which are needed; enable them there",
    155: "it does not offer QoS 1, which is needed; enable it there",
}

_CERTIFICATE_ALERTS = ("CERTIFICATE", "UNKNOWN_CA", "ACCESS_DENIED", "DECRYPT_ERROR")
_CLOSING = (errno.ECONNRESET, errno.EPIPE)
"""What a broker leaves behind that closes a connection with something unread."""
_NO_REASON = 0
_FAREWELLS: Mapping[int, str] = {
    135: "this client is not authorized; check the broker's access list",
    139: "it is shutting down",
    141: "it heard nothing within the keepalive time",
    142: "another client connected as {client_id!r}; give every device its own client id",
    147: "too many unconfirmed messages",
    149: "a message was larger than it accepts",
    150: "messages come too fast; lower max_rate_hz",
    151: "a quota is exceeded",
    152: "an administrator closed the connection",
}

NO_ANSWER = (
    "accepted the connection but did not answer within {seconds:.0f} s; "
    "is it an MQTT broker, and does this port want TLS?"
)
CLOSED = (
    "the broker closed the connection and did not say why; it may have been stopped, "
    "or another client uses the same client id"
)
CLOSED_EARLY = (
    "closed the connection without an answer; check that an MQTT broker listens on this port, "
    "and whether it wants TLS or a client certificate"
)
OLDER = '; if it knows MQTT 3.1.1 alone, set mqtt.protocol = "auto"'
NOT_MQTT = "answered with something that is not MQTT; check the port, and whether it wants TLS"
SILENT = "no sign of life within the keepalive time"
_NO_TLS = "does not speak TLS on this port; by convention TLS is on 8883 and plain on 1883"
_CERTIFICATE_WANTED = "wants a client certificate; set its certificate and key file"


def of_refusal(code: int, name: str, *, client_id: str) -> str:
    """Explain the reason code of a CONNACK."""
    known = _REFUSALS.get(code)
    text = known.format(client_id=client_id) if known else f"{name.lower()} (code {code})"
    return f"connection refused by the broker: {text}"


def of_farewell(code: int, name: str, *, client_id: str) -> str:
    """Explain the reason code of a DISCONNECT from the broker."""
    if code == _NO_REASON:
        return CLOSED
    known = _FAREWELLS.get(code)
    text = known.format(client_id=client_id) if known else f"{name.lower()} (code {code})"
    return f"the broker closed the connection: {text}"


def of_network_text(text: str, *, accepted: bool) -> str:
    """Explain what paho logged about the socket, which is all it tells about its errors."""
    if "CERTIFICATE_REQUIRED" in text:
        return _CERTIFICATE_WANTED
    if "ALERT" in text and any(word in text for word in _CERTIFICATE_ALERTS):
        return (
            "does not accept this client's certificate; is it signed by a CA that the broker "
            "knows, with all intermediates in the certificate file?"
        )
    if not accepted:
        return CLOSED_EARLY
    if "Errno" in text and not any(f"[Errno {number}]" in text for number in _CLOSING):
        return f"connection lost: {text.rsplit('] ', 1)[-1].lower()}"
    return CLOSED


def of_connecting(error: OSError | ValueError, *, timeout_s: float) -> str:
    """Explain why no connection came about."""
    match error:
        case ssl.SSLCertVerificationError():
            return _of_certificate(error)
        case ssl.SSLError():
            return _of_handshake(error)
        case socket.gaierror() | UnicodeError():
            detail = error.strerror if isinstance(error, OSError) else "not a host name"
            return f"cannot find this host ({detail}); check its name, and the network's DNS"
        case ConnectionRefusedError():
            return "connection refused; does a broker run there and listen on this port?"
        case WebSocketError():
            return str(error)
        case TimeoutError():
            return f"no answer within {timeout_s:.0f} s; check the address, network and firewall"
        case ConnectionResetError() | BrokenPipeError():
            return _NO_TLS  # nothing is read or written before the handshake
        case OSError(errno=errno.ENETUNREACH | errno.EHOSTUNREACH as number):
            return f"{os.strerror(number).lower()}; check the address and this device's network"
        case _:
            return f"cannot connect: {error}"


def _of_certificate(error: ssl.SSLCertVerificationError) -> str:
    code = error.verify_code
    if code == _EXPIRED:
        return "its certificate has expired, or this device's clock is wrong"
    if code == _NOT_YET_VALID:
        return "its certificate is not valid yet, or this device's clock is wrong"
    if code in _UNTRUSTED:
        return (
            "its certificate is not signed by a trusted CA; "
            "give the CA's certificate as the CA file"
        )
    if code in _OTHER_NAME:
        return (
            "its certificate is for another name; use a host name or address that is among its "
            "subject alternative names (a common name alone does not count)"
        )
    return f"its certificate cannot be verified: {error.verify_message}"


def _of_handshake(error: ssl.SSLError) -> str:
    reason = error.reason or ""
    if reason in _NOT_TLS:
        return _NO_TLS
    if "HANDSHAKE_FAILURE" in reason:
        return (
            "the TLS handshake failed; the broker may want a client certificate, "
            "or another TLS version"
        )
    if "ALERT" in reason:
        return of_network_text(reason, accepted=False)
    return f"TLS failed: {reason.lower().replace('_', ' ') or error}"
