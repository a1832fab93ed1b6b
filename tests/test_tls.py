"""The service's identity is checked: certificates, names, dates, protocols; and the options."""

import datetime as dt
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from tests.cli import configured, run_dlftask
from tests.servers import Server, http_response, sending


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def bundle(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tls") / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return path


def served_with(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


@pytest.fixture
def service(authority: trustme.CA) -> Iterator[Server]:
    tls = served_with(authority.issue_cert("127.0.0.1", "localhost"))
    with Server(sending(http_response()), tls=tls) as server:
        yield server


def test_a_certificate_of_an_unknown_authority_is_not_trusted(service: Server) -> None:
    run = run_dlftask("get", "t1", env=configured(service.url))
    assert run.returncode == 6
    error, hint = run.stderr.splitlines()
    assert "the certificate is not trusted: " in error
    assert "--ca-bundle" in hint
    assert service.heads == []
    assert service.connections == 1  # a retry cannot fix it


def test_a_self_signed_certificate_is_not_trusted(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key", tmp_path / "certificate"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-subj", "/CN=localhost", "-keyout", key, "-out", certificate),
        ],
        check=True,
        capture_output=True,
    )
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    with Server(sending(http_response()), tls=tls) as server:
        run = run_dlftask("get", "t1", env=configured(server.url))
    assert run.returncode == 6
    assert "self-signed certificate" in run.stderr
    assert server.heads == []


def test_a_certificate_for_another_name_is_not_trusted(authority: trustme.CA, bundle: Path) -> None:
    tls = served_with(authority.issue_cert("service.example"))
    with Server(sending(http_response()), tls=tls) as server:
        run = run_dlftask("get", "--ca-bundle", str(bundle), "t1", env=configured(server.url))
    assert run.returncode == 6
    assert "not trusted" in run.stderr
    assert "127.0.0.1" in run.stderr
    assert "hint: " in run.stderr
    assert server.heads == []


def test_an_expired_certificate_is_not_trusted(authority: trustme.CA, bundle: Path) -> None:
    yesterday = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
    tls = served_with(authority.issue_cert("127.0.0.1", not_after=yesterday))
    with Server(sending(http_response()), tls=tls) as server:
        run = run_dlftask("get", "--ca-bundle", str(bundle), "t1", env=configured(server.url))
    assert run.returncode == 6
    assert "expired" in run.stderr
    assert "hint: " in run.stderr
    assert server.heads == []


def test_an_old_protocol_is_refused(bundle: Path) -> None:
    # Today's libraries do not speak TLS 1.0: these are the bytes of an old server.
    hello = bytes.fromhex("160301004a020000460301") + b"r" * 32 + b"\x20" + b"s" * 32
    tls_1_0 = hello + bytes.fromhex("c01400")

    def talk(connection: socket.socket, _head: bytes) -> None:
        connection.recv(65536)
        connection.sendall(tls_1_0)
        connection.recv(65536)

    with Server(talk, greet=True) as server:
        endpoint = server.url.replace("http:", "https:")
        run = run_dlftask("get", "--ca-bundle", str(bundle), "t1", env=configured(endpoint))
    assert run.returncode == 6
    assert "no TLS connection: unsupported protocol" in run.stderr
    assert "hint: check that --endpoint is an https service that speaks TLS 1.2" in run.stderr


def test_https_to_a_plain_http_port_has_its_own_error() -> None:
    with Server(sending(http_response(b"", status="400 Bad Request")), greet=True) as server:
        endpoint = server.url.replace("http:", "https:")
        run = run_dlftask("get", "t1", env=configured(endpoint))
    assert run.returncode == 6
    assert "no TLS connection" in run.stderr
    assert "hint: check that --endpoint is an https service" in run.stderr


def test_plain_http_to_an_https_port_is_an_error(service: Server) -> None:
    run = run_dlftask("get", "t1", env=configured(service.url.replace("https:", "http:")))
    assert run.returncode == 6, run.stderr  # it closes the connection
    assert len(run.stderr.splitlines()) <= 2


def test_a_tls_alert_is_not_http() -> None:
    with Server(sending(bytes.fromhex("15030100020246"))) as server:
        run = run_dlftask("get", "t1", env=configured(server.url))
    assert run.returncode == 7, run.stderr


def test_a_server_that_ends_the_handshake_is_6(bundle: Path) -> None:
    with Server(lambda *_: None, greet=True) as server:
        endpoint = server.url.replace("http:", "https:")
        run = run_dlftask("get", "--ca-bundle", str(bundle), "t1", env=configured(endpoint))
    assert run.returncode == 6
    assert "dlftask: error: task t1: " in run.stderr


@pytest.mark.parametrize("how", ["--ca-bundle", "DLFTASK_CA_BUNDLE", "REQUESTS_CA_BUNDLE"])
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_users_own_authority_is_trusted(
    service: Server, bundle: Path, tmp_path: Path, how: str, kind: str
) -> None:
    path = bundle
    if kind == "folder":
        hashed = subprocess.run(
            ["openssl", "x509", "-hash", "-noout", "-in", str(bundle)],
            check=True,
            capture_output=True,
            text=True,
        )
        path = tmp_path / "authorities"
        path.mkdir()
        (path / f"{hashed.stdout.strip()}.0").write_bytes(bundle.read_bytes())
    options = [how, str(path)] if how.startswith("--") else []
    more = {} if options else {how: str(path)}
    run = run_dlftask("get", *options, "t1", env=configured(service.url, **more))
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""


@pytest.mark.parametrize("how", ["--ca-bundle", "DLFTASK_CA_BUNDLE", "REQUESTS_CA_BUNDLE"])
@pytest.mark.parametrize("kind", ["missing", "empty", "garbage"])
def test_an_invalid_bundle_is_a_configuration_error(
    service: Server, tmp_path: Path, how: str, kind: str
) -> None:
    path = tmp_path / "ca.pem"
    if kind != "missing":
        path.write_text("" if kind == "empty" else "-----BEGIN CERTIFICATE-----\n?\n")
    options = [how, str(path)] if how.startswith("--") else []
    more = {} if options else {how: str(path)}
    run = run_dlftask("get", *options, "t1", env=configured(service.url, **more))
    assert run.returncode == 2
    assert str(path) in run.stderr
    assert service.heads == []


def test_insecure_accepts_any_certificate_and_warns_every_time(service: Server) -> None:
    for _ in range(2):
        run = run_dlftask("get", "--insecure", "t1", env=configured(service.url))
        assert run.returncode == 0
        (warning,) = run.stderr.splitlines()
        assert warning.startswith("dlftask: warning: --insecure")


def test_insecure_ignores_a_missing_bundle(service: Server, tmp_path: Path) -> None:
    env = configured(service.url, REQUESTS_CA_BUNDLE=str(tmp_path / "missing"))
    assert run_dlftask("get", "--insecure", "t1", env=env).returncode == 0
