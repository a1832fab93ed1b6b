import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from rich.cells import cell_len

from dlftask.errors import OutputFailed, ServiceUnavailable, TaskNotFound, WaitTimeout
from dlftask.output.live import LiveView
from dlftask.output.text import display_name
from dlftask.output.view import WaitState
from dlftask.task import Subtask, Task
from dlftask.waiting.snapshot import Snapshot
from tests.terminal import Terminal

SIZES = [(24, 80), (10, 40), (3, 20), (2, 10), (1, 20), (1, 1)]
HOSTILE = [
    "\x1b[2J\x1b[31mred\x1b]0;title\x07",
    "[bold red]markup[/]",
    "从路径[obs://aaaaa/job_batch.zip]导入作业。" * 3,
    "zero\u200bwidth\u202eright to left",
    "line\r\nbreak\ttab",
    "x" * 5000,
    "\ud800lone",
    "e" + "\u0301" * 5000,
    "👩‍👩‍👧‍👦" * 50,
]


class Clock:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


class View(LiveView):
    """A live view and the state that it shows."""

    def __init__(self, state: WaitState, *args: Any, **options: Any) -> None:
        super().__init__(state, *args, **options)
        self.state = state

    def update(self, *snapshots: Snapshot) -> None:
        self.state.update(snapshots)
        self.tick()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def subtask(number: int, status: str | None = "SUCCESSFUL", **facts: Any) -> Subtask:
    return Subtask(str(number), facts.pop("name", f"job_{number:02d}"), status, **facts)


def running(
    *subtasks: Subtask, task_id: str = "t1", status: str = "RUNNING", **facts: Any
) -> Snapshot:
    outage, since = facts.pop("outage", None), facts.pop("since", None)
    task = Task(task_id, status, facts.pop("name", "import"), subtasks=subtasks, **facts)
    return Snapshot(task_id, task, outage=outage, outage_since=since)


def live(
    terminal: Terminal, clock: Clock, ids: Sequence[str] = ("t1",), *, compact: bool = False
) -> View:
    return View(WaitState(ids, now=clock, wall=clock), terminal.streams, compact=compact)


def show(view: View, clock: Clock, *snapshots: Snapshot) -> None:
    clock.seconds += 1
    view.update(*snapshots)


def still(terminal: Terminal) -> list[str]:
    """The screen's lines with the spinner stopped."""
    return [re.sub("[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏]", "⠋", line) for line in terminal.lines]


def many_subtasks() -> list[Subtask]:
    statuses = {3: "FAILED", 7: "RUNNING", 8: "RUNNING", 9: "WARNING", 11: None, 12: "PAUSED"}
    return [subtask(n, statuses.get(n, "SUCCESSFUL")) for n in range(1, 61)]


def test_a_task_without_a_response_is_shown_as_such(clock: Clock) -> None:
    with Terminal() as terminal:
        live(terminal, clock).tick()
        assert terminal.lines == ["? t1  no response yet", "elapsed 0s"]


def test_a_task_that_fits_is_a_whole_tree_in_the_services_order(clock: Clock) -> None:
    with Terminal() as terminal:
        view = live(terminal, clock)
        snapshot = running(
            subtask(1),
            subtask(2, "RUNNING"),
            subtask(3, "FAILED", message="boom"),
            start_ms=939_000,
        )
        show(view, clock, snapshot)
        assert still(terminal) == [
            "⠋ import  RUNNING  1m02s  ID t1",
            "├── ✓ job_01  SUCCESSFUL",
            "├── ⠋ job_02  RUNNING",
            "└── ✗ job_03  FAILED  boom",
            "━━━━━━━━━━━━━━━━━━━━────────── 2/3 subtasks, 1 failed  elapsed 1m02s",
        ]


def test_on_a_small_screen_what_failed_and_runs_comes_first_and_the_rest_is_counted(
    clock: Clock,
) -> None:
    with Terminal(10, 50) as terminal:
        show(live(terminal, clock), clock, running(*many_subtasks()))
        assert still(terminal) == [
            "⠋ import  RUNNING  ID t1",
            "├── ✗ job_03  FAILED",
            "├── ⠋ job_07  RUNNING",
            "├── ⠋ job_08  RUNNING",
            "├── ! job_09  WARNING",
            "├── ? job_11  (no status)",
            "├── ? job_12  PAUSED",
            "└── … 54 SUCCESSFUL",
            "━━━━━━━━━━━─ 56/60 subtasks, 1 failed  elapsed 1s",
        ]


def test_a_running_subtask_is_visible_among_a_thousand_failures(clock: Clock) -> None:
    with Terminal(10, 50) as terminal:
        subtasks = [subtask(n, "FAILED") for n in range(1000)] + [subtask(1000, "RUNNING")]
        show(live(terminal, clock), clock, running(*subtasks))
        assert "├── ⠋ job_1000  RUNNING" in still(terminal)
        assert "└── … 995 FAILED" in terminal.lines


def test_compact_hides_what_is_successful(clock: Clock) -> None:
    with Terminal() as terminal:
        view = live(terminal, clock, compact=True)
        show(view, clock, running(subtask(1), subtask(2, "RUNNING"), subtask(3)))
        assert still(terminal)[1:-1] == ["├── ⠋ job_02  RUNNING", "└── … 2 SUCCESSFUL"]


def test_unfinished_tasks_come_first_and_the_rest_is_counted(clock: Clock) -> None:
    ids = [f"t{n}" for n in range(1000)]
    with Terminal(8, 60) as terminal:
        view = live(terminal, clock, ids)
        done = [running(subtask(1), task_id=i, name=i, status="SUCCESSFUL") for i in ids[:995]]
        left = [running(subtask(1, "RUNNING"), task_id=i, name=i) for i in ids[995:998]]
        gone = Snapshot("t998", error=TaskNotFound("task t998 does not exist"))
        show(view, clock, *done, *left, gone)
        assert still(terminal) == [
            "✗ t998  task t998 does not exist",
            "⠋ t995  RUNNING  0/1 subtasks  ID t995",
            "⠋ t996  RUNNING  0/1 subtasks  ID t996",
            "⠋ t997  RUNNING  0/1 subtasks  ID t997",
            "? t999  no response yet",
            "… other tasks: 995 SUCCESSFUL",
            "━━━━━━━━━━━─ 996/1000 tasks, 1 failed; 995/998 subtasks  1s",
        ]


def test_the_subtasks_of_several_tasks_share_the_room(clock: Clock) -> None:
    with Terminal(12, 60) as terminal:
        view = live(terminal, clock, ["a", "b", "c"])
        subtasks = [subtask(n, "RUNNING") for n in range(20)]
        done = running(*[subtask(n) for n in range(9)], task_id="a", status="SUCCESSFUL", name="A")
        show(view, clock, done, *(running(*subtasks, task_id=i, name=i.upper()) for i in "bc"))
        assert still(terminal)[:-1] == [
            "⠋ B  RUNNING  0/20 subtasks  ID b",
            "├── ⠋ job_00  RUNNING",
            "├── ⠋ job_01  RUNNING",
            "├── ⠋ job_02  RUNNING",
            "└── … 17 RUNNING",
            "⠋ C  RUNNING  0/20 subtasks  ID c",
            "├── ⠋ job_00  RUNNING",
            "├── ⠋ job_01  RUNNING",
            "└── … 18 RUNNING",
            "✓ A  SUCCESSFUL  9/9 subtasks  ID a",
        ]


def test_names_that_differ_at_their_ends_are_told_apart_on_a_narrow_screen(clock: Clock) -> None:
    with Terminal(10, 40) as terminal:
        names = [f"Import the job from obs://bucket/{n}.zip" for n in range(2)]
        subtasks = [
            subtask(0, name=names[0]),
            subtask(1, "FAILED", name=names[1], message="No such table is there."),
            subtask(2, "RUNNING", name=names[1], start_ms=1_000_000),
        ]
        view = live(terminal, clock)
        clock.seconds += 61
        show(view, clock, running(*subtasks))
        assert still(terminal) == [
            "⠋ import  RUNNING  ID t1",
            "├── ✓ Import the…cket/0.zip  SUCCESSFUL",
            "├── ✗ Import the j…bucket/1.zip  FAILED",
            "│     No such table is there.",
            "└── ⠋ Import t…et/1.zip  RUNNING  1m02s",
            "━━━━━━─── 2/3 subtasks, 1 failed  1m02s",
        ]


def test_tasks_of_one_name_have_their_whole_ids_on_80_columns(clock: Clock) -> None:
    ids = [f"008aae2e675d3bcb01675d3c{n:08d}" for n in range(2)]
    with Terminal(10, 80) as terminal:
        view = live(terminal, clock, ids)
        name = "Import the job from obs://bucket/a/rather/long/path/to/jobs.zip"
        tasks = [Task(ids[0], "RUNNING", name), Task(ids[1], "SUCCESSFUL", name, end_ms=1)]
        tasks = [replace(task, subtasks=(subtask(1),), start_ms=0) for task in tasks]
        show(view, clock, *map(Snapshot, ids, tasks))
        assert [line.split()[-1] for line in still(terminal) if " ID " in line] == ids


def test_tasks_of_one_name_are_told_apart_by_the_ends_of_their_ids(clock: Clock) -> None:
    ids = [f"008aae2e675d3bcb01675d3c{n:08d}" for n in range(2)]
    with Terminal(10, 50) as terminal:
        view = live(terminal, clock, ids)
        name = "Import the job from obs://bucket/a/rather/long/path/to/jobs.zip"
        show(view, clock, *(running(subtask(1), task_id=i, name=name) for i in ids))
        lines = [line for line in still(terminal) if "RUNNING" in line]
        assert [line.split()[-1] for line in lines] == ["…00000000", "…00000001"]


def test_after_a_timeout_the_last_states_stay(clock: Clock) -> None:
    late = WaitTimeout("still RUNNING after 1s (--timeout)")
    with Terminal() as terminal:
        view = live(terminal, clock, ["t1", "t2"])
        show(view, clock, running(subtask(1, "RUNNING")))
        before = still(terminal)
        task = running(subtask(1, "RUNNING")).task
        both = Snapshot("t1", task, late, settled=True), Snapshot("t2", None, late, settled=True)
        show(view, clock, *both)
        assert still(terminal)[:-1] == before[:-1]
        assert "failed" not in terminal.text


def test_an_outage_is_shown_until_it_is_over(clock: Clock) -> None:
    with Terminal() as terminal:
        view = live(terminal, clock)
        refused = ServiceUnavailable("connection \x1b refused")
        show(view, clock, running(outage=refused, since=clock.seconds))
        clock.seconds += 12
        view.tick()
        assert terminal.lines[-1] == r"! no valid response for 13s: connection \x1b refused"
        show(view, clock, running())
        assert terminal.lines[-1] == "elapsed 14s"


def test_a_start_in_the_future_shows_no_time(clock: Clock) -> None:
    with Terminal() as terminal:
        show(live(terminal, clock), clock, running(start_ms=99_000_000))
        assert still(terminal)[0] == "⠋ import  RUNNING  ID t1"


@pytest.mark.parametrize(("rows", "columns"), SIZES)
@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_no_frame_is_taller_or_wider_than_the_screen(
    rows: int, columns: int, encoding: str, clock: Clock
) -> None:
    subtasks = [subtask(n, "FAILED", name=name, message=name) for n, name in enumerate(HOSTILE)]
    with Terminal(rows, columns, encoding=encoding) as terminal:
        view = live(terminal, clock, ["t1", *(f"u{n}" for n in range(50))])
        for name in HOSTILE:
            show(view, clock, running(*subtasks, name=name, outage=ServiceUnavailable(name)))
            frame = terminal.read().decode(encoding)
            drawn = re.sub(r"\x1b\[[?0-9;]*[A-Za-z]", "", frame).replace("\r\n", "\n").strip("\r")
            assert len(drawn.split("\n")) <= max(rows - 1, 1)
            assert max(map(cell_len, drawn.split("\n"))) <= max(columns - 1, 1)
        assert terminal.scrolled_off == []


def test_hostile_names_are_shown_literally(clock: Clock) -> None:
    with Terminal(24, 80) as terminal:
        subtasks = [subtask(n, name=name) for n, name in enumerate(HOSTILE[:5])]
        show(live(terminal, clock), clock, running(*subtasks))
        assert terminal.lines[1:6] == [
            r"├── ✓ \x1b[2J\x1b[31mred\x1b]0;title\x07  SUCCESSFUL",
            "├── ✓ [bold red]markup[/]  SUCCESSFUL",
            terminal.lines[3],
            r"├── ✓ zero\u200bwidth\u202eright to left  SUCCESSFUL",
            r"└── ✓ line\x0d\x0abreak\x09tab  SUCCESSFUL",
        ]
        assert terminal.lines[3].startswith("├── ✓ 从路径[obs://aaaaa/job_batch.z…")
        assert terminal.lines[3].endswith("b_batch.zip]导入作业。  SUCCESSFUL")


def test_without_unicode_lines_and_symbols_are_ascii_and_the_width_still_holds(
    clock: Clock,
) -> None:
    with Terminal(10, 60, encoding="ascii") as terminal:
        subtasks = [subtask(1, name="导入作业"), subtask(2, "RUNNING", name="导入" * 30)]
        show(live(terminal, clock), clock, running(*subtasks))
        assert terminal.lines == [
            "/ import  RUNNING  ID t1",
            r"+-- v \u5bfc\u5165\u4f5c\u4e1a  SUCCESSFUL",
            terminal.lines[2],
            "###############--------------- 1/2 subtasks  elapsed 1s",
        ]
        assert "..." in terminal.lines[2]
        assert terminal.lines[2].endswith(r"\u5165  RUNNING")


def test_a_status_has_its_colour(clock: Clock) -> None:
    with Terminal(color="always") as terminal:
        show(live(terminal, clock), clock, running(subtask(1), subtask(2, "FAILED")))
        frame = terminal.read().decode()
        assert "\x1b[32mSUCCESSFUL\x1b[0m" in frame
        assert "\x1b[31mFAILED\x1b[0m" in frame


def test_without_colour_a_frame_has_none(clock: Clock) -> None:
    with Terminal(color="never") as terminal:
        show(live(terminal, clock), clock, running(subtask(1), subtask(2, "FAILED")))
        assert not re.search(rb"\x1b\[[0-9;]*m", terminal.read())


def test_a_frame_is_one_write_that_clears_nothing_before_it_draws_over_it(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Terminal() as terminal:
        written: list[str] = []
        monkeypatch.setattr(terminal.streams, "write", written.append)
        view = live(terminal, clock)
        show(view, clock, running(subtask(1, "RUNNING")))
        show(view, clock, running(subtask(1)))
        assert len(written) == 2
        for frame in written:
            assert "\x1b[2J" not in frame
            assert "\x1b[?1049h" not in frame
            assert "\x1b[H" not in frame
            assert frame.count("\x1b[J") == 1
            assert frame.index("\x1b[J") > frame.index("elapsed")


def test_a_frame_that_looks_the_same_is_not_written(clock: Clock) -> None:
    with Terminal() as terminal:
        view = live(terminal, clock)
        show(view, clock, running(subtask(1), status="SUCCESSFUL"))
        assert terminal.read()
        clock.seconds += 0.3
        view.tick()
        assert terminal.read() == b""


def test_a_change_right_after_a_frame_waits_for_the_next_tick(clock: Clock) -> None:
    with Terminal() as terminal:
        view = live(terminal, clock)
        show(view, clock, running(subtask(1, "RUNNING")))
        terminal.read()
        view.update(running(subtask(1, "FAILED")))
        assert terminal.read() == b""
        clock.seconds += view.tick_s
        view.tick()
        assert "✗ job_01  FAILED" in terminal.text


def test_a_smaller_frame_leaves_nothing_of_a_larger_one(clock: Clock) -> None:
    with Terminal() as terminal:
        view = live(terminal, clock)
        show(view, clock, running(*many_subtasks()[:15]))
        show(view, clock, running(subtask(1)))
        assert len(terminal.lines) == 3


@pytest.mark.parametrize("sizes", [[(24, 80), (10, 40), (24, 80)], [(10, 40), (24, 100), (5, 20)]])
def test_a_resized_terminal_holds_one_frame_and_no_garbage(
    sizes: list[tuple[int, int]], clock: Clock
) -> None:
    with Terminal(*sizes[0]) as terminal:
        terminal.streams.write("$ dlftask watch t1\r\n")
        view = live(terminal, clock)
        for rows, columns in sizes:
            terminal.resize(rows, columns)
            show(view, clock, running(*many_subtasks()))
            assert sum("import  RUNNING" in line for line in terminal.lines) == 1
            assert sum("60 subtasks" in line for line in terminal.lines) == 1
        view.close()
        left = terminal.scrolled_off + terminal.lines
        assert [line for line in left if line] in ([], ["$ dlftask watch t1"])


def test_a_note_stays_above_the_drawing(clock: Clock) -> None:
    with Terminal(6, 40) as terminal:
        view = live(terminal, clock)
        show(view, clock, running(subtask(1, "RUNNING")))
        for number in range(5):
            view.note(f"note {number} \x1b[2J")
        above = (terminal.scrolled_off + terminal.lines)[:-3]
        assert above == [rf"dlftask: note {n} \x1b[2J" for n in range(5)]
        assert still(terminal)[-3:-1] == ["⠋ import  RUNNING  ID t1", "└── ⠋ job_01  RUNNING"]


def test_an_endless_note_is_cut_at_1000_characters(clock: Clock) -> None:
    with Terminal(24, 80) as terminal:
        view = live(terminal, clock)
        show(view, clock, running(subtask(1, "RUNNING")))
        view.note("n" * 5000)
        above = (terminal.scrolled_off + terminal.lines)[:-3]
        assert "".join(above) == f"dlftask: {'n' * 990}…"
        view.close()
        terminal.read()
        view.note("n" * 5000)
        assert terminal.read().decode() == f"dlftask: {'n' * 990}…\n"


def test_close_leaves_only_what_was_there_before(clock: Clock) -> None:
    with Terminal() as terminal:
        terminal.streams.write("before\r\n")
        view = live(terminal, clock)
        show(view, clock, running(*many_subtasks()))
        view.close()
        view.close()
        terminal.streams.write("after\r\n")
        assert terminal.lines == ["before", "after"]
        assert terminal.screen.mode & {7 << 5}  # lines wrap again


def test_close_can_keep_the_last_frame_with_symbols_in_place_of_the_spinner(clock: Clock) -> None:
    with Terminal(8, 60) as terminal:
        view = live(terminal, clock)
        show(view, clock, running(*many_subtasks(), start_ms=900_000))
        view.close(keep=True)
        terminal.streams.write("after\r\n")
        assert terminal.lines[-1] == "after"
        kept = terminal.scrolled_off + terminal.lines
        assert kept[0] == "● import  RUNNING  1m41s  ID t1"
        assert kept[-2].endswith("56/60 subtasks, 1 failed  elapsed 1m41s")
        assert len(kept) == 8


def test_a_wait_in_which_no_task_was_seen_keeps_no_frame(clock: Clock) -> None:
    with Terminal() as terminal:
        view = live(terminal, clock)
        view.tick()
        view.close(keep=True)
        assert terminal.lines == [""]


def test_the_cursor_rests_at_the_top_left_and_is_never_hidden(clock: Clock) -> None:
    with Terminal() as terminal:
        terminal.streams.write("before\r\n")
        view = live(terminal, clock)
        for _ in range(3):
            show(view, clock, running(subtask(1, "RUNNING")))
            terminal.read()
            cursor = terminal.screen.cursor
            assert (cursor.y, cursor.x, cursor.hidden) == (1, 0, False)
            assert terminal.screen.mode & {7 << 5}


def test_nothing_is_drawn_in_the_background_and_the_next_frame_begins_at_the_cursor(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreground = [True]
    monkeypatch.setattr("dlftask.output.screen.in_foreground", lambda: foreground[0])
    with Terminal() as terminal:
        view = live(terminal, clock)
        show(view, clock, running())
        foreground[0] = False
        terminal.streams.write("\x1b[2J\x1b[Hshell\r\n")
        terminal.read()
        show(view, clock, running(subtask(1)))
        assert terminal.read() == b""
        foreground[0] = True
        show(view, clock, running(subtask(1)))
        assert still(terminal)[:2] == ["shell", "⠋ import  RUNNING  ID t1"]


def test_nothing_is_written_after_close_or_if_nothing_was_drawn(clock: Clock) -> None:
    with Terminal() as terminal:
        view = live(terminal, clock)
        view.close()
        show(view, clock, running())
        view.tick()
        assert terminal.read() == b""


def test_close_does_not_fail_where_the_terminal_is_gone(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(text: str) -> None:
        raise OutputFailed("gone")

    with Terminal() as terminal:
        view = live(terminal, clock)
        show(view, clock, running())
        monkeypatch.setattr(terminal.streams, "write", gone)
        view.close()
        show(view, clock, running(subtask(1)))


def test_a_frame_of_ten_thousand_subtasks_renders_only_what_is_drawn(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dlftask.output import live as module

    drawn: list[str | None] = []

    def name(text: str | None, identity: str | None) -> str:
        drawn.append(identity)
        return display_name(text, identity)

    monkeypatch.setattr(module, "display_name", name)
    with Terminal() as terminal:
        subtasks = [subtask(n, "FAILED" if n % 2 else "RUNNING") for n in range(10_000)]
        show(live(terminal, clock), clock, running(*subtasks))
        assert len(drawn) < 30


def test_the_id_asked_for_is_whole_at_80_columns_with_a_long_name(clock: Clock) -> None:
    task_id = "008aae2e675d3bcb01675d3c66f20000"
    with Terminal(24, 80) as terminal:
        view = live(terminal, clock, [task_id])
        name = "Import the job from obs://bucket/a/rather/long/path/to/jobs.zip"
        snapshot = running(subtask(1), task_id=task_id, name=name, start_ms=0, message="m" * 99)
        show(view, clock, snapshot)
        assert task_id in terminal.lines[0]
        assert "RUNNING" in terminal.lines[0]


def test_an_id_that_does_not_fit_beside_the_name_has_its_own_line(clock: Clock) -> None:
    task_id = "008aae2e675d3bcb01675d3c66f20000"
    with Terminal(10, 40) as terminal:
        show(live(terminal, clock, [task_id]), clock, running(task_id=task_id))
        assert terminal.lines[1] == f"  ID {task_id}"


def test_with_strict_a_warning_comes_before_what_runs(clock: Clock) -> None:
    with Terminal(6, 60) as terminal:
        state = WaitState(["t1"], strict=True, now=clock, wall=clock)
        subtasks = [subtask(n, "RUNNING") for n in range(9)]
        show(View(state, terminal.streams), clock, running(*subtasks, subtask(9, "WARNING")))
        assert "! job_09  WARNING" in terminal.lines[1]


def test_a_running_task_with_a_failure_comes_before_those_without(clock: Clock) -> None:
    with Terminal(6, 60) as terminal:
        view = live(terminal, clock, ["a", "b", "c", "d", "e", "f", "g"])
        fine = [running(subtask(1, "RUNNING"), task_id=i, name=i) for i in "abcdef"]
        show(view, clock, *fine, running(subtask(1, "FAILED"), task_id="g", name="g"))
        assert still(terminal)[0].startswith("⠋ g  RUNNING")


def test_messages_are_wrapped_while_rows_are_free_failures_first(clock: Clock) -> None:
    def subtasks(message: str) -> list[Subtask]:
        return [subtask(1, "WARNING", message=message), subtask(2, "FAILED", message=message)]

    message = "The connection [dws_traffic] that the job uses does not exist."
    with Terminal(12, 40) as terminal:
        show(live(terminal, clock), clock, running(*subtasks(message)))
        assert still(terminal)[1:-1] == [
            "├── ! job_01  WARNING",
            "│     The connection [dws_traffic] that",
            "│     the job uses does not exist.",
            "└── ✗ job_02  FAILED",
            "      The connection [dws_traffic] that",
            "      the job uses does not exist.",
        ]
    with Terminal(6, 40) as terminal:
        show(live(terminal, clock), clock, running(*subtasks(message)))
        assert still(terminal)[1:-1] == [
            "├── ! job_01  WARNING  The connection …",
            "└── ✗ job_02  FAILED",
            "      The connection [dws_traffic] tha…",
        ]


def test_wrapping_never_creates_a_ci_command(clock: Clock) -> None:
    message = f"{'a' * 30} ::error::{'b' * 30} ::warning::c"
    failed = subtask(1, "FAILED", message=message)
    for columns in range(20, 80):
        with Terminal(24, columns) as terminal:
            show(live(terminal, clock), clock, running(failed))
            assert not [line for line in still(terminal) if line.lstrip().startswith("::")]


def test_a_message_is_shortened_before_the_name(clock: Clock) -> None:
    with Terminal(4, 40) as terminal:
        failed = subtask(1, "FAILED", name="a name of twenty....", message="m" * 60)
        show(live(terminal, clock), clock, running(failed))
        assert still(terminal)[1] == "└── ✗ a name of twenty....  FAILED"


@pytest.mark.parametrize("columns", [50, 60])
def test_a_shortened_id_stays_where_the_message_moves_below(clock: Clock, columns: int) -> None:
    ids = [f"11112222333344445555666677{middle}zzzzzzzzzzzzzzzzzzzz" for middle in ("aa", "bb")]
    with Terminal(24, columns) as terminal:
        view = live(terminal, clock, ids)
        tasks = [Task(i, "FAILED", "Import the department", message="a reason " * 9) for i in ids]
        show(view, clock, *map(Snapshot, ids, tasks))
        lines = [line for line in still(terminal) if "FAILED" in line]
        assert all(middle in line for middle, line in zip(("aa", "bb"), lines, strict=True))
        assert len(set(lines)) == 2
        assert sum("a reason" in line for line in still(terminal)) >= 2


def test_a_successful_task_that_holds_a_failure_shows_it_where_rows_are_free(clock: Clock) -> None:
    with Terminal(12, 60) as terminal:
        view = live(terminal, clock, ["a", "b"])
        subtasks = [subtask(n) for n in range(20)]
        done = running(subtask(20, "FAILED"), *subtasks, task_id="a", status="SUCCESSFUL")
        show(view, clock, done, running(*subtasks, task_id="b"))
        assert any("✗ job_20  FAILED" in line for line in terminal.lines)
