"""A Redis-protocol server behind TLS with an ACL user, and the certificate authority that signed it: openssl makes both
for the test."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from urllib.parse import quote, urlencode

import redis

from tests.support.broker import Broker, free_port, server_program

USER, PASSWORD = "fleet", "a/secret:p@ss"


def without_tls() -> str:
    """Why no such server can be had here; empty when one can."""
    if shutil.which("openssl") is None:
        return "needs openssl on the PATH"
    # With a certificate that does not exist no server starts: one with TLS misses the file, one without misses TLS.
    probe = [server_program(), "--tls-port", str(free_port()), "--port", "0", "--tls-cert-file", "/does/not/exist"]
    done = subprocess.run(probe, capture_output=True, text=True, timeout=20, check=False)
    said = done.stdout + done.stderr
    without = any(words in said for words in ("Bad directive", "Missing implement", "Failed finding TLS support"))
    return f"{probe[0]} was built without TLS" if without else ""


def authority(folder: Path, name: str) -> Path:
    """A new certificate authority: `NAME.pem`, its key beside it."""
    _openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}",
             "-keyout", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.pem"))  # fmt: skip
    return folder / f"{name}.pem"


def certificate(folder: Path, signed_by: Path) -> tuple[Path, Path]:
    """(certificate, key) of a server at 127.0.0.1."""
    key, request, made, names = (folder / f"server.{kind}" for kind in ("key", "csr", "pem", "ext"))
    names.write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
    _openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=127.0.0.1", "-keyout", str(key),
             "-out", str(request))  # fmt: skip
    _openssl("x509", "-req", "-in", str(request), "-CA", str(signed_by), "-CAkey", str(signed_by.with_suffix(".key")),
             "-CAcreateserial", "-days", "2", "-extfile", str(names), "-out", str(made))  # fmt: skip
    return made, key


def _openssl(*args: str) -> None:
    done = subprocess.run(["openssl", *args], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


class SecureBroker(Broker):
    """TLS alone, for one ACL user alone; the default user is off."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.ca = authority(folder, "ca")
        made, key = certificate(folder, self.ca)
        self.tls_port = free_port()
        self.more = [
            "--tls-port", str(self.tls_port), "--tls-cert-file", str(made), "--tls-key-file", str(key),
            "--tls-ca-cert-file", str(self.ca), "--tls-auth-clients", "no",
            "--user", USER, "on", f">{PASSWORD}", "~*", "&*", "+@all", "--user", "default", "off",
        ]  # fmt: skip

    def client(self) -> redis.Redis:
        return redis.Redis(
            unix_socket_path=str(self.socket), username=USER, password=PASSWORD, decode_responses=True
        )

    @property
    def url(self) -> str:
        return self.url_with()

    def url_with(self, password: str = PASSWORD, ca: Path | None = None) -> str:
        """With this password, trusting this authority; without one, those that the machine trusts."""
        query = "" if ca is None else "?" + urlencode({"ssl_ca_certs": str(ca)})
        return f"rediss://{USER}:{quote(password, safe='')}@127.0.0.1:{self.tls_port}/0{query}"
