"""Task, Subtask, Status: frozen values, read from the service's JSON.

Only a task's ``id`` and ``status`` can be counted on; whatever else is missing or null is ``None``.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NoReturn

MAX_NESTING = 64
"""Levels of nesting in an answer. A task has three; the JSON library's own limit is a crash."""
_CONTAINERS = (dict, list)


_MOST_MILLIS = 2**63


class Status(StrEnum):
    """The statuses that the service is known to give. Expect more some day."""

    RUNNING = "RUNNING"
    SUCCESSFUL = "SUCCESSFUL"
    FAILED = "FAILED"
    WARNING = "WARNING"


KNOWN_STATUSES = frozenset(Status)


@dataclass(frozen=True, slots=True)
class Subtask:
    """One part of a task. Times are milliseconds since the epoch, as the service gives them."""

    id: str | None
    name: str | None
    status: str | None
    message: str | None = None
    start_ms: int | None = None
    end_ms: int | None = None
    last_update_ms: int | None = None

    @property
    def duration_ms(self) -> int | None:
        """End minus start; ``None`` where either is unknown or they are reversed."""
        return duration_ms(self.start_ms, self.end_ms)


@dataclass(frozen=True, slots=True)
class Task:
    """A system task as the service described it at one moment.

    ``status`` is the service's own word: compare it with ``Status``, and expect others.
    ``raw`` is the service's own object, whole, unknown fields and field order kept;
    ``request_id`` names the answer for the service's support.
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
    def duration_ms(self) -> int | None:
        """End minus start; ``None`` where either is unknown or they are reversed."""
        return duration_ms(self.start_ms, self.end_ms)

    @property
    def running(self) -> bool:
        """Whether a wait for this task goes on."""
        return self.status == Status.RUNNING


def duration_ms(start_ms: int | None, end_ms: int | None) -> int | None:
    """End minus start; ``None`` where either is unknown or they are reversed."""
    if start_ms is None or end_ms is None or end_ms < start_ms:
        return None
    return end_ms - start_ms


def read_task(body: bytes) -> Task:
    """Read one answer of the service.

    Raises ``ValueError`` that says what is wrong: not UTF-8, not JSON, a duplicate key, a number
    that JSON does not have, too deep, no ``id`` or ``status``, a known field of the wrong type.
    """
    raw = read_json(body)
    if not isinstance(raw, dict):
        raise ValueError("not a JSON object")
    parts = raw.get("subtasks")
    if parts is None:
        parts = ()
    elif not isinstance(parts, list):
        raise ValueError("'subtasks' is not a list")
    return Task(
        id=_required(raw, "id"),
        status=_required(raw, "status"),
        name=_text(raw, "name"),
        message=_text(raw, "message"),
        start_ms=_millis(raw, "startTime"),
        end_ms=_millis(raw, "endTime"),
        last_update_ms=_millis(raw, "lastUpdate"),
        subtasks=tuple([_read_subtask(part) for part in parts]),
        raw=raw,
    )


def read_json(body: bytes) -> Any:
    """Read JSON strictly, as UTF-8: raises ``ValueError`` where ``json.loads`` would guess."""
    if not body:
        raise ValueError("not JSON: nothing at all")
    try:
        value = json.loads(
            body.decode("utf-8"),
            object_pairs_hook=_object,
            parse_constant=_refuse_constant,
            parse_float=_finite,
        )
    except UnicodeDecodeError:
        raise ValueError("not UTF-8") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error}") from None
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except ValueError as error:
        if str(error).startswith("Exceeds the limit"):  # Python's, for digits of a number
            raise ValueError("a number out of range") from None
        raise
    _check_nesting(value)
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("not JSON that has one meaning: a key stands twice")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"not JSON: {name}")


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError(f"a number out of range: {text[:40]}")
    return number


def _check_nesting(value: object) -> None:
    level = [value]
    for _ in range(MAX_NESTING):
        level = [
            child
            for parent in level
            for child in _children(parent)
            if isinstance(child, _CONTAINERS)
        ]
        if not level:
            return
    raise ValueError("nested too deeply")


def _children(parent: object) -> Iterable[object]:
    if isinstance(parent, dict):
        return parent.values()
    return parent if isinstance(parent, list) else ()


def _required(raw: Mapping[str, Any], key: str) -> str:
    value = _text(raw, key)
    if not value:
        raise ValueError(f"no {key!r}")
    return value


def _text(raw: Mapping[str, Any], key: str) -> str | None:
    value = raw.get(key)
    if value is None or isinstance(value, str):
        return value
    raise ValueError(f"{key!r} is not a string")


def _millis(raw: Mapping[str, Any], key: str) -> int | None:
    value = raw.get(key)
    if value is None or (type(value) is int and -_MOST_MILLIS < value < _MOST_MILLIS):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    raise ValueError(f"{key!r} is not a number of milliseconds")


def _read_subtask(raw: object) -> Subtask:
    if not isinstance(raw, dict):
        raise ValueError("a subtask is not an object")
    return Subtask(
        id=_text(raw, "id"),
        name=_text(raw, "name"),
        status=_text(raw, "status"),
        message=_text(raw, "message"),
        start_ms=_millis(raw, "startTime"),
        end_ms=_millis(raw, "endTime"),
        last_update_ms=_millis(raw, "lastUpdate"),
    )
