"""A wait on a terminal: the tasks' trees, drawn in place.

A frame is one write. It is drawn from where the cursor rests, which between two frames is the top
left of the drawing: a terminal that is resized, and wraps the old frame anew or cuts it, carries
the cursor along with the line that it stands on, so that the next frame needs no guess of how many
rows up it begins. Nothing is cleared before it is drawn over, so that nothing flickers.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from rich.cells import cell_len, set_cell_size
from rich.color import ColorSystem
from rich.console import Console, RenderableType
from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from rich.tree import Tree

from dlftask.errors import DlftaskError, WaitTimeout
from dlftask.output.rich_tree import make_console, node_label
from dlftask.output.subtasks import (
    counts_text,
    done_and_failed,
    done_text,
    elapsed_text,
    spinner,
)
from dlftask.output.text import (
    display_name,
    encodable,
    escape_controls,
    one_line,
    status_word,
    style,
    symbol,
)
from dlftask.output.tree import GAP, node_facts
from dlftask.streams import Streams
from dlftask.task import Status, Subtask, Task
from dlftask.waiting.snapshot import Snapshot

_HIDE_CURSOR, _SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"
# Terminals differ from each other, and from rich, in how wide some characters are: a line that
# comes out too wide must not wrap, or the frame would be a row taller than the cursor goes back.
_NO_WRAP, _WRAP = "\x1b[?7l", "\x1b[?7h"
_ERASE_LINE, _ERASE_BELOW = "\x1b[K", "\x1b[J"
# A character goes before it: some terminals (tmux) take an erasure of everything from the very
# first cell for the user's own "clear", and move what stood there into the scroll-back.
_ERASE_ALL = f" {_ERASE_BELOW}\r{_ERASE_LINE}"

_SHORTEST_GAP_S = 0.1
"""Between two frames: however fast news comes in, nobody reads faster."""

_UNLIMITED = 1_000_000
"""Columns to render in, before lines are cropped to those that there are."""

_URGENCY: dict[str | None, int] = {Status.FAILED: 0, Status.RUNNING: 1, Status.SUCCESSFUL: 3}
_URGENCY_OF_OTHERS = 2

_GUIDE = 4
_BAR = 30
_SHORTEST_BAR = 5
_SHORTEST_NAME = 8
_END_OF_ID = 8

_Item = TypeVar("_Item")
_Counts = Counter[str | None]


class _Ranked(Generic[_Item]):
    """Things with a status, sorted once by what a user must see first."""

    def __init__(self, items: Iterable[tuple[str | None, _Item]]) -> None:
        self._all = list(items)
        self.counts: _Counts = Counter(status for status, _ in self._all)
        self._failed = [item for item in self._all if item[0] == Status.FAILED]
        self._running = [item for item in self._all if item[0] == Status.RUNNING]
        ranked = (Status.FAILED, Status.RUNNING, Status.SUCCESSFUL)
        self._other = [item for item in self._all if item[0] not in ranked]
        self._unsuccessful = [item for item in self._all if item[0] != Status.SUCCESSFUL]

    def lines(self, *, compact: bool) -> int:
        """How many lines would show them all, the count of what ``compact`` hides included."""
        if not compact:
            return len(self._all)
        return len(self._unsuccessful) + (Status.SUCCESSFUL in self.counts)

    def choose(self, room: int, *, compact: bool) -> tuple[list[_Item], _Counts]:
        """What to draw in so many lines, and the rest counted, which takes the last of them.

        As they come where there is room for all; else what failed, then what runs (a third of the
        room is its own, or a thousand failures would hide it), then what is neither nor done.
        """
        if self.lines(compact=compact) <= room:
            picked = self._unsuccessful if compact else self._all
        else:
            room = max(room - 1, 0)
            running = min(len(self._running), max(room - len(self._failed), room // 3))
            picked = self._failed[: room - running] + self._running[:running]
            picked += self._other[: room - len(picked)]
        rest = self.counts - Counter(status for status, _ in picked)
        return [item for _, item in picked], rest


@dataclass(frozen=True, slots=True)
class _Known:
    """One task, with its parts sorted; ``silent_since_s`` is when its outage was first seen."""

    snapshot: Snapshot
    parts: _Ranked[Subtask]
    silent_since_s: float | None = None

    @property
    def lost(self) -> DlftaskError | None:
        """Why nothing more is asked; what only ran out of time is as it was."""
        error = self.snapshot.error
        return None if isinstance(error, WaitTimeout) else error

    @property
    def status(self) -> str | None:
        if self.lost is not None:
            return Status.FAILED
        # One that has not answered yet is as much under way as one that runs.
        return self.snapshot.task.status if self.snapshot.task else Status.RUNNING


class LiveView:
    """One task or a thousand, drawn in place on standard output, never taller than the screen.

    ``compact`` hides what is SUCCESSFUL behind a count. ``now`` is monotonic, ``wall`` since the
    epoch, both in seconds. Raises what ``Streams.write`` does; ``close`` raises nothing of that.
    """

    tick_s = 0.2

    def __init__(
        self,
        task_ids: Sequence[str],
        streams: Streams,
        *,
        compact: bool = False,
        now: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._streams = streams
        self._compact = compact
        self._now = now
        self._wall = wall
        self._began_s = now()
        self._console: Console = make_console(streams)
        self._tasks = {
            task_id: _Known(Snapshot(task_id), _Ranked(())) for task_id in dict.fromkeys(task_ids)
        }
        self._sorted: _Ranked[_Known] | None = None
        self._parts: _Counts = Counter()
        self._frame = ""
        self._size = (0, 0)
        self._drawn_s: float | None = None
        self._drawing = False
        self._closed = False

    def show(self, snapshots: Sequence[Snapshot]) -> None:
        """Show the tasks that changed since the last call."""
        for snapshot in snapshots:
            before = self._tasks.get(snapshot.task_id)
            parts = snapshot.task.subtasks if snapshot.task else ()
            if before and before.snapshot.task is snapshot.task:
                ranked = before.parts
            else:
                ranked = _Ranked((part.status, part) for part in parts)
            since = before.silent_since_s if before else None
            if snapshot.outage is None:
                since = None
            elif since is None:
                since = self._now()
            self._tasks[snapshot.task_id] = _Known(snapshot, ranked, since)
        self._sorted = None
        self.tick()

    def tick(self) -> None:
        """Draw a frame, unless the last one was a moment ago or would look the same."""
        now = self._now()
        soon = self._drawn_s is not None and now - self._drawn_s < _SHORTEST_GAP_S
        if not self._closed and not soon:
            self._draw()

    def note(self, text: str) -> None:
        """Print a line above the drawing, where it stays; to standard error if that is elsewhere.

        Control characters show as escapes.
        """
        line = f"dlftask: {text}"
        if self._closed or not self._streams.err_is_terminal:
            self._streams.log(one_line(line, self._streams.err_encoding))
        else:
            line = one_line(line, self._streams.out_encoding)
            self._draw(above=f"{line}{_ERASE_LINE}\r\n")

    def close(self) -> None:
        """Erase the drawing and show the cursor again; a terminal that is gone needs neither."""
        if self._closed:
            return
        if self._drawing:
            with suppress(DlftaskError):
                self._streams.write(f"\r{_ERASE_ALL}{_WRAP}{_SHOW_CURSOR}")
        # Last: whoever is interrupted before may close again.
        self._closed = True

    def _draw(self, above: str = "") -> None:
        size = self._streams.size()
        columns, rows = size
        # The last column stays free: a character in it leaves some terminals about to wrap.
        width, height = max(columns - 1, 1), max(rows - 1, 1)
        lines = self._lines(width, height)
        frame = f"{_ERASE_LINE}\r\n".join(lines)
        self._drawn_s = self._now()
        if frame == self._frame and size == self._size and not above:
            return
        up = f"\x1b[{len(lines) - 1}A" if len(lines) > 1 else ""
        start = "" if self._drawing else _HIDE_CURSOR
        if self._drawing and (above or size != self._size):
            # A terminal that wrapped the old frame anew has marked its rows as parts of longer
            # lines, and would join what is written over them when it grows again.
            start = f"\r{_ERASE_ALL}"
        self._drawing = True
        self._streams.write(f"{start}\r{above}{_NO_WRAP}{frame}{_ERASE_BELOW}{up}\r{_WRAP}")
        self._frame, self._size = frame, size

    def _lines(self, width: int, height: int) -> list[str]:
        """The frame's lines with their colours, none wider and not more than given."""
        ranked = self._ranked()
        footer = self._footer(ranked, width)
        body = self._body(ranked, height - len(footer), width)
        lines: list[list[Segment]] = []
        options = self._console.options.update(width=_UNLIMITED, no_wrap=True, height=None)
        for renderable in [*body, *footer]:
            lines += self._console.render_lines(renderable, options, pad=False)
        return [self._to_text(_crop(line, width, self._ellipsis)) for line in lines[-height:]]

    def _ranked(self) -> _Ranked[_Known]:
        if self._sorted is None:
            known = self._tasks.values()
            self._sorted = _Ranked((one.status, one) for one in known)
            self._parts = Counter()
            for one in known:
                self._parts.update(one.parts.counts)
        return self._sorted

    def _body(self, ranked: _Ranked[_Known], room: int, width: int) -> list[RenderableType]:
        """The trees of the tasks that there is room for, and the other tasks counted."""
        if room <= 0:
            return []
        tasks, rest = ranked.choose(room, compact=False)
        wanted = [task.parts.lines(compact=self._compact) for task in tasks]
        left = room - len(tasks) - bool(rest)
        if sum(wanted) > left and len(tasks) > 1:
            tasks.sort(key=_urgency)
            wanted = [
                0 if task.status == Status.SUCCESSFUL else task.parts.lines(compact=self._compact)
                for task in tasks
            ]
        trees: list[RenderableType] = [
            self._tree(task, lines, width)
            for task, lines in zip(tasks, _share(wanted, left), strict=True)
        ]
        if rest:
            trees.append(self._rest(rest, "other tasks: "))
        return trees

    def _tree(self, known: _Known, lines: int, width: int) -> Tree:
        tree = Tree(self._root(known, width), highlight=False)
        if lines > 0:
            parts, rest = known.parts.choose(lines, compact=self._compact)
            for part in parts:
                tree.add(self._label(part, width - _GUIDE))
            if rest:
                tree.add(self._rest(rest))
        return tree

    def _root(self, known: _Known, width: int) -> Text:
        snapshot = known.snapshot
        if known.lost is not None:
            mark = symbol(Status.FAILED, unicode=self._streams.unicode)
            text = Text().append(f"{mark} {snapshot.task_id}", style(Status.FAILED))
            return text.append(GAP + self._short(str(known.lost), width))
        if snapshot.task is None:
            return Text(f"? asking for {snapshot.task_id}", "magenta")
        task = snapshot.task
        label = self._named(known, task, width)
        if task.message:
            label.append(GAP + self._short(task.message, width))
        return label

    def _named(self, known: _Known, task: Task, width: int) -> Text:
        """A task's line up to its message: with its ID, or its end, where there is room."""
        node = replace(task, message=None)
        several = len(self._tasks) > 1
        counts = known.parts.counts
        done = GAP + done_text(counts, "parts") if several and counts else ""
        asked = known.snapshot.task_id
        label = self._label(node, width - len(done)).append(done)
        if not task.name and task.id == asked:  # the label has it already
            return label
        if label.cell_len + len(f"{GAP}ID {asked}") <= width:
            return label.append(f"{GAP}ID {asked}")
        if not several:  # half an ID is of no use there; the final tree has it whole
            return label
        end = f"{GAP}ID {self._ellipsis}{asked[-_END_OF_ID:]}"
        return self._label(node, width - len(done) - len(end)).append(done + end)

    def _label(self, node: Task | Subtask, width: int) -> Text:
        """A node's line, its name shortened so that its status is seen where that is possible."""
        if node.status == Status.RUNNING:
            node = replace(node, end_ms=self._whole_seconds_on(node))
        message = self._short(node.message, width) if node.message else ""
        status = GAP.join(["", status_word(node.status), *node_facts(replace(node, message=None))])
        room = width - len("? ") - cell_len(status)
        # A message may take a third of it: what went wrong is worth as much as a name's middle.
        room -= min(cell_len(GAP + message), room // 3) if message else 0
        name = self._middle(display_name(node.name, node.id), max(room, _SHORTEST_NAME))
        node = replace(node, name=name, message=message)
        label = node_label(node, unicode=self._streams.unicode)
        if node.status == Status.RUNNING:
            label.plain = spinner(self._now(), unicode=self._streams.unicode) + label.plain[1:]
        return label

    def _whole_seconds_on(self, node: Task | Subtask) -> int | None:
        """An end that makes the node's duration the time it has run so far."""
        if node.start_ms is None:
            return None
        seconds = (int(self._wall() * 1000) - node.start_ms) // 1000
        return node.start_ms + seconds * 1000 if seconds > 0 else None

    def _rest(self, counts: _Counts, what: str = "") -> Text:
        only = next(iter(counts)) if len(counts) == 1 else None
        look = style(only) if only else "dim"
        return Text(f"{self._ellipsis} {what}{counts_text(counts)}", look)

    def _footer(self, ranked: _Ranked[_Known], width: int) -> list[RenderableType]:
        """The bar of parts done and, in an outage, since when and why there is no news."""
        footer: list[RenderableType] = [self._bar(ranked, width)]
        silent = [one for one in self._tasks.values() if one.silent_since_s is not None]
        if silent:
            first = min(silent, key=lambda one: one.silent_since_s or 0.0)
            lasted = elapsed_text(self._now() - (first.silent_since_s or 0.0))
            some = f" of {len(silent)} tasks" if len(silent) < len(self._tasks) else ""
            reason = self._short(str(first.snapshot.outage), width)
            footer.append(Text(f"! no news{some} for {lasted}: {reason}", style(Status.WARNING)))
        return footer

    def _bar(self, ranked: _Ranked[_Known], width: int) -> Text:
        words = [done_text(ranked.counts, "tasks")] if len(self._tasks) > 1 else []
        if self._parts:
            words.append(done_text(self._parts, "parts"))
        counted = "; ".join(words)
        elapsed = elapsed_text(self._now() - self._began_s)
        text = f"elapsed {elapsed}"
        if not counted:
            return Text(text)
        text = f"{counted}{GAP} {text}"
        if width - len(text) - 1 < _SHORTEST_BAR:
            text = f"{counted}{GAP}{elapsed}"
        cells = min(_BAR, width - len(text) - 1)
        if cells < _SHORTEST_BAR:
            return Text(text)
        counts = self._parts or ranked.counts
        full, empty = ("━", "─") if self._streams.unicode else ("#", "-")
        done, failed = done_and_failed(counts)
        total = counts.total()
        # Rounded up, for a single failure among thousands is to be seen; the whole rounded down,
        # for a full bar is to mean that all is done.
        filled = cells * done // total
        red = min(-(-cells * failed // total), filled)
        bar = Text()
        bar.append(full * (filled - red), style(Status.SUCCESSFUL))
        bar.append(full * red, style(Status.FAILED))
        bar.append(empty * (cells - filled), "dim")
        return bar.append(f" {text}")

    @property
    def _ellipsis(self) -> str:
        return "…" if self._streams.unicode else "..."

    def _short(self, text: str, cells: int) -> str:
        """Visible text in the terminal's encoding, cut to a number of cells."""
        # Before any counting: a character that takes no cell may stand there a million times.
        text = encodable(escape_controls(text[: 4 * cells + 4]), self._streams.out_encoding)
        if cell_len(text) <= cells:
            return text
        return set_cell_size(text, max(cells - cell_len(self._ellipsis), 0)) + self._ellipsis

    def _middle(self, text: str, cells: int) -> str:
        """The same, but cut in the middle: names of one kind differ at their ends."""
        most = 2 * cells + 2
        if len(text) > 2 * most:
            text = text[:most] + text[-most:]
        text = encodable(escape_controls(text), self._streams.out_encoding)
        if cell_len(text) <= cells:
            return text
        room = max(cells - cell_len(self._ellipsis), 0)
        end = set_cell_size(text[::-1], room // 2)[::-1]
        return set_cell_size(text, room - room // 2) + self._ellipsis + end

    def _to_text(self, line: Iterable[Segment]) -> str:
        color_system = ColorSystem.STANDARD if self._streams.color else None
        return "".join(
            (segment.style or Style.null()).render(segment.text, color_system=color_system)
            for segment in line
        )


def _urgency(known: _Known) -> int:
    return _URGENCY.get(known.status, _URGENCY_OF_OTHERS)


def _share(wanted: Sequence[int], room: int) -> list[int]:
    """The room dealt out a line at a time, so that a task with many parts starves no other."""
    given = [0] * len(wanted)
    while room > 0 and given != list(wanted):
        for place, most in enumerate(wanted):
            if given[place] < most and room > 0:
                given[place] += 1
                room -= 1
    return given


def _crop(line: list[Segment], width: int, ellipsis: str) -> list[Segment]:
    if Segment.get_line_length(line) <= width:
        return line
    ellipsis = ellipsis[:width]
    kept = Segment.adjust_line_length(line, width - cell_len(ellipsis), pad=False)
    return [*kept, Segment(ellipsis)]
