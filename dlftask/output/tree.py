"""A task as a tree of plain text, for pipes and files: no colours, no wrapping, no cutting.

``rich_tree`` shows the same lines on a terminal; both take the words from here. This one needs no
rich, which would cost a script more time than its request.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from dlftask.output.text import (
    display_name,
    duration_text,
    escape_controls,
    status_word,
    symbol,
    task_time,
)
from dlftask.task import Status, Subtask, Task

if TYPE_CHECKING:
    from dlftask.output.formats import RenderOptions
    from dlftask.waiting.snapshot import Snapshot

GAP = "  "
"""Between two facts of a line: wider than a space in a name, narrower than a column."""


def node_facts(node: Task | Subtask, now_ms: int | None = None) -> list[str]:
    """What stands behind a node's status: the duration where known, the message where there is one.

    With ``now_ms``, for a terminal, what runs shows the time since its start.
    """
    duration_ms = node.duration_ms
    if duration_ms is None and now_ms is not None and node.status == Status.RUNNING:
        since_ms = max(now_ms - (now_ms if node.start_ms is None else node.start_ms), 0)
        duration_ms = since_ms // 1000 * 1000 or None
    time_text = duration_text(duration_ms)
    facts = [time_text, escape_controls(node.message) if node.message else ""]
    return [fact for fact in facts if fact]


def task_facts(task: Task, *, utc: bool, asked: str | None = None) -> list[str]:
    """The lines below a task's name: its ID, and the one ``asked`` for where it is another; times.

    The times are its start and end, where they are known.
    """
    times = []
    if task.start_ms is not None:
        times.append(f"started {task_time(task.start_ms, utc=utc)}")
    if task.end_ms is not None:
        times.append(f"ended {task_time(task.end_ms, utc=utc)}")
    identity = f"ID {escape_controls(task.id)}"
    if asked is not None and asked != task.id:
        identity += f" (asked for {asked})"
    return [identity, *([GAP.join(times)] if times else [])]


def shown_subtasks(task: Task, *, compact: bool) -> tuple[Sequence[Subtask], int]:
    """The subtasks that a tree shows, and how many more it only counts, all SUCCESSFUL."""
    if not compact:
        return task.subtasks, 0
    shown = [subtask for subtask in task.subtasks if subtask.status != Status.SUCCESSFUL]
    return shown, len(task.subtasks) - len(shown)


def one_line_facts(task: Task, asked: str) -> list[str] | None:
    """What stands behind the status in a compact tree of one line; ``None`` where it needs more."""
    if task.status != Status.SUCCESSFUL or shown_subtasks(task, compact=True)[0]:
        return None
    count = len(task.subtasks)
    facts = [duration_text(task.duration_ms), f"{count} subtask{'' if count == 1 else 's'}"]
    return [*(fact for fact in facts if fact), escape_controls(asked)]


def rest_line(count: int, *, unicode: bool) -> str:
    """The last line of a compact tree."""
    return f"{'…' if unicode else '...'} {count} more {Status.SUCCESSFUL}"


def tree_lines(
    task: Task, *, utc: bool, compact: bool, unicode: bool, asked: str | None = None
) -> Iterator[str]:
    """The lines of a task's tree, without newlines; in ASCII lines and symbols if not unicode.

    ``asked`` is the ID that was asked for: the response may have another.
    """
    facts = one_line_facts(task, asked or task.id) if compact else None
    if facts is not None:
        yield _line(task, facts, unicode=unicode)
        return
    yield _line(task, node_facts(task), unicode=unicode)
    for fact in task_facts(task, utc=utc, asked=asked):
        yield GAP + fact
    shown, rest = shown_subtasks(task, compact=compact)
    branch, last = ("├── ", "└── ") if unicode else ("+-- ", "`-- ")
    for subtask in shown[:-1]:
        yield branch + _line(subtask, node_facts(subtask), unicode=unicode)
    if shown:
        yield (branch if rest else last) + _line(shown[-1], node_facts(shown[-1]), unicode=unicode)
    if rest:
        yield last + rest_line(rest, unicode=unicode)


def _line(node: Task | Subtask, facts: list[str], *, unicode: bool) -> str:
    name = f"{symbol(node.status, unicode=unicode)} {display_name(node.name, node.id)}"
    return GAP.join([name, status_word(node.status), *facts])


def render_trees(snapshots: "Sequence[Snapshot]", options: "RenderOptions") -> Iterator[str]:
    """The tree of each task that could be had."""
    for snapshot in snapshots:
        if snapshot.result is not None:
            lines = tree_lines(
                snapshot.result,
                utc=options.utc,
                compact=options.compact,
                unicode=options.unicode,
                asked=snapshot.task_id,
            )
            yield "".join(f"{line}\n" for line in lines)
