"""Proxies of the environment: used for every host but loopback; their passwords stay hidden."""

import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme

from dlftask.errors import ServiceUnavailable
from tests.cli import configured, run_dlftask
from tests.servers import Server, forwarding, http_response, new_transport, sending

PLAIN = "http://service.test"


@contextmanager
def service_behind_a_proxy() -> Iterator[tuple[Server, Server, list[str]]]:
    """A service that only the proxy knows by name, the proxy, and the requests to the proxy."""
    seen: list[str] = []
    with (
        Server(sending(http_response())) as service,
        Server(forwarding({"service.test": service.port}, seen=seen)) as proxy,
    ):
        yield service, proxy, seen


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy"])
def test_plain_http_goes_through_the_proxy(variable: str) -> None:
    with service_behind_a_proxy() as (service, proxy, seen):
        env = configured(PLAIN, **{variable: proxy.url})
        run = run_dlftask("get", "--insecure", "t1", env=env)
    assert run.returncode == 0, run.stderr
    assert len(service.heads) == 1
    (line,) = seen
    assert line.startswith("GET http://service.test/v1/")


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy"])
def test_https_goes_through_a_tunnel_of_the_proxy_and_is_checked_end_to_end(
    tmp_path: Path, variable: str
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("service.test").configure_cert(tls)
    seen: list[str] = []
    with (
        Server(sending(http_response()), tls=tls) as service,
        Server(forwarding({"service.test": service.port}, seen=seen)) as proxy,
    ):
        env = configured("https://service.test", **{variable: proxy.url})
        run = run_dlftask("get", "--ca-bundle", str(tmp_path / "ca.pem"), "t1", env=env)
        untrusted = run_dlftask("get", "t1", env=env)
    assert run.returncode == 0, run.stderr
    assert [line.rpartition(" ")[0] for line in seen] == ["CONNECT service.test:443"] * 2
    assert "secret-token" not in "".join(proxy.heads)
    assert untrusted.returncode == 6
    assert "the certificate is not trusted" in untrusted.stderr
    assert len(service.heads) == 1


def test_a_real_proxy(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    name = socket.gethostname()
    authority.issue_cert(name).configure_cert(tls)
    ready = tmp_path / "port"
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "proxy", "--hostname", "127.0.0.1", "--port", "0"),
            *("--num-workers", "1", "--num-acceptors", "1"),
            *("--port-file", ready, "--data-dir", tmp_path / "data"),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        port = port_from(ready, process)
        with Server(sending(http_response()), tls=tls, host="0.0.0.0") as service:
            env = configured(
                f"https://{name}:{service.port}", HTTPS_PROXY=f"http://127.0.0.1:{port}"
            )
            bundle = str(tmp_path / "ca.pem")
            run = run_dlftask("get", "--debug", "--ca-bundle", bundle, "t1", env=env)
    finally:
        process.terminate()
        process.wait(10)
    assert run.returncode == 0, run.stderr
    assert len(service.heads) == 1


def port_from(file: Path, process: "subprocess.Popen[bytes]") -> int:
    import time

    until = time.monotonic() + 15
    while time.monotonic() < until and process.poll() is None:
        if file.exists() and file.read_text().strip():
            return int(file.read_text())
        time.sleep(0.02)
    raise AssertionError("the proxy did not start")


@pytest.mark.parametrize("variable", ["NO_PROXY", "no_proxy"])
@pytest.mark.parametrize("value", ["service.test", ".test", "*"])
def test_no_proxy_leaves_the_proxy_out(variable: str, value: str) -> None:
    with service_behind_a_proxy() as (_, proxy, _seen):
        env = configured(PLAIN, HTTP_PROXY=proxy.url, **{variable: value})
        run = run_dlftask("get", "--insecure", "t1", env=env)
        assert proxy.connections == 0
    assert run.returncode == 6  # only the proxy knows the name


def test_no_proxy_names_whole_labels_of_a_host() -> None:
    with service_behind_a_proxy() as (_, proxy, _seen):
        env = configured(PLAIN, HTTP_PROXY=proxy.url, NO_PROXY="ervice.test")
        run = run_dlftask("get", "--insecure", "t1", env=env)
        assert proxy.connections == 1
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.0.0.3", "[::1]"])
def test_loopback_never_goes_through_a_proxy(host: str) -> None:
    listen = host.strip("[]").replace("localhost", "127.0.0.1")
    with (
        Server(sending(http_response()), host=listen) as service,
        Server(sending(http_response())) as proxy,
    ):
        env = configured(f"http://{host}:{service.port}", HTTP_PROXY=proxy.url)
        run = run_dlftask("get", "t1", env=env)
        assert run.returncode == 0, run.stderr
        assert proxy.connections == 0


def test_a_demo_never_goes_through_a_proxy() -> None:
    with Server(sending(http_response())) as proxy:
        env = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), proxy.url)
        run = run_dlftask("get", "--demo", "008aae2e675d3bcb01675d3c66f20000", env=env)
        assert run.returncode == 0, run.stderr
        assert proxy.connections == 0


@pytest.mark.parametrize(("direct", "connections"), [(True, 0), (False, 1)])
def test_a_direct_request_never_goes_through_a_proxy(
    monkeypatch: pytest.MonkeyPatch, *, direct: bool, connections: int
) -> None:
    with Server(sending(b"")) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        with pytest.raises(ServiceUnavailable):
            new_transport().send("GET", "http://service.invalid/", direct=direct)
        assert proxy.connections == connections


GARBAGE = {
    "refuses": (
        http_response(b"", status="407 Proxy Authentication Required"),
        "http://service.test",
    ),
    "garbage": (b"what?\r\n\r\n", "https://service.test"),
    "needs-a-password": (
        http_response(b"", status="407 Proxy Authentication Required"),
        "https://service.test",
    ),
    "cannot-connect": (http_response(b"", status="502 Bad Gateway"), "https://service.test"),
    "hangs-up": (b"", "https://service.test"),
}


@pytest.mark.parametrize("row", GARBAGE)
def test_a_proxy_that_fails_is_6_with_a_hint_and_no_password(row: str) -> None:
    response, endpoint = GARBAGE[row]
    with Server(sending(response)) as proxy:
        url = proxy.url.replace("//", "//somebody:hunter2@")
        env = configured(endpoint, HTTP_PROXY=url, HTTPS_PROXY=url)
        run = run_dlftask("get", "--debug", "--insecure", "t1", env=env)
    assert run.returncode == 6, run.stderr
    assert "proxy" in run.stderr.lower()
    assert "hint: check HTTPS_PROXY, HTTP_PROXY and NO_PROXY" in run.stderr
    assert "hunter2" not in run.stderr
    assert "c29tZWJvZHk6aHVudGVyMg" not in run.stderr  # somebody:hunter2
    assert "Proxy-Authorization: Basic" not in run.stderr


@pytest.mark.parametrize("url", ["http://u:hunter2@127.0.0.1:1", "http://u:hunter2@proxy.invalid"])
def test_an_unreachable_proxy_is_6_with_a_hint_and_no_password(url: str) -> None:
    env = configured("https://service.test", HTTPS_PROXY=url)
    run = run_dlftask("get", "--debug", "t1", env=env)
    assert run.returncode == 6, run.stderr
    assert "error: task t1: the proxy " in run.stderr
    assert "hint: check HTTPS_PROXY, HTTP_PROXY and NO_PROXY" in run.stderr
    assert "hunter2" not in run.stderr


@pytest.mark.parametrize(
    "url",
    ["http://u:hunter2@[", "http://u:hunter2@", "socks9://u:hunter2@h", "http://:hunter2@:x"],
)
def test_a_proxy_with_an_invalid_url_is_a_clear_error_without_its_password(url: str) -> None:
    run = run_dlftask("get", "--debug", "t1", env=configured("https://a.test", HTTPS_PROXY=url))
    assert run.returncode == 2
    assert "hint: check " in run.stderr
    assert "proxy" in run.stderr.lower()
    assert "hunter2" not in run.stderr
    assert "Traceback" not in run.stderr
