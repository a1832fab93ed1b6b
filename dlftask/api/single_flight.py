"""What many threads want at the same time is done once."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from dlftask.errors import DlftaskError, ServiceUnavailable

_Result = TypeVar("_Result")


class SingleFlight(Generic[_Result]):
    """One thread at a time makes a result; a thread that waited for one that failed shares that.

    A hundred tasks do not try a dead IAM one after another; and no thread waits longer than
    ``timeout_s`` seconds for another one. ``what`` is being made, as an error names it.
    """

    def __init__(self, make: Callable[[], _Result], *, what: str, timeout_s: float = 15.0) -> None:
        self._make = make
        self._what = what
        self._timeout_s = min(timeout_s, threading.TIMEOUT_MAX)
        self._lock = threading.Lock()
        self._failures = 0
        self._error: DlftaskError | None = None

    def __call__(self) -> _Result:
        """The result, or whatever making it raised.

        Raises ``ServiceUnavailable`` where another thread has been making it for too long.
        """
        failures_before = self._failures
        if not self._lock.acquire(timeout=self._timeout_s):
            raise ServiceUnavailable(f"{self._what}: another request for it is still in flight")
        try:
            if self._error is not None and self._failures != failures_before:
                raise self._error.with_traceback(None)
            return self._make()
        except DlftaskError as error:
            self._error = error
            self._failures += 1
            raise
        finally:
            self._lock.release()
