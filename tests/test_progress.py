import io
import re
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pytest
from rich.cells import cell_len

from dlftask.errors import ServiceUnavailable, TaskNotFound, WaitTimeout
from dlftask.output.progress import Progress
from dlftask.streams import Streams
from dlftask.task import Subtask, Task
from dlftask.waiting.snapshot import Snapshot
from tests.terminal import Terminal


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


class Log:
    """Standard error that is a file."""

    def __init__(self, encoding: str = "utf-8") -> None:
        self._file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
        self.streams = Streams(io.TextIOWrapper(io.BytesIO()), self._file, environ={})

    @property
    def lines(self) -> list[str]:
        self._file.seek(0)
        return self._file.read().splitlines()


def part(identity: str, status: str | None, **facts: Any) -> Subtask:
    return Subtask(identity, facts.pop("name", f"job_{identity}"), status, **facts)


def seen(*parts: Subtask, task_id: str = "t1", status: str = "RUNNING", **facts: Any) -> Snapshot:
    outage = facts.pop("outage", None)
    return Snapshot(task_id, Task(task_id, status, "import", subtasks=parts, **facts), None, outage)


def progress(place: Log | Terminal, clock: Clock, ids: Sequence[str] = ("t1",)) -> Progress:
    return Progress(ids, place.streams, utc=True, now=clock, wall=clock)


def test_a_log_says_what_is_waited_for_and_each_change_with_what_changed_last(clock: Clock) -> None:
    log = Log()
    view = progress(log, clock)
    view.show([seen(part("a", "RUNNING", last_update_ms=1), part("b", "RUNNING"))])
    clock.seconds = 2
    parts = part("a", "SUCCESSFUL", last_update_ms=9), part("b", "FAILED", message="no such file")
    view.show([seen(*parts)])
    clock.seconds = 3
    view.show([seen(*parts, status="FAILED", message="one part failed")])
    view.close()
    assert log.lines == [
        "dlftask: 1970-01-01T00:00:00Z waiting for task t1",
        "dlftask: 1970-01-01T00:00:00Z task t1 RUNNING 0/2 parts: job_a RUNNING",
        (
            "dlftask: 1970-01-01T00:00:02Z task t1 RUNNING 2/2 parts, 1 failed: "
            "job_b FAILED: no such file"
        ),
        "dlftask: 1970-01-01T00:00:03Z task t1 FAILED 2/2 parts, 1 failed: one part failed",
    ]


@pytest.mark.parametrize(
    "after",
    [part("a", "SUCCESSFUL"), part("a", "RUNNING", name="b"), part("a", "RUNNING", message="m")],
)
def test_a_part_changes_by_its_status_its_name_or_its_message(after: Subtask, clock: Clock) -> None:
    log = Log()
    view = progress(log, clock)
    view.show([seen(part("a", "RUNNING"))])
    view.show([seen(after)])
    assert len(log.lines) == 3


def test_a_new_time_alone_is_no_change(clock: Clock) -> None:
    log = Log()
    view = progress(log, clock)
    view.show([seen(part("a", "RUNNING"), last_update_ms=1)])
    view.show([seen(part("a", "RUNNING", last_update_ms=5), last_update_ms=2)])
    assert len(log.lines) == 2


@pytest.mark.parametrize("identity", ["same", "", None])
def test_parts_that_share_an_id_or_have_none_change_one_by_one(
    identity: str | None, clock: Clock
) -> None:
    log = Log()
    view = progress(log, clock)
    one = Subtask(identity, "one", "RUNNING")
    two = Subtask(identity, "two", "SUCCESSFUL")
    view.show([seen(one, two)])
    view.show([seen(one, two)])
    assert len(log.lines) == 2
    view.show([seen(one, Subtask(identity, "two", "FAILED"))])
    assert log.lines[2:] == [
        "dlftask: 1970-01-01T00:00:00Z task t1 RUNNING 1/2 parts, 1 failed: two FAILED"
    ]


def test_an_hour_without_news_is_never_a_minute_without_a_line(clock: Clock) -> None:
    log = Log()
    view = progress(log, clock)
    view.show([seen(part("a", "RUNNING"))])
    silences, said = [], 0.0
    while clock.seconds < 3600:
        clock.seconds += view.tick_s
        before = len(log.lines)
        view.tick()
        if len(log.lines) > before:
            silences.append(clock.seconds - said)
            said = clock.seconds
    assert max(silences) < 60
    assert min(silences) > 50
    assert log.lines[2] == (
        "dlftask: 1970-01-01T00:00:55Z still waiting after 55s: task t1 RUNNING 0/1 parts"
    )


def test_a_service_that_never_answers_is_not_waited_for_in_silence(clock: Clock) -> None:
    log = Log()
    view = progress(log, clock)
    view.tick()
    clock.seconds = 56
    view.tick()
    assert log.lines[1].endswith("still waiting after 56s: task t1 not answered yet")


def test_an_outage_is_in_the_line_that_breaks_a_silence(clock: Clock) -> None:
    log = Log()
    view = progress(log, clock)
    view.show([seen(outage=ServiceUnavailable("connection refused"))])
    clock.seconds = 60
    view.tick()
    assert log.lines[-1].endswith("task t1 RUNNING; no news for 1m00s: connection refused")


def test_the_start_is_said_before_any_answer_and_once(clock: Clock) -> None:
    log = Log()
    view = progress(log, clock)
    view.tick()
    assert log.lines == ["dlftask: 1970-01-01T00:00:00Z waiting for task t1"]
    view.note("no news")
    view.show([seen()])
    assert [line for line in log.lines if "waiting for" in line] == log.lines[:1]


def test_a_note_that_comes_first_comes_after_the_start(clock: Clock) -> None:
    log = Log()
    progress(log, clock).note("no news")
    assert log.lines == ["dlftask: 1970-01-01T00:00:00Z waiting for task t1", "dlftask: no news"]


def test_a_single_task_that_could_not_be_had_is_left_to_the_error_line(clock: Clock) -> None:
    log = Log()
    progress(log, clock).show([Snapshot("t1", error=TaskNotFound("gone"), settled=True)])
    assert log.lines == ["dlftask: 1970-01-01T00:00:00Z waiting for task t1"]


def test_one_of_several_that_could_not_be_had_is_told_of_when_it_happens(clock: Clock) -> None:
    log = Log()
    view = progress(log, clock, ["a", "b", "c"])
    view.show([Snapshot("b", error=TaskNotFound("gone", code="DLF.0810"), settled=True)])
    assert log.lines[1:] == ["dlftask: 1970-01-01T00:00:00Z task b: gone (DLF.0810)"]
    view.show([Snapshot("c", error=WaitTimeout("late"), settled=True)])
    view.show([Snapshot("a", error=TaskNotFound("gone"), settled=True)])
    assert len(log.lines) == 2


def test_several_tasks_have_a_line_each_and_are_summed_up_in_a_silence(clock: Clock) -> None:
    log = Log()
    view = progress(log, clock, ["a", "b"])
    view.show([seen(task_id="a"), seen(part("1", "SUCCESSFUL"), task_id="b", status="SUCCESSFUL")])
    clock.seconds = 60
    view.tick()
    assert [line.split("Z ", 1)[1] for line in log.lines] == [
        "waiting for 2 tasks",
        "task a RUNNING",
        "task b SUCCESSFUL 1/1 parts: job_1 SUCCESSFUL",
        "still waiting after 1m00s: 1/2 tasks (1 RUNNING, 1 SUCCESSFUL); 1/1 parts",
    ]


def test_hostile_text_is_visible_in_a_log_and_a_line_stays_one_line(clock: Clock) -> None:
    log = Log()
    view = progress(log, clock)
    view.show([seen(part("a", "RUNNING", name="\x1b[2J\r\n\u202e\ud800", message="x" * 5000))])
    view.note("said\x07\nso")
    assert r"\x1b[2J\x0d\x0a\u202e\ud800 RUNNING: xxx" in log.lines[1]
    assert len(log.lines[1]) == 1000
    assert log.lines[2] == r"dlftask: said\x07\x0aso"


def test_a_terminal_shows_one_line_in_place_that_close_erases(clock: Clock) -> None:
    with Terminal(24, 80) as terminal:
        terminal.streams.write("before\r\n")
        view = progress(terminal, clock)
        view.tick()
        assert terminal.lines == ["before", "dlftask: ⠋ task t1 not answered yet  0s"]
        clock.seconds = 62
        view.show([seen(part("a", "SUCCESSFUL"), part("b", "RUNNING"))])
        assert terminal.lines == [
            "before",
            "dlftask: ⠋ task t1 RUNNING 1/2 parts  1m02s  job_b RUNNING",
        ]
        view.close()
        view.close()
        view.tick()
        assert terminal.lines == ["before"]
        assert not terminal.cursor_hidden


@pytest.mark.parametrize(("rows", "columns"), [(24, 80), (10, 40), (3, 20), (1, 5), (1, 1)])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
@pytest.mark.parametrize("name", ["导入作业" * 50, "\x1b[2J" * 50, "x" * 5000, "e\u0301" * 3000])
def test_the_line_is_never_wider_than_the_terminal(
    rows: int, columns: int, encoding: str, name: str, clock: Clock
) -> None:
    with Terminal(rows, columns, encoding=encoding) as terminal:
        progress(terminal, clock).show([seen(part("a", "RUNNING", name=name))])
        frame = terminal.read().decode(encoding)
        line = re.sub(r"\x1b\[[?0-9;]*[A-Za-z]", "", frame).strip("\r")
        assert cell_len(line) <= max(columns - 1, 1)
        assert terminal.scrolled_off == []


def test_a_narrowed_terminal_still_holds_one_line(clock: Clock) -> None:
    with Terminal(24, 80) as terminal:
        view = progress(terminal, clock)
        for columns in (80, 30, 100):
            terminal.resize(24, columns)
            clock.seconds += 1
            view.show([seen(part("a", "RUNNING", name="long name " * 10))])
            assert len(terminal.lines) == 1


def test_a_note_stays_above_the_line(clock: Clock) -> None:
    with Terminal(24, 80) as terminal:
        view = progress(terminal, clock)
        view.tick()
        view.note("no news: refused")
        assert terminal.lines[0] == "dlftask: no news: refused"
        assert terminal.lines[1].startswith("dlftask: ⠋ task t1")


def test_many_tasks_are_totals_on_a_terminal(clock: Clock) -> None:
    with Terminal(24, 100) as terminal:
        ids = [str(n) for n in range(1000)]
        view = progress(terminal, clock, ids)
        view.show([seen(task_id=i, status="SUCCESSFUL") for i in ids[:990]])
        assert terminal.lines == [
            "dlftask: ⠋ 990/1000 tasks (990 SUCCESSFUL, 10 not answered yet)  0s"
        ]


def test_a_dumb_terminal_gets_lines(clock: Clock) -> None:
    with Terminal() as terminal:
        streams = Streams(terminal._slave, terminal._slave, environ={"TERM": "dumb"})
        Progress(["t1"], streams, utc=True, now=clock, wall=clock).tick()
        assert terminal.read() == b"dlftask: 1970-01-01T00:00:00Z waiting for task t1\n"


def test_it_loads_no_rich() -> None:
    code = "import sys, dlftask.output.progress; print([m for m in sys.modules if 'rich' in m])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"
