"""Task, Subtask, Status: frozen values, read from the service's JSON.

Only a task's ``id`` and ``status`` can be relied on. Any other field that is missing, null, out of
range or of a wrong type is ``None``; ``raw`` has the original.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import Any, NamedTuple, NoReturn

MAX_NESTING = 64
"""Levels of nesting in a response. A task has three; without a limit the JSON library crashes."""
_MAX_DIGITS = 4000
"""Digits of an integer; Python's own limit is a little higher."""

_YEAR_10000_MS = 253_402_300_800_000


class Status(StrEnum):
    """The statuses that the service is known to use. Expect more some day."""

    RUNNING = "RUNNING"
    SUCCESSFUL = "SUCCESSFUL"
    FAILED = "FAILED"
    WARNING = "WARNING"


class StatusInfo(NamedTuple):
    """What every view needs to know about a status: ``rank`` 0 is shown first.

    ``style`` is a colour of the terminal's own theme: the user has chosen it to be readable.
    ``done`` is true where progress counts it as ended, ``failed`` after a failure.
    """

    rank: int
    symbol: str
    ascii_symbol: str
    style: str
    done: bool = False
    failed: bool = False


STATUSES: Mapping[str | None, StatusInfo] = {
    Status.FAILED: StatusInfo(0, "✗", "x", "red", done=True, failed=True),
    Status.RUNNING: StatusInfo(1, "●", ">", "blue"),
    Status.WARNING: StatusInfo(2, "!", "!", "yellow", done=True),
    Status.SUCCESSFUL: StatusInfo(4, "✓", "v", "green", done=True),
}
"""In the order in which a summary names the worst."""
UNKNOWN_STATUS = StatusInfo(3, "?", "?", "magenta")


def status_info(status: str | None) -> StatusInfo:
    """What is known of a status; the default for one that is unknown or missing."""
    return STATUSES.get(status, UNKNOWN_STATUS)


def is_failed(status: str | None, *, strict: bool = False) -> bool:
    """Whether it is a failure; with ``strict`` WARNING counts as one."""
    return status_info(status).failed or (strict and status == Status.WARNING)


class _Timed:
    """What may have a start and an end."""

    __slots__ = ()
    start_ms: int | None
    end_ms: int | None

    @property
    def duration_ms(self) -> int | None:
        """End minus start; ``None`` where either is unknown or they are reversed."""
        if self.start_ms is None or self.end_ms is None or self.end_ms < self.start_ms:
            return None
        return self.end_ms - self.start_ms


@dataclass(frozen=True, slots=True)
class Subtask(_Timed):
    """A subtask of a task. Times are milliseconds since the epoch, as the service gives them."""

    id: str | None
    name: str | None
    status: str | None
    message: str | None = None
    start_ms: int | None = None
    end_ms: int | None = None
    last_update_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Task(_Timed):
    """A system task as the service described it at one moment.

    ``status`` is the service's own word: compare it with ``Status``, and expect others.
    ``raw`` is the service's own object, whole, unknown fields and field order kept;
    ``request_id`` identifies the response for the service's support.
    """

    id: str
    status: str
    name: str | None = None
    message: str | None = None
    start_ms: int | None = None
    end_ms: int | None = None
    last_update_ms: int | None = None
    subtasks: tuple[Subtask, ...] = ()
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, hash=False)
    request_id: str | None = field(default=None, compare=False)

    @property
    def running(self) -> bool:
        """Whether a wait for this task continues."""
        return self.status == Status.RUNNING


def read_task(body: bytes) -> Task:
    """Read one response of the service.

    Raises ``ValueError`` with the reason: not UTF-8, not JSON, a duplicate key, too deep, no ``id``
    or ``status``.
    """
    raw = read_json(body)
    if not isinstance(raw, dict):
        raise ValueError("not a JSON object")
    subtasks = raw.get("subtasks")
    if not isinstance(subtasks, list):
        subtasks = []
    return Task(
        id=_required(raw, "id"),
        status=_required(raw, "status"),
        name=_text(raw, "name"),
        message=_text(raw, "message"),
        start_ms=_millis(raw, "startTime"),
        end_ms=_millis(raw, "endTime"),
        last_update_ms=_millis(raw, "lastUpdate"),
        subtasks=tuple([_read_subtask(item) for item in subtasks if isinstance(item, dict)]),
        raw=raw,
    )


def read_json(body: bytes) -> Any:
    """Read JSON strictly, as UTF-8: raises ``ValueError`` where ``json.loads`` would guess."""
    if not body:
        raise ValueError("not JSON: nothing at all")
    try:
        text = body.decode("utf-8")
        try:
            value = _loads(text)
        except ValueError as error:
            if not str(error).startswith("Exceeds the limit"):  # Python's, for a number's digits
                raise
            value = _loads(text, parse_int=_integer)
    except UnicodeDecodeError:
        raise ValueError("not UTF-8") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error}") from None
    except RecursionError:
        raise ValueError("nested too deeply") from None
    _check_nesting([value])
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("not unambiguous JSON: a key occurs twice")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"not JSON: {name}")


def _finite(text: str) -> float | str:
    # JSON may hold numbers that Python cannot: keep the text rather than refuse the response.
    number = float(text)
    return text if number in (float("inf"), float("-inf")) else number


def _integer(text: str) -> int | str:
    return int(text) if len(text) <= _MAX_DIGITS else text


_loads = partial(
    json.loads, object_pairs_hook=_object, parse_constant=_refuse_constant, parse_float=_finite
)


def _check_nesting(value: Any, levels: int = MAX_NESTING) -> None:
    if levels < 0:
        raise ValueError("nested too deeply")
    for child in value.values() if isinstance(value, dict) else value:
        if isinstance(child, dict | list):
            _check_nesting(child, levels - 1)


def _required(raw: Mapping[str, Any], key: str) -> str:
    value = raw.get(key)
    if value is None or value == "":
        raise ValueError(f"no {key!r}")
    if not isinstance(value, str):
        raise ValueError(f"{key!r} is not a string")
    return value


def _text(raw: Mapping[str, Any], key: str) -> str | None:
    value = raw.get(key)
    return value if isinstance(value, str) else None


def _millis(raw: Mapping[str, Any], key: str) -> int | None:
    value = raw.get(key)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if type(value) is int and 0 <= value < _YEAR_10000_MS else None


def _read_subtask(raw: Mapping[str, Any]) -> Subtask:
    return Subtask(
        id=_text(raw, "id"),
        name=_text(raw, "name"),
        status=_text(raw, "status"),
        message=_text(raw, "message"),
        start_ms=_millis(raw, "startTime"),
        end_ms=_millis(raw, "endTime"),
        last_update_ms=_millis(raw, "lastUpdate"),
    )
