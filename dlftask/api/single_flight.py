"""What many threads want at the same time is done once."""

import threading
from collections.abc import Callable
from copy import copy
from typing import Generic, TypeVar

from dlftask.errors import DlftaskError, ServiceUnavailable

_Result = TypeVar("_Result")


class SingleFlight(Generic[_Result]):
    """One thread at a time makes a result; who waited for one that failed shares its failure.

    A hundred tasks do not ask a dead IAM one after another, each for as long as it takes; and no
    thread waits longer than ``timeout_s`` seconds for one that hangs. ``what`` is being made, as
    an error says it.
    """

    def __init__(self, make: Callable[[], _Result], *, what: str, timeout_s: float = 15.0) -> None:
        self._make = make
        self._what = what
        self._patience_s = timeout_s
        self._lock = threading.Lock()
        self._failures = 0
        self._error: DlftaskError | None = None

    def __call__(self) -> _Result:
        """The result, or whatever making it raised.

        Raises ``ServiceUnavailable`` where another thread has been making it for too long.
        """
        failures_before = self._failures
        if not self._lock.acquire(timeout=min(self._patience_s, threading.TIMEOUT_MAX)):
            raise ServiceUnavailable(f"{self._what}: another question has not been answered yet")
        try:
            if self._error is not None and self._failures != failures_before:
                raise copy(self._error)
            return self._make()
        except DlftaskError as error:
            self._error = copy(error)
            self._failures += 1
            raise
        finally:
            self._lock.release()
