"""A wait as lines: for pipes, CI logs, screen readers, and ``watch -o jsonl``."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from dlftask.output.states import is_unavailable
from dlftask.output.text import (
    display_name,
    escape_controls,
    message_text,
    one_line,
    paint,
    rfc3339,
    status_word,
    style,
)
from dlftask.output.view import View, WaitState
from dlftask.streams import Streams
from dlftask.task import Subtask, Task, is_failed
from dlftask.waiting.snapshot import Snapshot

if TYPE_CHECKING:
    from dlftask.output.formats import RenderOptions

SILENCE_S = 55.0
"""Silence before a heartbeat. CI systems kill a job after minutes of silence; one is the limit."""

TICK_S = 4.0
"""Seconds between two checks of the clock: with ``SILENCE_S`` still less than a minute."""

_NO_VALUE = "-"


class LogView(View):
    """Writes the lines of each change at once, and a heartbeat to standard error after silence."""

    tick_s = TICK_S

    def __init__(
        self,
        state: WaitState,
        streams: Streams,
        write: Callable[[str], object],
        options: "RenderOptions",
        *,
        heartbeat: bool = True,
    ) -> None:
        super().__init__(state, streams)
        self._write = write
        self._options = options
        self._heartbeat = heartbeat
        self._written_s = state.now()
        self._last_seen: dict[str, Any] = {}
        """The last state of each task, in the form that the subclass compares."""

    def lines(self, snapshot: Snapshot) -> str:
        """The lines of a changed snapshot, with newlines."""
        raise NotImplementedError

    def show(self, changed: Sequence[Snapshot]) -> None:
        """Write what changed, each event in one write."""
        text = "".join(map(self.lines, changed))
        if text:
            self._write(text)
            self._written_s = self._state.now()
        # The errors of the last tasks are printed right after the result.
        if self._heartbeat and not all(one.settled for one in self._state.snapshots.values()):
            for snapshot in filter(is_unavailable, changed):
                self._log(f"task {snapshot.task_id}: {snapshot.error}")

    def tick(self) -> None:
        """Write that the wait continues, where nothing was written for nearly a minute."""
        if self._heartbeat and self._state.now() - self._written_s >= SILENCE_S:
            self._log(f"still waiting after {self._state.elapsed}: {self._state.summary()}")

    def note(self, text: str) -> None:
        """Write one line on standard error."""
        super().note(text)
        self._written_s = self._state.now()

    def _log(self, text: str) -> None:
        self.note(f"{self._moment()} {text}")

    def _moment(self) -> str:
        return rfc3339(self._state.wall(), utc=self._options.utc)

    def _changes(self, snapshot: Snapshot) -> tuple[Task | None, list[Subtask]]:
        """The task if it has changed since the last comparison, and the subtasks that have.

        A change is another status, name or message; the first state counts as one too.
        """
        task = snapshot.task
        if task is None:
            return None, []
        before, known = self._last_seen.get(snapshot.task_id, (None, Counter()))
        self._last_seen[snapshot.task_id] = _facts(task), Counter(map(_facts, task.subtasks))
        changed = []
        for subtask in task.subtasks:
            # An ID can be missing or repeated: compare how often each subtask occurs.
            if known[_facts(subtask)]:
                known[_facts(subtask)] -= 1
            else:
                changed.append(subtask)
        return task if before != _facts(task) else None, changed


class ChangeLog(LogView):
    """``watch``: one line per task and subtask that changed.

    The line of a running task comes before those of its subtasks, that of an ended one after them.
    """

    def lines(self, snapshot: Snapshot) -> str:
        """The lines of a changed snapshot, with newlines."""
        task, subtasks = self._changes(snapshot)
        moment = self._moment()
        lines = [self._line(moment, "subtask", subtask) for subtask in subtasks]
        if task:
            lines.insert(0 if task.running else len(lines), self._line(moment, "task", task))
        return "".join(lines)

    def _line(self, moment: str, kind: str, node: Task | Subtask) -> str:
        word = escape_controls(node.status or _NO_VALUE)
        padding = " " * (10 - len(word))
        if self._options.color:
            word = paint(word, style(node.status))
        identity = escape_controls(node.id or _NO_VALUE)
        name = display_name(node.name, _NO_VALUE)
        return f"{moment} {word}{padding} {kind:<7} {identity} {name}{message_text(node)}\n"


class TaskLog(LogView):
    """``get --wait``: one line per task that changed, with its latest change.

    The first line names what is waited for. Each subtask that failed has a line with its message.
    """

    _begun = False

    def tick(self) -> None:
        """Write what is waited for, then a heartbeat as in every log."""
        if not self._begun:
            self._begun = True
            first, *more = self._state.snapshots
            self._log(f"waiting for {len(more) + 1} tasks" if more else f"waiting for task {first}")
        super().tick()

    def lines(self, snapshot: Snapshot) -> str:
        """The lines of a changed snapshot, with newlines."""
        task = snapshot.task
        changed, subtasks = self._changes(snapshot)
        if task is None or not (changed or subtasks):
            return ""
        strict = self._options.strict
        failed = [subtask for subtask in subtasks if is_failed(subtask.status, strict=strict)]
        tail = self._state.state_text(snapshot).removeprefix(status_word(task.status))
        if changed and task.message:
            tail += message_text(task)
        elif subtasks:
            last = failed.pop() if failed else subtasks[-1]
            name = display_name(last.name, last.id)
            tail += f": {name} {status_word(last.status)}{message_text(last)}"
        lines = [
            self._line(
                f"task {snapshot.task_id}: subtask {display_name(subtask.name, subtask.id)} ",
                subtask.status,
                message_text(subtask),
            )
            for subtask in failed
        ]
        return "".join([*lines, self._line(f"task {snapshot.task_id} ", task.status, tail)])

    def _line(self, head: str, status: str | None, tail: str) -> str:
        """One line, with its status coloured where that is not cut off."""
        head, word = f"dlftask: {self._moment()} {head}", status_word(status)
        line = one_line(f"{head}{word}{tail}", self._streams.err_encoding)
        if self._streams.err_color and line.startswith(head + word):
            line = line.replace(head + word, head + paint(word, style(status)), 1)
        return f"{line}\n"


class JsonLog(LogView):
    """``watch -o jsonl``: a task's object each time that it changes.

    With several tasks, one that is unavailable ends with the error object of ``json``.
    """

    def lines(self, snapshot: Snapshot) -> str:
        """The line of a changed snapshot, with its newline; empty where the object is the same."""
        from dlftask.output.data import document, json_line

        if snapshot.result is None and not (self._state.several and snapshot.error):
            return ""
        value = document(snapshot)
        if self._last_seen.get(snapshot.task_id) == value:
            return ""
        self._last_seen[snapshot.task_id] = value
        return json_line(snapshot, self._options)


def _facts(node: Task | Subtask) -> tuple[str | None, ...]:
    """The fields whose change counts; a later ``lastUpdate`` alone does not."""
    return node.id, node.status, node.name, node.message
