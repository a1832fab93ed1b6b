"""How far a task has come: its parts told apart and counted, in words that the views share."""

from collections import Counter
from collections.abc import Mapping

from dlftask.durations import format_duration
from dlftask.errors import WaitTimeout
from dlftask.output.text import status_word
from dlftask.task import Status, Subtask, Task
from dlftask.waiting.snapshot import Snapshot

_DONE = (Status.SUCCESSFUL, Status.WARNING, Status.FAILED)
_FIRST = (Status.FAILED, Status.RUNNING, Status.WARNING)
_MOST_WORDS = 6
_LONGEST_WORD = 24

Facts = tuple[str | None, str | None, str | None, str | None]
"""ID, status, name and message of a node: it has changed where one of them has."""

Key = tuple[str | None, int]
"""A subtask's ID, and the how-manieth with it: the service may leave it out, or say it twice."""


def facts_of(node: Task | Subtask) -> Facts:
    """What a change of a node is told by: a later ``lastUpdate`` alone is none."""
    return node.id, node.status, node.name, node.message


def facts_of_parts(task: Task) -> dict[Key, Facts]:
    """The facts of each of a task's subtasks, in their order."""
    facts: dict[Key, Facts] = {}
    count: Counter[str | None] = Counter()
    for part in task.subtasks:
        facts[part.id, count[part.id]] = facts_of(part)
        count[part.id] += 1
    return facts


def done_text(counts: Mapping[str | None, int], noun: str) -> str:
    """``12/37 parts, 1 failed``: what has ended, well or not, of all there are."""
    done, failed = done_and_failed(counts)
    text = f"{done}/{sum(counts.values())} {noun}"
    return f"{text}, {failed} failed" if failed else text


def done_and_failed(counts: Mapping[str | None, int]) -> tuple[int, int]:
    """How many have ended, and how many of these badly."""
    return sum(counts.get(status, 0) for status in _DONE), counts.get(Status.FAILED, 0)


def known_state(task: Task | None) -> str:
    """``RUNNING, 3 of 10 parts done``; ``no answer yet`` where nothing is known."""
    if task is None:
        return "no answer yet"
    state = status_word(task.status)
    if not task.subtasks:
        return state
    done, _ = done_and_failed(Counter(part.status for part in task.subtasks))
    return f"{state}, {done} of {len(task.subtasks)} parts done"


def loss_text(snapshot: Snapshot) -> str | None:
    """``task ID: the task does not exist``: why nothing more is asked; ``None`` where it is not so.

    ErrorDetails while other tasks are still waited for: a log is to show it when it happens.
    """
    error = snapshot.error
    if error is None or isinstance(error, WaitTimeout):
        return None
    return f"task {snapshot.task_id}: {error}"


def counts_text(counts: Mapping[str | None, int]) -> str:
    """``2 FAILED, 7 RUNNING, 991 SUCCESSFUL``: what needs a look first.

    A service that invents statuses gets a few of them named, and the rest counted.
    """
    first = [(status, counts[status]) for status in _FIRST if status in counts]
    rest = [(status, n) for status, n in counts.items() if status not in _FIRST]
    ordered = first + sorted(rest, key=lambda item: -item[1])
    words = [f"{n} {status_word(s)[:_LONGEST_WORD]}" for s, n in ordered[:_MOST_WORDS] if n]
    others = sum(n for _, n in ordered[_MOST_WORDS:])
    return ", ".join([*words, f"{others} others"] if others else words)


def elapsed_text(seconds: float) -> str:
    """Time that goes on, in whole seconds: ``0s``, ``12s``, ``1m02s``."""
    return format_duration(int(seconds)) if seconds >= 1 else "0s"


def spinner(seconds: float, *, unicode: bool) -> str:
    """A small sign of life, one cell wide, that turns five times a second."""
    frames = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏" if unicode else "|/-\\"
    return frames[int(seconds * 5) % len(frames)]
