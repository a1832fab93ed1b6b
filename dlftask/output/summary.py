"""How a wait ended, in one line."""

from collections import Counter
from collections.abc import Sequence

from dlftask.output.states import counts_text, is_unavailable, shown_status
from dlftask.output.text import display_name, duration_text, message_text, status_word
from dlftask.task import STATUSES, Status, Task, is_failed
from dlftask.waiting.snapshot import Snapshot


def summary(snapshots: Sequence[Snapshot], *, strict: bool) -> tuple[str, str | None]:
    """The line, and the status whose colour it has.

    For one task: its status, its duration and the subtasks that failed (with ``strict`` also those
    with WARNING). For several: a count by status. Control characters are escaped.
    """
    if len(snapshots) == 1 and (task := snapshots[0].task):
        return _of_one(task, strict=strict), task.status
    counts = Counter("unavailable" if is_unavailable(s) else shown_status(s) for s in snapshots)
    failed = [status for status in STATUSES if is_failed(status, strict=strict)]
    worst = next((s for s in (*failed, Status.RUNNING) if counts.get(s)), None)
    if worst is None and len(counts) == 1:
        worst = next(iter(counts))
    return f"{len(snapshots)} tasks: {counts_text(counts)}", worst


def _of_one(task: Task, *, strict: bool) -> str:
    text = status_word(task.status)
    if duration := duration_text(task.duration_ms):
        text += f" after {duration}"
    failed = [subtask for subtask in task.subtasks if is_failed(subtask.status, strict=strict)]
    if task.subtasks:
        text += f", {len(failed)} of {len(task.subtasks)} subtasks failed"
    if not failed:
        return text + message_text(task)
    first = failed[0]
    return f"{text}: {display_name(first.name, first.id)}{message_text(first)}"
