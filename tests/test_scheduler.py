"""The rules of the contract's section "Waiting", on a fake clock."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from dlftask.errors import (
    AuthenticationError,
    ConfigurationError,
    DlftaskError,
    ExitStatus,
    InvalidResponse,
    ServiceUnavailable,
    TaskNotFound,
    WaitTimeout,
)
from dlftask.task import Subtask, Task
from dlftask.waiting.policy import WaitPolicy
from dlftask.waiting.scheduler import poll
from dlftask.waiting.snapshot import Snapshot, overall_status
from dlftask.waiting.workers import FetchResult, WorkerPool

Outcome = Task | DlftaskError
Script = Callable[[str, float], tuple[Outcome, float]]
"""(task ID, now in seconds) -> the outcome of a request, and how many seconds it takes."""


@pytest.fixture(autouse=True)
def longest_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make each random pause as long as it can be."""
    monkeypatch.setattr(random, "uniform", lambda _least_s, most_s: most_s)


@dataclass
class ScriptedPool(WorkerPool):
    """A pool on a clock of its own: an hour's wait takes no time."""

    script: Script
    size: int = 8
    time_s: float = 1000.0
    requests: list[tuple[str, float]] = field(default_factory=list)
    in_flight: dict[str, tuple[float, FetchResult]] = field(default_factory=dict)
    stops: dict[float, float] = field(default_factory=dict)
    """The process is stopped after that many seconds, for that many."""

    @property
    def free(self) -> int:
        return self.size - len(self.in_flight)

    def now(self) -> float:
        return self.time_s

    def start(self, task_id: str) -> None:
        assert task_id not in self.in_flight, "a task has one request in flight at a time"
        assert self.free > 0
        outcome, takes_s = self.script(task_id, self.time_s)
        self.requests.append((task_id, self.time_s))
        result = FetchResult(task_id, outcome)
        self.in_flight[task_id] = (self.time_s + takes_s, result)

    def drop(self, task_id: str) -> None:
        self.in_flight.pop(task_id, None)

    def results(self, until_s: float) -> list[FetchResult]:
        first_s = min((at for at, _ in self.in_flight.values()), default=float("inf"))
        assert min(first_s, until_s) < float("inf"), "nothing would ever happen"
        woken_s = max(self.time_s, min(first_s, until_s))
        for at_s, for_s in list(self.stops.items()):
            if at_s + 1000.0 <= woken_s:
                del self.stops[at_s]
                woken_s = max(woken_s, at_s + 1000.0 + for_s)
        self.time_s = woken_s
        come = [a for at, a in self.in_flight.values() if at <= self.time_s]
        for result in come:
            del self.in_flight[result.task_id]
        return come

    def moments(self, task_id: str = "a") -> list[float]:
        """When a task was requested, in seconds since the start."""
        return [round(at - 1000.0, 3) for name, at in self.requests if name == task_id]


def task(task_id: str, status: str, *subtasks: str) -> Task:
    return Task(
        id=task_id,
        status=status,
        subtasks=tuple(Subtask(None, None, word) for word in subtasks),
        raw={"id": task_id, "status": status},
    )


def ends_after(duration_s: float, status: str = "SUCCESSFUL", takes_s: float = 0.0) -> Script:
    return lambda task_id, now: (
        task(task_id, status if now - 1000.0 >= duration_s else "RUNNING"),
        takes_s,
    )


def in_order(*outcomes: Outcome | str, takes_s: float = 0.0) -> Script:
    """One outcome after the other for each task; the last one is repeated."""
    left: dict[str, Iterator[Outcome | str]] = {}

    def script(task_id: str, _now: float) -> tuple[Outcome, float]:
        outcome = next(left.setdefault(task_id, iter(outcomes)), outcomes[-1])
        return (task(task_id, outcome) if isinstance(outcome, str) else outcome), takes_s

    return script


def wait(
    pool: ScriptedPool,
    *task_ids: str,
    notes: list[str] | None = None,
    **policy: float | None,
) -> dict[str, Snapshot]:
    return follow(pool, *(task_ids or ("a",)), notes=notes, wait=True, **policy)


def follow(
    pool: ScriptedPool,
    *task_ids: str,
    notes: list[str] | None = None,
    wait: bool,
    **policy: float | None,
) -> dict[str, Snapshot]:
    latest: dict[str, Snapshot] = {}
    for changed in poll(
        task_ids,
        pool,
        WaitPolicy(wait=wait, began_s=pool.now(), **policy),  # type: ignore[arg-type]
        note=(notes if notes is not None else []).append,
    ):
        latest.update((snapshot.task_id, snapshot) for snapshot in changed)
    assert all(snapshot.settled for snapshot in latest.values())
    return latest


down = ServiceUnavailable("connection refused")


def test_a_plain_get_polls_once() -> None:
    pool = ScriptedPool(in_order("RUNNING"))
    assert follow(pool, "a", wait=False)["a"].exit_status(strict=False) is ExitStatus.RUNNING
    assert pool.moments() == [0]


@pytest.mark.parametrize("status", ["SUCCESSFUL", "FAILED", "WARNING", "PAUSED"])
def test_a_wait_ends_with_the_first_status_that_is_not_running(status: str) -> None:
    pool = ScriptedPool(in_order("RUNNING", "RUNNING", status))
    found = wait(pool)["a"]
    assert found.task is not None
    assert (found.task.status, len(pool.requests)) == (status, 3)


def test_auto_polls_after_a_second_then_at_a_twentieth_of_the_time_waited_up_to_15_s() -> None:
    pool = ScriptedPool(ends_after(3600))
    wait(pool)
    at = pool.moments()
    pauses = [round(later - sooner, 3) for sooner, later in pairwise(at)]
    assert pauses[:20] == [1.0] * 20
    assert all(
        pause == pytest.approx(min(max(sooner / 20, 1), 15), abs=0.002)
        for sooner, pause in zip(at, pauses, strict=False)
    )
    assert pauses[-1] == 15


@pytest.mark.parametrize("duration_s", [0.5, 5, 20, 21, 60, 600, 3600, 36_000])
def test_an_end_is_seen_within_a_twentieth_of_the_duration_or_a_second(duration_s: float) -> None:
    pool = ScriptedPool(ends_after(duration_s))
    wait(pool)
    assert pool.moments()[-1] - duration_s <= max(1.0, duration_s / 20) + 0.001


def test_a_given_interval_is_kept() -> None:
    pool = ScriptedPool(ends_after(100))
    wait(pool, interval_s=30.0)
    assert pool.moments() == [0, 30, 60, 90, 120]


def test_before_the_first_valid_response_a_fault_is_retried_twice_within_two_seconds() -> None:
    pool = ScriptedPool(in_order(down))
    found = wait(pool)["a"]
    assert found.error is down
    assert pool.moments() == [0, 0.5, 2.0]


def test_a_plain_get_retries_too() -> None:
    pool = ScriptedPool(in_order(down, down, "SUCCESSFUL"))
    assert follow(pool, "a", wait=False)["a"].error is None
    assert len(pool.requests) == 3


@pytest.mark.parametrize(
    "error",
    [
        TaskNotFound("no such task"),
        AuthenticationError("no"),
        InvalidResponse("not JSON"),
        InvalidResponse("HTTP 404", transient=False),
        ServiceUnavailable("an untrusted certificate", retryable=False),
    ],
)
def test_what_a_retry_cannot_fix_is_requested_once(error: DlftaskError) -> None:
    pool = ScriptedPool(in_order(error))
    assert wait(pool)["a"].error is error
    assert pool.moments() == [0]


def test_a_first_retry_after_is_obeyed_up_to_10_s() -> None:
    pool = ScriptedPool(in_order(ServiceUnavailable("busy", retry_after_s=7.0), "SUCCESSFUL"))
    wait(pool)
    assert pool.moments() == [0, 7]


def test_a_longer_first_retry_after_ends_the_wait_and_is_reported() -> None:
    pool = ScriptedPool(in_order(ServiceUnavailable("busy", retry_after_s=90.0)))
    error = wait(pool)["a"].error
    assert error is not None
    assert "1m30s" in str(error)
    assert pool.moments() == [0]


@pytest.mark.parametrize("fault", [down, InvalidResponse("HTML")])
def test_after_the_first_valid_response_a_fault_is_an_outage(fault: DlftaskError) -> None:
    notes: list[str] = []
    pool = ScriptedPool(in_order("RUNNING", fault, fault, "SUCCESSFUL"))
    assert wait(pool, notes=notes)["a"].error is None
    assert pool.moments() == [0, 1, 2, 3]
    assert len(notes) == 2
    assert fault.message in notes[0]
    assert "2s" in notes[1]


@pytest.mark.parametrize(
    "error",
    [
        TaskNotFound("gone"),
        AuthenticationError("refused twice"),
        InvalidResponse("HTTP 404", transient=False),
    ],
)
def test_some_faults_are_final_in_the_middle_of_a_wait_too(error: DlftaskError) -> None:
    pool = ScriptedPool(in_order("RUNNING", error))
    assert wait(pool)["a"].error is error


def test_a_configuration_error_ends_the_run() -> None:
    pool = ScriptedPool(in_order("RUNNING", ConfigurationError("no such project")))
    with pytest.raises(ConfigurationError):
        wait(pool, "a", "b")


def test_an_outage_longer_than_the_limit_ends_the_wait() -> None:
    pool = ScriptedPool(in_order("RUNNING", down))
    found = wait(pool, max_outage_s=10.0)["a"]
    assert found.exit_status(strict=False) is ExitStatus.UNAVAILABLE
    assert found.result is None
    assert pool.now() - 1000 == 11  # the first request without a valid response began at 1


def test_an_outage_ends_the_wait_in_the_middle_of_a_request() -> None:
    def script(task_id: str, now: float) -> tuple[Outcome, float]:
        return (task(task_id, "RUNNING"), 0.0) if now == 1000 else (down, 9.0)

    pool = ScriptedPool(script)
    found = wait(pool, max_outage_s=12.0)["a"]
    assert found.exit_status(strict=False) is ExitStatus.UNAVAILABLE
    assert pool.now() - 1000 == 13
    assert not pool.in_flight


def test_a_request_without_a_response_is_not_waited_for_beyond_the_limit() -> None:
    def script(task_id: str, now: float) -> tuple[Outcome, float]:
        slow = task_id == "a" and now > 1000
        return (down if slow else task(task_id, "RUNNING"), 60.0 if slow else 0.0)

    pool = ScriptedPool(script)
    found = wait(pool, "a", "b", max_outage_s=12.0, timeout_s=20.0)
    assert found["a"].exit_status(strict=False) is ExitStatus.UNAVAILABLE
    assert "12s" in str(found["a"].error)
    assert isinstance(found["b"].error, WaitTimeout)
    assert pool.moments("a") == [0, 1]
    assert len(pool.moments("b")) == 20


def test_one_fault_does_not_end_a_wait_with_a_long_interval() -> None:
    pool = ScriptedPool(in_order("RUNNING", down, "SUCCESSFUL"))
    assert wait(pool, interval_s=600.0, max_outage_s=300.0)["a"].error is None
    assert pool.moments() == [0, 600, 750]


def test_retry_after_delays_only_its_own_task() -> None:
    busy = ServiceUnavailable("busy", retry_after_s=20.0)

    def script(task_id: str, now: float) -> tuple[Outcome, float]:
        if task_id == "a" and now == 1001:
            return busy, 0.0
        return task(task_id, "RUNNING" if now < 1030 else "SUCCESSFUL"), 0.0

    pool = ScriptedPool(script)
    wait(pool, "a", "b")
    assert pool.moments("a")[:3] == [0, 1, 21]
    assert pool.moments("b")[:4] == [0, 1, 2, 3]


def test_retry_after_extends_neither_the_timeout_nor_the_maximum_outage() -> None:
    busy = ServiceUnavailable("busy", retry_after_s=3600.0)
    pool = ScriptedPool(in_order("RUNNING", busy))
    assert isinstance(wait(pool, timeout_s=5.0)["a"].error, WaitTimeout)
    assert pool.now() - 1000 == 5
    pool = ScriptedPool(in_order("RUNNING", busy))
    assert isinstance(wait(pool, max_outage_s=30.0)["a"].error, ServiceUnavailable)
    assert pool.now() - 1000 == 31


def test_the_timeout_ends_a_wait_that_never_had_a_response() -> None:
    pool = ScriptedPool(lambda _id, _now: (down, 1e9))
    found = wait(pool, "a", "b", timeout_s=4.0)
    assert {type(s.error) for s in found.values()} == {WaitTimeout}
    assert pool.now() - 1000 == 4


def test_after_a_timeout_the_last_state_is_the_result() -> None:
    found = wait(ScriptedPool(in_order("RUNNING")), timeout_s=4.5)["a"]
    assert found.result is not None
    assert found.exit_status(strict=False) is ExitStatus.TIMEOUT


def test_a_failed_task_does_not_end_the_others_wait() -> None:
    def script(task_id: str, now: float) -> tuple[Outcome, float]:
        if task_id == "a":
            return task("a", "FAILED"), 0.0
        return task(task_id, "RUNNING" if now < 1060 else "SUCCESSFUL"), 0.0

    found = wait(ScriptedPool(script), "a", "b")
    assert found["b"].task is not None
    assert found["b"].task.status == "SUCCESSFUL"
    assert overall_status(found.values(), strict=False) is ExitStatus.FAILED


def test_dead_tasks_delay_no_other_while_a_worker_is_free() -> None:
    def script(task_id: str, now: float) -> tuple[Outcome, float]:
        if task_id.startswith("dead"):
            return down, 15.0
        return task(task_id, "RUNNING" if now < 1010 else "SUCCESSFUL"), 0.0

    pool = ScriptedPool(script, size=4)
    wait(pool, "dead1", "dead2", "dead3", "alive")
    assert pool.moments("alive") == list(range(11))


def test_a_thousand_tasks_keep_to_the_limit_of_requests_in_flight() -> None:
    pool = ScriptedPool(ends_after(30, takes_s=0.1), size=8)
    found = wait(pool, *(f"t{n}" for n in range(1000)))
    assert len(found) == 1000
    assert {s.exit_status(strict=False) for s in found.values()} == {ExitStatus.SUCCESS}


def test_an_outage_is_reported_once_for_all_tasks_together() -> None:
    def script(task_id: str, now: float) -> tuple[Outcome, float]:
        if 1005 <= now < 1025:
            return down, 0.0
        return task(task_id, "RUNNING" if now < 1060 else "SUCCESSFUL"), 0.0

    notes: list[str] = []
    wait(ScriptedPool(script, size=64), *(f"t{n}" for n in range(50)), notes=notes)
    assert len(notes) == 2
    assert "20s" in notes[1]


def test_the_service_is_not_reported_as_back_if_another_task_gave_up() -> None:
    def script(task_id: str, now: float) -> tuple[Outcome, float]:
        if 1001 <= now < 1002 or (task_id == "a" and now > 1000):
            return down, 0.0
        return task(task_id, "RUNNING" if now < 1020 else "SUCCESSFUL"), 9.0 if now == 1002 else 0.0

    notes: list[str] = []
    found = wait(ScriptedPool(script), "a", "b", notes=notes, max_outage_s=10.0)
    assert found["a"].exit_status(strict=False) is ExitStatus.UNAVAILABLE
    assert found["b"].exit_status(strict=False) is ExitStatus.SUCCESS
    assert len(notes) == 1


def test_an_outage_is_reported_with_its_reason_its_limit_and_its_length() -> None:
    notes: list[str] = []
    wait(ScriptedPool(in_order("RUNNING", down, down, "SUCCESSFUL")), notes=notes)
    began, over = notes
    assert began.startswith("warning: ")
    assert str(down) in began
    assert began.endswith(" 5m")
    assert over.endswith(" 2s")


def test_a_snapshot_has_the_start_of_an_outage_only_during_one() -> None:
    pool = ScriptedPool(in_order("RUNNING", down, down, "SUCCESSFUL", takes_s=0.25))
    policy = WaitPolicy(wait=True)
    seen = [snapshot for changed in poll(["a"], pool, policy) for snapshot in changed]
    assert [(s.outage, s.outage_since) for s in seen[:2]] == [(None, None), (down, 1001.25)]
    assert seen[-1].outage_since is None
    hanging = ScriptedPool(lambda i, now: (task(i, "RUNNING"), 0.0 if now == 1000 else 60.0))
    assert wait(hanging, timeout_s=5.0)["a"].outage_since is None


# A process that was stopped


def test_a_response_that_came_while_the_process_was_stopped_counts() -> None:
    pool = ScriptedPool(in_order("RUNNING", "SUCCESSFUL", takes_s=0.5), stops={1.6: 60.0})
    notes: list[str] = []
    found = wait(pool, notes=notes, max_outage_s=2.0)["a"]
    assert found.exit_status(strict=False) is ExitStatus.SUCCESS
    assert (len(pool.requests), notes) == (2, [])


@pytest.mark.parametrize("stopped_s", [2.5, 600.0])
def test_a_request_that_a_stop_broke_is_sent_again_at_once(stopped_s: float) -> None:
    def script(task_id: str, now: float) -> tuple[Outcome, float]:
        if now == 1001:
            return down, 0.5 + stopped_s  # it times out only after the process continues
        return task(task_id, "RUNNING" if now < 1001 else "SUCCESSFUL"), 0.0

    pool = ScriptedPool(script, stops={1.1: stopped_s})
    notes: list[str] = []
    found = wait(pool, notes=notes, max_outage_s=stopped_s + 0.1)["a"]
    assert found.exit_status(strict=False) is ExitStatus.SUCCESS
    assert pool.moments() == [0, 1, 1.5 + stopped_s]
    assert notes == []


def test_after_a_stop_in_an_outage_a_request_is_sent_before_the_wait_gives_up() -> None:
    pool = ScriptedPool(
        lambda i, now: (down if 1001 <= now < 1050 else task(i, "RUNNING"), 0.0),
        stops={2.2: 100.0},
    )
    found = wait(pool, max_outage_s=3.0, timeout_s=120.0)["a"]
    assert isinstance(found.error, WaitTimeout)


def test_an_outage_is_reported_without_the_time_of_a_stop() -> None:
    notes: list[str] = []
    pool = ScriptedPool(in_order("RUNNING", down, down, "SUCCESSFUL"), stops={2.2: 100.0})
    wait(pool, notes=notes)
    assert notes[-1].endswith(" 0ms")


def test_after_a_stop_a_service_that_is_down_still_ends_the_wait() -> None:
    pool = ScriptedPool(in_order("RUNNING", down), stops={2.2: 100.0})
    found = wait(pool, max_outage_s=3.0)["a"]
    assert found.exit_status(strict=False) is ExitStatus.UNAVAILABLE
    assert 102.2 < pool.moments()[-1] < 105.2
    assert pool.now() - 1000 == pytest.approx(105.2)


def test_after_a_stop_a_long_interval_is_not_waited_out() -> None:
    pool = ScriptedPool(in_order("RUNNING", down), stops={800.0: 100.0})
    wait(pool, interval_s=600.0, max_outage_s=300.0)
    assert pool.moments() == [0, 600, 750, 1050]
    assert pool.now() - 1000 == 1200


# --fail-fast


@pytest.mark.parametrize(
    ("failing", "strict"),
    [
        (("FAILED",), False),
        (("RUNNING", "SUCCESSFUL", "FAILED"), False),
        (("WARNING",), True),
        (("RUNNING", "WARNING"), True),
    ],
)
def test_fail_fast_ends_every_wait_with_its_last_state(
    failing: tuple[str, ...], *, strict: bool
) -> None:
    def script(task_id: str, now: float) -> tuple[Outcome, float]:
        if task_id == "bad" and now >= 1003:
            return task(task_id, *failing), 0.5
        return task(task_id, "RUNNING"), 0.5 if now < 1003 else 60.0

    pool = ScriptedPool(script)
    found = wait(pool, "bad", "good", fail_fast=True, strict=strict)
    assert pool.now() - 1000 == 3.5
    assert not pool.in_flight
    for snapshot in found.values():
        assert snapshot.error is None
        assert snapshot.result is not None
    assert found["good"].failed_fast
    assert overall_status(found.values(), strict=strict) is ExitStatus.FAILED


@pytest.mark.parametrize("status", ["WARNING", "RUNNING", "PAUSED"])
def test_fail_fast_without_strict_applies_only_to_failed(status: str) -> None:
    def script(task_id: str, now: float) -> tuple[Outcome, float]:
        return task(task_id, "RUNNING" if now < 1010 else "SUCCESSFUL", status), 0.0

    found = wait(ScriptedPool(script), fail_fast=True)["a"]
    assert found.task is not None
    assert found.task.status == "SUCCESSFUL"
    assert found.exit_status(strict=False) is ExitStatus.SUCCESS


def test_a_wait_without_fail_fast_goes_on_after_a_failed_subtask() -> None:
    script = in_order(task("a", "RUNNING", "FAILED"), "SUCCESSFUL")
    assert wait(ScriptedPool(script))["a"].exit_status(strict=False) is ExitStatus.SUCCESS


def test_fail_fast_gives_a_task_that_was_never_seen_an_error() -> None:
    def script(task_id: str, _now: float) -> tuple[Outcome, float]:
        return task(task_id, "FAILED"), 1.0 if task_id == "bad" else 60.0

    found = wait(ScriptedPool(script), "bad", "unseen", fail_fast=True)
    assert found["unseen"].error is not None
    assert overall_status(found.values(), strict=False) is ExitStatus.FAILED


def test_a_worse_status_takes_precedence_over_fail_fast() -> None:
    def script(task_id: str, now: float) -> tuple[Outcome, float]:
        if task_id == "gone":
            return TaskNotFound("gone"), 0.0
        return task(task_id, "RUNNING", "FAILED" if now > 1001 else "RUNNING"), 0.0

    found = wait(ScriptedPool(script), "gone", "bad", fail_fast=True)
    assert overall_status(found.values(), strict=False) is ExitStatus.NOT_FOUND


def test_an_unchanged_response_is_not_a_change() -> None:
    pool = ScriptedPool(in_order("RUNNING", "RUNNING", "RUNNING", "SUCCESSFUL"))
    changes = [c for c in poll(["a"], pool, WaitPolicy(wait=True)) if c]
    assert len(changes) == 2


def test_poll_yields_at_least_once_per_tick() -> None:
    pool = ScriptedPool(in_order("RUNNING", "SUCCESSFUL", takes_s=10.0))
    batches = list(poll(["a"], pool, WaitPolicy(wait=True), tick_s=1.0))
    assert len(batches) >= 20


@pytest.mark.parametrize(
    ("statuses", "status"),
    [
        ([5, 6, 7, 4, 1, 124, 3, 0], 5),
        ([6, 7, 4, 1, 124, 3, 0], 6),
        ([7, 4, 1, 124, 3, 0], 7),
        ([4, 1, 124, 3, 0], 4),
        ([1, 124, 3, 0], 1),
        ([124, 3, 0], 124),
        ([3, 0], 3),
        ([0], 0),
    ],
)
def test_the_most_severe_status_of_several_tasks_counts(statuses: list[int], status: int) -> None:
    made = {
        0: Snapshot("t", task("t", "SUCCESSFUL")),
        1: Snapshot("t", task("t", "FAILED")),
        3: Snapshot("t", task("t", "RUNNING")),
        4: Snapshot("t", error=TaskNotFound("")),
        5: Snapshot("t", error=AuthenticationError("")),
        6: Snapshot("t", error=ServiceUnavailable("")),
        7: Snapshot("t", task("t", "PAUSED")),
        124: Snapshot("t", error=WaitTimeout("")),
    }
    assert overall_status([made[n] for n in reversed(statuses)], strict=False) == status


def test_strict_counts_a_warning_as_failed() -> None:
    warned = Snapshot("t", task("t", "WARNING"))
    assert warned.exit_status(strict=False) is ExitStatus.SUCCESS
    assert warned.exit_status(strict=True) is ExitStatus.FAILED
