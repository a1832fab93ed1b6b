"""What is known of one task at one moment: what polling gives and the output shows."""

from collections.abc import Iterable
from dataclasses import dataclass

from dlftask.errors import DlftaskError, ExitStatus, WaitTimeout
from dlftask.task import KNOWN_STATUSES, Status, Task


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One task as it was asked for: ``task`` is the last good answer, ``error`` why it ended.

    ``settled`` is true once nothing more is asked for it: the task has left RUNNING, has an
    unknown status, was to be asked once, or ``error`` ended it. ``outage`` says why the last
    questions brought no good answer, while a wait sits that out.
    """

    task_id: str
    task: Task | None = None
    error: DlftaskError | None = None
    outage: DlftaskError | None = None
    settled: bool = False

    @property
    def result(self) -> Task | None:
        """The task to print: ``None`` where it could not be had, or an outage ended the wait."""
        return self.task if self.error is None or isinstance(self.error, WaitTimeout) else None

    def exit_status(self, *, strict: bool) -> ExitStatus:
        """What this task alone earns; with ``strict`` WARNING counts as FAILED."""
        if self.error is not None:
            return self.error.exit_status
        if self.task is None or self.task.status not in KNOWN_STATUSES:
            return ExitStatus.INVALID
        if self.task.running:
            return ExitStatus.RUNNING
        failed = (Status.FAILED, Status.WARNING) if strict else (Status.FAILED,)
        return ExitStatus.FAILED if self.task.status in failed else ExitStatus.SUCCESS


# Of several tasks the first that any task earned: what a script must not miss comes first.
_PRECEDENCE = (
    ExitStatus.AUTHENTICATION,
    ExitStatus.UNAVAILABLE,
    ExitStatus.INVALID,
    ExitStatus.NOT_FOUND,
    ExitStatus.FAILED,
    ExitStatus.TIMEOUT,
    ExitStatus.RUNNING,
    ExitStatus.SUCCESS,
)


def overall_status(snapshots: Iterable[Snapshot], *, strict: bool) -> ExitStatus:
    """The exit status of a run: the first of 5, 6, 7, 4, 1, 124, 3, 0 that any task earned."""
    earned = {snapshot.exit_status(strict=strict) for snapshot in snapshots}
    return min(earned, key=_PRECEDENCE.index)
