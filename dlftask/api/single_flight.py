"""What many threads want at the same time is done once."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from dlftask.errors import DlftaskError

_Result = TypeVar("_Result")


class SingleFlight(Generic[_Result]):
    """One thread at a time makes a result; a thread that waited for one that failed shares that.

    A hundred tasks do not try a dead IAM one after another. ``make`` limits its own time.
    """

    def __init__(self, make: Callable[[], _Result]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._error: DlftaskError | None = None

    def __call__(self) -> _Result:
        """The result, or whatever making it raised."""
        error_before = self._error
        with self._lock:
            if self._error is not None and self._error is not error_before:
                raise self._error.with_traceback(None)
            try:
                return self._make()
            except DlftaskError as error:
                self._error = error
                raise
