"""A task as a rich ``Tree``: the lines of ``tree``, with colours, wrapped to the terminal."""

import io
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from dlftask.output.text import display_name, status_word, style, symbol
from dlftask.output.tree import GAP, node_facts, rest_line, shown_subtasks, task_facts
from dlftask.streams import Streams
from dlftask.task import Status, Subtask, Task

_NARROWEST = 20
"""Columns below which a tree has no room; the terminal wraps by itself there."""

_UNLIMITED = 1_000_000_000
"""Columns of a pipe, where nothing is wrapped or cut."""


def node_label(node: Task | Subtask, *, unicode: bool) -> Text:
    """One line about a task or a subtask; never markup, and wrapped rather than cut."""
    look = style(node.status)
    label = Text(overflow="fold")
    label.append(symbol(node.status, unicode=unicode), look)
    name = display_name(node.name, node.id)
    label.append(f" {name}", "bold" if isinstance(node, Task) else "")
    label.append(GAP)
    label.append(status_word(node.status), look)
    for fact in node_facts(node):
        label.append(GAP + fact)
    return label


def task_label(task: Task, *, utc: bool, unicode: bool) -> Text:
    """The lines at the root of a task's tree."""
    lines = "\n".join(task_facts(task, utc=utc))
    return node_label(task, unicode=unicode).append(f"\n{lines}")


def rest_label(count: int, *, unicode: bool) -> Text:
    """The last line of a compact tree."""
    return Text(rest_line(count, unicode=unicode), style(Status.SUCCESSFUL))


def task_tree(task: Task, *, utc: bool, compact: bool, unicode: bool) -> Tree:
    """A task's tree; rich draws its lines in ASCII on a console whose encoding is not UTF-8."""
    tree = Tree(task_label(task, utc=utc, unicode=unicode), highlight=False)
    shown, rest = shown_subtasks(task, compact=compact)
    for part in shown:
        tree.add(node_label(part, unicode=unicode))
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


def make_console(streams: Streams) -> Console:
    """A console that draws for standard output; what it drew is read from ``console.file``.

    It is told all that it needs, so that no variable of the environment (COLUMNS, TERM) is read
    a second time and otherwise than the rest of the program reads it.
    """
    columns, rows = streams.size()
    return Console(
        file=_Buffer("utf-8" if streams.unicode else "ascii"),
        width=max(columns, _NARROWEST) if streams.out_is_terminal else _UNLIMITED,
        height=max(rows, 1),
        force_terminal=True,
        color_system="standard" if streams.color else None,
        no_color=not streams.color,
        highlight=False,
        markup=False,
        emoji=False,
        legacy_windows=False,
        _environ={},
    )


def print_trees(tasks: Sequence[Task], streams: Streams, *, utc: bool, compact: bool) -> None:
    """Print the tasks' trees on standard output, wrapped on a terminal alone."""
    console = make_console(streams)
    buffer = console.file
    for task in tasks:
        tree = task_tree(task, utc=utc, compact=compact, unicode=streams.unicode)
        console.print(tree, soft_wrap=not streams.out_is_terminal)
    if isinstance(buffer, io.StringIO):
        streams.write(buffer.getvalue())
