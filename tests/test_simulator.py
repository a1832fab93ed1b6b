"""The simulator's tasks: the documented examples, and imports over time."""

import http.client
import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import pytest

from dlftask.simulator import Simulator

PROJECT = "b384b9e9ab9b4ee8994c8633aabc9505"
EXAMPLES = {
    "008aae2e675d3bcb01675d3c66f20000": """{
        "endTime":1543457514000,
        "id":"008aae2e675d3bcb01675d3c66f20000",
        "lastUpdate":1543457514000,
        "name": "Import the solution from OBS path obs://aaaaa/traffic.zip.",
        "projectId":"b384b9e9ab9b4ee8994c8633aabc9505",
        "startTime":1543457499000,
        "status":"SUCCESSFUL",
        "subtasks":[
            {
                "id":"008aae2e675d3bcb01675d3c9f5f0002",
                "lastUpdate":1543457513000,
                "name": "Import the job_batch job.",
                "status":"SUCCESSFUL",
                "taskId":"008aae2e675d3bcb01675d3c66f20000"
            },
            {
                "id":"008aae2e675d3bcb01675d3c9fdc0003",
                "lastUpdate":1543457513000,
                "name": "Import the job_stream job.",
                "status":"SUCCESSFUL",
                "taskId":"008aae2e675d3bcb01675d3c66f20000"
            }
        ]
    }""",
    "008aae2e675d3bcb01675d3e6b960004": """{
        "endTime":1543457631000,
        "id":"008aae2e675d3bcb01675d3e6b960004",
        "lastUpdate":1543457631000,
        "message": "Failed to read the OBS file obs://aaaaa/traffic2.zip. ",
        "name": "Import the solution from OBS path obs://aaaaa/traffic2.zip.",
        "projectId":"b384b9e9ab9b4ee8994c8633aabc9505",
        "startTime":1543457631000,
        "status":"FAILED",
        "subtasks":[]
    }""",
    "008aae2e675d3bcb01675d40ab3f0005": """{
        "endTime":1543457794000,
        "id":"008aae2e675d3bcb01675d40ab3f0005",
        "lastUpdate":1543457794000,
        "name":"Start the traffic solution",
        "projectId":"b384b9e9ab9b4ee8994c8633aabc9505",
        "startTime":1543457778000,
        "status":"FAILED",
        "subtasks":[
            {
                "id":"008aae2e675d3bcb01675d40e8560006",
                "lastUpdate":1543457794000,
                "name": "Start the job_batch job",
                "status":"FAILED",
                "taskId":"008aae2e675d3bcb01675d40ab3f0005"
            }
        ]
    }""",
    "008aae2e67abe2ff0167abe3a28f0000": """{
        "endTime": 1544777083000,
        "id": "008aae2e67abe2ff0167abe3a28f0000",
        "lastUpdate": 1544777083000,
        "name": "Import the job from obs://aaaaa/job_batch.zip.",
        "projectId": "b384b9e9ab9b4ee8994c8633aabc9505",
        "startTime": 1544777081000,
        "status": "SUCCESSFUL",
        "subtasks": [{
            "id": "008aae2e67abe2ff0167abe3a7e70002",
            "lastUpdate": 1544777083000,
            "name": "Import the job_batch job.",
            "status": "SUCCESSFUL",
            "taskId": "008aae2e67abe2ff0167abe3a28f0000"
        }]
    }""",
}
FAILED_IMPORT = "008aae2e675d3bcb01675d3e6b960004"


class Clock:
    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


def send(
    simulator: Simulator,
    path: str,
    method: str = "GET",
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> tuple[int, Any, http.client.HTTPResponse]:
    host = urlsplit(simulator.endpoint).netloc
    connection = http.client.HTTPConnection(host, timeout=10)
    connection.request(method, path, body, {"X-Auth-Token": simulator.token, **(headers or {})})
    response = connection.getresponse()
    text = response.read()
    connection.close()
    return response.status, json.loads(text), response


def task(simulator: Simulator, task_id: str, **headers: str) -> Any:
    return send(simulator, f"/v1/{PROJECT}/system-tasks/{task_id}", headers=headers)[1]


def start(simulator: Simulator, body: bytes, what: str = "import", **headers: str) -> Any:
    return send(simulator, f"/v1/{PROJECT}/jobs/{what}", "POST", body, headers)[:2]


@pytest.mark.parametrize("resource", ["system-tasks", "systemTasks"])
@pytest.mark.parametrize("task_id", EXAMPLES)
def test_the_documented_examples_are_returned_field_by_field_in_their_order(
    resource: str, task_id: str
) -> None:
    with Simulator() as simulator:
        status, body, response = send(simulator, f"/v1/{PROJECT}/{resource}/{task_id}")
    assert status == 200
    # As text, since equal objects can have their keys in another order.
    assert json.dumps(body) == json.dumps(json.loads(EXAMPLES[task_id]))
    assert response.headers["Content-Type"].startswith("application/json")
    assert len(response.headers["X-Request-Id"]) == 32


@pytest.mark.parametrize("task_id", ["nosuch", "0", "%2e%2e", "a%2fb", "é".encode().hex()])
def test_any_other_id_does_not_exist(task_id: str) -> None:
    with Simulator() as simulator:
        status, body, _ = send(simulator, f"/v1/{PROJECT}/system-tasks/{task_id}")
    assert status == 400
    assert body == {"error_code": "DLF.0810", "error_msg": "Task does not exist"}


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/another/system-tasks/x", 403, "APIGW.0302"),
        ("POST", "/v1/another/jobs/import", 403, "APIGW.0302"),
        ("GET", "/", 404, "APIGW.0101"),
        ("GET", f"/v1/{PROJECT}/jobs", 404, "APIGW.0101"),
        ("GET", f"/v1/{PROJECT}/system-tasks/", 404, "APIGW.0101"),
        ("GET", f"/v1/{PROJECT}/system-tasks/a/b", 404, "APIGW.0101"),
        ("DELETE", f"/v1/{PROJECT}/system-tasks/{FAILED_IMPORT}", 404, "APIGW.0101"),
        ("GET", f"/v1/{PROJECT}/jobs/import", 404, "APIGW.0101"),
    ],
)
def test_the_gateway_refuses_in_its_own_format(
    method: str, path: str, status: int, code: str
) -> None:
    with Simulator() as simulator:
        got, body, response = send(simulator, path, method)
    assert (got, body["error_code"]) == (status, code)
    assert body["request_id"] == response.headers["X-Request-Id"]


def test_a_request_for_another_project_than_in_its_header_is_refused() -> None:
    with Simulator() as simulator:
        path = f"/v1/{PROJECT}/system-tasks/{FAILED_IMPORT}"
        assert send(simulator, path, headers={"X-Project-Id": "another"})[0] == 403
        assert send(simulator, path, headers={"X-Project-Id": PROJECT})[0] == 200


def test_an_import_runs_through_its_jobs_as_time_passes() -> None:
    clock = Clock()
    with Simulator(clock=clock) as simulator:
        status, body = start(simulator, b'{"path": "obs://aaaaa/jobs.zip"}')
        assert status == 200
        task_id = body["taskId"]
        assert len(task_id) == 32
        seen = []
        for _ in range(19):
            seen.append(task(simulator, task_id))
            clock.now += 0.5
    first, last = seen[0], seen[-1]
    assert first == {
        "id": task_id,
        "lastUpdate": 1_700_000_000_000,
        "name": "Import the job from obs://aaaaa/jobs.zip.",
        "projectId": PROJECT,
        "startTime": 1_700_000_000_000,
        "status": "RUNNING",
        "subtasks": [],
    }
    assert [len(state["subtasks"]) for state in seen] == sorted(len(s["subtasks"]) for s in seen)
    assert any(sum(s["status"] == "RUNNING" for s in x["subtasks"]) > 1 for x in seen)
    assert all(state["status"] == "RUNNING" for state in seen)
    assert all("endTime" not in state for state in seen)
    assert len(last["subtasks"]) == 5
    assert any("[" in subtask["name"] for subtask in last["subtasks"])


def test_an_ended_import_has_ended_for_good() -> None:
    clock = Clock()
    with Simulator(clock=clock) as simulator:
        task_id = simulator.start_import("obs://aaaaa/jobs.zip")
        clock.now += 9.3
        ended = task(simulator, task_id)
        clock.now += 3600
        assert task(simulator, task_id) == ended
    assert list(ended) == [
        "endTime", "id", "lastUpdate", "name", "projectId", "startTime", "status", "subtasks",
    ]  # fmt: skip
    assert ended["status"] == "SUCCESSFUL"
    assert ended["endTime"] == ended["lastUpdate"] == ended["startTime"] + 9300
    assert {subtask["status"] for subtask in ended["subtasks"]} == {"SUCCESSFUL"}
    assert {subtask["taskId"] for subtask in ended["subtasks"]} == {task_id}
    assert len({subtask["id"] for subtask in ended["subtasks"]} | {task_id}) == 6
    assert all(subtask["endTime"] <= ended["endTime"] for subtask in ended["subtasks"])


@pytest.mark.parametrize(
    ("path", "status", "subtasks"),
    [
        ("obs://aaaaa/jobs-fail.zip", "FAILED", 5),
        ("obs://aaaaa/FAIL.zip", "FAILED", 5),
        ("obs://aaaaa/warn.zip", "WARNING", 5),
        ("obs://aaaaa/warn-fail.zip", "FAILED", 5),
        ("obs://aaaaa/big.zip", "SUCCESSFUL", 1000),
        ("obs://aaaaa/big-fail.zip", "FAILED", 1000),
        ("obs://aaaaa/subtasks-12.zip", "SUCCESSFUL", 12),
        ("obs://aaaaa/subtasks-0-fail.zip", "FAILED", 0),
    ],
)
def test_the_path_determines_how_an_import_ends(path: str, status: str, subtasks: int) -> None:
    clock = Clock()
    with Simulator(clock=clock, speed=2.0) as simulator:
        task_id = simulator.start_import(path)
        clock.now += 4.6
        assert task(simulator, task_id)["status"] == "RUNNING"
        clock.now += 0.1
        ended = task(simulator, task_id)
    assert ended["status"] == status
    assert len(ended["subtasks"]) == subtasks
    bad = [subtask for subtask in ended["subtasks"] if subtask["status"] != "SUCCESSFUL"]
    assert [subtask["status"] for subtask in bad] == [status] * min(len(bad), 1)
    assert bool(bad) == (status != "SUCCESSFUL" and subtasks > 0)
    assert all(subtask["message"] for subtask in bad)
    assert ("message" in ended) == (status != "SUCCESSFUL")


@pytest.mark.parametrize(
    "body",
    [b"", b"not JSON", b"\xff", b"[]", b"{}", b'{"path": ""}', b'{"path": 1}', b"[" * 100_000],
)
def test_an_import_that_names_no_path_is_refused(body: bytes) -> None:
    with Simulator() as simulator:
        status, error = start(simulator, body)
    assert status == 400
    assert error["error_code"] == "DLF.3051"


@pytest.mark.parametrize("what", ["export", "batch-export"])
def test_only_an_import_returns_a_task_id(what: str) -> None:
    with Simulator() as simulator:
        status, body = start(simulator, b'{"obsPath": "obs://aaaaa/out"}', what)
    assert status == 404
    assert "taskId" not in body


def test_beyond_the_rate_limit_requests_are_throttled_until_a_second_has_passed() -> None:
    clock = Clock()
    with Simulator(clock=clock, rate_limit=2) as simulator:
        bodies = [task(simulator, FAILED_IMPORT) for _ in range(3)]
        clock.now += 1.1
        later = task(simulator, FAILED_IMPORT)
    assert [body.get("error_code") for body in bodies] == [None, None, "APIG.0308"]
    assert "limit:2,time:1 second" in bodies[2]["error_msg"]
    assert later["id"] == FAILED_IMPORT


def test_workspaces_are_kept_apart() -> None:
    with Simulator() as simulator:
        body = b'{"path": "obs://aaaaa/jobs.zip"}'
        here = start(simulator, body, workspace="w1")[1]["taskId"]
        default = start(simulator, body)[1]["taskId"]
        assert task(simulator, here, workspace="w1")["id"] == here
        assert task(simulator, default)["id"] == default
        for task_id, headers in [
            (here, {}),
            (here, {"workspace": "w2"}),
            (default, {"workspace": "w1"}),
            (FAILED_IMPORT, {"workspace": "w1"}),
        ]:
            assert task(simulator, task_id, **headers)["error_code"] == "DLF.0810"


def test_a_stopped_simulator_is_gone_and_comes_back_on_its_port_with_its_tasks() -> None:
    clock = Clock()
    with Simulator(clock=clock) as simulator:
        endpoint = simulator.endpoint
        task_id = simulator.start_import("obs://aaaaa/jobs.zip")
        kept = http.client.HTTPConnection("127.0.0.1", simulator.port, timeout=10)
        kept.request("GET", "/")
        kept.getresponse().read()
        simulator.stop()
        assert kept.sock.recv(1) == b""
        kept.close()
        with pytest.raises(ConnectionRefusedError):
            send(simulator, "/")
        clock.now += 10
        simulator.start()
        assert simulator.endpoint == endpoint
        assert task(simulator, task_id)["status"] == "SUCCESSFUL"


def test_requests_are_recorded() -> None:
    with Simulator() as simulator:
        start(simulator, b'{"path": "obs://aaaaa/x"}', workspace="w1")
        send(simulator, "/v3/projects?name=x")
        first, second = simulator.requests
    assert (first.method, first.path) == ("POST", f"/v1/{PROJECT}/jobs/import")
    assert first.body == b'{"path": "obs://aaaaa/x"}'
    assert first.headers["WORKSPACE"] == "w1"
    assert (second.path, second.query) == ("/v3/projects", "name=x")
    assert second.moment >= first.moment


def test_a_connection_serves_many_requests() -> None:
    with Simulator() as simulator:
        connection = http.client.HTTPConnection("127.0.0.1", simulator.port, timeout=10)
        ports = set()
        for _ in range(5):
            path = f"/v1/{PROJECT}/system-tasks/{FAILED_IMPORT}"
            connection.request("GET", path, headers={"X-Auth-Token": simulator.token})
            response = connection.getresponse()
            assert json.loads(response.read())["status"] == "FAILED"
            ports.add(connection.sock.getsockname()[1])
        connection.close()
    assert len(ports) == 1


def test_invalid_http_is_refused_with_json() -> None:
    with Simulator() as simulator:
        assert send(simulator, "/", "BREW")[1]["error_code"] == "APIGW.9999"
        status, body, _ = send(simulator, "/", "POST", headers={"Content-Length": "many"})
    assert status == 400
    assert body["error_msg"] == "Content-Length is not a number"


def test_the_environment_points_to_it_and_secrets_are_random() -> None:
    one, other = Simulator(), Simulator()
    assert one.token != other.token
    assert one.secret_key != other.secret_key
    with Simulator(token="t", access_key="ak", secret_key="sk") as simulator:
        assert simulator.environment() == {
            "DLFTASK_ENDPOINT": simulator.endpoint,
            "DLFTASK_IAM_ENDPOINT": simulator.endpoint,
            "DLFTASK_PROJECT_ID": PROJECT,
            "DLFTASK_TOKEN": "t",
            "HUAWEICLOUD_SDK_AK": "ak",
            "HUAWEICLOUD_SDK_SK": "sk",
        }


def test_another_simulator_does_not_know_what_one_started() -> None:
    with Simulator() as first, Simulator() as other:
        task_id = first.start_import()
        assert re.fullmatch("[0-9a-f]{32}", task_id)
        assert task(other, task_id)["error_code"] == "DLF.0810"
