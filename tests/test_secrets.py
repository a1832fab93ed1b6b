"""No secret is shown in a trace, an error or the history; every run of the suite checks that."""

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from dlftask.auth.signing import AccessKeyAuth
from dlftask.auth.tokens import AccessKey
from dlftask.secrets import Secrets
from dlftask.simulator import Simulator
from tests.cli import check_no_secret, configured, run_dlftask
from tests.servers import Server, Talk, http_response, new_transport, sending

TASK = "008aae2e675d3bcb01675d3c66f20000"
MARK = "s3cret-of-mine"


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator(
        token=f"{MARK}-token", access_key=f"{MARK}-ak", secret_key=f"{MARK}-sk", temporary_s=2.0
    ) as running:
        yield running


def places(simulator: Simulator) -> dict[str, str]:
    return {
        "DLFTASK_ENDPOINT": simulator.endpoint,
        "DLFTASK_IAM_ENDPOINT": simulator.endpoint,
        "DLFTASK_REGION": "cn-north-4",
        "DLFTASK_METADATA_ENDPOINT": simulator.endpoint,
    }


TOKEN, AK, SK = f"{MARK}-token", f"{MARK}-ak", f"{MARK}-sk"
SOURCES = {
    "a token": {"DLFTASK_TOKEN": TOKEN},
    "another token": {"HW_AUTH_TOKEN": TOKEN},
    "a wrong token": {"DLFTASK_TOKEN": f"{TOKEN}-wrong"},
    "a key pair": {"HUAWEICLOUD_SDK_AK": AK, "HUAWEICLOUD_SDK_SK": SK},
    "a wrong secret": {"HUAWEICLOUD_SDK_AK": AK, "HUAWEICLOUD_SDK_SK": f"{SK}-wrong"},
    "a security token": {
        "HW_ACCESS_KEY": AK,
        "HW_SECRET_KEY": SK,
        "HW_SECURITY_TOKEN": f"{MARK}-security",
    },
    "half a pair": {"HUAWEICLOUD_SDK_SK": SK},
    "a token that no header takes": {"DLFTASK_TOKEN": f"{TOKEN}\n{TOKEN}"},
    "a file": {"DLFTASK_TOKEN_FILE": "token"},
    "a profile": {"DLFTASK_CONFIG": "config.toml"},
    "a broken profile": {"DLFTASK_CONFIG": "broken.toml"},
    "the SDK's file": {"HUAWEICLOUD_SDK_CREDENTIALS_FILE": "credentials"},
    "a machine's identity": {"DLFTASK_AUTH": "agency"},
    "a password in an endpoint": {"DLFTASK_ENDPOINT": f"https://user:{MARK}@example.com"},
    "a password in a proxy": {
        "DLFTASK_TOKEN": TOKEN,
        "DLFTASK_ENDPOINT": "http://service.invalid",
        "http_proxy": f"http://user:{MARK}@127.0.0.1:9",
    },
}
# The exit status of a run, where it is not 0.
ENDS_WITH = {
    "a wrong token": 5,
    "a wrong secret": 5,
    "a security token": 5,
    "half a pair": 2,
    "a token that no header takes": 2,
    "a broken profile": 2,
    "a password in an endpoint": 2,
    "a password in a proxy": 6,
}


@pytest.mark.parametrize("source", SOURCES)
def test_a_trace_shows_no_secret(simulator: Simulator, tmp_path: Path, source: str) -> None:
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "config.toml").write_text(f'[default]\nak = "{AK}"\nsk = "{SK}"\n')
    (tmp_path / "broken.toml").write_text(f'[default]\ntoken = "{TOKEN}\n')
    (tmp_path / "credentials").write_text(f"[basic]\nak = {AK}\nsk = {SK}\n")
    env = {**places(simulator), "DLFTASK_DEBUG": "1", **SOURCES[source]}
    run = run_dlftask("get", "--insecure", TASK, env=env, home=tmp_path)
    assert run.returncode == ENDS_WITH.get(source, 0), run.stderr
    assert MARK not in run.stdout + run.stderr
    assert ("> GET " in run.stderr) == (run.returncode != 2)
    kept = tmp_path / "state/dlftask/recent"
    assert not kept.exists() or kept.read_text() == f"{TASK}\n"
    # Credentials that were issued to the machine are as secret as those that a user sets.
    issued = [request.headers.get("X-Security-Token", "") for request in simulator.requests]
    assert not [token for token in issued if token and token in run.stdout + run.stderr]


PASSWORD = "p@ss word"
ENCODED = "p%40ss%20word"
REPEATED = f"{TOKEN} {ENCODED} {PASSWORD}"
REPEATING: dict[str, Talk] = {
    "a message": sending(
        http_response(
            f'{{"error_code": "{TOKEN}", "error_msg": "no {REPEATED}"}}'.encode(),
            status="400 Bad Request",
        )
    ),
    "a nested message": sending(
        http_response(
            f'{{"error": {{"message": "no {REPEATED}"}}}}'.encode(), status="403 Forbidden"
        )
    ),
    "a request ID": sending(
        http_response(
            b"{}", status="500 Oops", headers={"X-Request-Id": REPEATED, "Retry-After": "99"}
        )
    ),
    "a redirect": sending(
        http_response(b"", status="302 Found", headers={"Location": f"http://a/?{REPEATED}"})
    ),
    "an encoding": sending(http_response(headers={"Content-Encoding": TOKEN, "X-A": REPEATED})),
    "a reason": sending(f"HTTP/1.1 400 {REPEATED}\r\n\r\n".encode()),
    "no HTTP": sending(REPEATED.encode()),
    "no JSON": sending(http_response(REPEATED.encode())),
    "a header alone": sending(http_response(headers={"X-Echo": REPEATED, "X-Two": f"a{TOKEN}b"})),
}


@pytest.mark.parametrize("name", REPEATING)
def test_a_secret_that_a_server_repeats_is_masked(tmp_path: Path, name: str) -> None:
    with Server(REPEATING[name]) as proxy:
        run = run_dlftask(
            *("get", "--debug", "--insecure", "-o", "json", "--report", f"junit:{tmp_path}/r", "a"),
            *("b", "--endpoint", "http://service.test"),
            env={
                **configured("http://unused.test", DLFTASK_TOKEN=TOKEN),
                "http_proxy": f"http://user:{ENCODED}@127.0.0.1:{proxy.port}",
            },
        )
    output = run.stdout + run.stderr + (tmp_path / "r").read_text()
    assert proxy.heads
    assert [secret for secret in (TOKEN, PASSWORD, ENCODED) if secret in output] == []


def test_a_good_tasks_own_fields_are_left_whole() -> None:
    task = b'{"id": "t1", "status": "SUCCESSFUL", "name": "a-name"}'
    with Server(sending(http_response(task))) as server:
        env = configured(server.url, DLFTASK_TOKEN="a-name")
        run = run_dlftask("get", "-o", "json", "t1", env=env)
    assert '"a-name"' in run.stdout


def test_values_are_masked_the_longest_first_and_short_ones_left() -> None:
    secrets = Secrets()
    secrets.add("abcdef", "abcdefgh", "id", "a/b c")
    assert secrets.mask("x abcdefgh abcdef id") == "x *** *** id"
    assert secrets.mask("a%2Fb%20c a/b%20c a/b c") == "*** *** ***"


def test_a_signature_is_masked_in_its_own_request_and_kept_no_longer() -> None:
    def repeat(connection: socket.socket, head: bytes) -> None:
        signature = head.decode().partition("Signature=")[2].split()[0]
        signatures.append(signature)
        echo = {"X-Request-Id": signature}
        connection.sendall(http_response(b"{}", status="500 Oops", headers=echo))

    signatures: list[str] = []
    traces: list[str] = []
    with (
        Server(repeat) as server,
        contextlib.closing(new_transport(trace=traces.append)) as transport,
    ):
        for second in range(20):
            auth = AccessKeyAuth(AccessKey("an-access-key", MARK), now=lambda: second)  # noqa: B023
            response = transport.send("GET", server.url, auth=auth)
            assert response.request_id == "***"
        assert len(set(signatures)) == 20
        assert not [one for one in signatures if one in "".join(traces)]
        # To keep those of a wait of days would take more and more memory and time.
        assert transport._secrets.mask(signatures[0]) == signatures[0]


def test_the_check_finds_a_printed_secret() -> None:
    check_no_secret("nothing here", {"DLFTASK_TOKEN": "0123456789"})
    with pytest.raises(AssertionError):
        check_no_secret("it is 0123456789!", {"DLFTASK_TOKEN": "0123456789"})
