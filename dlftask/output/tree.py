"""A task as a tree: plain text for pipes and files, without colours, wrapping or cutting.

``rich_tree`` draws the same rows on a terminal. Here rich is not needed, which would cost a script
more time than its request.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from dlftask.durations import format_duration
from dlftask.output.text import (
    display_name,
    duration_text,
    escape_controls,
    status_word,
    style,
    symbol,
    task_times,
)
from dlftask.task import Status, Subtask, Task

if TYPE_CHECKING:
    from dlftask.output.formats import RenderOptions
    from dlftask.waiting.snapshot import Snapshot

GAP = "  "
"""Between two facts of a line: wider than a space in a name, narrower than a column."""

Pieces = list[tuple[str, str]]
"""Pieces of text, each with its style."""


class Row(NamedTuple):
    """A node of a tree, which can take several lines.

    ``guide`` stands before the first of them, ``below`` before the others.
    """

    guide: str
    below: str
    label: Pieces


def tree_rows(snapshot: "Snapshot", options: "RenderOptions") -> Iterator[Row]:
    """The rows of a task's tree; none where it is unavailable."""
    task = snapshot.result
    if task is None:
        return
    facts = _one_line_facts(task, snapshot.task_id) if options.compact else None
    if facts is not None:
        yield Row("", GAP, _label(task, facts, unicode=options.unicode))
        return
    now_ms = options.now_ms if options.width is not None else None
    root = _label(task, _node_facts(task, now_ms), unicode=options.unicode)
    lines = _task_facts(task, utc=options.utc, asked=snapshot.task_id)
    yield Row("", GAP, [*root, *((f"\n{line}", "") for line in lines)])
    shown, rest = shown_subtasks(task, compact=options.compact)
    guides = branch_guides(len(shown) + bool(rest), unicode=options.unicode)
    for subtask, (guide, below) in zip(shown, guides, strict=False):
        label = _label(subtask, _node_facts(subtask, now_ms), unicode=options.unicode)
        yield Row(guide, below + GAP, label)
    if rest:
        ellipsis = "…" if options.unicode else "..."
        text = f"{ellipsis} {rest} more {Status.SUCCESSFUL}"
        yield Row(*guides[-1], [(text, style(Status.SUCCESSFUL))])


def branch_guides(count: int, *, unicode: bool) -> list[tuple[str, str]]:
    """What stands before the first line of each of so many branches, and before its others."""
    branch, bar, last = ("├── ", "│   ", "└── ") if unicode else ("+-- ", "|   ", "`-- ")
    return [(branch, bar)] * (count - 1) + [(last, "    ")]


def shown_subtasks(task: Task, *, compact: bool) -> tuple[Sequence[Subtask], int]:
    """The subtasks that a tree shows, and how many more it only counts, all SUCCESSFUL."""
    if not compact:
        return task.subtasks, 0
    shown = [subtask for subtask in task.subtasks if subtask.status != Status.SUCCESSFUL]
    return shown, len(task.subtasks) - len(shown)


def time_text(node: Task | Subtask, now_ms: int | None) -> str:
    """How long a node took, where that is known.

    With ``now_ms``, for a terminal, what runs shows the time since its start.
    """
    if now_ms is None or node.status != Status.RUNNING:
        return duration_text(node.duration_ms)
    if node.start_ms is None or now_ms - node.start_ms < 1000:
        return ""
    return format_duration((now_ms - node.start_ms) // 1000)


def _label(node: Task | Subtask, facts: Iterable[str], *, unicode: bool) -> Pieces:
    look = style(node.status)
    return [
        (symbol(node.status, unicode=unicode), look),
        (f" {display_name(node.name, node.id)}", "bold" if isinstance(node, Task) else ""),
        (GAP, ""),
        (status_word(node.status), look),
        *((GAP + fact, "") for fact in facts),
    ]


def _node_facts(node: Task | Subtask, now_ms: int | None) -> list[str]:
    """What stands behind a node's status: its time and its message, where there are any."""
    facts = (time_text(node, now_ms), escape_controls(node.message or ""))
    return [fact for fact in facts if fact]


def _task_facts(task: Task, *, utc: bool, asked: str) -> list[str]:
    """The lines below a task's name: its ID, and the one ``asked`` for where it is another; times.

    The times are its start and end, where they are known.
    """
    times = task_times(task, utc=utc)
    identity = f"ID {escape_controls(task.id)}"
    if asked != task.id:
        identity += f" (asked for {asked})"
    return [identity, *([GAP.join(times)] if times else [])]


def _one_line_facts(task: Task, asked: str) -> list[str] | None:
    """What stands behind the status in a compact tree of one line; ``None`` where it needs more."""
    if task.status != Status.SUCCESSFUL or shown_subtasks(task, compact=True)[0]:
        return None
    count = len(task.subtasks)
    facts = [duration_text(task.duration_ms), f"{count} subtask{'' if count == 1 else 's'}"]
    return [*(fact for fact in facts if fact), escape_controls(asked)]


def render_trees(snapshots: "Sequence[Snapshot]", options: "RenderOptions") -> Iterator[str]:
    """The tree of each task that is available."""
    if options.width is not None or options.color:
        from dlftask.output.rich_tree import render_rich_trees

        yield render_rich_trees(snapshots, options)
        return
    for snapshot in snapshots:
        if text := "".join(_plain(tree_rows(snapshot, options))):
            yield text


def _plain(rows: Iterable[Row]) -> Iterator[str]:
    # In pieces: a name or a message may have 64 MiB, of which each copy counts.
    for row in rows:
        yield row.guide
        for text, _ in row.label:
            yield text.replace("\n", f"\n{row.below}")
        yield "\n"
