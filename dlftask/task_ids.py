"""The task IDs of a command: arguments, and standard input for ``-``."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from dlftask.errors import ConfigurationError
from dlftask.streams import read_input

_TASK_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
_SHOWN = 60

__all__ = ["check_task_id", "read_input", "read_task_ids"]


def read_task_ids(arguments: Sequence[str], read_input: Callable[[], bytes]) -> list[str]:
    """The IDs asked for, each once, in order; ``read_input`` is called where ``-`` is among them.

    Raises ``ConfigurationError`` for what is no task ID; an empty list where none was given.
    """
    found: list[str] = []
    for argument in dict.fromkeys(arguments):
        found += _from_input(read_input()) if argument == "-" else [argument]
    return list(dict.fromkeys(check_task_id(task_id) for task_id in found))


def check_task_id(task_id: str) -> str:
    """The ID itself. Raises ``ConfigurationError`` where it is none: nothing is asked then."""
    if not _TASK_ID.fullmatch(task_id):
        shown = task_id if len(task_id) <= _SHOWN else task_id[:_SHOWN] + "…"
        raise ConfigurationError(
            f"{shown!r} is no task ID",
            hint="a task ID is 1 to 128 of A-Z a-z 0-9 _ -, as the import call answered it",
        )
    return task_id


def _from_input(data: bytes) -> Iterable[str]:
    try:
        text = data.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        raise ConfigurationError("standard input is not UTF-8 text") from None
    if not text:
        raise ConfigurationError(
            "no task ID on standard input", hint="did the command before the pipe fail?"
        )
    if text[0] not in '{["':
        return text.split()
    found = list(_from_json(text))
    if not found:
        raise ConfigurationError("no task ID in the JSON on standard input")
    return found


def _from_json(text: str) -> Iterator[str]:
    decoder = json.JSONDecoder()
    position = 0
    while position < len(text):
        try:
            value, position = decoder.raw_decode(text, position)
        except (ValueError, RecursionError):
            raise ConfigurationError("standard input begins like JSON, but is none") from None
        for one in value if isinstance(value, list) else [value]:
            yield _id_of(one)
        while position < len(text) and text[position] in " \t\r\n":
            position += 1


def _id_of(value: object) -> str:
    said = ""
    if isinstance(value, dict):
        # What the import call answered instead of an ID tells more than that there is none.
        said = f": {value['error_msg']}" if value.get("error_msg") else ""
        value = value.get("taskId") or value.get("id")
    if isinstance(value, str):
        return value
    raise ConfigurationError(
        f"the JSON on standard input names no task{said}",
        hint="give strings, or objects with a taskId or an id",
    )
