"""One wait for many tasks: few connections, and no task that delays another."""

import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from dlftask.api.client import Client
from dlftask.errors import ExitStatus
from dlftask.simulator import Fault, Simulator
from dlftask.waiting.snapshot import Snapshot  # noqa: TC001 - a block for it saves nothing
from tests.cli import run_dlftask
from tests.running import ImportClock, Running

FAILED = "008aae2e675d3bcb01675d3e6b960004"
SUCCESSFUL = "008aae2e675d3bcb01675d3c66f20000"


@pytest.fixture
def simulator(import_clock: ImportClock) -> Iterator[Simulator]:
    with Simulator(clock=import_clock) as running:
        yield running


def count_connections(simulator: Simulator) -> list[object]:
    """A list that grows by one item with each connection from now on."""
    server: Any = simulator._server
    accepted: list[object] = []
    process = server.process_request

    def counted(request: object, address: object) -> None:
        accepted.append(address)
        process(request, address)

    server.process_request = counted
    return accepted


def test_a_thousand_tasks_share_eight_connections(
    simulator: Simulator, import_clock: ImportClock
) -> None:
    connections = count_connections(simulator)
    ids = [simulator.start_import() for _ in range(1000)]
    args = ["get", "-w", "-q", "--concurrency", "8", "--rate", "none", *ids]
    with Running(*args, env=simulator.environment()) as run:
        run.until(lambda: len(simulator.requests) >= 1000, within_s=240)
        import_clock.end_imports()
        assert run.process.wait(240) == 0
    counts = Counter(request.path.rpartition("/")[2] for request in simulator.requests)
    assert counts.keys() == set(ids)
    assert len(connections) <= 8


def test_a_plain_get_requests_each_task_once_and_keeps_the_order(simulator: Simulator) -> None:
    ids = [simulator.start_import() for _ in range(100)]
    finished = run_dlftask("get", "-o", "tsv", *ids, ids[0], env=simulator.environment())
    assert finished.returncode == 3
    tasks = [line.split("\t") for line in finished.stdout.splitlines()]
    assert [fields[1] for fields in tasks if fields[0] == "task"] == ids
    assert len(simulator.requests) == 100


def client_of(simulator: Simulator, read_timeout: float) -> Client:
    return Client(
        endpoint=simulator.endpoint,
        project_id=simulator.project_id,
        token=simulator.token,
        read_timeout=read_timeout,
    )


def test_dead_tasks_delay_no_other(simulator: Simulator, import_clock: ImportClock) -> None:
    """Seven of eight requests hang: the other tasks are polled as if those did not exist."""
    dead = [f"dead-{number}" for number in range(7)]
    simulator.set_faults(*(Fault(delay_s=60, task=task_id) for task_id in dead))
    fine = [simulator.start_import() for _ in range(20)]
    began = time.monotonic()
    ended: dict[str, float] = {}
    snapshots: dict[str, Snapshot] = {}
    with client_of(simulator, read_timeout=0.7) as client:
        for snapshot in client.watch([*dead, *fine], interval=0.1):
            snapshots[snapshot.task_id] = snapshot
            if snapshot.task is not None:
                import_clock.end_imports()
            if snapshot.settled:
                ended[snapshot.task_id] = time.monotonic() - began
    assert max(ended[task_id] for task_id in fine) < min(ended[task_id] for task_id in dead)
    statuses = {snapshots[task_id].exit_status(strict=False) for task_id in dead}
    assert statuses == {ExitStatus.UNAVAILABLE}


def test_a_task_that_hangs_in_mid_wait_delays_no_other(
    simulator: Simulator, import_clock: ImportClock
) -> None:
    dying, *fine = [simulator.start_import() for _ in range(4)]
    simulator.set_faults(Fault(trickle=1, headers=True, task=dying, after=1))
    seen: list[float] = []
    with client_of(simulator, read_timeout=30.0) as client:
        for snapshot in client.watch([dying, *fine], interval=0.05, max_outage=1.0):
            if snapshot.task_id == dying and snapshot.task is not None:
                import_clock.end_imports()
            if snapshot.task_id in fine and snapshot.settled:
                seen.append(time.monotonic())
            if snapshot.task_id == dying and snapshot.settled:
                assert snapshot.exit_status(strict=False) is ExitStatus.UNAVAILABLE
                assert len(seen) == len(fine)


def test_a_failed_task_does_not_end_the_wait_for_the_others(
    simulator: Simulator, import_clock: ImportClock
) -> None:
    task_id = simulator.start_import()
    args = ["watch", "--interval", "100ms", FAILED, "no-such-task", SUCCESSFUL, task_id]
    with Running(*args, env=simulator.environment()) as run:
        run.until(lambda: len(simulator.requests) > 6)
        import_clock.end_imports()
        assert run.process.wait(20) == 4
        assert f" FAILED     task    {FAILED} " in run.stdout
        assert f" SUCCESSFUL task    {task_id} " in run.stdout.splitlines()[-1]
        assert run.stderr.count("dlftask: error: ") == 1
    counts = Counter(request.path.rpartition("/")[2] for request in simulator.requests)
    assert counts[FAILED] == counts["no-such-task"] == counts[SUCCESSFUL] == 1
