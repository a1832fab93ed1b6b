"""An error as its user reads it: one line, and a hint where something can be done."""

from dlftask.errors import DlftaskError
from dlftask.output.text import visible
from dlftask.streams import Streams

LONGEST_LINE = 1000
"""Characters: what the service says can be longer than anybody reads."""


def say_error(
    error: DlftaskError, streams: Streams, *, task_id: str | None = None, hint: bool = True
) -> None:
    """Say an error on standard error, with its task's ID where it is about one."""
    about = f"task {task_id}: " if task_id is not None else ""
    line = visible(f"dlftask: error: {about}{error}")
    streams.say(line if len(line) <= LONGEST_LINE else line[: LONGEST_LINE - 1] + "…")
    if hint and error.hint:
        streams.say(f"hint: {visible(error.hint)}")
