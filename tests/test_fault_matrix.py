"""Each fault, before and after the first valid response, for one task and for one among many.

The summary of the test run has a table of the results.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from dlftask.api.client import Client
from dlftask.errors import ExitStatus
from dlftask.simulator import Fault, Simulator
from dlftask.waiting import scheduler
from dlftask.waiting.policy import WaitPolicy
from dlftask.waiting.scheduler import poll
from dlftask.waiting.snapshot import Snapshot, overall_status
from dlftask.waiting.workers import WorkerPool
from tests.running import ImportClock, Running

OUTAGE_S = 1.0
"""The longest outage of a wait in which the fault does not pass."""

_TRANSIENT = {
    "408": Fault(status=408),
    "429": Fault(status=429),
    "429, Retry-After: 1": Fault(status=429, retry_after="1"),
    "500": Fault(status=500),
    "502": Fault(status=502),
    "503": Fault(status=503),
    "dropped": Fault(drop=True),
    "reset": Fault(reset=True),
    "cut off": Fault(truncate=30),
    "silence": Fault(delay_s=60),
    "a byte a second": Fault(trickle=1, headers=True),
}
_INVALID = {
    "HTML": Fault(invalid="html"),
    "empty": Fault(invalid="empty"),
    "cut JSON": Fault(invalid="bad-json"),
    "no id": Fault(invalid="no-id"),
    "no status": Fault(invalid="no-status"),
    "302": Fault(status=302),
}
_FINAL = {
    "400": (Fault(status=400), ExitStatus.INVALID),
    "404": (Fault(status=404), ExitStatus.INVALID),
    "401": (Fault(status=401), ExitStatus.AUTHENTICATION),
    "403": (Fault(status=403), ExitStatus.AUTHENTICATION),
    "unknown status": (Fault(invalid="unknown-status"), ExitStatus.INVALID),
}
_SLOW = ("silence", "a byte a second")


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "RETRY_PAUSES_S", (0.0, 0.0))


@dataclass(frozen=True)
class Case:
    """A fault, and its exit status before and after the first valid response.

    ``requests_before`` is the number of requests for a task that has not had a valid response. A
    fault that ``passes`` is retried then.
    """

    name: str
    fault: Fault
    before: ExitStatus
    requests_before: int
    after: ExitStatus
    passes: bool


CASES = [
    *(
        Case(name, fault, ExitStatus.UNAVAILABLE, 3, ExitStatus.UNAVAILABLE, passes=True)
        for name, fault in _TRANSIENT.items()
    ),
    *(
        Case(name, fault, ExitStatus.INVALID, 1, ExitStatus.UNAVAILABLE, passes=False)
        for name, fault in _INVALID.items()
    ),
    *(
        Case(name, fault, status, 1, status, passes=False)
        for name, (fault, status) in _FINAL.items()
    ),
]
# On a kept connection that the other side closes, a request is sent once more at once.
_RESENT = ("dropped", "reset")
by_name = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
one_or_many = pytest.mark.parametrize("tasks", [1, 3], ids=["one task", "many tasks"])


@dataclass(frozen=True)
class Outcome:
    """How a wait ended; the fault applied to the first task."""

    snapshots: list[Snapshot]
    requests: int
    notes: list[str]

    @property
    def status(self) -> ExitStatus:
        return self.snapshots[0].exit_status(strict=False)

    @property
    def overall(self) -> ExitStatus:
        return overall_status(self.snapshots, strict=False)


def wait(
    case: Case, fault: Fault, tasks: int, *, until_requests: int, max_outage_s: float = 30.0
) -> Outcome:
    """Wait for tasks that end once the first one has been requested often enough."""
    clock, notes = ImportClock(), list[str]()
    with Simulator(clock=clock) as simulator:
        ids = [simulator.start_import() for _ in range(tasks)]
        simulator.set_faults(replace(fault, task=ids[0]))

        def count_requests() -> int:
            return sum(ids[0] in request.path for request in simulator.requests)

        client = Client(
            endpoint=simulator.endpoint,
            project_id=simulator.project_id,
            token=simulator.token,
            read_timeout=0.2 if case.name in _SLOW else 10.0,
        )
        with client:
            pool = WorkerPool(client.service.fetch, size=8)
            policy = WaitPolicy(
                wait=True, interval_s=0.02, max_outage_s=max_outage_s, began_s=pool.now()
            )
            snapshots = {task_id: Snapshot(task_id) for task_id in ids}
            updates = poll(ids, pool, policy, note=notes.append, tick_s=0.05)
            for changed in updates:
                snapshots.update((snapshot.task_id, snapshot) for snapshot in changed)
                if count_requests() >= until_requests or snapshots[ids[0]].settled:
                    clock.end_imports()
            pool.close()
        return Outcome(list(snapshots.values()), count_requests(), notes)


Record = Callable[[str, object], None]


def put_in_table(record: Record, case: Case, column: str, tasks: int, outcome: Outcome) -> None:
    many = "many" if tasks > 1 else "one"
    outage = ", outage reported" if outcome.notes else ""
    record("fault", (case.name, f"{column}, {many}", f"{outcome.status:d}{outage}"))


def others_ended_well(outcome: Outcome) -> bool:
    return all(s.exit_status(strict=False) is ExitStatus.SUCCESS for s in outcome.snapshots[1:])


@one_or_many
@by_name
def test_before_the_first_valid_response(case: Case, tasks: int, record_property: Record) -> None:
    outcome = wait(case, case.fault, tasks, until_requests=1)
    put_in_table(record_property, case, "before", tasks, outcome)
    assert outcome.status is outcome.overall is case.before
    if tasks > 1 and case.name in _RESENT:
        assert outcome.requests >= case.requests_before
    else:
        assert outcome.requests == case.requests_before
    assert outcome.notes == []
    assert others_ended_well(outcome)


@one_or_many
@by_name
def test_twice_before_the_first_valid_response(
    case: Case, tasks: int, record_property: Record
) -> None:
    outcome = wait(case, replace(case.fault, count=2), tasks, until_requests=3)
    put_in_table(record_property, case, "before, passing", tasks, outcome)
    assert outcome.status is outcome.overall
    assert outcome.status is (ExitStatus.SUCCESS if case.passes else case.before)
    assert outcome.notes == []
    assert others_ended_well(outcome)


@one_or_many
@by_name
def test_after_the_first_valid_response(case: Case, tasks: int, record_property: Record) -> None:
    fault = replace(case.fault, after=1)
    outcome = wait(case, fault, tasks, until_requests=2, max_outage_s=OUTAGE_S)
    put_in_table(record_property, case, "after", tasks, outcome)
    assert outcome.status is outcome.overall is case.after
    assert len(outcome.notes) == (case.after is ExitStatus.UNAVAILABLE)
    assert others_ended_well(outcome)


@one_or_many
@by_name
def test_twice_after_the_first_valid_response(
    case: Case, tasks: int, record_property: Record
) -> None:
    count = 3 if case.name in _RESENT else 2
    outcome = wait(case, replace(case.fault, after=1, count=count), tasks, until_requests=4)
    put_in_table(record_property, case, "after, passing", tasks, outcome)
    outage = case.after is ExitStatus.UNAVAILABLE
    assert outcome.status is outcome.overall
    # Nothing can be fetched again here, so a 401 is final.
    assert outcome.status is (ExitStatus.SUCCESS if outage else case.after)
    assert len(outcome.notes) == (2 if outage else 0)
    assert others_ended_well(outcome)


@pytest.mark.parametrize("name", ["reset", "503", "HTML"])
def test_the_command_line_does_the_same(name: str, import_clock: ImportClock) -> None:
    case = next(case for case in CASES if case.name == name)
    with Simulator(clock=import_clock) as simulator:
        task_id = simulator.start_import()
        simulator.set_faults(replace(case.fault, after=1, count=2))
        args = ["watch", "--interval", "100ms", task_id]
        with Running(*args, env=simulator.environment()) as run:
            # The import ends once the outage is over.
            run.until(lambda: len(simulator.requests) >= 5)
            import_clock.end_imports()
            assert run.process.wait(30) == 0
            assert run.stderr.count("retrying for up to") == 1
            assert run.stderr.count("the service is back") == 1
