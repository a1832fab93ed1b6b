"""Faults on demand, in the same words on the command line and in a scenario file.

A fault defines what happens and when. On the command line: ``status=503,rate=0.2``; in a scenario::

    [[fault]]
    status = 503
    rate = 0.2
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from math import inf
from pathlib import Path
from random import Random
from threading import Lock
from typing import Any

from dlftask.durations import parse_duration
from dlftask.options import nearest

INVALID = {
    "html": b"<!DOCTYPE html><html><body><h1>Welcome</h1></body></html>\n",
    "empty": b"",
    "null": b"null",
    "bad-json": b'{"id": "008aae2e675d3bcb01675d3c66f20000", "status": "RUNN',
    "list": b"[]",
    "no-id": b'{"status": "RUNNING", "subtasks": []}',
    "no-status": b'{"id": "008aae2e675d3bcb01675d3c66f20000", "subtasks": []}',
    "unknown-status": b'{"id": "008aae2e675d3bcb01675d3c66f20000", "status": "PONDERING"}',
    "latin-1": b'{"id": "caf\xe9", "status": "RUNNING"}',
    "nan": b'{"id": "008aae2e675d3bcb01675d3c66f20000", "status": "RUNNING", "startTime": NaN}',
}
"""Bodies of invalid responses, by name."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to a request, and to which ones.

    What: ``delay_s`` before anything else; ``drop`` or ``reset`` the connection without a response;
    an ``interim`` response (103) before the real one; ``close`` the connection after the response,
    unannounced; ``status`` (300 to 599, a redirect goes elsewhere on the same server) with
    ``retry_after`` as the header has it, or a date that many seconds ahead if it is a number; an
    ``invalid`` body; ``truncate`` the body to that many bytes, but not ``Content-Length``;
    ``trickle`` that many bytes a second, of the head too with ``headers``.

    When: it counts requests for ``task`` and ``path`` (a pattern), between ``from_s`` and
    ``until_s`` after the simulator's start. It skips ``after`` of them, then covers ``count``, and
    happens to a share of ``rate`` of those, from 0 to 1.
    """

    delay_s: float | None = None
    drop: bool = False
    reset: bool = False
    interim: bool = False
    close: bool = False
    status: int | None = None
    retry_after: str | float | None = None
    invalid: str | None = None
    truncate: int | None = None
    trickle: float | None = None
    headers: bool = False
    rate: float = 1.0
    after: int = 0
    count: float = inf
    from_s: float = 0.0
    until_s: float = inf
    task: str | None = None
    path: str | None = None

    def __post_init__(self) -> None:
        """Raise ``ValueError`` for what can never happen or would do nothing."""
        what = (self.delay_s, self.status, self.invalid, self.truncate, self.trickle)
        if not (self.drop or self.reset or self.interim or self.close) and all(
            value is None for value in what
        ):
            raise ValueError(
                "has no effect: add one of status, drop, reset, interim, close, delay, "
                "trickle, truncate or invalid"
            )
        if self.retry_after is not None and self.status is None:
            raise ValueError("retry-after needs a status")
        if self.headers and self.trickle is None:
            raise ValueError("headers needs trickle")
        if self.until_s <= self.from_s:
            raise ValueError("until is not after from")

    def concerns(self, path: str, elapsed_s: float) -> bool:
        """Whether it covers a request for ``path`` at ``elapsed_s`` after the start."""
        return (
            self.from_s <= elapsed_s < self.until_s
            and (self.task is None or self.task in path.split("/"))
            and (self.path is None or fnmatchcase(path, self.path))
        )


class FaultPlan:
    """Which fault applies to which request: the first that matches. Thread-safe.

    Each fault counts its own requests. Equal seeds and equal requests give equal faults.
    """

    def __init__(self, faults: Iterable[Fault], seed: int | None) -> None:
        self._faults = tuple(faults)
        self._seen = [0] * len(self._faults)
        self._random = Random(seed)  # noqa: S311 - not a secret
        self._lock = Lock()

    def next(self, path: str, elapsed_s: float) -> Fault | None:
        """The fault of the next request."""
        with self._lock:
            hits = [
                fault
                for index, fault in enumerate(self._faults)
                if fault.concerns(path, elapsed_s) and self._hits(index, fault)
            ]
        return hits[0] if hits else None

    def _hits(self, index: int, fault: Fault) -> bool:
        number = self._seen[index]
        self._seen[index] += 1
        concerned = fault.after <= number < fault.after + fault.count
        return concerned and (fault.rate >= 1 or self._random.random() < fault.rate)


def parse_fault(spec: str) -> Fault:
    """Parse a fault, such as ``status=503,rate=0.2,after=3``.

    Raises ``ValueError`` in one line that contains the text.
    """
    words = "|".join(_READERS)
    # A comma can be part of a value: a date has one.
    parts = re.split(rf",\s*(?=(?:{words})\s*(?:=|,|$))", spec)
    table: dict[str, Any] = {}
    for part in parts:
        name, given, value = part.partition("=")
        name = name.strip()
        if name in table:
            raise ValueError(f"fault {spec!r}: {name!r} is given twice")
        table[name] = value.strip() if given else True
    return _read(table, f"fault {spec!r}")


def read_scenario(path: Path) -> tuple[Fault, ...]:
    """The faults of a scenario file, TOML with one ``[[fault]]`` table per fault.

    Raises ``ValueError`` in one line that names the file, and ``OSError``.
    """
    import tomllib

    try:
        scenario = tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"scenario {path}: {error}") from None
    tables = scenario.pop("fault", [])
    if scenario:
        raise ValueError(
            f"scenario {path}: unknown key {next(iter(scenario))!r} (known: [[fault]])"
        )
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise ValueError(f"scenario {path}: 'fault' is not a list of tables, write [[fault]]")
    return tuple(
        _read(table, f"scenario {path}: fault {number}") for number, table in enumerate(tables, 1)
    )


def _read(table: Mapping[str, Any], where: str) -> Fault:
    values: dict[str, Any] = {}
    for word, value in table.items():
        if word not in _READERS:
            near = nearest(word, _READERS)
            hint = f", did you mean {near!r}?" if near else f" (known: {', '.join(_READERS)})"
            raise ValueError(f"{where}: unknown word {word!r}{hint}")
        name, read = _READERS[word]
        try:
            values[name] = read(value)
        except ValueError as error:
            raise ValueError(f"{where}: {word}: {error}") from None
    try:
        return Fault(**values)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _switch(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("takes no value")
    return value


def _matching(pattern: str, value: object, what: str) -> str:
    if isinstance(value, bool) or not re.fullmatch(pattern, str(value)):
        raise ValueError(f"{_shown(value)} is not {what}")
    return str(value)


def _whole(value: object) -> int:
    return int(_matching("[0-9]{1,9}", value, "a whole number"))


def _number(value: object) -> float:
    return float(_matching(r"[0-9]{0,9}\.?[0-9]{1,9}", value, "a number"))


def _status(value: object) -> int:
    status = _whole(value)
    if not 300 <= status <= 599:
        raise ValueError(f"{status} is not between 300 and 599")
    return status


def _speed(value: object) -> float:
    number = _number(value)
    if not number > 0:
        raise ValueError(f"{value} is not above zero")
    return number


def _share(value: object) -> float:
    number = _number(value)
    if number > 1:
        raise ValueError(f"{value} is not between 0 and 1")
    return number


def _duration(value: object) -> float:
    if isinstance(value, bool):
        raise ValueError("needs a duration, such as 500ms or 1m30s")
    return parse_duration(str(value))


def _offset(value: object) -> float:
    return 0.0 if str(value) in {"0", "0s"} else _duration(value)


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("needs a value")
    return value


def _invalid(value: object) -> str:
    kind = "html" if value is True else value
    if not isinstance(kind, str) or kind not in INVALID:
        raise ValueError(f"{_shown(value)} must be one of {', '.join(INVALID)}")
    return kind


def _retry_after(value: object) -> str | float:
    """The header's text, or for ``date+DURATION`` the seconds."""
    from email.utils import parsedate_to_datetime

    text = "" if isinstance(value, bool) else str(value)
    if text.startswith("date+"):
        return parse_duration(text.removeprefix("date+"))
    try:
        if not re.fullmatch("[0-9]{1,9}", text):
            parsedate_to_datetime(text)
    except (TypeError, ValueError):
        raise ValueError(
            f"{_shown(value)} is neither whole seconds, nor date+DURATION, nor an HTTP date"
        ) from None
    return text


def _shown(value: object) -> str:
    return "nothing" if isinstance(value, bool) else repr(value)


_READERS: dict[str, tuple[str, Callable[[object], object]]] = {
    "status": ("status", _status),
    "retry-after": ("retry_after", _retry_after),
    "drop": ("drop", _switch),
    "reset": ("reset", _switch),
    "interim": ("interim", _switch),
    "close": ("close", _switch),
    "delay": ("delay_s", _duration),
    "trickle": ("trickle", _speed),
    "headers": ("headers", _switch),
    "truncate": ("truncate", _whole),
    "invalid": ("invalid", _invalid),
    "rate": ("rate", _share),
    "after": ("after", _whole),
    "count": ("count", _whole),
    "from": ("from_s", _offset),
    "until": ("until_s", _duration),
    "task": ("task", _text),
    "path": ("path", _text),
}
