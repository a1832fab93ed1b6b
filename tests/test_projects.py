"""The lookup of the project's ID: its result, its errors and their hints."""

import socket
from collections.abc import Iterator, Mapping, Sequence

import pytest
from requests.auth import AuthBase

from dlftask.api.projects import look_up_project
from dlftask.api.responses import Response
from dlftask.api.transport import Transport
from dlftask.auth.credentials import Credentials
from dlftask.auth.signing import AccessKeyAuth, TokenAuth
from dlftask.auth.tokens import AccessKey
from dlftask.errors import (
    AuthenticationError,
    ConfigurationError,
    DlftaskError,
    InvalidResponse,
    ServiceUnavailable,
)
from dlftask.simulator import Simulator
from tests.servers import new_transport

PROJECTS: Mapping[str, Sequence[str] | None] = {
    "cn-north-4": ("p1",),
    "none": (),
    "several": ("p1", "p2"),
    "refused": None,
}


class FixedCredentials(Credentials):
    """Credentials that cannot be refreshed."""

    def __init__(self, auth: AuthBase) -> None:  # it reads no source
        self.source = "a test"
        self._auth = auth

    def auth(self, _project_id: str | None) -> AuthBase:
        return self._auth

    def forget(self, _refused: AuthBase) -> bool:
        return False


@pytest.fixture
def transport() -> Iterator[Transport]:
    transport = new_transport()
    yield transport
    transport.close()


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator(projects=PROJECTS) as simulator:
        yield simulator


def test_it_is_found_with_a_token_and_with_a_key_pair(
    simulator: Simulator, transport: Transport
) -> None:
    key = AccessKey(simulator.access_key, simulator.secret_key)
    for auth in (TokenAuth(simulator.token), AccessKeyAuth(key)):
        found = look_up_project(
            transport.send,
            FixedCredentials(auth),
            iam_endpoint=simulator.endpoint,
            region="cn-north-4",
        )
        assert found == "p1"


@pytest.mark.parametrize(
    ("region", "kind", "expected"),
    [
        ("none", ConfigurationError, "no project for region 'none'"),
        ("several", ConfigurationError, "2 projects for region 'several': p1, p2"),
        ("refused", AuthenticationError, "IAM denied permission"),
    ],
)
def test_each_failure_has_its_own_error(
    simulator: Simulator, transport: Transport, region: str, kind: type[DlftaskError], expected: str
) -> None:
    auth = TokenAuth(simulator.token)
    with pytest.raises(kind, match=expected) as caught:
        look_up_project(
            transport.send, FixedCredentials(auth), iam_endpoint=simulator.endpoint, region=region
        )
    assert region in caught.value.message
    assert "--project-id or DLFTASK_PROJECT_ID" in (caught.value.hint or "")


def test_a_wrong_token_is_refused_and_not_repeated(
    simulator: Simulator, transport: Transport
) -> None:
    with pytest.raises(AuthenticationError) as caught:
        look_up_project(
            transport.send,
            FixedCredentials(TokenAuth("geheim")),
            iam_endpoint=simulator.endpoint,
            region="cn-north-4",
        )
    assert caught.value.http_status == 401
    assert "geheim" not in f"{caught.value} {caught.value.hint}"


def test_an_unreachable_iam_hints_at_what_to_set(transport: Transport) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        with pytest.raises(ServiceUnavailable, match="cn-north-4") as caught:
            look_up_project(
                transport.send,
                FixedCredentials(TokenAuth("t")),
                iam_endpoint=url,
                region="cn-north-4",
            )
    assert "--project-id" in (caught.value.hint or "")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"projects": null}',
        b'{"projects": [{}]}',
        b'{"projects": [{"id": 7}]}',
        b'{"projects": [{"id": "../../evil"}]}',
        b'{"projects": ["p"]}',
    ],
)
def test_a_response_without_projects_is_invalid(body: bytes) -> None:
    with pytest.raises(InvalidResponse, match="IAM") as caught:
        look_up_project(
            lambda *_, **__: Response(200, {}, body),
            FixedCredentials(TokenAuth("t")),
            iam_endpoint="https://iam.example",
            region="r",
        )
    assert "--project-id" in (caught.value.hint or "")
