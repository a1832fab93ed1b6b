"""Errors, hints and warnings, as lines on standard error."""

from collections.abc import Iterable

from dlftask.errors import DlftaskError, InvalidResponse
from dlftask.output.text import one_line
from dlftask.streams import Streams
from dlftask.task import STATUSES
from dlftask.waiting.snapshot import Snapshot

_RED, _YELLOW, _CYAN = "1;31", "1;33", "1;36"


def write_error(
    error: DlftaskError, streams: Streams, *, task_id: str | None = None, hint: bool = True
) -> None:
    """Write an error, with its task's ID where it is about one, and what to do next."""
    about = f"task {task_id}: " if task_id is not None else ""
    _write(streams, _RED, "dlftask: error: ", f"{about}{error}")
    if hint and error.hint:
        _write(streams, _CYAN, "hint: ", error.hint)


def write_warning(text: str, streams: Streams) -> None:
    """Write a warning."""
    _write(streams, _YELLOW, "dlftask: warning: ", text)


def write_errors(snapshots: Iterable[Snapshot], streams: Streams) -> None:
    """Write the error of each task; a hint that several of them share is written once."""
    hints: set[str | None] = set()
    for snapshot in snapshots:
        error = snapshot.error
        if error is None and snapshot.task and snapshot.task.status not in STATUSES:
            error = InvalidResponse(
                f'unknown status "{snapshot.task.status}"',
                http_status=200,
                request_id=snapshot.task.request_id,
                hint="a newer dlftask may know it; -o json shows the whole response",
            )
        if error is not None:
            write_error(error, streams, task_id=snapshot.task_id, hint=error.hint not in hints)
            hints.add(error.hint)


def _write(streams: Streams, color: str, label: str, text: str) -> None:
    line = one_line(label + text, streams.err_encoding)
    if streams.err_color:
        line = f"\x1b[{color}m{label.rstrip()}\x1b[0m {line.removeprefix(label)}"
    streams.log(line)
