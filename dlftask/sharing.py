"""What many threads want at the same time is done once."""

import threading
from collections.abc import Callable
from copy import copy
from typing import Generic, TypeVar

from dlftask.errors import DlftaskError

_Result = TypeVar("_Result")


class Shared(Generic[_Result]):
    """One thread at a time makes a result; who waited for one that failed shares its failure.

    A hundred tasks do not ask a dead IAM one after another, each for as long as it takes.
    """

    def __init__(self, make: Callable[[], _Result]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._failures = 0
        self._error: DlftaskError | None = None

    def __call__(self) -> _Result:
        """The result, or whatever making it raised."""
        failures_before = self._failures
        with self._lock:
            if self._error is not None and self._failures != failures_before:
                raise copy(self._error)
            try:
                return self._make()
            except DlftaskError as error:
                self._error = error
                self._failures += 1
                raise
