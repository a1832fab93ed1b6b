import io
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dlftask.errors import ServiceUnavailable, TaskNotFound, WaitTimeout
from dlftask.output.formats import RenderOptions
from dlftask.output.log import ChangeLog, JsonLog, LogView, TaskLog
from dlftask.output.query import Query
from dlftask.output.view import WaitState
from dlftask.streams import Streams
from dlftask.task import Task, read_task
from dlftask.waiting.snapshot import Snapshot

SEEN_S = 1543457499.7
AT = "2018-11-29T02:11:39Z"


class Recorder(Streams):
    """Streams in memory, which count the writes to standard output."""

    def __init__(self, color: str = "never") -> None:
        self.out, self.err = io.BytesIO(), io.BytesIO()
        super().__init__(
            io.TextIOWrapper(self.out, encoding="utf-8"),
            io.TextIOWrapper(self.err, encoding="utf-8"),
            color=color,
            environ={},
        )
        self.writes = 0

    def write(self, text: str, *, utf8: bool = False, until_s: float | None = None) -> None:
        self.writes += 1
        super().write(text, utf8=utf8, until_s=until_s)

    def printed(self) -> list[str]:
        return self.out.getvalue().decode().splitlines()

    def logged(self) -> list[str]:
        return self.err.getvalue().decode().splitlines()


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def task(status: str = "RUNNING", *subtasks: dict[str, Any], **more: Any) -> Task:
    value = {"id": "own", "name": "Import", "status": status, "subtasks": subtasks, **more}
    return read_task(json.dumps(value).encode())


def subtask(identity: str | None, status: str | None, **more: Any) -> dict[str, Any]:
    return {"id": identity, "name": f"job {identity}", "status": status, **more}


class Log:
    """A log view, its state, its streams and its clock."""

    def __init__(
        self,
        kind: type[LogView],
        *ids: str,
        query: Query | None = None,
        color: str = "never",
        strict: bool = False,
    ) -> None:
        self.streams, self.clock = Recorder(color), Clock()
        self.state = WaitState(ids or ["a"], now=self.clock, wall=lambda: SEEN_S)
        write = self.streams.log_raw if kind is TaskLog else self.streams.write
        options = RenderOptions(utc=True, query=query, strict=strict)
        self.view = kind(self.state, self.streams, write, options)
        if kind is TaskLog:
            self.view.tick()  # as a wait begins

    def show(self, *snapshots: Snapshot) -> None:
        self.state.update(snapshots)
        self.view.show(snapshots)

    @property
    def logged(self) -> list[str]:
        """The lines on standard error, without their time."""
        return [line.replace(f"{AT} ", "") for line in self.streams.logged()]


def watched(*ids: str) -> Log:
    return Log(ChangeLog, *ids)


def waited(*ids: str) -> Log:
    return Log(TaskLog, *ids)


def as_jsonl(*ids: str) -> Log:
    return Log(JsonLog, *ids)


class Changes:
    """The lines of one task's changes."""

    def __init__(self, *, utc: bool = True, color: bool = False, at_s: float = SEEN_S) -> None:
        state = WaitState(["a"], wall=lambda: at_s)
        streams = Recorder()
        self._log = ChangeLog(state, streams, streams.write, RenderOptions(utc=utc, color=color))

    def of(self, task: Task) -> list[str]:
        return self._log.lines(Snapshot("a", task)).splitlines()


@pytest.fixture
def changes() -> Changes:
    return Changes()


@pytest.fixture
def shanghai(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Asia/Shanghai")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_a_wait_reads_from_its_start_to_its_end(changes: Changes) -> None:
    lines = [
        *changes.of(task("RUNNING", subtask("1", "RUNNING"))),
        *changes.of(task("RUNNING", subtask("1", "SUCCESSFUL"), subtask("2", "RUNNING"))),
        *changes.of(
            task(
                "FAILED",
                subtask("1", "SUCCESSFUL"),
                subtask("2", "FAILED", message="No such table."),
                message="1 of 2 failed.",
            ),
        ),
    ]
    assert lines == [
        f"{AT} RUNNING    task    own Import",
        f"{AT} RUNNING    subtask 1 job 1",
        f"{AT} SUCCESSFUL subtask 1 job 1",
        f"{AT} RUNNING    subtask 2 job 2",
        f"{AT} FAILED     subtask 2 job 2: No such table.",
        f"{AT} FAILED     task    own Import: 1 of 2 failed.",
    ]


def test_an_ended_task_comes_last(changes: Changes) -> None:
    lines = changes.of(task("SUCCESSFUL", subtask("1", "SUCCESSFUL")))
    assert lines == [f"{AT} SUCCESSFUL subtask 1 job 1", f"{AT} SUCCESSFUL task    own Import"]


def test_a_later_update_alone_is_not_a_change(changes: Changes) -> None:
    changes.of(task("RUNNING", subtask("1", "RUNNING", lastUpdate=1), lastUpdate=1))
    again = task("RUNNING", subtask("1", "RUNNING", lastUpdate=2), lastUpdate=2)
    assert changes.of(again) == []


def test_another_name_or_message_is_a_change(changes: Changes) -> None:
    changes.of(task("RUNNING", subtask("1", "RUNNING")))
    again = task("RUNNING", subtask("1", "RUNNING", message="50 %"), name="Renamed")
    assert changes.of(again) == [
        f"{AT} RUNNING    task    own Renamed",
        f"{AT} RUNNING    subtask 1 job 1: 50 %",
    ]


def test_an_unknown_value_is_a_dash(changes: Changes) -> None:
    nothing = {"id": None, "name": None, "status": None}
    blank = {"id": "", "name": " ", "status": ""}
    lines = changes.of(task("PAUSED", nothing, blank))
    assert lines == [
        f"{AT} -          subtask - -",
        f"{AT} -          subtask - -",
        f"{AT} PAUSED     task    own Import",
    ]
    assert changes.of(task("PAUSED", nothing, blank)) == []


def test_a_line_is_one_line_with_any_content() -> None:
    changes = Changes(at_s=0)
    evil = "a\nb\x1b[2J\u202e\u2028"
    (line, *_) = changes.of(task("FAILED", {"id": evil, "name": evil, "message": evil}))
    shown = r"a\x0ab\x1b[2J\u202e\u2028"
    assert line == f"1970-01-01T00:00:00Z -          subtask {shown} {shown}: {shown}"


def test_times_are_local_with_their_offset(shanghai: None) -> None:
    (line,) = Changes(utc=False).of(task())
    assert line.startswith("2018-11-29T10:11:39+08:00 RUNNING ")


def test_a_status_has_its_colour_if_colours_are_on() -> None:
    (line,) = Changes(color=True).of(task("FAILED"))
    assert line == f"{AT} \x1b[31mFAILED\x1b[0m     task    own Import"
    log = Log(TaskLog, color="always")
    log.show(Snapshot("a", task("FAILED")))
    assert log.logged[1] == "dlftask: task a \x1b[31mFAILED\x1b[0m"


def test_each_event_is_one_write() -> None:
    log = watched("a", "b")
    running = task("RUNNING", subtask("1", "RUNNING"))
    log.show(Snapshot("a", running), Snapshot("b", running))
    assert log.streams.writes == 1
    assert len(log.streams.printed()) == 4
    log.show(Snapshot("a", running))
    assert log.streams.writes == 1
    assert log.logged == []


@pytest.mark.parametrize("make", [watched, waited, as_jsonl])
def test_a_wait_is_never_silent_for_more_than_a_minute(make: Callable[..., Log]) -> None:
    log = make()
    log.show(Snapshot("a", task("RUNNING", subtask("1", "SUCCESSFUL"), subtask("2", "RUNNING"))))
    before = heard = len(log.logged)
    silence_s = [0.0]
    for _ in range(200):
        log.clock.now_s += log.view.tick_s
        silence_s[-1] += log.view.tick_s
        log.view.tick()
        if len(log.logged) > heard:
            heard = len(log.logged)
            silence_s.append(0.0)
    assert max(silence_s) < 60
    assert log.logged[before] == ("dlftask: still waiting after 56s: task a RUNNING 1/2 subtasks")
    assert heard - before == 14


def test_a_heartbeat_waits_for_silence() -> None:
    log = watched()
    for number in range(10):
        log.clock.now_s += 50
        log.show(Snapshot("a", task(name=f"{number}")))
        log.view.tick()
    assert log.logged == []


def test_a_heartbeat_reports_a_missing_response_or_an_outage() -> None:
    log = watched()
    log.clock.now_s += 60
    log.view.tick()
    began_s = log.clock.now_s + 10
    outage = ServiceUnavailable("HTTP 503")
    log.show(Snapshot("a", task(), outage=outage, outage_since=began_s))
    log.clock.now_s += 60
    log.view.tick()
    assert log.logged == [
        "dlftask: still waiting after 1m00s: task a no response yet",
        "dlftask: still waiting after 2m00s: task a RUNNING; no valid response for 50s: HTTP 503",
    ]


def test_a_heartbeat_of_several_tasks_counts_them() -> None:
    log = waited("a", "b", "c")
    log.show(Snapshot("b", task("SUCCESSFUL", subtask("1", "SUCCESSFUL")), settled=True))
    log.show(Snapshot("c", error=TaskNotFound("not there"), settled=True))
    log.clock.now_s += 60
    log.view.tick()
    assert log.logged[-1] == (
        "dlftask: still waiting after 1m00s: 2/3 tasks, 1 failed "
        "(1 FAILED, 1 no response yet, 1 SUCCESSFUL); 1/1 subtasks"
    )


@pytest.mark.parametrize("make", [watched, waited, as_jsonl])
def test_a_task_of_several_that_is_unavailable_is_reported_when_it_happens(
    make: Callable[..., Log],
) -> None:
    log = make("a", "b", "c")
    error = TaskNotFound("not there", code="DLF.0810", service_message="m" * 5000)
    log.show(Snapshot("a", task()), Snapshot("b", error=error, settled=True))
    line = log.streams.logged()[-1]
    assert line.startswith(f"dlftask: {AT} task b: not there (DLF.0810): mmm")
    assert len(line) == 1000
    before = len(log.logged)
    log.show(Snapshot("c", task(), error=WaitTimeout("late"), settled=True))
    log.show(Snapshot("a", error=TaskNotFound("not there"), settled=True))
    assert "not there" not in "".join(log.logged[before:])  # its error follows at once


def test_a_note_goes_to_standard_error() -> None:
    log = watched()
    log.view.note("warning: \x1b[2J")
    log.view.close()
    log.view.close()
    assert log.logged == [r"dlftask: warning: \x1b[2J"]
    assert log.streams.printed() == []


# get --wait


def test_a_log_has_what_is_waited_for_and_a_line_per_change() -> None:
    log = waited()
    log.show(Snapshot("a", task("RUNNING", subtask("1", "RUNNING"), subtask("2", "RUNNING"))))
    both = subtask("1", "SUCCESSFUL"), subtask("2", "FAILED", message="no such file")
    log.show(Snapshot("a", task("RUNNING", *both)))
    log.show(Snapshot("a", task("FAILED", *both, message="one failed")))
    assert log.logged == [
        "dlftask: waiting for task a",
        "dlftask: task a RUNNING 0/2 subtasks: job 2 RUNNING",
        "dlftask: task a RUNNING 2/2 subtasks, 1 failed: job 2 FAILED: no such file",
        "dlftask: task a FAILED 2/2 subtasks, 1 failed: one failed",
    ]


def test_each_subtask_that_failed_between_two_polls_is_named_with_its_message() -> None:
    log = waited()
    log.show(Snapshot("a", task("RUNNING", *(subtask(str(n), "RUNNING") for n in range(3)))))
    failed = [subtask(str(n), "FAILED", message=f"reason {n}") for n in range(3)]
    log.show(Snapshot("a", task("FAILED", *failed, message="all failed")))
    assert log.logged[2:] == [
        *(f"dlftask: task a: subtask job {n} FAILED: reason {n}" for n in range(3)),
        "dlftask: task a FAILED 3/3 subtasks, 3 failed: all failed",
    ]


def test_with_strict_a_subtask_with_a_warning_is_named_too() -> None:
    for strict, named in ((False, False), (True, True)):
        log = Log(TaskLog, strict=strict)
        warned = subtask("1", "WARNING", message="careful")
        log.show(Snapshot("a", task("FAILED", warned, subtask("2", "SUCCESSFUL"))))
        assert any("job 1 WARNING: careful" in line for line in log.logged) is named


def test_the_start_comes_first_and_once() -> None:
    log = waited("a", "b")
    log.view.note("warning: no response")
    log.view.tick()
    log.show(Snapshot("a", task()))
    assert log.logged[:2] == ["dlftask: waiting for 2 tasks", "dlftask: warning: no response"]
    assert sum("waiting for" in line for line in log.logged) == 1


def test_a_later_update_alone_adds_no_line_to_a_log() -> None:
    log = waited()
    log.show(Snapshot("a", task("RUNNING", lastUpdate=1)))
    log.show(Snapshot("a", task("RUNNING", lastUpdate=2)))
    assert len(log.logged) == 2


def test_hostile_text_is_escaped_in_a_log_and_a_line_stays_one_line() -> None:
    log = waited()
    evil = subtask("1", "RUNNING", message="x" * 5000)
    evil["name"] = "\x1b[2J\r\n\u202e"
    log.show(Snapshot("a", task("RUNNING", evil)))
    line = log.streams.logged()[1]
    assert r"\x1b[2J\x0d\x0a\u202e RUNNING: xxx" in line
    assert len(line) == 1000


# watch -o jsonl


def test_jsonl_has_a_line_each_time_that_a_task_changes() -> None:
    log = as_jsonl()
    for state in (task(), task(), task(lastUpdate=5), task("SUCCESSFUL")):
        log.show(Snapshot("a", state))
    found = [json.loads(line) for line in log.streams.printed()]
    assert [(each["status"], each.get("lastUpdate")) for each in found] == [
        ("RUNNING", None),
        ("RUNNING", 5),
        ("SUCCESSFUL", None),
    ]


def test_jsonl_ends_an_unavailable_task_of_several_with_an_error_object() -> None:
    log = as_jsonl("a", "b")
    log.show(Snapshot("a", task("SUCCESSFUL"), settled=True))
    unavailable = Snapshot("b", error=TaskNotFound("not there", code="DLF.0810"), settled=True)
    log.show(unavailable)
    log.show(unavailable)
    assert [json.loads(line).get("error") for line in log.streams.printed()] == [
        None,
        {"code": "DLF.0810", "message": "not there", "exit_status": 4},
    ]


def test_jsonl_of_a_single_unavailable_task_is_empty() -> None:
    log = as_jsonl()
    log.show(Snapshot("a", error=TaskNotFound("not there"), settled=True))
    assert log.streams.writes == 0


def test_jsonl_does_not_repeat_the_last_state_after_the_timeout() -> None:
    log = as_jsonl("a", "b")
    log.show(Snapshot("a", task()))
    log.show(Snapshot("a", task(), error=WaitTimeout("late"), settled=True))
    assert len(log.streams.printed()) == 1


def test_jsonl_applies_a_query_to_each_line() -> None:
    log = Log(JsonLog, query=Query("status"))
    log.show(Snapshot("a", task()))
    log.show(Snapshot("a", task("FAILED")))
    assert log.streams.printed() == ["RUNNING", "FAILED"]
