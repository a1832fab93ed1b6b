"""An error as its user reads it: one line, and a hint where something can be done."""

from collections.abc import Iterable

from dlftask.errors import DlftaskError, SenselessAnswer
from dlftask.output.text import one_line, visible
from dlftask.snapshot import Snapshot
from dlftask.streams import Streams
from dlftask.task import KNOWN_STATUSES


def say_error(
    error: DlftaskError, streams: Streams, *, task_id: str | None = None, hint: bool = True
) -> None:
    """Say an error on standard error, with its task's ID where it is about one."""
    about = f"task {task_id}: " if task_id is not None else ""
    streams.say(one_line(f"dlftask: error: {about}{error}", streams.err_encoding))
    if hint and error.hint:
        streams.say(f"hint: {visible(error.hint)}")


def say_errors(snapshots: Iterable[Snapshot], streams: Streams) -> None:
    """Say what went wrong with each of the tasks; a hint that fits several of them once."""
    hints: set[str | None] = set()
    for snapshot in snapshots:
        error = snapshot.error
        if error is None and snapshot.task and snapshot.task.status not in KNOWN_STATUSES:
            error = SenselessAnswer(
                f'unknown status "{snapshot.task.status}"',
                http_status=200,
                request_id=snapshot.task.request_id,
                hint="a newer dlftask may know it; -o json shows the whole answer",
            )
        if error is not None:
            say_error(error, streams, task_id=snapshot.task_id, hint=error.hint not in hints)
            hints.add(error.hint)
