"""A wait on standard error: one line in place on a terminal, a line a change in a log.

Loads no rich: it stands beside ``-o json`` too.
"""

import time
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from dlftask.errors import WaitTimeout
from dlftask.output.subtasks import (
    Facts,
    Key,
    counts_text,
    done_text,
    elapsed_text,
    facts_of,
    facts_of_parts,
    loss_text,
    spinner,
)
from dlftask.output.text import (
    display_name,
    encodable,
    escape_controls,
    one_line,
    rfc3339,
    status_word,
)
from dlftask.streams import Streams, can_encode
from dlftask.task import Status, Subtask, Task
from dlftask.waiting.snapshot import Snapshot

# Without wrapping a line that comes out wider than counted stays one line. Between two drawings
# the cursor rests at its start, where it stays when the terminal is resized.
_DRAW, _DRAWN = "\r\x1b[?7l", "\x1b[J\r\x1b[?7h"
# A character goes before the erasure: see ``live``.
_ERASE = "\r \x1b[J\r\x1b[K"

_SHORTEST_GAP_S = 0.1
_LONGEST_SILENCE_S = 55.0
_LONGEST_LINE = 1000


@dataclass(slots=True)
class _Known:
    """A task as last seen; ``silent_since_s`` is when its outage was first seen."""

    snapshot: Snapshot
    parts: Mapping[Key, Facts] = field(default_factory=dict)
    counts: Counter[str | None] = field(default_factory=Counter)
    last: str = ""
    silent_since_s: float | None = None


class Progress:
    """What is waited for, how far it has come and what changed last, on standard error.

    In a log it is never silent for a minute. ``now`` is monotonic, ``wall`` since the epoch, both
    in seconds. What cannot be written is lost: standard error is no reason to fail.
    """

    def __init__(
        self,
        task_ids: Sequence[str],
        streams: Streams,
        *,
        utc: bool = False,
        now: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._streams = streams
        self._utc = utc
        self._now = now
        self._wall = wall
        self._in_place = streams.err_is_terminal and not streams.dumb
        self.tick_s = 0.2 if self._in_place else 1.0
        self._unicode = can_encode("…⠋", streams.err_encoding)
        self._tasks = {task_id: _Known(Snapshot(task_id)) for task_id in dict.fromkeys(task_ids)}
        self._began_s = now()
        self._said_s = self._began_s
        self._started = False
        self._line = ("", (0, 0))
        self._closed = False

    def show(self, snapshots: Sequence[Snapshot]) -> None:
        """Take in the tasks that changed since the last call, and say how."""
        seen = [self._take_in(snapshot) for snapshot in snapshots]
        changes = [(known, change) for known, change in seen if change is not None]
        if self._in_place:
            self._tick_in_place()
            return
        self._say_start()
        for known, change in changes:
            self._say(f"{self._time()} {_task_text(known)}{change}")
        lost = [text for text in map(loss_text, snapshots) if text is not None]
        # The last ones are told of by the errors that follow at once.
        if lost and any(not known.snapshot.settled for known in self._tasks.values()):
            for text in lost:
                self._say(f"{self._time()} {text}")

    def tick(self) -> None:
        """Turn the spinner; in a log, break a silence that has lasted."""
        if self._closed:
            return
        if self._in_place:
            self._tick_in_place()
            return
        self._say_start()
        if self._now() - self._said_s >= _LONGEST_SILENCE_S:
            waited = elapsed_text(self._now() - self._began_s)
            self._say(f"{self._time()} still waiting after {waited}: {self._summary()}")

    def note(self, text: str) -> None:
        """Say one line, above what is drawn. Control characters show as escapes."""
        self._erase()
        if not self._in_place:
            self._say_start()
        self._say(text)
        if self._in_place and not self._closed:
            self._draw()

    def close(self) -> None:
        """Erase what is drawn."""
        self._erase()
        self._closed = True

    def _take_in(self, snapshot: Snapshot) -> tuple[_Known, str | None]:
        """Remember the task, and say what is new of it: ``None`` where at most a time is."""
        known = self._tasks.setdefault(snapshot.task_id, _Known(snapshot))
        before, known.snapshot = known.snapshot.task, snapshot
        if snapshot.outage is None:
            known.silent_since_s = None
        elif known.silent_since_s is None:
            known.silent_since_s = self._now()
        task = snapshot.task
        if task is None or task is before:
            return known, None
        parts = facts_of_parts(task)
        changed = _changed_part(task, parts, known.parts)
        known.parts = parts
        known.counts = Counter(part.status for part in task.subtasks)
        return known, self._what_changed(known, before, task, changed)

    def _what_changed(
        self, known: _Known, before: Task | None, task: Task, part: Subtask | None
    ) -> str | None:
        own = before is None or facts_of(before) != facts_of(task)
        if not own and part is None:
            return None
        if own and task.message:
            known.last = escape_controls(task.message)
        elif part is not None:
            known.last = f"{display_name(part.name, part.id)} {status_word(part.status)}"
            if part.message:
                known.last += f": {escape_controls(part.message)}"
        else:
            return ""
        return f": {known.last}"

    def _say_start(self) -> None:
        if self._started:
            return
        self._started = True
        ids = list(self._tasks)
        what = f"task {ids[0]}" if len(ids) == 1 else f"{len(ids)} tasks"
        self._say(f"{self._time()} waiting for {what}")

    def _say(self, text: str) -> None:
        self._streams.log(one_line(f"dlftask: {text}", self._streams.err_encoding))
        self._said_s = self._now()

    def _time(self) -> str:
        return rfc3339(self._wall(), utc=self._utc)

    def _summary(self) -> str:
        """All tasks in one line, and the outage where there is one."""
        known = list(self._tasks.values())
        if len(known) == 1:
            text = _task_text(known[0])
        else:
            tasks = Counter(_status(one) for one in known)
            parts: Counter[str | None] = Counter()
            for one in known:
                parts.update(one.counts)
            text = f"{done_text(tasks, 'tasks')} ({counts_text(tasks)})"
            if parts:
                text += f"; {done_text(parts, 'parts')}"
        silent = [one for one in known if one.silent_since_s is not None]
        if silent:
            first = min(silent, key=lambda one: one.silent_since_s or 0.0)
            lasted = elapsed_text(self._now() - (first.silent_since_s or 0.0))
            text += f"; no news for {lasted}: {escape_controls(str(first.snapshot.outage))}"
        return text

    def _tick_in_place(self) -> None:
        soon = self._line[0] and self._now() - self._said_s < _SHORTEST_GAP_S
        if not self._closed and not soon:
            self._draw()

    def _draw(self) -> None:
        self._said_s = self._now()
        size = self._streams.size()
        sign = spinner(self._now(), unicode=self._unicode)
        elapsed = elapsed_text(self._now() - self._began_s)
        text = f"dlftask: {sign} {self._summary()}  {elapsed}"
        last = next(iter(self._tasks.values())).last if len(self._tasks) == 1 else ""
        if last:
            text += f"  {last}"
        text = encodable(text[:_LONGEST_LINE], self._streams.err_encoding)
        line = _crop(text, max(size[0] - 1, 1), "…" if self._unicode else "...")
        if (line, size) != self._line:
            if size != self._line[1]:
                self._erase()
            self._line = (line, size)
            self._streams.log_raw(f"{_DRAW}{line}{_DRAWN}")

    def _erase(self) -> None:
        if self._line[0]:
            self._streams.log_raw(_ERASE)
            self._line = ("", (0, 0))


def _changed_part(
    task: Task, parts: Mapping[Key, Facts], before: Mapping[Key, Facts]
) -> Subtask | None:
    """Of the parts that changed one that failed, or else the one that changed last."""
    changed = [
        part
        for part, (key, facts) in zip(task.subtasks, parts.items(), strict=True)
        if before.get(key) != facts
    ]
    return max(
        reversed(changed),
        key=lambda part: (part.status == Status.FAILED, part.last_update_ms or 0),
        default=None,
    )


def _status(known: _Known) -> str | None:
    snapshot = known.snapshot
    if snapshot.error is not None and not isinstance(snapshot.error, WaitTimeout):
        return Status.FAILED
    return snapshot.task.status if snapshot.task else "not answered yet"


def _task_text(known: _Known) -> str:
    """``task ID RUNNING 3/10 parts, 1 failed``."""
    task = known.snapshot.task
    status = status_word(task.status) if task else "not answered yet"
    text = f"task {escape_controls(known.snapshot.task_id)} {status}"
    return f"{text} {done_text(known.counts, 'parts')}" if known.counts else text


def _crop(text: str, columns: int, ellipsis: str) -> str:
    """The text cut to a number of columns, wide characters counted as two."""
    widths = [_cells(character) for character in text]
    if sum(widths) <= columns:
        return text
    room = columns - len(ellipsis)
    end = 0
    while end < len(widths) and room >= widths[end]:
        room -= widths[end]
        end += 1
    return text[:end] + ellipsis[:columns]


def _cells(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
