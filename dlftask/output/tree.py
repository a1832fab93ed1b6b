"""A task as a tree: plain text for pipes and files, without colours, wrapping or cutting.

``rich_tree`` draws the same rows on a terminal. Here rich is not imported: that would take a script
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

    ``guide`` is printed before the first of them, ``below`` before the others.
    """

    guide: str
    below: str
    label: Pieces


def tree_rows(snapshot: "Snapshot", options: "RenderOptions") -> Iterator[Row]:
    """The rows of a task's tree; none where it is unavailable."""
    task, task_id = snapshot.result, snapshot.task_id
    if task is None:
        return
    shown, rest = shown_subtasks(task, compact=options.compact)
    if options.compact and task.status == Status.SUCCESSFUL and not shown:
        count = f"{rest} subtask{'' if rest == 1 else 's'}"
        facts = [duration_text(task.duration_ms), count, escape_controls(task_id)]
        yield Row("", GAP, _label(task, facts, options))
        return
    identity = f"ID {escape_controls(task.id)}"
    if task_id != task.id:
        identity += f" (asked for {task_id})"
    times = GAP.join(task_times(task, utc=options.utc))
    lines = [(f"\n{line}", "") for line in (identity, times) if line]
    yield Row("", GAP, [*_node(task, options), *lines])
    guides = branch_guides(len(shown) + bool(rest), unicode=options.unicode)
    for subtask, (guide, below) in zip(shown, guides, strict=False):
        yield Row(guide, below + GAP, _node(subtask, options))
    if rest:
        ellipsis = "…" if options.unicode else "..."
        text = f"{ellipsis} {rest} more {Status.SUCCESSFUL}"
        yield Row(*guides[-1], [(text, style(Status.SUCCESSFUL))])


def branch_guides(count: int, *, unicode: bool) -> list[tuple[str, str]]:
    """For each of ``count`` branches, the prefix of its first line and that of its other lines."""
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

    With ``now_ms``, for a terminal, a running node shows the time since its start.
    """
    if now_ms is None or node.status != Status.RUNNING:
        return duration_text(node.duration_ms)
    if node.start_ms is None or now_ms - node.start_ms < 1000:
        return ""
    return format_duration((now_ms - node.start_ms) // 1000)


def _node(node: Task | Subtask, options: "RenderOptions") -> Pieces:
    now_ms = options.now_ms if options.width is not None else None
    return _label(node, [time_text(node, now_ms), escape_controls(node.message or "")], options)


def _label(node: Task | Subtask, facts: Iterable[str], options: "RenderOptions") -> Pieces:
    """A node's symbol, name and status, then the facts that are not empty."""
    look = style(node.status)
    return [
        (symbol(node.status, unicode=options.unicode), look),
        (f" {display_name(node.name, node.id)}", "bold" if isinstance(node, Task) else ""),
        (GAP, ""),
        (status_word(node.status), look),
        *((GAP + fact, "") for fact in facts if fact),
    ]


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
    # In pieces: a name or a message may have 64 MiB, and each copy takes memory.
    for row in rows:
        yield row.guide
        for text, _ in row.label:
            yield text.replace("\n", f"\n{row.below}")
        yield "\n"
