import io
import json
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from dlftask.errors import ServiceUnavailable, TaskNotFound, WaitTimeout
from dlftask.output.log import ChangeLines, ChangesView, JsonlView
from dlftask.output.query import compile_query
from dlftask.streams import Streams
from dlftask.task import Task, read_task
from dlftask.waiting.snapshot import Snapshot

SEEN_S = 1543457499.7
AT = "2018-11-29T02:11:39Z"


class Recorder(Streams):
    """Streams into memory, and how often standard output was written to."""

    def __init__(self) -> None:
        self.out, self.err = io.BytesIO(), io.BytesIO()
        super().__init__(
            io.TextIOWrapper(self.out, encoding="utf-8"),
            io.TextIOWrapper(self.err, encoding="utf-8"),
            environ={},
        )
        self.writes = 0

    def _write(self, data: bytes, until_s: float | None) -> None:
        self.writes += 1
        super()._write(data, until_s)

    def printed(self) -> list[str]:
        return self.out.getvalue().decode().splitlines()

    def said(self) -> list[str]:
        return self.err.getvalue().decode().splitlines()


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def task(status: str = "RUNNING", *parts: dict[str, Any], **more: Any) -> Task:
    value = {"id": "own", "name": "Import", "status": status, "subtasks": parts, **more}
    return read_task(json.dumps(value).encode())


def part(identity: str | None, status: str | None, **more: Any) -> dict[str, Any]:
    return {"id": identity, "name": f"part {identity}", "status": status, **more}


@pytest.fixture
def changes() -> ChangeLines:
    return ChangeLines(utc=True)


@pytest.fixture
def shanghai(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Asia/Shanghai")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_a_wait_reads_from_its_start_to_its_end(changes: ChangeLines) -> None:
    lines = [
        *changes.of("a", task("RUNNING", part("1", "RUNNING")), SEEN_S),
        *changes.of("a", task("RUNNING", part("1", "SUCCESSFUL"), part("2", "RUNNING")), SEEN_S),
        *changes.of(
            "a",
            task(
                "FAILED",
                part("1", "SUCCESSFUL"),
                part("2", "FAILED", message="No such table."),
                message="1 of 2 failed.",
            ),
            SEEN_S,
        ),
    ]
    assert lines == [
        f"{AT} RUNNING    task    own Import",
        f"{AT} RUNNING    subtask 1 part 1",
        f"{AT} SUCCESSFUL subtask 1 part 1",
        f"{AT} RUNNING    subtask 2 part 2",
        f"{AT} FAILED     subtask 2 part 2: No such table.",
        f"{AT} FAILED     task    own Import: 1 of 2 failed.",
    ]


def test_a_task_that_had_ended_already_ends_last(changes: ChangeLines) -> None:
    lines = changes.of("a", task("SUCCESSFUL", part("1", "SUCCESSFUL")), SEEN_S)
    assert lines == [f"{AT} SUCCESSFUL subtask 1 part 1", f"{AT} SUCCESSFUL task    own Import"]


def test_a_later_update_alone_is_no_change(changes: ChangeLines) -> None:
    changes.of("a", task("RUNNING", part("1", "RUNNING", lastUpdate=1), lastUpdate=1), SEEN_S)
    again = task("RUNNING", part("1", "RUNNING", lastUpdate=2), lastUpdate=2)
    assert changes.of("a", again, SEEN_S) == []


def test_another_name_or_message_is_a_change(changes: ChangeLines) -> None:
    changes.of("a", task("RUNNING", part("1", "RUNNING")), SEEN_S)
    again = task("RUNNING", part("1", "RUNNING", message="50 %"), name="Renamed")
    assert changes.of("a", again, SEEN_S) == [
        f"{AT} RUNNING    task    own Renamed",
        f"{AT} RUNNING    subtask 1 part 1: 50 %",
    ]


def test_what_is_not_known_is_a_dash(changes: ChangeLines) -> None:
    nothing = {"id": None, "name": None, "status": None}
    blank = {"id": "", "name": " ", "status": ""}
    lines = changes.of("a", task("PAUSED", nothing, blank), SEEN_S)
    assert lines == [
        f"{AT} -          subtask - -",
        f"{AT} -          subtask - -",
        f"{AT} PAUSED     task    own Import",
    ]
    assert changes.of("a", task("PAUSED", nothing, blank), SEEN_S) == []


def test_a_line_is_one_line_whatever_it_holds(changes: ChangeLines) -> None:
    evil = "a\nb\x1b[2J\u202e\u2028"
    (line, *_) = changes.of("a", task("FAILED", {"id": evil, "name": evil, "message": evil}), 0)
    shown = r"a\x0ab\x1b[2J\u202e\u2028"
    assert line == f"1970-01-01T00:00:00Z -          subtask {shown} {shown}: {shown}"


def test_times_are_local_with_their_offset(shanghai: None) -> None:
    (line,) = ChangeLines(utc=False).of("a", task(), SEEN_S)
    assert line.startswith("2018-11-29T10:11:39+08:00 RUNNING ")


def test_each_event_is_one_write() -> None:
    streams = Recorder()
    view = ChangesView(["a", "b"], streams, utc=True, clock=lambda: SEEN_S)
    running = task("RUNNING", part("1", "RUNNING"))
    view.show([Snapshot("a", running), Snapshot("b", running)])
    assert streams.writes == 1
    assert len(streams.printed()) == 4
    view.show([Snapshot("a", running)])
    assert streams.writes == 1
    assert streams.said() == []


def test_a_wait_is_never_silent_for_more_than_a_minute() -> None:
    streams, now = Recorder(), Clock()
    view = ChangesView(["a"], streams, utc=True, now=now)
    view.show([Snapshot("a", task("RUNNING", part("1", "SUCCESSFUL"), part("2", "RUNNING")))])
    silence_s = [0.0]
    heard = len(streams.said())
    for _ in range(200):
        now.now_s += view.tick_s
        silence_s[-1] += view.tick_s
        view.tick()
        if len(streams.said()) > heard:
            heard = len(streams.said())
            silence_s.append(0.0)
    assert max(silence_s) < 60
    assert streams.said()[0] == (
        "dlftask: still waiting after 56s: task a: RUNNING, 1 of 2 parts done"
    )
    assert len(streams.said()) == 14


def test_a_heartbeat_waits_for_silence() -> None:
    streams, now = Recorder(), Clock()
    view = ChangesView(["a"], streams, utc=True, now=now)
    for number in range(10):
        now.now_s += 50
        view.show([Snapshot("a", task(name=f"{number}"))])
        view.tick()
    assert streams.said() == []


def test_a_heartbeat_says_that_nothing_was_answered_yet_and_why() -> None:
    streams, now = Recorder(), Clock()
    view = ChangesView(["a"], streams, utc=True, now=now)
    now.now_s += 60
    view.tick()
    view.show([Snapshot("a", task(), outage=ServiceUnavailable("HTTP 503"))])
    now.now_s += 60
    view.tick()
    assert streams.said() == [
        "dlftask: still waiting after 1m00s: task a: no answer yet",
        "dlftask: still waiting after 2m00s: task a: RUNNING; no good answer: HTTP 503",
    ]


def test_a_heartbeat_of_several_tasks_counts_them() -> None:
    streams, now = Recorder(), Clock()
    view = ChangesView(["a", "b", "c"], streams, utc=True, now=now)
    view.show([Snapshot("b", task("SUCCESSFUL"), settled=True)])
    now.now_s += 60
    view.tick()
    assert streams.said() == ["dlftask: still waiting after 1m00s: 1 of 3 tasks done"]


def test_a_part_with_a_status_that_is_not_known_is_not_done() -> None:
    streams, now = Recorder(), Clock()
    view = ChangesView(["a"], streams, utc=True, now=now)
    view.show([Snapshot("a", task("RUNNING", part("1", "PAUSED"), part("2", "WARNING")))])
    now.now_s += 60
    view.tick()
    assert streams.said()[0].endswith("task a: RUNNING, 1 of 2 parts done")


@pytest.mark.parametrize("make", [partial(ChangesView, utc=True), JsonlView])
def test_a_task_of_several_that_is_lost_is_told_of_when_it_happens(make: Any) -> None:
    streams = Recorder()
    view = make(["a", "b", "c"], streams)
    error = TaskNotFound("not there", code="DLF.0810", service_message="m" * 5000)
    view.show([Snapshot("a", task()), Snapshot("b", error=error, settled=True)])
    (line,) = streams.said()
    assert line.startswith("dlftask: task b: not there (DLF.0810): mmm")
    assert len(line) == 1000
    view.show([Snapshot("c", task(), error=WaitTimeout("late"), settled=True)])
    view.show([Snapshot("a", error=TaskNotFound("not there"), settled=True)])
    assert len(streams.said()) == 1  # nothing is waited for any more: the errors come at once


def test_a_note_goes_to_standard_error() -> None:
    streams = Recorder()
    view = ChangesView(["a"], streams, utc=True)
    view.note("no news: \x1b[2J")
    view.close()
    view.close()
    assert streams.said() == [r"dlftask: no news: \x1b[2J"]
    assert streams.printed() == []


def test_jsonl_has_a_line_each_time_that_a_task_changes() -> None:
    streams = Recorder()
    view = JsonlView(["a"], streams)
    for state in (task(), task(), task(lastUpdate=5), task("SUCCESSFUL")):
        view.show([Snapshot("a", state)])
    found = [json.loads(line) for line in streams.printed()]
    assert [(each["status"], each.get("lastUpdate")) for each in found] == [
        ("RUNNING", None),
        ("RUNNING", 5),
        ("SUCCESSFUL", None),
    ]


def test_jsonl_ends_a_lost_task_of_several_with_an_error_object() -> None:
    streams = Recorder()
    view = JsonlView(["a", "b"], streams)
    view.show([Snapshot("a", task("SUCCESSFUL"), settled=True)])
    lost = Snapshot("b", error=TaskNotFound("not there", code="DLF.0810"), settled=True)
    view.show([lost])
    view.show([lost])
    assert [json.loads(line).get("error") for line in streams.printed()] == [
        None,
        {"code": "DLF.0810", "message": "not there", "exit_status": 4},
    ]


def test_jsonl_of_a_single_lost_task_is_empty() -> None:
    streams = Recorder()
    JsonlView(["a"], streams).show([Snapshot("a", error=TaskNotFound("not there"), settled=True)])
    assert streams.writes == 0


def test_jsonl_does_not_repeat_the_last_state_when_time_is_up() -> None:
    streams = Recorder()
    view = JsonlView(["a", "b"], streams)
    view.show([Snapshot("a", task())])
    view.show([Snapshot("a", task(), error=WaitTimeout("late"), settled=True)])
    assert len(streams.printed()) == 1


def test_jsonl_takes_a_query_of_each_line() -> None:
    streams = Recorder()
    view = JsonlView(["a"], streams, query=compile_query("status"))
    view.show([Snapshot("a", task())])
    view.show([Snapshot("a", task("FAILED"))])
    assert streams.printed() == ["RUNNING", "FAILED"]
