"""Certificates for the broker."""

import ssl
from collections.abc import Sequence
from pathlib import Path

from edgeclassifier.errors import ConfigError
from edgeclassifier.host.files import open_regular

_HANDSHAKE_TIMEOUT_S = 10.0


class _CarefulSocket(ssl.SSLSocket):
    """Does not wait long for a handshake, and closes itself when that fails.

    paho gives it a whole keepalive before version 2.2, and does not close it in any version.
    """

    def do_handshake(self, block: bool = False) -> None:
        self.settimeout(_HANDSHAKE_TIMEOUT_S)
        try:
            super().do_handshake(block)
        except OSError:
            self.close()
            raise


def make_tls_context(
    *,
    ca_file: Path | None,
    cert_file: Path | None,
    key_file: Path | None,
    alpn: Sequence[str] = (),
) -> ssl.SSLContext:
    """TLS 1.2 or later, with the broker's certificate and host name verified.

    Without a `ca_file` the system's CAs are trusted; with one, only those in it. `cert_file` and
    `key_file` identify this client. All are PEM files. `alpn` names the protocols that are offered
    where a port serves several (ALPN).
    Raises ConfigError with every problem found.
    """
    # Not create_default_context(): from Python 3.13 on it rejects the CAs that people make at
    # home for the lack of some X.509 extensions, so an upgrade would take devices offline.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.sslsocket_class = _CarefulSocket
    if alpn:
        context.set_alpn_protocols(list(alpn))
    problems = []
    if ca_file is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    else:
        problems += _load_ca(context, ca_file)
    if cert_file is not None and key_file is not None:
        problems += _load_identity(context, cert_file, key_file)
    elif cert_file is not None:
        problems.append(f"MQTT: certificate file {cert_file} needs its key file beside it")
    elif key_file is not None:
        problems.append(f"MQTT: key file {key_file} needs its certificate file beside it")
    if problems:
        raise ConfigError(problems)
    return context


def _load_ca(context: ssl.SSLContext, ca_file: Path) -> list[str]:
    if unreadable := _unreadable("CA file", ca_file):
        return unreadable
    # What the file holds is trusted, an intermediate CA or the broker's own certificate as well.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        context.load_verify_locations(ca_file)
    except ssl.SSLError:
        return [f"MQTT: CA file {ca_file} holds no certificate in PEM format"]
    return []


def _load_identity(context: ssl.SSLContext, cert_file: Path, key_file: Path) -> list[str]:
    unreadable = _unreadable("certificate file", cert_file) + _unreadable("key file", key_file)
    if unreadable:
        return unreadable
    wanted = False

    def no_passphrase() -> str:
        nonlocal wanted
        wanted = True
        return ""

    try:
        context.load_cert_chain(cert_file, key_file, password=no_passphrase)
    except ssl.SSLError as error:
        if wanted:
            return [
                f"MQTT: key file {key_file} is encrypted; remove its passphrase with "
                "'openssl pkey' and chmod 600 the result"
            ]
        if error.reason == "KEY_VALUES_MISMATCH":
            return [f"MQTT: key file {key_file} does not belong to certificate file {cert_file}"]
        return [
            f"MQTT: certificate file {cert_file} and key file {key_file} are not a certificate "
            "and its private key in PEM format"
        ]
    return []


def _unreadable(what: str, path: Path) -> list[str]:
    try:
        with open_regular(path):
            return []
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        return [f"MQTT: {what} {path} cannot be read: {reason}; check the path and who may read it"]
