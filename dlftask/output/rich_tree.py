"""The rows of ``tree`` with colours, wrapped to the terminal by rich."""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.color import ColorSystem
from rich.console import Console
from rich.text import Text

from dlftask.output.text import escape_line_start
from dlftask.output.tree import Row, tree_rows
from dlftask.waiting.snapshot import Snapshot

if TYPE_CHECKING:
    from dlftask.output.formats import RenderOptions

_NARROWEST = 20
"""Columns that a tree needs; on a narrower terminal, the terminal wraps by itself."""

_UNLIMITED = 1_000_000_000
"""Columns of a pipe, where nothing is wrapped or cut."""


def render_rich_trees(snapshots: Sequence[Snapshot], options: "RenderOptions") -> str:
    """The tasks' trees, wrapped only on a terminal; an unavailable task has none."""
    # It is used for styles and wrapping. It writes nothing, and does not read the environment
    # (COLUMNS, TERM), which the rest of the program reads in its own way.
    console = Console(file=io.StringIO(), legacy_windows=False, _environ={})
    width = _UNLIMITED if options.width is None else max(options.width, _NARROWEST)
    return "".join(
        _text(row, width, console, color=options.color)
        for snapshot in snapshots
        for row in tree_rows(snapshot, options)
    )


def _text(row: Row, width: int, console: Console, *, color: bool) -> str:
    """A row as lines; continuation lines are aligned with its name, not with its symbol."""

    def ansi(text: Text) -> str:
        if not color:
            return text.plain
        styles = ((part.text, part.style) for part in text.render(console))
        return "".join(
            style.render(part, color_system=ColorSystem.STANDARD) if style else part
            for part, style in styles
        )

    label, room, hang = Text.assemble(*row.label), width - len(row.guide), 0
    if "\n" in label.plain or label.cell_len > room:
        hang = len(row.below) - len(row.guide)
    mark, body = label.divide([hang])
    lines = body.wrap(console, max(room - hang, 1), overflow="fold")
    first, *others = map(ansi, lines)
    below = "".join(f"\n{row.below}{escape_line_start(line)}" for line in others)
    return f"{row.guide}{ansi(mark)}{first}{below}\n"
