"""Waits end to end, in real seconds, with the real command line against the simulator."""

import json
import os
import re
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dlftask.output.formats import RenderOptions
from dlftask.output.log import ChangeLog, JsonLog, LogView, TaskLog
from dlftask.output.view import WaitState
from dlftask.simulator import Fault, Simulator
from dlftask.streams import Streams
from dlftask.waiting.policy import WaitPolicy
from dlftask.waiting.scheduler import poll
from tests.cli import run_dlftask, startup_s
from tests.running import ImportClock, Running, black_hole
from tests.test_scheduler import ScriptedPool, ends_after

SUCCESSFUL = "008aae2e675d3bcb01675d3c66f20000"
FAILED = "008aae2e675d3bcb01675d3e6b960004"
MOMENT = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)"


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    """Imports take two seconds."""
    with Simulator(speed=4.65) as running:
        yield running


@pytest.fixture
def slow_simulator() -> Iterator[Simulator]:
    """Imports last long enough for a second request, even on a loaded machine."""
    with Simulator(speed=1.2) as running:
        yield running


def count_requests(simulator: Simulator, word: str) -> int:
    return sum(word in request.path for request in simulator.requests)


# An outage


@pytest.mark.parametrize("command", [["watch"], ["get", "--wait"]], ids=" ".join)
def test_a_wait_survives_a_restart_of_the_service(simulator: Simulator, command: list[str]) -> None:
    task_id = simulator.start_import()
    environ = simulator.environment()
    with Running(*command, "--interval", "100ms", task_id, env=environ) as run:
        run.until(lambda: "RUNNING" in run.stdout + run.stderr)
        simulator.stop()
        run.until(lambda: "retrying for up to" in run.stderr)
        time.sleep(0.5)
        simulator.start()
        assert run.process.wait(20) == 0
        assert "SUCCESSFUL" in run.stdout
        lines = run.stderr.splitlines()
        assert all(line.startswith("dlftask: ") for line in lines)
        assert sum("retrying for up to" in line for line in lines) == 1
        (over,) = [line for line in lines if "the service is back" in line]
        assert re.search(r"after [0-9.]+m?s$", over)


@pytest.mark.parametrize(("args", "count"), [(["watch"], 1), (["get", "-wq"], 0)])
def test_an_outage_is_reported_once_for_many_tasks_and_not_at_all_with_quiet(
    args: list[str], count: int, import_clock: ImportClock
) -> None:
    with Simulator(clock=import_clock) as simulator:
        ids = [simulator.start_import() for _ in range(5)]
        simulator.set_faults(Fault(status=503, after=5, count=15))
        with Running(*args, "--interval", "200ms", *ids, env=simulator.environment()) as run:
            # The imports end once the outage is over.
            run.until(lambda: len(simulator.requests) > 30)
            import_clock.end_imports()
            assert run.process.wait(30) == 0
            assert run.stderr.count("retrying for up to") == count
            assert run.stderr.count("HTTP 503") == count
            assert run.stderr.count("the service is back") == count
            assert bool(run.stdout) == bool(count)


@pytest.mark.parametrize(
    "fault", [Fault(status=500, after=1), Fault(trickle=1, headers=True, after=1)]
)
def test_an_outage_too_long_ends_the_wait_in_the_middle_of_a_request_too(fault: Fault) -> None:
    with Simulator() as simulator:
        simulator.set_faults(fault)
        task_id = simulator.start_import()
        args = ["get", "-w", "--max-outage", "1s", "-o", "json", task_id]
        finished = run_dlftask(*args, env=simulator.environment())
    assert (finished.returncode, finished.stdout) == (6, "")
    assert finished.seconds < 5
    lines = finished.stderr.splitlines()
    assert sum(line.startswith("dlftask: error: ") for line in lines) == 1
    assert any(line.startswith(f"dlftask: task {task_id}: RUNNING") for line in lines)
    assert lines[-1].endswith(f"dlftask get --wait --max-outage 1s --output json {task_id}")


@pytest.mark.parametrize("command", [["watch"], ["get", "--wait"]], ids=" ".join)
def test_a_process_that_was_stopped_longer_than_the_maximum_outage_goes_on(
    slow_simulator: Simulator, command: list[str]
) -> None:
    task_id = slow_simulator.start_import()
    slow_simulator.set_faults(Fault(delay_s=0.3, after=1, count=1))
    args = [*command, "--interval", "100ms", "--max-outage", "1s", task_id]
    with Running(*args, env=slow_simulator.environment()) as run:
        run.until(lambda: len(slow_simulator.requests) >= 2)
        run.process.send_signal(signal.SIGSTOP)
        time.sleep(2.5)
        run.process.send_signal(signal.SIGCONT)
        assert run.process.wait(20) == 0
        assert "retrying for up to" not in run.stderr


def test_the_results_of_the_other_tasks_are_printed(simulator: Simulator) -> None:
    lost, fine = simulator.start_import(), simulator.start_import()
    simulator.set_faults(Fault(drop=True, task=lost, after=1))
    args = ["get", "-w", "--max-outage", "1s", "-o", "json", lost, fine]
    finished = run_dlftask(*args, env=simulator.environment())
    assert finished.returncode == 6
    first, second = json.loads(finished.stdout)
    assert first["id"] == lost
    assert first["error"]["exit_status"] == 6
    assert second["status"] == "SUCCESSFUL"


def test_retry_after_is_obeyed_as_a_date_too(simulator: Simulator) -> None:
    simulator.set_faults(Fault(status=429, retry_after=2, after=1, count=1))
    task_id = simulator.start_import()
    finished = run_dlftask("watch", task_id, env=simulator.environment())
    assert finished.returncode == 0
    _, refused, next_one, *_ = [request.moment for request in simulator.requests]
    # A date has whole seconds.
    assert 0.9 < next_one - refused < 3


# A task's own end


@pytest.mark.parametrize("command", [["watch"], ["get", "--wait"]], ids=" ".join)
def test_a_failed_task_ends_a_wait_at_once(simulator: Simulator, command: list[str]) -> None:
    finished = run_dlftask(*command, FAILED, env=simulator.environment())
    assert finished.returncode == 1
    assert len(simulator.requests) == 1


def test_an_unknown_status_ends_its_tasks_wait(simulator: Simulator) -> None:
    task_id = simulator.start_import()
    simulator.set_faults(Fault(invalid="unknown-status", after=1))
    finished = run_dlftask("watch", task_id, env=simulator.environment())
    assert finished.returncode == 7
    assert "PONDERING" in finished.stdout
    assert len(simulator.requests) == 2


# --timeout

TIMEOUT_S = 1.0
OVERRUN_S = 1.0


@pytest.mark.parametrize(
    ("faults", "tasks"),
    [
        ([Fault(delay_s=60)], 1),
        ([Fault(delay_s=60, after=1)], 1),
        ([Fault(trickle=1)], 1),
        ([Fault(trickle=1, headers=True)], 1),
        ([Fault(status=429, retry_after="9")], 1),
        ([Fault(status=503, retry_after="3600", after=1)], 1),
        ([Fault(drop=True, after=1)], 1),
        ([Fault(delay_s=60)], 50),
        ([Fault(delay_s=0.2)], 200),
        ([], 200),
    ],
    ids=[
        "silence",
        "silence after a response",
        "a byte a second",
        "a byte a second of the head",
        "Retry-After",
        "Retry-After after a response",
        "dropped after a response",
        "50 silent tasks",
        "200 slow tasks",
        "200 tasks",
    ],
)
def test_the_timeout_holds(faults: list[Fault], tasks: int) -> None:
    with Simulator() as simulator:
        ids = [simulator.start_import() for _ in range(tasks)]
        simulator.set_faults(*faults)
        args = ["get", "-w", "--timeout", "1s", "--interval", "100ms", *ids]
        finished = run_dlftask(*args, env=simulator.environment())
    assert finished.returncode == 124
    assert TIMEOUT_S < finished.seconds < TIMEOUT_S + OVERRUN_S + startup_s()
    assert finished.stderr.count("dlftask: error: ") == tasks
    assert f"dlftask get --wait --timeout 1s --interval 100ms {ids[0]}" in finished.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="a connection that hangs is made by Linux")
def test_the_timeout_holds_without_a_connection() -> None:
    with black_hole() as endpoint:
        environ = {
            "DLFTASK_ENDPOINT": endpoint,
            "DLFTASK_PROJECT_ID": "p",
            "DLFTASK_TOKEN": "secret",
        }
        finished = run_dlftask("watch", "--timeout", "1s", "x", env=environ)
    assert finished.returncode == 124
    assert TIMEOUT_S < finished.seconds < TIMEOUT_S + OVERRUN_S + startup_s()
    assert "dlftask: task x: no response yet" in finished.stderr


def test_the_timeout_holds_while_the_project_lookup_hangs(
    simulator: Simulator,
) -> None:
    simulator.set_faults(Fault(delay_s=60, path="/v3/projects"))
    environ = {**simulator.environment(), "DLFTASK_PROJECT_ID": "", "DLFTASK_REGION": "here"}
    ids = [simulator.start_import() for _ in range(20)]
    finished = run_dlftask("get", "-w", "--timeout", "1s", *ids, env=environ)
    assert finished.returncode == 124
    assert TIMEOUT_S < finished.seconds < TIMEOUT_S + OVERRUN_S + startup_s()


def test_the_timeout_holds_while_standard_input_is_read(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    args = ["watch", "--timeout", "1s", "--report", f"json:{report}", "task-1", "-"]
    reading, writing = os.pipe()
    with os.fdopen(reading), os.fdopen(writing, "w"):
        environ = {
            "DLFTASK_ENDPOINT": "http://127.0.0.1:9",
            "DLFTASK_PROJECT_ID": "p",
            "DLFTASK_TOKEN": "secret",
        }
        finished = run_dlftask(*args, env=environ, stdin=reading)
    assert (finished.returncode, finished.stdout) == (124, "")
    assert TIMEOUT_S < finished.seconds < TIMEOUT_S + OVERRUN_S + startup_s()
    assert finished.stderr.startswith("dlftask: error: ")
    # It ends like any wait after its timeout.
    lines = finished.stderr.splitlines()
    assert lines[-3:-1] == [f"dlftask: task {one}: no response yet" for one in ("task-1", "-")]
    assert lines[-1] == f"dlftask: to resume: dlftask {shlex.join(args)}"
    found = json.loads(report.read_text())
    assert [(one["id"], one["error"]["exit_status"]) for one in found] == [
        ("task-1", 124),
        ("-", 124),
    ]


# Credentials that go stale


def test_a_token_file_is_read_again_in_the_middle_of_a_wait(
    slow_simulator: Simulator, tmp_path: Path
) -> None:
    token_file = tmp_path / "token"
    token_file.write_text(slow_simulator.token)
    task_id = slow_simulator.start_import()
    args = ["get", "-w", "--interval", "100ms", "--token-file", str(token_file), task_id]
    with Running(*args, env={**slow_simulator.environment(), "DLFTASK_TOKEN": ""}) as run:
        run.until(lambda: "RUNNING" in run.stderr)
        token_file.write_text("the-next-token\n")
        slow_simulator.expire_token("the-next-token")
        assert run.process.wait(20) == 0
        assert "SUCCESSFUL" in run.stdout
        assert "retrying for up to" not in run.stderr
    assert {r.headers["X-Auth-Token"] for r in slow_simulator.requests} > {"the-next-token"}


def test_a_second_refusal_in_a_row_ends_the_wait(slow_simulator: Simulator, tmp_path: Path) -> None:
    token_file = tmp_path / "token"
    token_file.write_text(slow_simulator.token)
    task_id = slow_simulator.start_import()
    args = ["get", "-w", "--interval", "100ms", "--token-file", str(token_file), task_id]
    with Running(*args, env={**slow_simulator.environment(), "DLFTASK_TOKEN": ""}) as run:
        run.until(lambda: "RUNNING" in run.stderr)
        slow_simulator.expire_token("another")
        assert run.process.wait(20) == 5
        assert run.stdout == ""
        assert run.stderr.count("dlftask: error: ") == 1
        assert "HTTP 401" in run.stderr
        assert run.stderr.splitlines()[-1].endswith(task_id)


def test_a_token_of_the_environment_is_refused_once(slow_simulator: Simulator) -> None:
    task_id = slow_simulator.start_import()
    args = ["get", "-w", "--interval", "300ms", task_id]
    with Running(*args, env=slow_simulator.environment()) as run:
        run.until(lambda: "RUNNING" in run.stderr)
        slow_simulator.expire_token("another")
        before = len(slow_simulator.requests)
        assert run.process.wait(20) == 5
        assert len(slow_simulator.requests) <= before + 2  # one may have been in flight


def test_the_sdks_file_is_read_again_in_the_middle_of_a_wait(
    slow_simulator: Simulator, tmp_path: Path
) -> None:
    file = tmp_path / "credentials"

    def write(access_key: str, secret_key: str) -> None:
        file.write_text(f"[basic]\nak = {access_key}\nsk = {secret_key}\n")
        file.chmod(0o600)

    write(slow_simulator.access_key, slow_simulator.secret_key)
    environ = {
        "DLFTASK_ENDPOINT": slow_simulator.endpoint,
        "DLFTASK_PROJECT_ID": slow_simulator.project_id,
        "HUAWEICLOUD_SDK_CREDENTIALS_FILE": str(file),
    }
    task_id = slow_simulator.start_import()
    with Running("watch", "--interval", "100ms", task_id, env=environ) as run:
        run.until(lambda: "RUNNING" in run.stdout)
        write("next-key", "next-secret")
        slow_simulator.expire_access_key("next-key", "next-secret")
        assert run.process.wait(20) == 0
        assert run.stderr == ""


def agency(simulator: Simulator) -> dict[str, str]:
    return {
        "DLFTASK_ENDPOINT": simulator.endpoint,
        "DLFTASK_PROJECT_ID": simulator.project_id,
        "DLFTASK_METADATA_ENDPOINT": simulator.endpoint,
        "DLFTASK_AUTH": "agency",
    }


def test_a_machines_credentials_are_fetched_before_they_expire() -> None:
    with Simulator(speed=1.5, temporary_s=1.2) as simulator:
        ids = [simulator.start_import() for _ in range(5)]
        args = ["watch", "--interval", "100ms", *ids]
        finished = run_dlftask(*args, env=agency(simulator))
        assert (finished.returncode, finished.stderr) == (0, "")
        fetched = count_requests(simulator, "securitykey")
        assert 3 <= fetched < count_requests(simulator, "system-tasks") / 4


def test_a_machines_credentials_that_are_refused_are_fetched_again(
    slow_simulator: Simulator,
) -> None:
    ids = [slow_simulator.start_import() for _ in range(5)]
    with Running("watch", "--interval", "100ms", *ids, env=agency(slow_simulator)) as run:
        run.until(lambda: run.stdout.count("RUNNING    task ") == 5)
        slow_simulator.expire_temporary_keys()
        assert run.process.wait(20) == 0
        assert run.stderr == ""
    assert count_requests(slow_simulator, "securitykey") == 2


def test_a_metadata_service_that_is_down_is_an_outage_like_any_other(
    slow_simulator: Simulator,
) -> None:
    task_id = slow_simulator.start_import()
    with Running("watch", "--interval", "100ms", task_id, env=agency(slow_simulator)) as run:
        run.until(lambda: "RUNNING    task " in run.stdout)
        slow_simulator.set_faults(Fault(status=500, path="/openstack/*", count=3))
        slow_simulator.expire_temporary_keys()
        assert run.process.wait(20) == 0
        assert run.stderr.count("retrying for up to") == 1
        assert run.stderr.count("the service is back") == 1


# What a wait prints


def test_watch_on_a_pipe_prints_one_line_per_change(simulator: Simulator) -> None:
    task_id = simulator.start_import("obs://aaaaa/fail.zip")
    finished = run_dlftask("watch", "--interval", "100ms", task_id, env=simulator.environment())
    assert (finished.returncode, finished.stderr) == (1, "")
    line = rf"{MOMENT} (RUNNING|SUCCESSFUL|FAILED) +(task|subtask) +[0-9a-f]{{32}} \S.*"
    lines = finished.stdout.splitlines()
    assert all(re.fullmatch(line, found) for found in lines), finished.stdout
    assert f" RUNNING    task    {task_id} " in lines[0]
    assert f" FAILED     task    {task_id} " in lines[-1]
    assert lines[-1].endswith(": 1 job could not be imported.")
    assert len({found.split(" ", 1)[1] for found in lines}) == len(lines)


def test_a_wait_on_a_pipe_is_logged_on_standard_error() -> None:
    now_s = [time.time()]
    with Simulator(clock=lambda: now_s[0]) as simulator:
        task_id = simulator.start_import()
        args = ["get", "-w", "--utc", "--interval", "100ms", "-o", "jsonl", task_id]
        with Running(*args, env=simulator.environment()) as run:
            now_s[0] += 1.0
            run.until(lambda: " RUNNING 0/1 subtasks" in run.stderr)
            now_s[0] += 4.5
            run.until(lambda: " RUNNING 3/4 subtasks" in run.stderr)
            now_s[0] += 60.0
            assert run.process.wait(20) == 0
            assert json.loads(run.stdout)["status"] == "SUCCESSFUL"
            lines = run.stderr.splitlines()
    assert all(re.match(f"dlftask: {MOMENT} ", line) for line in lines), lines
    assert all(task_id in line for line in lines)
    assert "waiting for" in lines[0]
    assert "SUCCESSFUL" in lines[-1]


class Recorded(Streams):
    """Streams that record when something was written, by a fake clock."""

    def __init__(self, pool: ScriptedPool) -> None:
        super().__init__(environ={})
        self.out_is_terminal = self.err_is_terminal = False
        self.pool = pool
        self.moments = [pool.now()]

    def log_raw(self, text: str) -> None:  # noqa: ARG002 - only the time matters
        self.moments.append(self.pool.now())

    def write(self, text: str, *, utf8: bool = False, until_s: float | None = None) -> None:  # noqa: ARG002
        self.moments.append(self.pool.now())


@pytest.mark.parametrize("kind", ["watch", "get --wait", "jsonl"])
@pytest.mark.parametrize("interval_s", [None, 0.5, 7.0, 600.0])
def test_no_log_of_an_hours_wait_is_silent_for_more_than_a_minute(
    kind: str, interval_s: float | None
) -> None:
    pool = ScriptedPool(ends_after(3600, takes_s=3.0))
    streams = Recorded(pool)
    state = WaitState(["a"], now=pool.now)
    kinds: dict[str, tuple[type[LogView], Callable[[str], object]]] = {
        "watch": (ChangeLog, streams.write),
        "get --wait": (TaskLog, streams.log_raw),
        "jsonl": (JsonLog, streams.write),
    }
    log, write = kinds[kind]
    view = log(state, streams, write, RenderOptions(utc=True))
    policy = WaitPolicy(wait=True, interval_s=interval_s, began_s=pool.now())
    for changed in poll(["a"], pool, policy, note=view.note, tick_s=view.tick_s):
        state.update(changed)
        if changed:
            view.show(changed)
        view.tick()
    gaps = [
        later - sooner for sooner, later in zip(streams.moments, streams.moments[1:], strict=False)
    ]
    assert max(gaps) <= 60
    assert len(gaps) < 80
