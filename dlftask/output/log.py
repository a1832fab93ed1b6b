"""``watch`` where nothing can be redrawn: a line a change, and never silent for over a minute."""

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from dlftask.durations import format_duration
from dlftask.output.subtasks import Facts, Key, facts_of, facts_of_parts, known_state, loss_text
from dlftask.output.text import escape_controls, one_line, rfc3339
from dlftask.streams import Streams
from dlftask.task import Task
from dlftask.waiting.snapshot import Snapshot

if TYPE_CHECKING:
    from dlftask.output.query import Query

SILENCE_S = 55.0
"""Silence before a heartbeat. CI systems take a job for dead after minutes; we promise one."""

TICK_S = 4.0
"""Seconds between two looks at the clock: with ``SILENCE_S`` still less than a minute."""

_NO_VALUE = "-"


class ChangeLines:
    """Compares each answer with the one before it: a line for each node that changed.

    A change is another status, name or message; a later ``lastUpdate`` alone is none. A running
    task's line comes before its subtasks', that of one which ended comes last.
    """

    def __init__(self, *, utc: bool) -> None:
        self._utc = utc
        self._seen: dict[str, tuple[Facts, dict[Key, Facts]]] = {}

    def of(self, asked: str, task: Task, seen_s: float) -> list[str]:
        """The lines of what changed, seen at ``seen_s`` (s since the epoch), without newlines."""
        old_own, old_parts = self._seen.get(asked, (None, {}))
        own, parts = facts_of(task), facts_of_parts(task)
        self._seen[asked] = own, parts
        moment = rfc3339(seen_s, utc=self._utc)
        lines = [
            _line(moment, "subtask", facts)
            for key, facts in parts.items()
            if old_parts.get(key) != facts
        ]
        if own != old_own:
            lines.insert(0 if task.running else len(lines), _line(moment, "task", own))
        return lines


def _line(moment: str, kind: str, facts: Facts) -> str:
    identity, status, name, message = facts
    word = escape_controls(status or _NO_VALUE)
    shown = escape_controls(name) if name and not name.isspace() else _NO_VALUE
    line = f"{moment} {word:<10} {kind:<7} {escape_controls(identity or _NO_VALUE)} {shown}"
    return f"{line}: {escape_controls(message)}" if message else line


def still_waiting(snapshots: Sequence[Snapshot], waited_s: float) -> str:
    """One line on what is known of a wait: for a log that would else be silent."""
    if len(snapshots) == 1:
        known = f"task {snapshots[0].task_id}: {known_state(snapshots[0].task)}"
    else:
        settled = sum(snapshot.settled for snapshot in snapshots)
        known = f"{settled} of {len(snapshots)} tasks done"
    outages = [snapshot.outage for snapshot in snapshots if snapshot.outage is not None]
    outage = f"; no good answer: {escape_controls(outages[0].message)}" if outages else ""
    return f"still waiting after {format_duration(waited_s)}: {known}{outage}"


class _LogView:
    """What the views for logs share: notes and heartbeats on standard error.

    ``now`` is a monotonic clock; both it and ``clock``, the wall's, give seconds.
    """

    tick_s = TICK_S

    def __init__(
        self,
        task_ids: Sequence[str],
        streams: Streams,
        *,
        now: Callable[[], float],
    ) -> None:
        self._streams = streams
        self._now = now
        self._known = {task_id: Snapshot(task_id) for task_id in task_ids}
        self._began_s = self._spoke_s = now()

    def show(self, snapshots: Sequence[Snapshot]) -> None:
        """Print what changed, each event flushed in one write."""
        for snapshot in snapshots:
            self._known[snapshot.task_id] = snapshot
        text = "".join(self._text(snapshot) for snapshot in snapshots)
        if text:
            self._print(text)
            self._spoke_s = self._now()
        lost = [text for text in map(loss_text, snapshots) if text is not None]
        # The last ones are told of by the errors that follow at once.
        if lost and any(not known.settled for known in self._known.values()):
            for text in lost:
                self.note(text)

    def tick(self) -> None:
        """Say that the wait goes on, where nothing was said for nearly a minute."""
        now_s = self._now()
        if now_s - self._spoke_s >= SILENCE_S:
            self.note(still_waiting(list(self._known.values()), now_s - self._began_s))

    def note(self, text: str) -> None:
        """Say one line on standard error."""
        self._streams.log(one_line(f"dlftask: {text}", self._streams.err_encoding))
        self._spoke_s = self._now()

    def close(self) -> None:
        """Nothing was drawn."""

    def _print(self, text: str) -> None:
        raise NotImplementedError

    def _text(self, snapshot: Snapshot) -> str:
        raise NotImplementedError


class ChangesView(_LogView):
    """A line a change on standard output, as ``ChangeLines`` makes them."""

    def __init__(
        self,
        task_ids: Sequence[str],
        streams: Streams,
        *,
        utc: bool,
        now: Callable[[], float] = time.monotonic,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(task_ids, streams, now=now)
        self._clock = clock
        self._changes = ChangeLines(utc=utc)

    def _print(self, text: str) -> None:
        self._streams.write(text)

    def _text(self, snapshot: Snapshot) -> str:
        if snapshot.task is None:
            return ""
        lines = self._changes.of(snapshot.task_id, snapshot.task, self._clock())
        return "".join(f"{line}\n" for line in lines)


class JsonlView(_LogView):
    """A task's object as one line each time that it changes.

    Of several tasks, one that could not be had is json's error object, as its last line.
    """

    def __init__(
        self,
        task_ids: Sequence[str],
        streams: Streams,
        *,
        query: "Query | None" = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(task_ids, streams, now=now)
        self._query = query
        self._printed: dict[str, object] = {}

    def _print(self, text: str) -> None:
        self._streams.write_utf8(text)

    def _text(self, snapshot: Snapshot) -> str:
        from dlftask.output.data import document, json_line

        several = len(self._known) > 1
        if snapshot.result is None and not (several and snapshot.error):
            return ""
        value = document(snapshot)
        if self._printed.get(snapshot.task_id) == value:
            return ""
        self._printed[snapshot.task_id] = value
        return json_line(snapshot, self._query, terminal=self._streams.out_is_terminal)
