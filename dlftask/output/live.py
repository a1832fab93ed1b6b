"""``watch`` on a terminal: the tasks' trees, drawn in place and never taller than the screen."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from rich.cells import cell_len, set_cell_size

from dlftask.output.screen import InPlaceView, wrap
from dlftask.output.states import counts_text, is_unavailable, shown_status
from dlftask.output.text import display_name, paint, status_word, style, symbol
from dlftask.output.tree import GAP, Pieces, branch_guides, shown_subtasks, time_text
from dlftask.output.view import Counts, WaitState
from dlftask.streams import Streams
from dlftask.task import Status, Subtask, Task, status_info
from dlftask.waiting.snapshot import Snapshot

_BAR = 30
_SHORTEST_BAR = 5
_SHORTEST_NAME = 8
_SHORTEST_ID = 8
_SHORTEST_MESSAGE = 8

_Item = TypeVar("_Item")


@dataclass(slots=True)
class _Entry:
    """A line of the drawing and the message behind it, which may continue on lines below."""

    line: Pieces
    message: str = ""
    """What is still to be shown, because it does not fit on the line."""
    status: str | None = None
    hang: str = GAP
    """The start of each line below."""
    below: list[str] = field(default_factory=list)
    begun: bool = False
    """Whether the line ends with the message's shortened beginning."""


class LiveView(InPlaceView):
    """One task or a thousand on standard output; ``compact`` hides what is SUCCESSFUL."""

    def __init__(
        self, state: WaitState, streams: Streams, *, compact: bool = False, tab: bool = False
    ) -> None:
        super().__init__(state, streams, tab=tab)
        self._compact = compact
        self._unicode = streams.unicode
        self._differing = _differing(list(state.snapshots))
        self._final = False
        self._now_ms = 0

    def lines(self, width: int, height: int, *, final: bool = False) -> list[str]:
        """The trees that there is room for, the bar, and the outage where there is one."""
        self._final = final
        self._now_ms = int(self._state.wall() * 1000)  # one clock for the whole frame
        footer = [self._bar(width)]
        if self._state.outage:
            warning = self.shorten(f"! {self._state.outage}", width)
            footer.append([(warning, style(Status.WARNING))])
        room = height - len(footer)
        entries = self._body(room, width) if room > 0 else []
        self._wrap_messages(entries, room - len(entries), width)
        lines: list[Pieces] = []
        for entry in entries:
            lines.append(entry.line)
            lines += [[(entry.hang, ""), (text, "")] for text in entry.below]
        return [self._to_text(line, width) for line in [*lines, *footer][-height:]]

    def _rank(self, snapshot: Snapshot) -> int:
        _, failed = self._state.done_and_failed(self._state.counts[snapshot.task_id])
        return 0 if failed else self._state.rank(_status(snapshot))

    def _shows_error(self, snapshot: Snapshot) -> bool:
        """Whether an error replaces the state. A single task's is printed after the drawing."""
        return is_unavailable(snapshot) and (self._state.several or snapshot.task is None)

    def _body(self, room: int, width: int) -> list[_Entry]:
        """The trees of the tasks that there is room for, and a count of the other tasks."""
        tasks = list(self._state.snapshots.values())
        shown = _choose(tasks, [self._rank(one) for one in tasks], room)
        rest = Counter(map(_status, tasks)) - Counter(map(_status, shown))
        heights = [self._height(one) for one in shown]
        if len(shown) + sum(heights) + bool(rest) > room and len(shown) > 1:
            shown.sort(key=self._rank)
            ended_well = status_info(Status.SUCCESSFUL).rank
            heights = [0 if self._rank(one) == ended_well else self._height(one) for one in shown]
        roots = [self._root(one, width, room) for one in shown]
        left = room - sum(map(len, roots)) - bool(rest)
        entries: list[_Entry] = []
        for snapshot, root, height in zip(shown, roots, _share(heights, left), strict=True):
            entries += root
            entries += self._branches(snapshot, height, width)
        return [*entries, _Entry(self._rest(rest, "other tasks: "))] if rest else entries

    def _height(self, snapshot: Snapshot) -> int:
        """How many lines its subtasks take, where there is room for all."""
        if snapshot.task is None or self._shows_error(snapshot):
            return 0
        counts = self._state.counts[snapshot.task_id]
        hidden = counts[Status.SUCCESSFUL] if self._compact else 0
        return counts.total() - hidden + bool(hidden)

    def _root(self, snapshot: Snapshot, width: int, room: int) -> list[_Entry]:
        """A task's line, and a second one for its ID where that does not fit."""
        task, task_id = snapshot.task, snapshot.task_id
        if self._shows_error(snapshot):
            line = [(f"{self._symbol(Status.FAILED)} {task_id}", style(Status.FAILED))]
            return [self._with_message(line, str(snapshot.error), width, Status.FAILED)]
        if task is None:
            return [_Entry([(f"? {task_id}  no response yet", "magenta")])]
        times = facts = self._facts(task)
        counts = self._state.counts[task_id]
        if self._state.several and counts:
            facts = [*times, self._state.done_text(counts, "subtasks")]
        if not task.name and task.id == task_id:  # the name is the ID already
            return [self._node(task, facts, width)]
        whole, short = f"ID {task_id}", f"ID {self._short_id(task_id)}"
        name = cell_len(self.printable(display_name(task.name, task.id), 4 * width))
        for shown in (facts, times):
            if self._free(task, [*shown, whole], width) >= min(name, _SHORTEST_NAME):
                return [self._node(task, [*shown, whole], width)]
        if self._state.several:
            return [self._node(task, [*facts, short], width)]
        root = self._node(task, facts, width)
        return [root, _Entry([(f"  {whole}", "")])] if room > 3 else [root]

    def _branches(self, snapshot: Snapshot, height: int, width: int) -> Iterator[_Entry]:
        if snapshot.task is None or height <= 0:
            return
        subtasks, hidden = shown_subtasks(snapshot.task, compact=self._compact)
        counts = self._state.counts[snapshot.task_id]
        ranks = {status: self._state.rank(status) for status in counts}  # there can be thousands
        order = [ranks[one.status] for one in subtasks]
        shown = _choose(subtasks, order, height, more=bool(hidden))
        rest = counts - Counter(one.status for one in shown)
        guides = branch_guides(len(shown) + bool(rest), unicode=self._unicode)
        for subtask, (guide, below) in zip(shown, guides, strict=False):
            entry = self._node(subtask, self._facts(subtask), width - len(guide))
            entry.line.insert(0, (guide, ""))
            entry.hang = below + entry.hang
            yield entry
        if rest:
            yield _Entry([(guides[-1][0], ""), *self._rest(rest)])

    def _facts(self, node: Task | Subtask) -> list[str]:
        """The duration; of a running node, the time so far."""
        text = time_text(node, self._now_ms)
        return [text] if text else []

    def _free(self, node: Task | Subtask, facts: list[str], width: int) -> int:
        """The cells that are left for a name."""
        rest = GAP.join(["", status_word(node.status), *facts])
        return width - len("? ") - cell_len(self.printable(rest, 4 * width))

    def _node(self, node: Task | Subtask, facts: list[str], width: int) -> _Entry:
        """A node's line, its name shortened so that its status stays visible."""
        room = max(self._free(node, facts, width), _SHORTEST_NAME)
        look = style(node.status)
        line = [
            (f"{self._symbol(node.status)} ", look),
            (
                self.shorten_middle(display_name(node.name, node.id), room),
                "bold" if isinstance(node, Task) else "",
            ),
            (GAP, ""),
            (self.shorten(status_word(node.status), width), look),
            ("".join(GAP + fact for fact in facts), ""),
        ]
        return self._with_message(line, node.message or "", width, node.status)

    def _with_message(self, line: Pieces, message: str, width: int, status: str | None) -> _Entry:
        """The line with as much of the message as fits after it."""
        if not message:
            return _Entry(line)
        room = width - sum(cell_len(text) for text, _ in line) - len(GAP)
        whole = self.printable(message, 20 * width)
        if cell_len(whole) <= room and len(message) <= 20 * width:
            return _Entry([*line, (GAP + whole, "")])
        short = self.shorten(message, room) if room >= _SHORTEST_MESSAGE else ""
        shown = [*line, (GAP + short, "")] if short else line
        return _Entry(shown, whole, status, begun=bool(short))

    def _wrap_messages(self, entries: list[_Entry], free: int, width: int) -> None:
        """Show whole messages on lines of their own while rows are free, failures first."""
        for entry in sorted(entries, key=lambda one: status_info(one.status).rank):
            if free <= 0:
                return
            if not entry.message:
                continue
            room = max(width - cell_len(entry.hang), _SHORTEST_MESSAGE)
            lines = wrap(entry.message, room)
            if len(lines) > free:
                lines = [*lines[: free - 1], self.shorten(" ".join(lines[free - 1 :]), room)]
            if entry.begun:  # the whole message follows below
                entry.line.pop()
            entry.below = lines
            free -= len(lines)

    def _symbol(self, status: str | None) -> str:
        if status == Status.RUNNING and not self._final:
            return self.spinner()
        return symbol(status, unicode=self._unicode)

    def _short_id(self, task_id: str) -> str:
        start, end = self._differing
        before = self.ellipsis if start else ""
        return before + task_id[start:end] + (self.ellipsis if task_id[end:] else "")

    def _rest(self, counts: Counts, what: str = "") -> Pieces:
        only = next(iter(counts)) if len(counts) == 1 else None
        return [(f"{self.ellipsis} {what}{counts_text(counts)}", style(only) if only else "dim")]

    def _bar(self, width: int) -> Pieces:
        """How many have ended, as a bar and in words, and the time so far."""
        state, elapsed = self._state, self._elapsed()
        words = [state.done_text(state.tasks, "tasks")] if state.several else []
        if subtasks := state.subtasks:
            words.append(state.done_text(subtasks, "subtasks"))
        if not words:
            return [(f"elapsed {elapsed}", "")]
        counted = "; ".join(words)
        text = f"{counted}{GAP}elapsed {elapsed}"
        if width - len(text) - 1 < _SHORTEST_BAR:
            text = f"{counted}{GAP}{elapsed}"
        cells = min(_BAR, width - len(text) - 1)
        if cells < _SHORTEST_BAR:
            return [(text, "")]
        full, empty = ("━", "─") if self._unicode else ("#", "-")
        done, failed, total = state.share()
        # Rounded up, so that a single failure among thousands is seen; the whole rounded down, so
        # that a full bar means that all is done.
        filled = cells * done // total
        red = min(-(-cells * failed // total), filled)
        return [
            (full * (filled - red), style(Status.SUCCESSFUL)),
            (full * red, style(Status.FAILED)),
            (empty * (cells - filled), "dim"),
            (f" {text}", ""),
        ]

    def _elapsed(self) -> str:
        """The time on the line of a single running task, so that both agree; else the wait's."""
        (first, *more) = self._state.snapshots.values()
        facts = self._facts(first.task) if first.task and first.task.running and not more else []
        return facts[0] if facts else self._state.elapsed

    def _to_text(self, line: Pieces, width: int) -> str:
        """The line's pieces with their colours, cut to the width."""
        if sum(cell_len(text) for text, _ in line) > width:
            ellipsis = self.ellipsis[:width]
            left = width - cell_len(ellipsis)
            pieces: Pieces = []
            for text, look in line:
                pieces.append((set_cell_size(text, min(cell_len(text), left)), look))
                left -= cell_len(pieces[-1][0])
            line = [*pieces, (ellipsis, "")]
        color = self._streams.color
        return "".join(paint(text, look) if color else text for text, look in line)


def _status(snapshot: Snapshot) -> str | None:
    """The status to sort a task by; one without a response yet counts as RUNNING."""
    waiting = snapshot.task is None and not is_unavailable(snapshot)
    return Status.RUNNING if waiting else shown_status(snapshot)


def _choose(
    items: Sequence[_Item], ranks: Sequence[int], room: int, *, more: bool = False
) -> list[_Item]:
    """Choose the items to draw in ``room`` lines, the last of which is for a count of the rest.

    All items in their order where they fit (with ``more``, beside the count); otherwise what
    failed, then what runs (at least a third of the room, or a thousand failures would hide it),
    then what is neither running nor SUCCESSFUL.
    """
    if len(items) + more <= room:
        return list(items)
    room = max(room - 1, 0)
    groups = defaultdict[int, list[_Item]](list)
    for item, rank in zip(items, ranks, strict=True):
        groups[rank].append(item)
    kinds = (Status.FAILED, Status.RUNNING, Status.SUCCESSFUL)
    # Those that are SUCCESSFUL are only counted.
    failed, running, _ = (groups.pop(status_info(status).rank, []) for status in kinds)
    others = [item for rank in sorted(groups) for item in groups[rank]]
    share = min(len(running), max(room - len(failed), room // 3))
    picked = failed[: room - share] + running[:share]
    return picked + others[: room - len(picked)]


def _share(wanted: Sequence[int], room: int) -> list[int]:
    """Share the room one line at a time, so that a task with many subtasks leaves some of it."""
    given = [0] * len(wanted)
    while room > 0 and given != list(wanted):
        for place, most in enumerate(wanted):
            if given[place] < most and room > 0:
                given[place] += 1
                room -= 1
    return given


def _differing(task_ids: Sequence[str]) -> tuple[int, int]:
    """Where the IDs differ: the shortest range, of eight characters or more, that is unique."""
    longest = max(map(len, task_ids))
    places = enumerate(zip(*task_ids, strict=False))
    start = next((n for n, characters in places if len({*characters}) > 1), 0)
    start = max(min(start, longest - _SHORTEST_ID), 0)
    for end in range(start + _SHORTEST_ID, longest):
        if len({task_id[start:end] for task_id in task_ids}) == len(task_ids):
            return start, end
    return start, longest
