"""The task IDs of a command: from its arguments, and from standard input for ``-``."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from dlftask.errors import ConfigurationError

_TASK_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
_LONGEST_SHOWN = 60


def read_task_ids(arguments: Sequence[str], read_input: Callable[[], bytes]) -> list[str]:
    """Each ID asked for, once, in order; ``read_input`` is called where ``-`` is among them.

    Raises ``ConfigurationError`` for what is not a task ID.
    """
    found: list[str] = []
    for argument in dict.fromkeys(arguments):
        found += _read_text(read_input()) if argument == "-" else [argument]
    return list(dict.fromkeys(check_task_id(task_id) for task_id in found))


def check_task_id(task_id: str) -> str:
    """Return the ID itself. Raises ``ConfigurationError`` where it is not valid."""
    if not _TASK_ID.fullmatch(task_id):
        end = "…" if len(task_id) > _LONGEST_SHOWN else ""
        raise ConfigurationError(
            f"{task_id[:_LONGEST_SHOWN] + end!r} is not a valid task ID",
            hint="a task ID is 1 to 128 of A-Z a-z 0-9 _ -, as in the response of the import call",
        )
    return task_id


def _read_text(data: bytes) -> Iterable[str]:
    try:
        text = data.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        raise ConfigurationError("standard input is not UTF-8 text") from None
    is_json = text.startswith(("{", "[", '"'))
    found = list(_read_json(text)) if is_json else re.sub("#.*", "", text).split()
    if not found:
        raise ConfigurationError(
            "standard input contains no task ID", hint="did the command before the pipe fail?"
        )
    return found


def _read_json(text: str) -> Iterator[str]:
    decoder = json.JSONDecoder()
    position = 0
    while position < len(text):
        try:
            value, position = decoder.raw_decode(text, position)
        except (ValueError, RecursionError):
            raise ConfigurationError("standard input begins like JSON, but is not valid") from None
        for one in value if isinstance(value, list) else [value]:
            yield _id_of(one)
        while position < len(text) and text[position] in " \t\r\n":
            position += 1


def _id_of(value: object) -> str:
    fields = value if isinstance(value, dict) else {"id": value}
    task_id = fields.get("taskId") or fields.get("id")
    if isinstance(task_id, str):
        return task_id
    if fields.get("error_code") or fields.get("error_msg"):
        raise ConfigurationError(
            "standard input contains an error, not a task",
            code=str(fields["error_code"]) if fields.get("error_code") else None,
            service_message=str(fields["error_msg"]) if fields.get("error_msg") else None,
            hint="the command before the pipe failed",
        )
    raise ConfigurationError(
        "the JSON on standard input contains no task ID",
        hint="expected strings, or objects with a taskId or an id",
    )
