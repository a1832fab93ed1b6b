"""A wait as lines: for pipes, CI logs, screen readers, and ``watch -o jsonl``."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from dlftask.output.subtasks import Facts, Key, facts_of, facts_of_subtasks, lost
from dlftask.output.text import (
    display_name,
    escape_controls,
    one_line,
    paint,
    rfc3339,
    status_word,
    style,
)
from dlftask.output.view import WaitState
from dlftask.streams import Streams
from dlftask.task import is_failed
from dlftask.waiting.snapshot import Snapshot

if TYPE_CHECKING:
    from dlftask.output.formats import RenderOptions

SILENCE_S = 55.0
"""Silence before a heartbeat. CI systems kill a silent job after minutes; we promise one."""

TICK_S = 4.0
"""Seconds between two looks at the clock: with ``SILENCE_S`` still less than a minute."""

_NO_VALUE = "-"

Lines = Callable[[Snapshot], str]
"""The lines, with newlines, that a changed snapshot gives; it knows the one before."""


class LogView:
    """Writes the lines of each change at once, and a heartbeat on standard error in a silence."""

    tick_s = TICK_S

    def __init__(
        self,
        state: WaitState,
        streams: Streams,
        lines: Lines,
        write: Callable[[str], object],
        *,
        utc: bool,
        announce: bool = False,
        heartbeat: bool = True,
    ) -> None:
        self._state = state
        self._streams = streams
        self._lines = lines
        self._write = write
        self._utc = utc
        self._announce = announce
        self._heartbeat = heartbeat
        self._written_s = state.now()

    def show(self, changed: Sequence[Snapshot]) -> None:
        """Write what changed, each event in one write."""
        self._start()
        text = "".join(map(self._lines, changed))
        if text:
            self._write(text)
            self._written_s = self._state.now()
        # The errors of the last ones follow at once, after the result.
        if self._heartbeat and not all(one.settled for one in self._state.snapshots.values()):
            for snapshot in filter(lost, changed):
                self._log(f"task {snapshot.task_id}: {snapshot.error}")

    def tick(self) -> None:
        """Write that the wait goes on, where nothing was written for nearly a minute."""
        self._start()
        if self._heartbeat and self._state.now() - self._written_s >= SILENCE_S:
            self._log(f"still waiting after {self._state.elapsed}: {self._state.summary()}")

    def note(self, text: str) -> None:
        """Write one line on standard error."""
        self._start()
        self._streams.log(one_line(f"dlftask: {text}", self._streams.err_encoding))
        self._written_s = self._state.now()

    def close(self, *, keep: bool = False) -> None:
        """Nothing was drawn."""

    def _start(self) -> None:
        if self._announce:
            self._announce = False
            first, *more = self._state.snapshots
            self._log(f"waiting for {len(more) + 1} tasks" if more else f"waiting for task {first}")

    def _log(self, text: str) -> None:
        self.note(f"{rfc3339(self._state.wall(), utc=self._utc)} {text}")


class Silent:
    """Nothing is shown; ``notes`` says whether warnings are."""

    tick_s = 60.0

    def __init__(self, streams: Streams, *, notes: bool) -> None:
        self._streams = streams
        self._notes = notes

    def show(self, changed: Sequence[Snapshot]) -> None:
        """Show nothing."""

    def tick(self) -> None:
        """Show nothing."""

    def note(self, text: str) -> None:
        """Write a warning."""
        if self._notes:
            self._streams.log(one_line(f"dlftask: {text}", self._streams.err_encoding))

    def close(self, *, keep: bool = False) -> None:
        """Nothing was drawn."""


class _Changes:
    """What changed of each task since it was last compared."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[Facts, Mapping[Key, Facts]]] = {}

    def of(self, snapshot: Snapshot) -> tuple[Facts | None, list[Facts]]:
        """The task's facts, or ``None`` where they are as before, and those of its subtasks.

        A change is another status, name or message; the first sight is one too.
        """
        task = snapshot.task
        if task is None:
            return None, []
        old_own, old_subtasks = self._seen.get(snapshot.task_id, (None, {}))
        own, subtasks = facts_of(task), facts_of_subtasks(task)
        self._seen[snapshot.task_id] = own, subtasks
        changed = [facts for key, facts in subtasks.items() if old_subtasks.get(key) != facts]
        return None if own == old_own else own, changed


class ChangeLines:
    """``watch``: a line for each task and subtask that changed.

    A running task's line comes before its subtasks', that of one which ended comes last.
    """

    def __init__(self, state: WaitState, *, utc: bool, color: bool = False) -> None:
        self._state = state
        self._utc = utc
        self._color = color
        self._changes = _Changes()

    def of(self, snapshot: Snapshot) -> str:
        """The lines of a changed snapshot, with newlines."""
        own, subtasks = self._changes.of(snapshot)
        moment = rfc3339(self._state.wall(), utc=self._utc)
        lines = [self._line(moment, "subtask", facts) for facts in subtasks]
        if own is not None:
            running = snapshot.task is not None and snapshot.task.running
            lines.insert(0 if running else len(lines), self._line(moment, "task", own))
        return "".join(lines)

    def _line(self, moment: str, kind: str, facts: Facts) -> str:
        identity, status, name, message = facts
        word = escape_controls(status or _NO_VALUE)
        padding = " " * (10 - len(word))
        if self._color:
            word = paint(word, style(status))
        shown = escape_controls(name) if name and not name.isspace() else _NO_VALUE
        identity = escape_controls(identity or _NO_VALUE)
        tail = f": {escape_controls(message)}" if message else ""
        return f"{moment} {word}{padding} {kind:<7} {identity} {shown}{tail}\n"


class TaskLines:
    """``get --wait``: a line for each task that changed, with what changed last.

    Each subtask that failed is named, with its message.
    """

    def __init__(
        self, state: WaitState, *, utc: bool, color: bool = False, encoding: str = "utf-8"
    ) -> None:
        self._state = state
        self._utc = utc
        self._color = color
        self._encoding = encoding
        self._changes = _Changes()

    def of(self, snapshot: Snapshot) -> str:
        """The lines of a changed snapshot, with newlines."""
        own, subtasks = self._changes.of(snapshot)
        if snapshot.task is None or (own is None and not subtasks):
            return ""
        task = snapshot.task
        failed = [facts for facts in subtasks if is_failed(facts[1])]
        others = [facts for facts in subtasks if not is_failed(facts[1])]
        last = None
        if own is None or not task.message:
            last = failed.pop() if failed else others[-1] if others else None
        task_id = snapshot.task_id
        lines = [self._line(f"task {task_id}: subtask ", facts) for facts in failed]
        tail = self._state.describe(snapshot).removeprefix(f"task {task_id} ")
        if last is not None:
            tail += f": {_named(last)}"
        elif own is not None and task.message:
            tail += f": {escape_controls(task.message)}"
        lines.append(self._painted(f"task {task_id} ", status_word(task.status), tail, task.status))
        return "".join(lines)

    def _line(self, head: str, facts: Facts) -> str:
        name = display_name(facts[2], facts[0])
        text = _named(facts).removeprefix(f"{name} ")
        return self._painted(f"{head}{name} ", status_word(facts[1]), text, facts[1])

    def _painted(self, head: str, word: str, tail: str, status: str | None) -> str:
        """One line of ``head`` and of ``tail``, which begins with the status."""
        head = f"dlftask: {rfc3339(self._state.wall(), utc=self._utc)} {head}"
        line = one_line(f"{head}{tail}", self._encoding)
        end = len(head) + len(word)
        if self._color and line[len(head) : end] == word:
            line = f"{line[: len(head)]}{paint(word, style(status))}{line[end:]}"
        return f"{line}\n"


def _named(facts: Facts) -> str:
    """``NAME STATUS: MESSAGE``."""
    identity, status, name, message = facts
    text = f"{display_name(name, identity)} {status_word(status)}"
    return f"{text}: {escape_controls(message)}" if message else text


class JsonLines:
    """``watch -o jsonl``: a task's object each time that it changes.

    Of several tasks, one that is unavailable ends with json's error object.
    """

    def __init__(self, state: WaitState, options: "RenderOptions") -> None:
        self._state = state
        self._options = options
        self._printed: dict[str, object] = {}

    def of(self, snapshot: Snapshot) -> str:
        """The line of a changed snapshot, with its newline; empty where it printed the same."""
        from dlftask.output.data import document, json_line

        if snapshot.result is None and not (self._state.several and snapshot.error):
            return ""
        value = document(snapshot)
        if self._printed.get(snapshot.task_id) == value:
            return ""
        self._printed[snapshot.task_id] = value
        return json_line(snapshot, self._options)
