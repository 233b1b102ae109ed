"""Password files and certificates: what is wrong with them is said before anything starts."""

import errno
import os
import pwd
import ssl
import subprocess
from pathlib import Path

import pytest
from support.brokers import Certificates, make_certificates, needs_openssl

from edgeclassifier.errors import ConfigError
from edgeclassifier.host.credentials import read_password
from edgeclassifier.mqtt.tls import make_tls_context


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


def problems(
    *, ca_file: Path | None = None, cert_file: Path | None = None, key_file: Path | None = None
) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        make_tls_context(ca_file=ca_file, cert_file=cert_file, key_file=key_file)
    return caught.value.problems


@needs_openssl
class TestCertificates:
    def test_the_broker_is_always_verified(self, certificates: Certificates) -> None:
        own, system = (
            make_tls_context(ca_file=ca, cert_file=None, key_file=None)
            for ca in (certificates.ca, None)
        )
        for context in (own, system):
            assert context.verify_mode is ssl.CERT_REQUIRED
            assert context.check_hostname
            assert context.minimum_version is ssl.TLSVersion.TLSv1_2
        assert len(own.get_ca_certs()) == 1, "trusts others beside the given CA"

    def test_missing_files_are_all_named(self, tmp_path: Path) -> None:
        files = {name: tmp_path / name for name in ("ca_file", "cert_file", "key_file")}
        found = problems(**files)
        assert len(found) == 3
        for problem, path in zip(found, files.values(), strict=True):
            assert str(path) in problem
            assert "no such file" in problem

    def test_a_folder(self, tmp_path: Path) -> None:
        [problem] = problems(ca_file=tmp_path)
        assert "is a directory" in problem

    @pytest.mark.parametrize("content", [b"", b"hello", b"-----BEGIN CERTIFICATE-----\nx\n", b"\0"])
    def test_not_a_certificate(
        self, tmp_path: Path, certificates: Certificates, content: bytes
    ) -> None:
        path = tmp_path / "broken.pem"
        path.write_bytes(content)
        [problem] = problems(ca_file=path)
        assert problem == f"MQTT: CA file {path} holds no certificate in PEM format"
        [problem] = problems(cert_file=path, key_file=certificates.client_key)
        assert str(path) in problem
        [problem] = problems(cert_file=certificates.client_cert, key_file=path)
        assert str(path) in problem

    def test_a_key_of_another_certificate(self, certificates: Certificates) -> None:
        [problem] = problems(cert_file=certificates.client_cert, key_file=certificates.server_key)
        assert "does not belong to" in problem
        assert str(certificates.server_key) in problem

    def test_half_an_identity(self, certificates: Certificates) -> None:
        [problem] = problems(cert_file=certificates.client_cert)
        assert "needs its key file" in problem
        [problem] = problems(key_file=certificates.client_key)
        assert "needs its certificate file" in problem

    def test_an_encrypted_key_is_not_asked_for_its_passphrase(
        self, tmp_path: Path, certificates: Certificates
    ) -> None:
        key = tmp_path / "encrypted.key"
        subprocess.run(
            ["openssl", "pkey", "-aes256", "-passout", "pass:secret", "-out", str(key)],
            input=certificates.client_key.read_bytes(),
            check=True,
            timeout=20,
        )
        [problem] = problems(cert_file=certificates.client_cert, key_file=key)
        assert f"{key} is encrypted" in problem


class TestPasswordFile:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        path = tmp_path / "password"
        path.touch(mode=0o600)
        return path

    def rejected(self, path: Path) -> str:
        with pytest.raises(ConfigError) as caught:
            read_password(path)
        [problem] = caught.value.problems
        assert str(path) in problem
        assert "hunter2" not in problem, "tells the secret"
        return problem

    @pytest.mark.parametrize(
        ("content", "password"),
        [
            ("hunter2", "hunter2"),
            ("hunter2\n", "hunter2"),
            ("hunter2\r\n", "hunter2"),
            ("hunter2\n\n", "hunter2\n"),
            (" grüße ", " grüße "),
            ("\ufeffhunter2\r\n", "hunter2"),
        ],
    )
    def test_one_newline_at_the_end_and_a_byte_order_mark_are_not_part_of_it(
        self, path: Path, content: str, password: str
    ) -> None:
        path.write_bytes(content.encode())
        assert read_password(path) == password

    @pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o666, 0o620])
    def test_others_have_no_business_in_it(self, path: Path, mode: int) -> None:
        path.write_text("hunter2")
        path.chmod(mode)
        assert "chmod 600" in self.rejected(path)

    def test_a_systemd_credential_is_trusted_whatever_its_mode(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path.write_text("hunter2")
        path.chmod(0o440)
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(path.parent))
        assert read_password(path) == "hunter2"
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", "")
        self.rejected(path)
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(path.parent / "elsewhere"))
        self.rejected(path)

    def test_missing(self, tmp_path: Path) -> None:
        assert "no such file" in self.rejected(tmp_path / "missing")

    def test_a_folder(self, tmp_path: Path) -> None:
        assert "is a directory" in self.rejected(tmp_path)

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
    def test_unreadable(self, path: Path) -> None:
        path.chmod(0)
        assert "permission denied" in self.rejected(path)

    def test_of_another_user(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """With the right mode, which root alone can read."""

        def deny(*_: object) -> None:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

        monkeypatch.setattr(os, "open", deny)
        user = pwd.getpwuid(os.geteuid()).pw_name
        assert self.rejected(path).endswith(f": sudo chown {user} {path}")

    @pytest.mark.parametrize("content", [b"", b"\n", b"hunter2\xff", b"x" * 70_000], ids=len)
    def test_not_a_password(self, path: Path, content: bytes) -> None:
        path.write_bytes(content)
        self.rejected(path)
