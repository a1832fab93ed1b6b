"""A task as a rich ``Tree``: the lines of ``tree``, with colours, wrapped to the terminal."""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment
from rich.text import Text
from rich.tree import Tree

from dlftask.output.text import display_name, status_word, style, symbol
from dlftask.output.tree import (
    GAP,
    node_facts,
    one_line_facts,
    rest_line,
    shown_subtasks,
    task_facts,
)
from dlftask.task import Status, Subtask, Task
from dlftask.waiting.snapshot import Snapshot

if TYPE_CHECKING:
    from dlftask.output.formats import RenderOptions

_NARROWEST = 20
"""Columns below which a tree has no room; the terminal wraps by itself there."""

_INDENT = 2
"""Cells of a symbol and the space behind it."""

_UNLIMITED = 1_000_000_000
"""Columns of a pipe, where nothing is wrapped or cut."""


def node_label(
    node: Task | Subtask,
    *,
    unicode: bool,
    now_ms: int | None = None,
    facts: list[str] | None = None,
) -> Text:
    """One line about a task or a subtask; never markup, and wrapped rather than cut."""
    look = style(node.status)
    label = Text(overflow="fold")
    label.append(symbol(node.status, unicode=unicode), look)
    name = display_name(node.name, node.id)
    label.append(f" {name}", "bold" if isinstance(node, Task) else "")
    label.append(GAP)
    label.append(status_word(node.status), look)
    for fact in node_facts(node, now_ms) if facts is None else facts:
        label.append(GAP + fact)
    return label


def rest_label(count: int, *, unicode: bool) -> Text:
    """The last line of a compact tree."""
    return Text(rest_line(count, unicode=unicode), style(Status.SUCCESSFUL))


class _Hanging:
    """A label whose further lines stand below its name, not below its symbol."""

    def __init__(self, label: Text) -> None:
        self._label = label

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        label = self._label
        if "\n" not in label.plain and label.cell_len <= options.max_width:
            yield label
            return
        mark, body = label.divide([_INDENT])
        yield from mark.render(console)
        lines = body.wrap(console, max(options.max_width - _INDENT, 1), overflow="fold")
        # Not as one text, which rich would wrap a second time: that costs half as much again.
        for place, line in enumerate(lines):
            if place:
                yield Segment("\n" + " " * _INDENT)
            yield from line.render(console)
        yield Segment.line()


def task_tree(task: Task, asked: str, options: "RenderOptions") -> Tree:
    """A task's tree; rich draws its lines in ASCII on a console whose encoding is not UTF-8."""
    unicode = options.unicode
    now_ms = options.now_ms if options.width is not None else None
    facts = one_line_facts(task, asked) if options.compact else None
    root = node_label(task, unicode=unicode, now_ms=now_ms, facts=facts)
    tree = Tree(_Hanging(root), highlight=False)
    if facts is not None:
        return tree
    for fact in task_facts(task, utc=options.utc, asked=asked):
        root.append(f"\n{fact}")
    shown, rest = shown_subtasks(task, compact=options.compact)
    for subtask in shown:
        tree.add(_Hanging(node_label(subtask, unicode=unicode, now_ms=now_ms)))
    if rest:
        tree.add(rest_label(rest, unicode=unicode))
    return tree


class _Buffer(io.StringIO):
    """What a console writes to: rich reads from its encoding which lines it may draw."""

    def __init__(self, encoding: str) -> None:
        super().__init__()
        self._named = encoding

    @property
    def encoding(self) -> str:  # type: ignore[override]  # nobody sets it
        return self._named


def _console(width: int | None, *, unicode: bool, color: bool) -> Console:
    # It is told all that it needs, so that no variable of the environment (COLUMNS, TERM) is read
    # a second time and otherwise than the rest of the program reads it.
    return Console(
        file=_Buffer("utf-8" if unicode else "ascii"),
        width=_UNLIMITED if width is None else max(width, _NARROWEST),
        height=1,
        force_terminal=True,
        color_system="standard" if color else None,
        no_color=not color,
        highlight=False,
        markup=False,
        emoji=False,
        legacy_windows=False,
        _environ={},
    )


def render_rich_trees(snapshots: Sequence[Snapshot], options: "RenderOptions") -> str:
    """The tasks' trees, wrapped on a terminal alone; one that could not be had has none."""
    console = _console(options.width, unicode=options.unicode, color=options.color)
    for snapshot in snapshots:
        if snapshot.result is not None:
            tree = task_tree(snapshot.result, snapshot.task_id, options)
            console.print(tree, soft_wrap=options.width is None)
    buffer = console.file
    return buffer.getvalue() if isinstance(buffer, io.StringIO) else ""
