"""A task as a tree of plain text, for pipes and files: no colours, no wrapping, no cutting.

``rich_tree`` shows the same lines on a terminal; both take the words from here. This one needs no
rich, which would cost a script more time than its question.
"""

from collections.abc import Iterator, Sequence

from dlftask.output.text import (
    display_name,
    duration_text,
    escape_controls,
    status_word,
    symbol,
    task_time,
)
from dlftask.task import Status, Subtask, Task

GAP = "  "
"""Between two facts of a line: wider than a space in a name, narrower than a column."""


def node_facts(node: Task | Subtask) -> list[str]:
    """What stands behind a node's status: the duration where known, the message where there is."""
    facts = [duration_text(node.duration_ms), escape_controls(node.message) if node.message else ""]
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
    shown = [part for part in task.subtasks if part.status != Status.SUCCESSFUL]
    return shown, len(task.subtasks) - len(shown)


def rest_line(count: int, *, unicode: bool) -> str:
    """The last line of a compact tree."""
    return f"{'…' if unicode else '...'} {count} more {Status.SUCCESSFUL}"


def tree_lines(
    task: Task, *, utc: bool, compact: bool, unicode: bool, asked: str | None = None
) -> Iterator[str]:
    """The lines of a task's tree, without newlines; in ASCII lines and symbols if not unicode.

    ``asked`` is the ID that was asked for: the answer's own may be another.
    """
    yield _line(task, unicode=unicode)
    for fact in task_facts(task, utc=utc, asked=asked):
        yield GAP + fact
    shown, rest = shown_subtasks(task, compact=compact)
    branch, last = ("├── ", "└── ") if unicode else ("+-- ", "`-- ")
    for part in shown[:-1]:
        yield branch + _line(part, unicode=unicode)
    if shown:
        yield (branch if rest else last) + _line(shown[-1], unicode=unicode)
    if rest:
        yield last + rest_line(rest, unicode=unicode)


def _line(node: Task | Subtask, *, unicode: bool) -> str:
    name = f"{symbol(node.status, unicode=unicode)} {display_name(node.name, node.id)}"
    return GAP.join([name, status_word(node.status), *node_facts(node)])
