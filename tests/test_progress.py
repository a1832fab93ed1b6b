"""``get --wait`` on a terminal, and what a terminal's tab shows."""

import re
from collections.abc import Sequence
from typing import Any

import pytest
from rich.cells import cell_len

from dlftask.errors import ServiceUnavailable
from dlftask.output.live import LiveView
from dlftask.output.progress import ProgressLine
from dlftask.output.terminal_progress import TerminalProgress, shows_progress
from dlftask.output.view import WaitState
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


def subtask(identity: str, status: str | None, **facts: Any) -> Subtask:
    return Subtask(identity, facts.pop("name", f"job_{identity}"), status, **facts)


def seen(*subtasks: Subtask, task_id: str = "t1", status: str = "RUNNING") -> Snapshot:
    return Snapshot(task_id, Task(task_id, status, "import", subtasks=subtasks))


class Progress(ProgressLine):
    """The line and the state that it shows."""

    def __init__(self, terminal: Terminal, clock: Clock, ids: Sequence[str] = ("t1",)) -> None:
        self.state = WaitState(ids, now=clock, wall=clock)
        super().__init__(self.state, terminal.streams)

    def update(self, *snapshots: Snapshot) -> None:
        self.state.update(snapshots)
        self.tick()


def test_a_terminal_shows_one_line_in_place_that_close_erases(clock: Clock) -> None:
    with Terminal(24, 80) as terminal:
        terminal.streams.write("before\r\n")
        view = Progress(terminal, clock)
        view.tick()
        assert terminal.lines == ["before", "dlftask: ⠋ task t1 no response yet  0s"]
        clock.seconds = 62
        view.update(seen(subtask("a", "SUCCESSFUL"), subtask("b", "RUNNING")))
        assert terminal.lines == ["before", "dlftask: ⠋ task t1 RUNNING 1/2 subtasks  1m02s"]
        view.close(keep=True)
        view.close()
        view.tick()
        assert terminal.lines == ["before"]
        assert not terminal.cursor_hidden


@pytest.mark.parametrize(("rows", "columns"), [(24, 80), (10, 40), (3, 20), (1, 5), (1, 1)])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
@pytest.mark.parametrize("text", ["导入作业" * 50, "\x1b[2J" * 50, "x" * 5000, "e\u0301" * 3000])
def test_the_line_is_never_wider_than_the_terminal(
    rows: int, columns: int, encoding: str, text: str, clock: Clock
) -> None:
    with Terminal(rows, columns, encoding=encoding) as terminal:
        task = seen().task
        outage = ServiceUnavailable(text)
        Progress(terminal, clock).update(Snapshot("t1", task, outage=outage, outage_since=0.0))
        frame = terminal.read().decode(encoding)
        line = re.sub(r"\x1b\[[?0-9;]*[A-Za-z]", "", frame).strip("\r")
        assert cell_len(line) <= max(columns - 1, 1)
        assert terminal.scrolled_off == []


def test_a_narrowed_terminal_still_holds_one_line(clock: Clock) -> None:
    with Terminal(24, 80) as terminal:
        view = Progress(terminal, clock, ["t" * 100])
        for columns in (80, 30, 100):
            terminal.resize(24, columns)
            clock.seconds += 1
            view.update(seen(task_id="t" * 100))
            assert len(terminal.lines) == 1


def test_a_note_stays_above_the_line(clock: Clock) -> None:
    with Terminal(24, 80) as terminal:
        view = Progress(terminal, clock)
        view.tick()
        view.note("warning: refused \x1b[2J")
        assert terminal.lines[0] == r"dlftask: warning: refused \x1b[2J"
        assert terminal.lines[1].startswith("dlftask: ⠋ task t1")


def test_many_tasks_are_totals_on_a_terminal(clock: Clock) -> None:
    with Terminal(24, 100) as terminal:
        ids = [str(n) for n in range(1000)]
        view = Progress(terminal, clock, ids)
        view.update(*(seen(task_id=i, status="SUCCESSFUL") for i in ids[:990]))
        assert terminal.lines == [
            "dlftask: ⠋ 990/1000 tasks (10 no response yet, 990 SUCCESSFUL)  0s"
        ]


@pytest.mark.parametrize(
    ("environ", "shown"),
    [
        ({}, False),
        ({"TERM_PROGRAM": "ghostty"}, True),
        ({"TERM_PROGRAM": "WezTerm"}, True),
        ({"TERM_PROGRAM": "Apple_Terminal"}, False),
        ({"TERM_FEATURES": "T3CwLrMSc7UUw9Ts3BFGsSyHNoSxFP"}, True),
        ({"TERM_FEATURES": "T3CwLrMSc7Pq"}, False),
        ({"WT_SESSION": "1"}, True),
        ({"ConEmuANSI": "ON"}, True),
        ({"ConEmuANSI": "OFF"}, False),
        ({"PTYXIS_VERSION": "48.1"}, True),
        ({"PTYXIS_VERSION": "47.9"}, False),
        ({"KONSOLE_VERSION": "250800"}, True),
        ({"KONSOLE_VERSION": "230804"}, False),
        ({"WT_SESSION": "1", "DLFTASK_TERMINAL_PROGRESS": "0"}, False),
    ],
)
def test_only_a_known_terminal_shows_progress_in_its_tab(
    environ: dict[str, str],
    shown: bool,  # noqa: FBT001
) -> None:
    assert shows_progress(environ) is shown


def test_the_tab_shows_the_share_that_has_ended_red_after_a_failure_and_is_cleared(
    clock: Clock,
) -> None:
    written: list[str] = []
    state = WaitState(["t1"], now=clock, wall=clock)
    tab = TerminalProgress(state, written.append)
    tab.update()
    state.update([seen(subtask("a", "SUCCESSFUL"), subtask("b", "RUNNING"))])
    tab.update()
    tab.update()
    state.update([seen(subtask("a", "FAILED"), subtask("b", "RUNNING"))])
    tab.update()
    clock.seconds += 6
    tab.update()
    tab.remove()
    tab.remove()
    assert [text.removeprefix("\x1b]9;4;").removesuffix("\x1b\\") for text in written] == [
        "3;0",
        "1;50",
        "2;50",
        "2;50",
        "0;0",
    ]


@pytest.mark.parametrize(
    ("strict", "counted"), [(False, "2/3 subtasks"), (True, "2/3 subtasks, 1 failed")]
)
def test_with_strict_a_warning_counts_as_failed(
    clock: Clock, *, strict: bool, counted: str
) -> None:
    state = WaitState(["t1"], strict=strict, now=clock, wall=clock)
    subtasks = (subtask(status, status) for status in ("SUCCESSFUL", "WARNING", "RUNNING"))
    state.update([seen(*subtasks)])
    assert state.summary() == f"task t1 RUNNING {counted}"
    written: list[str] = []
    TerminalProgress(state, written.append).update()
    assert written == [f"\x1b]9;4;{2 if strict else 1};66\x1b\\"]
    with Terminal(24, 80) as terminal:
        LiveView(state, terminal.streams).tick()
        assert f" {counted}  elapsed" in terminal.lines[-1]
