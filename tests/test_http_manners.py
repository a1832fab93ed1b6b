"""What is sent, and to whom: redirects, netrc, cookies, plain http, the request itself."""

import base64
from pathlib import Path

import pytest

from dlftask import __version__
from tests.cli import configured, run_dlftask
from tests.servers import TASK, Server, http_response, new_transport, sending

PROJECT = "b384b9e9ab9b4ee8994c8633aabc9505"


def headers_of(head: str) -> dict[str, str]:
    lines = head.split("\r\n")[1:]
    pairs = [line.split(": ", 1) for line in lines if line]
    assert len(pairs) == len({name.lower() for name, _ in pairs}), "a header is repeated"
    return dict(pairs)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_and_nothing_reaches_the_other_host(status: int) -> None:
    wait = ["--wait"] if status == 302 else []
    with Server(sending(http_response()), host="127.0.0.2") as other:
        elsewhere = http_response(
            b"", status=f"{status} Moved", headers={"Location": f"{other.url}/x"}
        )
        with Server(sending(elsewhere)) as server:
            run = run_dlftask("get", *wait, "t1", env=configured(server.url))
        assert other.connections == 0
        assert run.returncode == 7
        assert f"redirect to {other.url}/x (HTTP {status})" in run.stderr
        assert len(server.heads) == 1


def test_a_redirect_to_the_same_host_is_not_followed_either() -> None:
    moved = http_response(b"", status="302 Found", headers={"Location": "/elsewhere"})
    with Server(sending(moved)) as server:
        assert run_dlftask("get", "t1", env=configured(server.url)).returncode == 7
    assert len(server.heads) == 1


@pytest.mark.parametrize("place", ["NETRC", "home"])
def test_netrc_is_not_read(tmp_path: Path, place: str) -> None:
    netrc = tmp_path / (".netrc" if place == "home" else "elsewhere")
    netrc.write_text(
        "machine 127.0.0.1 login somebody password hunter2\ndefault login a password b"
    )
    netrc.chmod(0o600)
    more = {"NETRC": str(netrc)} if place == "NETRC" else {}
    with Server(sending(http_response())) as server:
        run = run_dlftask("get", "t1", env=configured(server.url, **more), home=tmp_path)
    assert run.returncode == 0
    assert "authorization" not in server.heads[0].lower()


def test_a_password_in_an_endpoint_is_refused_and_not_repeated() -> None:
    with Server(sending(http_response())) as server:
        endpoint = server.url.replace("//", "//somebody:hunter2@")
        run = run_dlftask("get", "t1", env=configured(endpoint))
    assert run.returncode == 2
    assert "hunter2" not in run.stderr
    assert server.connections == 0


def test_cookies_are_not_kept() -> None:
    with_cookie = http_response(headers={"Set-Cookie": "session=1; Path=/"})
    with Server(sending(with_cookie)) as server:
        run = run_dlftask("get", "t1", "t2", "--concurrency", "1", env=configured(server.url))
    assert run.returncode == 0
    assert len(server.heads) == 2
    assert not any("cookie" in head.lower() for head in server.heads)


def test_one_connection_is_kept_for_many_requests() -> None:
    with Server(sending(http_response()), keep_alive=True) as server:
        ids = [f"t{n}" for n in range(20)]
        run = run_dlftask("get", *ids, "--concurrency", "1", env=configured(server.url))
    assert run.returncode == 0
    assert len(server.heads) == 20
    assert server.connections == 1


def test_the_rest_of_an_unread_response_does_not_reach_the_next_request() -> None:
    def talk(connection: object, head: bytes) -> None:
        evil = http_response(b"[" * 600_000 + TASK) if b"/t1 " in head else http_response()
        connection.sendall(evil)  # type: ignore[attr-defined]

    with Server(talk, keep_alive=True) as server:
        run = run_dlftask("get", "t1", "t2", "--concurrency", "1", env=configured(server.url))
    assert run.returncode == 7
    assert "✓ Import" in run.stdout


@pytest.mark.parametrize(
    ("how", "endpoint"),
    [
        ("option", "http://192.0.2.1"),
        ("option", "http://127.0.0.1.example.com"),
        ("variable", "http://service.invalid"),
        ("variable", "http://[::2]"),
        ("iam", "http://192.0.2.1"),
    ],
)
def test_plain_http_beyond_loopback_is_refused_before_connecting(how: str, endpoint: str) -> None:
    env = configured("http://127.0.0.1:1")
    if how == "iam":
        del env["DLFTASK_PROJECT_ID"]
        run = run_dlftask("get", "-r", "cn-north-4", "--iam-endpoint", endpoint, "t1", env=env)
    elif how == "option":
        run = run_dlftask("get", "--endpoint", endpoint, "t1", env=env)
    else:
        run = run_dlftask("get", "t1", env=configured(endpoint))
    assert run.returncode == 2
    assert "plain text" in run.stderr
    assert "--insecure" in run.stderr
    assert run.seconds < 3  # connecting to the first would take five


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.3", "::1"])
def test_plain_http_on_loopback_is_fine(host: str) -> None:
    with Server(sending(http_response()), host=host) as server:
        run = run_dlftask("get", "t1", env=configured(server.url))
    assert run.returncode == 0
    assert "warning" not in run.stderr


def test_the_request_has_only_the_headers_that_the_service_needs() -> None:
    with Server(sending(http_response())) as server:
        assert run_dlftask("get", "t1", env=configured(server.url)).returncode == 0
        host = f"127.0.0.1:{server.port}"
    (head,) = server.heads
    assert head.split("\r\n")[0] == f"GET /v1/{PROJECT}/system-tasks/t1 HTTP/1.1"
    sent = headers_of(head)
    assert {name: sent[name] for name in ("Accept", "Accept-Encoding", "Host", "User-Agent")} == {
        "Accept": "application/json",
        "Accept-Encoding": "gzip",
        "Host": host,
        "User-Agent": f"dlftask/{__version__}",
    }
    assert sent["X-Auth-Token"] == "secret-token"
    surprises = set(sent) - {"Accept", "Accept-Encoding", "Host", "User-Agent", "X-Auth-Token"}
    assert surprises <= {"X-Project-Id"}


@pytest.mark.parametrize("workspace", ["w1", "a b/c", "é", "导"])
def test_the_workspace_is_sent_as_given(workspace: str) -> None:
    with Server(sending(http_response())) as server:
        run = run_dlftask("get", "t1", "--workspace", workspace, env=configured(server.url))
    assert run.returncode == 0, run.stderr
    sent = {name.lower(): value for name, value in headers_of(server.heads[0]).items()}
    assert sent["workspace"].encode("latin-1").decode() == workspace


@pytest.mark.parametrize("workspace", ["a\r\nX-Evil: 1", "a\nb", "a\x1bb", " a"])
def test_a_workspace_that_no_header_can_carry_sends_nothing(workspace: str) -> None:
    with Server(sending(http_response())) as server:
        run = run_dlftask("get", "t1", "--workspace", workspace, env=configured(server.url))
    assert run.returncode == 2
    assert len(run.stderr.splitlines()) <= 2
    assert server.connections == 0


@pytest.mark.parametrize("token", ["abc\r\nX-Evil: 1", "abc\x00def", "ключ"])
def test_a_token_that_no_header_can_carry_sends_nothing_and_is_not_repeated(
    tmp_path: Path, token: str
) -> None:
    file = tmp_path / "token"
    file.write_text(token, encoding="utf-8")
    with Server(sending(http_response())) as server:
        env = configured(server.url)
        del env["DLFTASK_TOKEN"]
        run = run_dlftask("get", "--debug", "--token-file", str(file), "t1", env=env)
    assert run.returncode == 2
    assert "Traceback" not in run.stderr
    assert "abc" not in run.stderr
    assert "ключ" not in run.stderr
    assert server.heads == []


def test_an_endpoint_keeps_its_path() -> None:
    with Server(sending(http_response())) as server:
        run = run_dlftask("get", "t1", env=configured(f"{server.url}/gateway/dlf/"))
    assert run.returncode == 0
    assert server.heads[0].startswith(f"GET /gateway/dlf/v1/{PROJECT}/system-tasks/t1 HTTP/1.1")


def test_debug_shows_the_exchange_with_secrets_masked_and_controls_escaped() -> None:
    evil = http_response(headers={"X-Trace": "a\x1b[31mb", "Set-Cookie": "session=hunter2"})
    with Server(sending(evil)) as server:
        run = run_dlftask("get", "--debug", "t1", env=configured(server.url))
    assert run.returncode == 0
    assert f"> GET {server.url}/v1/{PROJECT}/system-tasks/t1" in run.stderr
    assert "< HTTP 200 in " in run.stderr
    assert "< X-Trace: a\\x1b[31mb" in run.stderr
    assert "hunter2" not in run.stderr
    assert "secret-token" not in run.stderr
    assert base64.b64encode(b"secret-token").decode() not in run.stderr


def test_a_transports_repr_shows_no_token() -> None:
    transport = new_transport()
    assert "token" not in repr(transport)
    transport.close()
