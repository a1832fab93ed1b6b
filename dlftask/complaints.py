"""An error as its user reads it: one line, and a hint where something can be done."""

from dlftask.errors import DlftaskError
from dlftask.output.text import one_line, visible
from dlftask.streams import Streams


def say_error(
    error: DlftaskError, streams: Streams, *, task_id: str | None = None, hint: bool = True
) -> None:
    """Say an error on standard error, with its task's ID where it is about one."""
    about = f"task {task_id}: " if task_id is not None else ""
    streams.say(one_line(f"dlftask: error: {about}{error}", streams.err_encoding))
    if hint and error.hint:
        streams.say(f"hint: {visible(error.hint)}")
