"""What the service does for many threads at once."""

import threading
import time

import pytest
from requests.auth import AuthBase

from dlftask.api.responses import Response
from dlftask.api.service import Service
from dlftask.auth.signing import TokenAuth
from dlftask.errors import ServiceUnavailable


class Known:
    """Credentials that never change."""

    source = "a test"
    warnings = ()

    def auth(self, _project_id: str | None) -> AuthBase:
        return TokenAuth("t")

    def forget(self, _refused: AuthBase) -> bool:
        return False


def test_those_who_wait_for_a_project_that_cannot_be_found_share_the_failure() -> None:
    looked_up: list[float] = []

    def find_project() -> str:
        looked_up.append(time.monotonic())
        time.sleep(0.2)
        if len(looked_up) == 1:
            raise ServiceUnavailable("IAM failed", retry_after_s=3, request_id="r")
        return "p"

    def send(method: str, url: str, **_: object) -> Response:
        return Response(200, {}, b'{"id": "a", "status": "RUNNING"}')

    service = Service(
        send,
        endpoint="https://service.test",
        credentials=Known(),  # type: ignore[arg-type]
        find_project=find_project,
    )
    errors: list[ServiceUnavailable] = []

    def ask() -> None:
        with pytest.raises(ServiceUnavailable) as caught:
            service.fetch("t1")
        errors.append(caught.value)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert len(looked_up) == 1
    assert {(str(e), e.retry_after_s) for e in errors} == {("IAM failed (request ID r)", 3)}
    assert service.fetch("t1").id == "a"
    assert len(looked_up) == 2
