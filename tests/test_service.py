"""The service, used by many threads at once."""

import threading
import time
from pathlib import Path

import pytest
from requests.auth import AuthBase

from dlftask.api.responses import Response
from dlftask.api.service import Service
from dlftask.auth.signing import TokenAuth
from dlftask.errors import ServiceUnavailable
from dlftask.settings import load_settings


class FixedCredentials:
    """Credentials that never change."""

    source = "a test"
    warnings = ()

    def auth(self, _project_id: str | None) -> AuthBase:
        return TokenAuth("t")

    def forget(self, _refused: AuthBase) -> bool:
        return False


def test_threads_that_wait_for_a_failing_project_lookup_share_the_failure(
    tmp_path: Path,
) -> None:
    looked_up: list[float] = []
    project = b'{"projects": [{"id": "p"}]}'
    task = b'{"id": "a", "status": "RUNNING"}'

    def send(_method: str, url: str, **_: object) -> Response:
        if not url.startswith("https://iam.test"):
            return Response(200, {}, task)
        looked_up.append(time.monotonic())
        time.sleep(0.2)
        if len(looked_up) == 1:
            raise ServiceUnavailable("IAM failed", retry_after_s=3, request_id="r")
        return Response(200, {}, project)

    variables = {
        "DLFTASK_ENDPOINT": "https://service.test",
        "DLFTASK_IAM_ENDPOINT": "https://iam.test",
        "DLFTASK_REGION": "cn-north-4",
    }
    settings = load_settings({}, environ=variables, home=tmp_path)
    service = Service(settings, FixedCredentials(), send)  # type: ignore[arg-type]
    errors: list[ServiceUnavailable] = []

    def fetch() -> None:
        with pytest.raises(ServiceUnavailable) as caught:
            service.fetch("t1")
        errors.append(caught.value)

    threads = [threading.Thread(target=fetch) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert len(looked_up) == 1
    failed = "could not look up the project ID for region 'cn-north-4': IAM failed (request ID r)"
    assert {(str(e), e.retry_after_s) for e in errors} == {(failed, 3)}
    assert service.fetch("t1").id == "a"
    assert len(looked_up) == 2
