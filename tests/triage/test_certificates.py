"""A server with a certificate that is not trusted is reported as such, and can be trusted."""

import shutil
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from typer.testing import CliRunner

from loadtest.run import cli
from tests.triage.conftest import RunCli
from tests.triage.fake_servers import fake_server
from triage.endpoints import read_endpoints

INVALID = "has a certificate that is not valid here: self-signed certificate; set SSL_CERT_FILE to a file with"


class SecureServer(NamedTuple):
    """The address of a server, and its own certificate."""

    url: str
    certificate: Path


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[SecureServer]:
    """Start a server with a self-signed certificate."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl, which makes the certificate, is not installed")
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    options = [
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=test",
        "-addext",
        "subjectAltName=IP:127.0.0.1",
    ]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run([openssl, "req", "-x509", *options, *files], check=True, capture_output=True)  # noqa: S603
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with fake_server(context) as server:
        server.responses["/ready"] = 200, "ready"
        yield SecureServer(server.url, certificate)


def test_certificates_that_are_not_trusted(
    run_cli: RunCli, secure: SecureServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The error of `triage`, and of a measured run, names the certificate and what to do."""
    monkeypatch.setenv("LOKI_URL", secure.url)
    code, out, err = run_cli("trace", "mine")
    assert (2, "") == (code, out)
    assert err.startswith(f"Loki at {secure.url} {INVALID}")
    result = CliRunner().invoke(cli, ["--host", secure.url, "--folder", str(tmp_path)])
    assert result.exit_code == 2
    assert result.stderr.startswith(f"--host: {secure.url} {INVALID}")


def test_a_certificate_in_ssl_cert_file_is_trusted(secure: SecureServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server is used like any other."""
    monkeypatch.setenv("LOKI_URL", secure.url)
    monkeypatch.setenv("SSL_CERT_FILE", str(secure.certificate))
    with read_endpoints().loki as loki:
        assert loki.text("/ready") == "ready"
