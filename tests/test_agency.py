"""A machine's own identity: fetched when it is needed, and again before it expires."""

import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from dlftask.api.responses import Response
from dlftask.api.transport import Transport
from dlftask.auth.agency import find_agency
from dlftask.auth.credentials import Credentials, Source, find_credentials
from dlftask.errors import (
    AuthenticationError,
    ConfigurationError,
    DlftaskError,
    InvalidResponse,
    ServiceUnavailable,
)
from dlftask.profiles import Profile
from dlftask.settings import Settings
from dlftask.simulator import Simulator
from tests.servers import Server, http_response, new_transport, sending

START = 1_767_225_600.0  # 2026-01-01T00:00:00Z


@pytest.fixture
def transport() -> Iterator[Transport]:
    transport = new_transport()
    yield transport
    transport.close()


def find(transport: Transport, environ: dict[str, str], home: Path) -> Credentials:
    profile = Profile(None, "default", {})
    settings = Settings(profile, environ, home, {}, auth="agency")
    return find_credentials(settings, transport.send)


def is_accepted(transport: Transport, simulator: Simulator, credentials: Credentials) -> bool:
    url = f"{simulator.endpoint}/v3/projects?name=cn-north-4"
    return transport.send("GET", url, auth=credentials.auth(None)).ok


@pytest.mark.parametrize("metadata_token", [True, False])
def test_keys_of_the_metadata_service_are_accepted_with_and_without_its_token(
    transport: Transport, tmp_path: Path, *, metadata_token: bool
) -> None:
    with Simulator(metadata_token=metadata_token) as simulator:
        environ = {"DLFTASK_METADATA_ENDPOINT": simulator.endpoint}
        credentials = find(transport, environ, tmp_path)
        assert is_accepted(transport, simulator, credentials)
        refused = credentials.auth(None)
        simulator.expire_temporary_keys()
        assert not is_accepted(transport, simulator, credentials)
        assert credentials.forget(refused)
        assert is_accepted(transport, simulator, credentials)


def test_a_pods_identity_comes_before_the_machines(transport: Transport, tmp_path: Path) -> None:
    with Simulator(pod_authorization="pod-word") as simulator:
        word = tmp_path / "word"
        word.write_text("pod-word\n")
        environ = {
            "DLFTASK_METADATA_ENDPOINT": "http://127.0.0.1:9",
            "HC_CONTAINER_CREDENTIALS_FULL_URI": simulator.pod_identity_uri,
            "HC_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(word),
        }
        assert is_accepted(transport, simulator, find(transport, environ, tmp_path))
        word.write_text("wrong")
        with pytest.raises(AuthenticationError, match="HTTP 401"):
            find(transport, environ, tmp_path).auth(None)


class Metadata:
    """Responds like a metadata service without tokens, with a clock of its own."""

    def __init__(self, life_s: float = 3600.0) -> None:
        self.now = START
        self.life_s = life_s
        self.fetched = 0
        self.response: Response | DlftaskError | None = None
        self.token_status = 404
        self.direct: set[bool] = set()

    def __call__(self, method: str, url: str, **how: Any) -> Response:  # noqa: ARG002 - as Send
        from datetime import UTC, datetime

        self.direct.add(how.get("direct", False))
        if method == "PUT":
            return Response(self.token_status, {}, b"")
        if isinstance(self.response, DlftaskError):
            raise self.response
        if self.response is not None:
            return self.response
        self.fetched += 1
        end = datetime.fromtimestamp(self.now + self.life_s, UTC)
        key = {
            "access": f"AK{self.fetched}",
            "secret": "geheim",
            "securitytoken": "st",
            "expires_at": end.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        }
        return Response(200, {}, json.dumps({"credential": key}).encode())

    def agency(self) -> Credentials:
        fetch = find_agency(self, {})
        source = Source("agency", "key pair", fetch, reload=lambda: source)
        return Credentials(source, now=lambda: self.now)


def access_key(agency: Credentials) -> str:
    request = requests.Request("GET", "https://a.example/", auth=agency.auth(None)).prepare()
    return request.headers["Authorization"].partition("Access=")[2].partition(",")[0]


@pytest.mark.parametrize(("life_s", "kept_s"), [(86_400.0, 86_100.0), (400.0, 300.0)])
def test_a_key_pair_is_fetched_again_before_it_expires(life_s: float, kept_s: float) -> None:
    metadata = Metadata(life_s)
    agency = metadata.agency()
    assert metadata.fetched == 0
    first = agency.auth(None)
    metadata.now += kept_s - 1
    assert agency.auth(None) is first
    metadata.now += 1
    assert access_key(agency) == "AK2"


def test_a_key_pair_is_used_until_it_expires_if_no_new_one_comes() -> None:
    metadata = Metadata()
    agency = metadata.agency()
    first = agency.auth(None)
    metadata.response = ServiceUnavailable("down")
    metadata.now += 3400
    assert agency.auth(None) is first
    metadata.now += 200
    with pytest.raises(ServiceUnavailable):
        agency.auth(None)
    metadata.response = None
    assert access_key(agency) == "AK2"


def test_a_refused_key_pair_is_not_used_again() -> None:
    metadata = Metadata()
    agency = metadata.agency()
    assert agency.forget(agency.auth(None))
    metadata.response = ServiceUnavailable("down")
    with pytest.raises(ServiceUnavailable):
        agency.auth(None)
    metadata.response = None
    assert access_key(agency) == "AK2"


def test_a_refusal_is_not_requested_again_for_each_task(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    metadata = Metadata()
    agency = metadata.agency()
    metadata.response = Response(404, {}, b"")
    for _ in range(2):
        with pytest.raises(AuthenticationError):
            agency.auth(None)
        metadata.response = None
    later_s = time.monotonic() + 11
    monkeypatch.setattr(time, "monotonic", lambda: later_s)
    assert access_key(agency) == "AK1"


def test_many_threads_share_one_fetch() -> None:
    metadata = Metadata()
    agency = metadata.agency()
    with ThreadPoolExecutor(8) as pool:
        keys = [done.result() for done in [pool.submit(agency.auth, None) for _ in range(32)]]
    assert metadata.fetched == 1
    assert set(map(id, keys)) == {id(keys[0])}


def test_no_proxy_is_ever_used() -> None:
    metadata = Metadata()
    metadata.agency().auth(None)
    assert metadata.direct == {True}


@pytest.mark.parametrize("status", [404, 405, 503])
def test_without_metadata_tokens_the_key_is_requested_without_one(status: int) -> None:
    metadata = Metadata()
    metadata.token_status = status
    assert access_key(metadata.agency()) == "AK1"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, AuthenticationError),
        (403, AuthenticationError),
        (404, AuthenticationError),
        (429, ServiceUnavailable),
        (500, ServiceUnavailable),
        (302, InvalidResponse),
        (418, AuthenticationError),
    ],
)
def test_each_status_raises_its_own_error(status: int, kind: type[DlftaskError]) -> None:
    metadata = Metadata()
    metadata.response = Response(status, {}, b"")
    with pytest.raises(kind, match="metadata service") as caught:
        metadata.agency().auth(None)
    if status in (401, 403, 404):
        assert "no agency is bound" in (caught.value.hint or "")


KEY = {
    "access": "a",
    "secret": "geheim",
    "securitytoken": "t",
    "expires_at": "2026-01-02T00:00:00Z",
}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b'{"credential": null}',
        *(
            json.dumps({"credential": {**KEY, name: bad}}).encode()
            for name in KEY
            for bad in (7, "\n")
        ),
        json.dumps({"credential": {**KEY, "secret": ""}}).encode(),
    ],
)
def test_a_response_without_a_key_pair_is_invalid(body: bytes) -> None:
    metadata = Metadata()
    metadata.response = Response(200, {}, body)
    with pytest.raises(InvalidResponse) as caught:
        metadata.agency().auth(None)
    assert "geheim" not in str(caught.value)


def test_a_metadata_service_that_is_not_there_is_unavailable(
    transport: Transport, tmp_path: Path
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        environ = {"DLFTASK_METADATA_ENDPOINT": f"http://127.0.0.1:{closed.getsockname()[1]}"}
        with pytest.raises(ServiceUnavailable, match="metadata service") as caught:
            find(transport, environ, tmp_path).auth(None)
    assert "--auth agency" in (caught.value.hint or "")


@pytest.mark.parametrize(
    "url", ["http://10.0.0.1", "http://evil.example/", "ftp://127.0.0.1", "169.254.169.254"]
)
@pytest.mark.parametrize(
    "variable", ["DLFTASK_METADATA_ENDPOINT", "HC_CONTAINER_CREDENTIALS_FULL_URI"]
)
def test_credentials_never_cross_a_network_in_plain_text(variable: str, url: str) -> None:
    environ = {variable: url, "HC_CONTAINER_AUTHORIZATION_TOKEN_FILE": "unread"}
    with pytest.raises(ConfigurationError, match=variable):
        find_agency(Metadata(), environ)


def test_half_a_pod_identity_is_a_configuration_error() -> None:
    environ = {"HC_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1/x"}
    with pytest.raises(ConfigurationError, match="HC_CONTAINER_AUTHORIZATION_TOKEN_FILE"):
        find_agency(Metadata(), environ)


@pytest.mark.parametrize("status", ["200 OK", "403 Forbidden"])
def test_a_pods_secret_that_is_sent_back_as_the_request_id_is_not_repeated(
    transport: Transport, tmp_path: Path, status: str
) -> None:
    word = tmp_path / "word"
    word.write_text("a-pods-own-secret")
    refusal = http_response(b"{}", status=status, headers={"X-Request-Id": "a-pods-own-secret"})
    with Server(sending(refusal)) as server:
        environ = {
            "HC_CONTAINER_CREDENTIALS_FULL_URI": f"{server.url}/identity",
            "HC_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(word),
        }
        with pytest.raises(DlftaskError) as caught:
            find(transport, environ, tmp_path).auth(None)
    assert "request ID ***" in str(caught.value)
    assert "a-pods-own-secret" not in str(caught.value)
