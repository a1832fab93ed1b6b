"""The state of one task at one moment: polling makes it, and the output shows it."""

from collections.abc import Iterable
from dataclasses import dataclass

from dlftask.errors import DlftaskError, ExitStatus, WaitTimeout
from dlftask.task import STATUSES, Subtask, Task, is_failed


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of one task: ``task`` is the last valid response, ``error`` what ended its wait.

    ``settled`` is true once it is not polled any more: the task is not RUNNING, has an unknown
    status, was to be polled once, or something else ended the wait: ``error``, or with
    ``failed_fast`` the failure of a task or subtask (``--fail-fast``). During an outage ``outage``
    is its latest error and ``outage_since`` when it began, in seconds of ``time.monotonic``.
    """

    task_id: str
    task: Task | None = None
    error: DlftaskError | None = None
    outage: DlftaskError | None = None
    settled: bool = False
    outage_since: float | None = None
    failed_fast: bool = False

    @property
    def result(self) -> Task | None:
        """The task to print; ``None`` where an error other than ``WaitTimeout`` ended its wait."""
        return self.task if self.error is None or isinstance(self.error, WaitTimeout) else None

    def exit_status(self, *, strict: bool) -> ExitStatus:
        """The exit status for this task alone; with ``strict`` WARNING counts as failed."""
        if self.error is not None:
            return self.error.exit_status
        if self.task is None or self.task.status not in STATUSES:
            return ExitStatus.INVALID
        if self.failed_fast or is_failed(self.task.status, strict=strict):
            return ExitStatus.FAILED
        return ExitStatus.RUNNING if self.task.running else ExitStatus.SUCCESS

    def holds_failure(self, *, strict: bool) -> bool:
        """Whether the task or one of its subtasks failed; with ``strict`` WARNING counts too."""
        nodes: tuple[Task | Subtask, ...] = (self.task, *self.task.subtasks) if self.task else ()
        return any(is_failed(node.status, strict=strict) for node in nodes)


_PRECEDENCE = (5, 6, 7, 4, 1, 124, 3, 0)
"""Exit statuses in the order that the help promises: what a script must not miss comes first."""


def overall_status(snapshots: Iterable[Snapshot], *, strict: bool) -> ExitStatus:
    """The exit status of a run: the first of 5, 6, 7, 4, 1, 124, 3, 0 that applies to any task."""
    statuses = {snapshot.exit_status(strict=strict) for snapshot in snapshots}
    return min(statuses, key=_PRECEDENCE.index)
