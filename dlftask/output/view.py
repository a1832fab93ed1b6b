"""The state of a wait, which every view shows, and what a view does."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from dlftask.output.states import NO_RESPONSE, counts_text, elapsed_text, shown_status
from dlftask.output.text import escape_controls, one_line, status_word
from dlftask.streams import Streams
from dlftask.task import is_failed, status_info
from dlftask.waiting.snapshot import Snapshot

Counts = Counter[str | None]
"""Statuses, and how often each occurs."""


class WaitState:
    """The tasks of a wait as last seen, in the order in which they were given.

    ``now`` is the scheduler's clock, ``wall`` counts since the epoch, both in seconds;
    ``began_s`` is a moment of ``now``. With ``strict`` WARNING counts as failed.
    """

    def __init__(
        self,
        task_ids: Iterable[str],
        *,
        strict: bool = False,
        began_s: float | None = None,
        now: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.now = now
        self.wall = wall
        self.snapshots = {task_id: Snapshot(task_id) for task_id in task_ids}
        self.counts: dict[str, Counts] = {task_id: Counter() for task_id in self.snapshots}
        """The subtasks of each task, counted by status."""
        self.subtasks: Counts = Counter()
        """The subtasks of all tasks."""
        self._strict = strict
        self._began_s = now() if began_s is None else began_s

    def update(self, changed: Iterable[Snapshot]) -> None:
        """Replace the snapshots that changed."""
        for snapshot in changed:
            self.snapshots[snapshot.task_id] = snapshot
            if snapshot.task is not None:
                counts = Counter(subtask.status for subtask in snapshot.task.subtasks)
                self.subtasks += counts
                self.subtasks -= self.counts[snapshot.task_id]
                self.counts[snapshot.task_id] = counts

    @property
    def several(self) -> bool:
        """Whether there is more than one task."""
        return len(self.snapshots) > 1

    @property
    def tasks(self) -> Counts:
        """The tasks, counted by status."""
        return Counter(map(shown_status, self.snapshots.values()))

    @property
    def elapsed(self) -> str:
        """The time since the command began."""
        return elapsed_text(self.now() - self._began_s)

    @property
    def outage(self) -> str:
        """How long the oldest outage has lasted, of how many tasks, and why; empty without one."""
        silent = [
            (one.outage_since, one.outage)
            for one in self.snapshots.values()
            if one.outage is not None and one.outage_since is not None and not one.settled
        ]
        if not silent:
            return ""
        since, reason = min(silent, key=lambda item: item[0])
        some = f" from {len(silent)} tasks" if len(silent) < len(self.snapshots) else ""
        lasted = elapsed_text(self.now() - since)
        return f"no valid response{some} for {lasted}: {escape_controls(str(reason))}"

    def rank(self, status: str | None) -> int:
        """The rank of a status: 0 where it counts as failed."""
        return 0 if is_failed(status, strict=self._strict) else status_info(status).rank

    def done_and_failed(self, counts: Counts) -> tuple[int, int]:
        """How many have ended, and how many of these failed."""
        done = sum(n for status, n in counts.items() if status_info(status).done)
        failed = sum(n for status, n in counts.items() if is_failed(status, strict=self._strict))
        return done, failed

    def share(self) -> tuple[int, int, int]:
        """The numbers of ended, failed and all subtasks; of tasks if there are no subtasks."""
        counts = self.subtasks
        if self.several and not counts:
            counts = self.tasks
        return *self.done_and_failed(counts), counts.total()

    def done_text(self, counts: Counts, noun: str) -> str:
        """``12/37 subtasks, 1 failed``: how many of all have ended, well or not."""
        done, failed = self.done_and_failed(counts)
        text = f"{done}/{counts.total()} {noun}"
        return f"{text}, {failed} failed" if failed else text

    def state_text(self, snapshot: Snapshot, gap: str = " ") -> str:
        """``RUNNING 3/10 subtasks, 1 failed``; ``no response yet`` where nothing is known."""
        if snapshot.task is None:
            return NO_RESPONSE
        counts = self.counts[snapshot.task_id]
        status = status_word(snapshot.task.status)
        return f"{status}{gap}{self.done_text(counts, 'subtasks')}" if counts else status

    def summary(self) -> str:
        """All tasks in one line, and the outage where there is one."""
        if self.several:
            tasks, subtasks = self.tasks, self.subtasks
            text = f"{self.done_text(tasks, 'tasks')} ({counts_text(tasks)})"
            if subtasks:
                text += f"; {self.done_text(subtasks, 'subtasks')}"
        else:
            (snapshot,) = self.snapshots.values()
            text = f"task {snapshot.task_id} {self.state_text(snapshot)}"
        return f"{text}; {self.outage}" if self.outage else text


class View:
    """A wait as its user sees it: drawn in place on a terminal, lines elsewhere.

    This base class shows only notes, and nothing without ``notes``.
    """

    tick_s = 60.0
    """How often ``tick`` should be called, in seconds, while nothing changes."""

    def __init__(self, state: WaitState, streams: Streams, *, notes: bool = True) -> None:
        self._state = state
        self._streams = streams
        self._notes = notes

    def show(self, changed: Sequence[Snapshot]) -> None:
        """Show the tasks that changed; the first state of a task is a change."""

    def tick(self) -> None:
        """Draw a frame, or write a heartbeat: time has passed."""

    def note(self, text: str) -> None:
        """Write one line about the wait itself on standard error."""
        if self._notes:
            self._streams.log(one_line(f"dlftask: {text}", self._streams.err_encoding))

    def close(self, *, keep: bool = False) -> None:
        """Stop drawing; ``keep`` leaves the last frame on the terminal. May be called twice."""
