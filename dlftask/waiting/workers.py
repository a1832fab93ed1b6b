"""Threads that fetch, so that the wait itself can always check the clock and handle signals."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, Queue, SimpleQueue
from typing import NamedTuple

from dlftask.errors import ConfigurationError, DlftaskError
from dlftask.task import Task

_SLICE_S = 0.2
"""How long to block for a result at most: on Windows no signal interrupts that."""


class FetchResult(NamedTuple):
    """The result of one request: a task, or the error."""

    task_id: str
    outcome: Task | DlftaskError


class WorkerPool:
    """At most ``size`` requests in flight, each in a daemon thread, which ends with the process.

    ``fetch`` limits its own time. A result that is no longer wanted is ignored when it comes.
    """

    def __init__(self, fetch: Callable[[str], Task], *, size: int) -> None:
        self._fetch = fetch
        self._size = size
        self._threads: list[threading.Thread] = []
        self._jobs: SimpleQueue[str | None] = SimpleQueue()
        # Not a SimpleQueue: that waits forever after a signal whose handler runs longer than the
        # timeout (Ctrl-Z).
        self._done: Queue[tuple[str, Task | BaseException]] = Queue()
        self._wanted: set[str] = set()
        self._busy = 0
        self._closed = False
        self._starting = threading.Lock()

    @property
    def free(self) -> int:
        """How many more requests may be started now."""
        return self._size - len(self._wanted)

    def now(self) -> float:
        """The clock that ``results`` uses, in seconds."""
        return time.monotonic()

    def start(self, task_id: str) -> None:
        """Fetch a task that no request is in flight for."""
        self._wanted.add(task_id)
        self._busy += 1
        self._jobs.put(task_id)
        if len(self._threads) < self._busy:
            self._start_thread()
        if not self._threads:  # the process cannot start any: fetch in this thread
            self._jobs.put(None)
            self._work()

    def drop(self, task_id: str) -> None:
        """Ignore the request in flight for a task, if there is one; it is not started again."""
        self._wanted.discard(task_id)

    def results(self, until_s: float) -> list[FetchResult]:
        """Wait for a result until ``until_s`` (of ``now``) at the latest; return all that came.

        Raises an exception of ``fetch`` that is not a ``DlftaskError``, and ``ConfigurationError``
        where another thread closed the pool.
        """
        found: list[FetchResult] = []
        while True:
            self._check_open()
            left_s = max(0.0, until_s - self.now())
            try:
                task_id, outcome = self._done.get(timeout=0.0 if found else min(left_s, _SLICE_S))
            except Empty:
                if found or not left_s:
                    return found
                continue
            self._busy -= 1
            if task_id in self._wanted:
                self._wanted.remove(task_id)
                if not isinstance(outcome, Task | DlftaskError):
                    raise outcome
                found.append(FetchResult(task_id, outcome))

    def close(self, until_s: float = 0.0) -> None:
        """Stop fetching; wait for the threads to end, until ``until_s`` at the latest."""
        with self._starting:
            self._closed = True
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join(max(0.0, until_s - self.now()))

    def _start_thread(self) -> None:
        """Start one more thread, if the process can."""
        with self._starting:
            self._check_open()
            thread = threading.Thread(target=self._work, daemon=True)
            with suppress(RuntimeError):
                thread.start()
                self._threads.append(thread)

    def _check_open(self) -> None:
        if self._closed:
            raise ConfigurationError("the client was closed")

    def _work(self) -> None:
        while (task_id := self._jobs.get()) is not None:
            outcome: Task | BaseException
            try:
                outcome = self._fetch(task_id)
            except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
                outcome = error
            self._done.put((task_id, outcome))
