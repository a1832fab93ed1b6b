"""Each fault, before and after the first good answer, of one task and of one among many.

The table of what came of it stands in the summary of the run.
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
_SENSELESS = {
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
    """A fault, and the exit status that it earns before and after the first good answer.

    ``asked_before`` is how often a task is asked for that has not answered yet; one that ``passes``
    may answer then.
    """

    name: str
    fault: Fault
    before: ExitStatus
    asked_before: int
    after: ExitStatus
    passes: bool


CASES = [
    *(
        Case(name, fault, ExitStatus.UNAVAILABLE, 3, ExitStatus.UNAVAILABLE, passes=True)
        for name, fault in _TRANSIENT.items()
    ),
    *(
        Case(name, fault, ExitStatus.INVALID, 1, ExitStatus.UNAVAILABLE, passes=False)
        for name, fault in _SENSELESS.items()
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
class Found:
    """How a wait ended: the fault applied to the first task."""

    snapshots: list[Snapshot]
    asked: int
    notes: list[str]

    @property
    def status(self) -> ExitStatus:
        return self.snapshots[0].exit_status(strict=False)

    @property
    def overall(self) -> ExitStatus:
        return overall_status(self.snapshots, strict=False)


def wait(
    case: Case, fault: Fault, tasks: int, *, until_asked: int, max_outage_s: float = 30.0
) -> Found:
    """Wait for tasks that end once the first one was asked for often enough."""
    clock, notes = ImportClock(), list[str]()
    with Simulator(clock=clock) as simulator:
        ids = [simulator.start_import() for _ in range(tasks)]
        simulator.set_faults(replace(fault, task=ids[0]))

        def asked() -> int:
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
            news = poll(ids, pool, policy, note=notes.append, tick_s=0.05)
            for changed in news:
                snapshots.update((snapshot.task_id, snapshot) for snapshot in changed)
                if asked() >= until_asked or snapshots[ids[0]].settled:
                    clock.end_imports()
            pool.close()
        return Found(list(snapshots.values()), asked(), notes)


Say = Callable[[str, object], None]


def put_in_table(record: Say, case: Case, column: str, tasks: int, found: Found) -> None:
    many = "many" if tasks > 1 else "one"
    outage = ", outage said" if found.notes else ""
    record("fault", (case.name, f"{column}, {many}", f"{found.status:d}{outage}"))


def others_ended_well(found: Found) -> bool:
    return all(s.exit_status(strict=False) is ExitStatus.SUCCESS for s in found.snapshots[1:])


@one_or_many
@by_name
def test_before_the_first_good_answer(case: Case, tasks: int, record_property: Say) -> None:
    found = wait(case, case.fault, tasks, until_asked=1)
    put_in_table(record_property, case, "before", tasks, found)
    assert found.status is found.overall is case.before
    if tasks > 1 and case.name in _RESENT:
        assert found.asked >= case.asked_before
    else:
        assert found.asked == case.asked_before
    assert found.notes == []
    assert others_ended_well(found)


@one_or_many
@by_name
def test_twice_before_the_first_good_answer(case: Case, tasks: int, record_property: Say) -> None:
    found = wait(case, replace(case.fault, count=2), tasks, until_asked=3)
    put_in_table(record_property, case, "before, passing", tasks, found)
    assert found.status is found.overall
    assert found.status is (ExitStatus.SUCCESS if case.passes else case.before)
    assert found.notes == []
    assert others_ended_well(found)


@one_or_many
@by_name
def test_after_the_first_good_answer(case: Case, tasks: int, record_property: Say) -> None:
    fault = replace(case.fault, after=1)
    found = wait(case, fault, tasks, until_asked=2, max_outage_s=OUTAGE_S)
    put_in_table(record_property, case, "after", tasks, found)
    assert found.status is found.overall is case.after
    assert len(found.notes) == (case.after is ExitStatus.UNAVAILABLE)
    assert others_ended_well(found)


@one_or_many
@by_name
def test_twice_after_the_first_good_answer(case: Case, tasks: int, record_property: Say) -> None:
    count = 3 if case.name in _RESENT else 2
    found = wait(case, replace(case.fault, after=1, count=count), tasks, until_asked=4)
    put_in_table(record_property, case, "after, passing", tasks, found)
    outage = case.after is ExitStatus.UNAVAILABLE
    assert found.status is found.overall
    # Nothing can be fetched again here, so a 401 is final.
    assert found.status is (ExitStatus.SUCCESS if outage else case.after)
    assert len(found.notes) == (2 if outage else 0)
    assert others_ended_well(found)


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
