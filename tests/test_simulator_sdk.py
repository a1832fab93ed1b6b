"""The vendor's own SDK, unchanged, against the simulator: an independent client."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.auth.internal import MetadataAccessor, PodIdentityAccessor
from huaweicloudsdkcore.exceptions.exceptions import ClientRequestException, SdkException
from huaweicloudsdkcore.http.http_config import HttpConfig
from huaweicloudsdkcore.region.region import Region
from huaweicloudsdkdgc.v1 import (
    DgcClient,
    ImportFileReq,
    ImportJobRequest,
    ListSystemTasksRequest,
)

from dlftask.simulator import Simulator

FAILED_IMPORT = "008aae2e675d3bcb01675d3e6b960004"


@pytest.fixture(autouse=True)
def _direct(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator(speed=1000.0) as running:
        yield running


def client_of(simulator: Simulator, credentials: BasicCredentials) -> DgcClient:
    client = (
        DgcClient.new_builder()
        .with_http_config(HttpConfig(timeout=(5, 10)))
        .with_credentials(credentials)
        .with_endpoint(simulator.endpoint)
        .build()
    )
    assert isinstance(client, DgcClient)
    return client


def credentials_of(simulator: Simulator, project_id: str | None = None) -> BasicCredentials:
    return BasicCredentials(simulator.access_key, simulator.secret_key, project_id)


def test_it_reads_a_task(simulator: Simulator) -> None:
    client = client_of(simulator, credentials_of(simulator, simulator.project_id))
    task = client.list_system_tasks(ListSystemTasksRequest(task_id=FAILED_IMPORT))
    assert task.status == "FAILED"
    assert task.message == "Failed to read the OBS file obs://aaaaa/traffic2.zip. "
    assert task.end_time == 1543457631000


@pytest.mark.parametrize("workspace", [None, "w1", "a workspace"])
def test_it_starts_an_import_and_reads_it(simulator: Simulator, workspace: str | None) -> None:
    client = client_of(simulator, credentials_of(simulator, simulator.project_id))
    body = ImportFileReq(path="obs://aaaaa/导入[1].zip")
    started = client.import_job(ImportJobRequest(workspace=workspace, body=body))
    request = ListSystemTasksRequest(workspace=workspace, task_id=started.task_id)
    task = client.list_system_tasks(request)
    assert task.id == started.task_id
    assert task.name == "Import the job from obs://aaaaa/导入[1].zip."
    if workspace:
        with pytest.raises(ClientRequestException) as caught:
            client.list_system_tasks(ListSystemTasksRequest(task_id=started.task_id))
        assert caught.value.error_code == "DLF.0810"


def test_it_looks_up_its_project_by_region(simulator: Simulator) -> None:
    credentials = credentials_of(simulator).with_iam_endpoint(simulator.endpoint)
    client = (
        DgcClient.new_builder()
        .with_credentials(credentials)
        .with_region(Region("cn-north-4", simulator.endpoint))
        .build()
    )
    task = client.list_system_tasks(ListSystemTasksRequest(task_id=FAILED_IMPORT))
    assert task.status == "FAILED"
    lookup = simulator.requests[0]
    assert (lookup.path, lookup.query) == ("/v3/projects", "name=cn-north-4")


@pytest.mark.parametrize(
    ("projects", "expected"),
    [((), "Failed to get project id"), (("p1", "p2"), "Multiple project ids"), (None, "403")],
)
def test_it_distinguishes_none_several_and_refused(
    projects: tuple[str, ...] | None, expected: str
) -> None:
    with Simulator(projects={"cn-north-4": projects}) as simulator:
        credentials = credentials_of(simulator).with_iam_endpoint(simulator.endpoint)
        with pytest.raises(SdkException, match=expected):
            (
                DgcClient.new_builder()
                .with_credentials(credentials)
                .with_region(Region("cn-north-4", simulator.endpoint))
                .build()
            )


def test_it_understands_refusals(simulator: Simulator) -> None:
    wrong = BasicCredentials(simulator.access_key, "wrong", simulator.project_id)
    with pytest.raises(ClientRequestException) as caught:
        client_of(simulator, wrong).list_system_tasks(ListSystemTasksRequest(task_id="x"))
    assert (caught.value.status_code, caught.value.error_code) == (401, "APIGW.0301")
    assert caught.value.request_id
    client = client_of(simulator, credentials_of(simulator, simulator.project_id))
    with pytest.raises(ClientRequestException) as caught:
        client.list_system_tasks(ListSystemTasksRequest(task_id="nosuch"))
    assert (caught.value.status_code, caught.value.error_code) == (400, "DLF.0810")


def test_it_sends_a_security_token() -> None:
    with Simulator() as simulator:
        key = simulator.access.issue(600)
        credentials = BasicCredentials(key.access_key, key.secret_key, simulator.project_id)
        with pytest.raises(ClientRequestException, match="security token"):
            client_of(simulator, credentials).list_system_tasks(
                ListSystemTasksRequest(task_id=FAILED_IMPORT)
            )
        credentials = credentials.with_security_token(key.security_token)
        task = client_of(simulator, credentials).list_system_tasks(
            ListSystemTasksRequest(task_id=FAILED_IMPORT)
        )
        assert task.id == FAILED_IMPORT


@pytest.mark.parametrize("with_token", [True, False])
def test_it_gets_a_machines_keys_from_the_metadata_service(
    with_token: bool,  # noqa: FBT001 - a parameter of the test
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Simulator(metadata_token=with_token) as simulator:
        # The SDK has no setting for the address.
        monkeypatch.setattr(MetadataAccessor, "_METADATA_ENDPOINT", simulator.endpoint)
        credentials = BasicCredentials(project_id=simulator.project_id)
        task = client_of(simulator, credentials).list_system_tasks(
            ListSystemTasksRequest(task_id=FAILED_IMPORT)
        )
        assert task.id == FAILED_IMPORT
        assert credentials.ak != simulator.access_key


def test_it_gets_a_pods_keys(simulator: Simulator, tmp_path: Path) -> None:
    authorization = tmp_path / "authorization"
    authorization.write_text(simulator.pod_authorization, encoding="utf-8")
    credentials = BasicCredentials(project_id=simulator.project_id)
    credentials.sts_accessor = PodIdentityAccessor(simulator.pod_identity_uri, str(authorization))
    task = client_of(simulator, credentials).list_system_tasks(
        ListSystemTasksRequest(task_id=FAILED_IMPORT)
    )
    assert task.id == FAILED_IMPORT
