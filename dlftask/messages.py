"""An error as its user reads it: one line, and a hint where something can be done."""

from collections.abc import Iterable

from dlftask.errors import DlftaskError, InvalidResponse
from dlftask.output.text import escape_controls, one_line
from dlftask.streams import Streams
from dlftask.task import KNOWN_STATUSES
from dlftask.waiting.snapshot import Snapshot


def write_error(
    error: DlftaskError, streams: Streams, *, task_id: str | None = None, hint: bool = True
) -> None:
    """Say an error on standard error, with its task's ID where it is about one."""
    about = f"task {task_id}: " if task_id is not None else ""
    streams.log(one_line(f"dlftask: error: {about}{error}", streams.err_encoding))
    if hint and error.hint:
        streams.log(f"hint: {escape_controls(error.hint)}")


def write_errors(snapshots: Iterable[Snapshot], streams: Streams) -> None:
    """Say what went wrong with each of the tasks; a hint that fits several of them once."""
    hints: set[str | None] = set()
    for snapshot in snapshots:
        error = snapshot.error
        if error is None and snapshot.task and snapshot.task.status not in KNOWN_STATUSES:
            error = InvalidResponse(
                f'unknown status "{snapshot.task.status}"',
                http_status=200,
                request_id=snapshot.task.request_id,
                hint="a newer dlftask may know it; -o json shows the whole answer",
            )
        if error is not None:
            write_error(error, streams, task_id=snapshot.task_id, hint=error.hint not in hints)
            hints.add(error.hint)
