"""The Python API, against the simulator."""

import time
from collections.abc import Iterator

import pytest

from dlftask import (
    AuthenticationError,
    Client,
    ConfigurationError,
    ServiceUnavailable,
    Status,
    TaskNotFound,
    WaitTimeout,
)
from dlftask.simulator import Fault, Simulator

SUCCESSFUL = "008aae2e675d3bcb01675d3c66f20000"
FAILED = "008aae2e675d3bcb01675d3e6b960004"


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator(speed=20.0) as running:
        yield running


@pytest.fixture
def client(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    for name, value in simulator.environment().items():
        monkeypatch.setenv(name, value)
    with Client() as made:
        yield made


def test_get_returns_the_task_as_it_is_now(client: Client) -> None:
    task = client.get(FAILED)
    assert task.status == Status.FAILED
    assert task.message == "Failed to read the OBS file obs://aaaaa/traffic2.zip. "


def test_a_failed_task_is_returned_and_not_raised(client: Client, simulator: Simulator) -> None:
    task = client.wait(simulator.start_import("obs://b/fail.zip"), interval=0.05)
    assert task.status == Status.FAILED
    assert any(subtask.status == Status.FAILED for subtask in task.subtasks)


def test_watch_yields_each_change_of_each_task(client: Client, simulator: Simulator) -> None:
    running = simulator.start_import("obs://b/jobs.zip")
    snapshots = list(client.watch([SUCCESSFUL, running, "nope"], interval=0.05))
    last = {snapshot.task_id: snapshot for snapshot in snapshots}
    assert all(snapshot.settled for snapshot in last.values())
    assert isinstance(last["nope"].error, TaskNotFound)
    ended = last[running].task
    assert ended is not None
    assert ended.status == Status.SUCCESSFUL
    assert len([s for s in snapshots if s.task_id == running]) > 3


def test_errors_are_raised(client: Client, simulator: Simulator) -> None:
    with pytest.raises(TaskNotFound, match="does not exist"):
        client.get("nope")
    with pytest.raises(ConfigurationError, match="task ID"):
        client.get("a/b")
    with pytest.raises(AuthenticationError), Client(token="wrong") as refused:
        refused.get(SUCCESSFUL)
    simulator.set_faults(Fault(status=503))
    with pytest.raises(ServiceUnavailable) as caught:
        client.get(SUCCESSFUL)
    assert caught.value.http_status == 503


def test_the_timeout_ends_a_wait(client: Client, simulator: Simulator) -> None:
    task_id = simulator.start_import("obs://b/big.zip")
    simulator.set_faults(Fault(delay_s=30.0, after=1))
    began_s = time.monotonic()
    with pytest.raises(WaitTimeout):
        client.wait(task_id, timeout=0.5, interval=0.1)
    assert time.monotonic() - began_s < 1.5


def test_a_token_argument_beats_the_environment_and_is_not_shown(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DLFTASK_TOKEN", "wrong")
    with Client(
        endpoint=simulator.endpoint, project_id=simulator.project_id, token=simulator.token
    ) as client:
        assert client.get(SUCCESSFUL).status == Status.SUCCESSFUL
        assert simulator.token not in repr(vars(client))


def test_the_project_is_looked_up_once(simulator: Simulator) -> None:
    with Client(
        region="cn-north-4",
        endpoint=simulator.endpoint,
        iam_endpoint=simulator.endpoint,
        token=simulator.token,
    ) as client:
        list(client.watch([SUCCESSFUL, FAILED]))
        client.get(SUCCESSFUL)
    assert [r.path for r in simulator.requests].count("/v3/projects") == 1


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), "5s"])
@pytest.mark.parametrize("name", ["timeout", "interval", "max_outage"])
def test_an_invalid_time_is_refused_before_any_request(
    client: Client, simulator: Simulator, name: str, seconds: float
) -> None:
    with pytest.raises(ConfigurationError, match="number of seconds"):
        client.wait(SUCCESSFUL, **{name: seconds})  # type: ignore[arg-type]
    assert simulator.requests == ()


def test_times_of_a_client_are_any_number_of_seconds(simulator: Simulator) -> None:
    with Client(endpoint=simulator.endpoint, project_id="p", token="t", read_timeout=1e-5) as made:
        assert made.settings.read_timeout_s == 1e-5
    with pytest.raises(ConfigurationError), Client(token="t", read_timeout=0):
        pass


def test_one_string_is_not_several_tasks(client: Client) -> None:
    with pytest.raises(ConfigurationError, match="one string"):
        list(client.watch("ok"))
