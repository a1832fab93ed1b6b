"""When to poll which task, for one task or a thousand.

The rules are the contract's section "Waiting". Nothing here knows threads, sockets or the time of
day: a pool fetches, and its clock is the only one.
"""

import heapq
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count
from typing import NamedTuple, Protocol

from dlftask.durations import format_duration
from dlftask.errors import (
    ConfigurationError,
    DlftaskError,
    ServiceUnavailable,
    WaitTimeout,
)
from dlftask.task import Task
from dlftask.waiting.policy import WaitPolicy
from dlftask.waiting.snapshot import Snapshot, holds_failure

RETRY_PAUSES_S = (0.5, 1.5)
"""Before the first valid response: the longest pause before each retry."""
LONGEST_FIRST_RETRY_AFTER_S = 10.0
"""Before the first valid response: the longest ``Retry-After`` that is obeyed."""
_LOOK_S = 0.5
"""While a request is in flight, the clock is read this often. A gap twice as long means that the
process was stopped, or that the machine slept."""


class Answer(NamedTuple):
    """What one request gave: a task, or why there is none. ``asked_s`` is the pool's time."""

    task_id: str
    asked_s: float
    outcome: Task | DlftaskError


class Pool(Protocol):
    """Fetches tasks: a ``WorkerPool``, or a test's own with a clock under its control."""

    @property
    def free(self) -> int:
        """How many more requests may be started now."""

    def now(self) -> float:
        """The clock, in seconds."""

    def start(self, task_id: str) -> None:
        """Request a task that no request is in flight for."""

    def drop(self, task_id: str) -> None:
        """Ignore the request in flight for a task, if there is one."""

    def answers(self, until_s: float) -> list[Answer]:
        """Wait for answers until a moment of the clock at the latest."""


def full_jitter(most_s: float) -> float:
    """A random pause up to the longest, so that many clients do not come back together."""
    return random.uniform(0.0, most_s)  # noqa: S311 - spreads load, keeps no secret


def poll(
    task_ids: Sequence[str],
    pool: Pool,
    policy: WaitPolicy,
    *,
    note: Callable[[str], None] = lambda _: None,
    tick_s: float = 60.0,
    jitter: Callable[[float], float] = full_jitter,
) -> Iterator[list[Snapshot]]:
    """Poll until every task is settled; yield those that changed, at least every ``tick_s``.

    ``note`` gets a line when an outage begins and one when it is over, for all tasks together.
    Raises ``ConfigurationError``, which concerns the run and not one task.
    """
    run = _Run(task_ids, pool, policy, note, jitter)
    while True:
        run.start_due()
        until_s = run.next_look_s(tick_s)
        yield run.take_changed()
        if not run.unsettled:
            return
        run.update(pool.answers(until_s), until_s)


class _Run:
    """The waits for all tasks."""

    def __init__(
        self,
        task_ids: Sequence[str],
        pool: Pool,
        policy: WaitPolicy,
        note: Callable[[str], None],
        jitter: Callable[[float], float],
    ) -> None:
        self._pool = pool
        self._policy = policy
        waits = [_Wait(task_id, policy, pool.now(), jitter) for task_id in task_ids]
        self._queue = _Queue(waits)
        self._notes = _OutageNotes(note, policy.max_outage_s)
        # Seen before, but without a valid response since their latest request began.
        self._unconfirmed: dict[str, _Wait] = {}
        self._changed: dict[str, _Wait] = {}
        self.unsettled = {wait.task_id: wait for wait in waits}

    def start_due(self) -> None:
        """Start the requests that are due, as far as the pool is free."""
        while self._pool.free and self._queue.next_s <= (now_s := self._pool.now()):
            wait = self._queue.pop()
            wait.begin_request(now_s)
            if wait.outage_since is not None:
                self._unconfirmed[wait.task_id] = wait
            self._pool.start(wait.task_id)

    def next_look_s(self, tick_s: float) -> float:
        """When something is due even if no answer comes."""
        now_s = self._pool.now()
        moments = [now_s + tick_s, self._policy.until_s]
        if self._pool.free:
            moments.append(self._queue.next_s)
        if self._unconfirmed:
            moments += [now_s + _LOOK_S, min(wait.limit_s for wait in self._unconfirmed.values())]
        return min(moments)

    def take_changed(self) -> list[Snapshot]:
        """The tasks that changed since the last call."""
        changed, self._changed = self._changed, {}
        return [wait.snapshot() for wait in changed.values()]

    def update(self, answers: Iterable[Answer], until_s: float) -> None:
        """Process answers and the time that passed; ``until_s`` is when the pool was to return."""
        now_s = self._pool.now()
        if now_s > until_s + _LOOK_S:
            self._wake(now_s)
        failed = False
        for answer in answers:
            wait = self.unsettled.get(answer.task_id)
            if wait is None:
                continue
            if wait.update(answer, now_s):
                self._changed[wait.task_id] = wait
            if not wait.settled:
                self._queue.push(wait)
            failed = failed or (isinstance(answer.outcome, Task) and wait.failed)
            self._follow(wait, now_s)
        if failed and self._policy.fail_fast:
            self._end(self.unsettled.values(), _Wait.fail_fast, now_s)
        late = [wait for wait in self._unconfirmed.values() if wait.limit_s <= now_s]
        self._end(late, _Wait.give_up, now_s)
        if now_s >= self._policy.until_s:
            self._end(self.unsettled.values(), _Wait.time_out, now_s)

    def _wake(self, now_s: float) -> None:
        """After a stop, an outage has its full time again, so that a request shows what is true."""
        for wait in self._unconfirmed.values():
            wait.restart_outage(now_s)
            if not wait.in_flight:
                self._queue.push(wait)
        self._notes.restart(now_s)

    def _end(self, waits: Iterable["_Wait"], how: Callable[["_Wait"], None], now_s: float) -> None:
        for wait in list(waits):
            how(wait)
            self._pool.drop(wait.task_id)
            self._changed[wait.task_id] = wait
            self._follow(wait, now_s)

    def _follow(self, wait: "_Wait", now_s: float) -> None:
        if wait.settled:
            self.unsettled.pop(wait.task_id, None)
        if wait.settled or wait.outage_since is None:
            self._unconfirmed.pop(wait.task_id, None)
        self._notes.follow(wait, now_s)


class _Wait:
    """The wait for one task.

    ``outage_since`` is when its first request without a valid response began: while that is in
    flight an outage is only possible, and ``outage`` is ``None``.
    """

    def __init__(
        self,
        task_id: str,
        policy: WaitPolicy,
        now_s: float,
        jitter: Callable[[float], float],
    ) -> None:
        self.task_id = task_id
        self.due_s = now_s
        self.in_flight = False
        self.settled = False
        self.outage: DlftaskError | None = None
        self.outage_since: float | None = None
        self._policy = policy
        self._jitter = jitter
        self._began_s = now_s
        self._woke_s = now_s
        self._not_before_s = now_s
        self._failures = 0
        self._failed_fast = False
        self._task: Task | None = None
        self._error: DlftaskError | None = None

    @property
    def limit_s(self) -> float:
        """When the outage becomes too long."""
        since = float("inf") if self.outage_since is None else self.outage_since
        return since + self._policy.max_outage_s

    @property
    def failed(self) -> bool:
        """Whether the task or one of its subtasks failed."""
        return self._task is not None and holds_failure(self._task, strict=self._policy.strict)

    def snapshot(self) -> Snapshot:
        return Snapshot(
            self.task_id,
            self._task,
            self._error,
            self.outage,
            self.settled,
            outage_since=self.outage_since if self.outage else None,
            failed_fast=self._failed_fast,
        )

    def begin_request(self, now_s: float) -> None:
        """A request begins: if it fails, the outage began now."""
        self.in_flight = True
        if self._task is not None and self.outage_since is None:
            self.outage_since = now_s

    def update(self, answer: Answer, now_s: float) -> bool:
        """Process an answer; whether it changed anything that a user would want to see."""
        self.in_flight = False
        if isinstance(answer.outcome, ConfigurationError):
            raise answer.outcome
        before = (self._task, self.outage, self.settled)
        if isinstance(answer.outcome, Task):
            self._succeed(answer.outcome, now_s)
        elif self._task is None:
            self._retry_first(answer.outcome, now_s)
        else:
            self._retry(answer.outcome, answer.asked_s, now_s)
        return before != (self._task, self.outage, self.settled)

    def restart_outage(self, now_s: float) -> None:
        """The process was stopped until now: that time is no outage."""
        self._woke_s = self.outage_since = now_s
        self._hasten(now_s)

    def end(self, error: DlftaskError) -> None:
        """Poll no more, for this reason."""
        self.settled = True
        self._error = error

    def time_out(self) -> None:
        """``--timeout`` is over."""
        state = f"still {self._task.status}" if self._task else "no valid response"
        limit = _limit_text(self._policy.timeout_s or 0.0)
        self.end(WaitTimeout(f"{state} after {limit} (--timeout)"))

    def give_up(self) -> None:
        """The outage has become too long."""
        limit = _limit_text(self._policy.max_outage_s)
        reason = self.outage or "the last request is still in flight"
        self.end(
            ServiceUnavailable(
                f"gave up after {limit} without a valid response (--max-outage): {reason}",
                hint="raise --max-outage to wait longer",
            )
        )

    def fail_fast(self) -> None:
        """A task or subtask failed: the last state is the result."""
        self._failed_fast = self.settled = True
        if self._task is None:
            self._error = WaitTimeout("no valid response before another task failed (--fail-fast)")

    def _succeed(self, task: Task, now_s: float) -> None:
        self._task = task
        self.outage = self.outage_since = None
        self.settled = not (self._policy.wait and task.running)
        self.due_s = now_s + self._policy.pause_s(now_s - self._began_s)

    def _retry_first(self, error: DlftaskError, now_s: float) -> None:
        if not error.retryable or self._failures == len(RETRY_PAUSES_S):
            self.end(error)
            return
        wanted_s = _retry_after_s(error)
        if wanted_s > LONGEST_FIRST_RETRY_AFTER_S:
            wanted = format_duration(wanted_s)
            self.end(error.with_context(f"not retried, because the service asks to wait {wanted}"))
            return
        self.due_s = now_s + max(self._jitter(RETRY_PAUSES_S[self._failures]), wanted_s)
        self._failures += 1

    def _retry(self, error: DlftaskError, asked_s: float, now_s: float) -> None:
        if not error.transient:
            self.end(error)
            return
        self._not_before_s = now_s + _retry_after_s(error)
        if asked_s < self._woke_s:  # the stop broke that request, not the service
            self.due_s = max(now_s, self._not_before_s)
            return
        self.outage = error
        self.due_s = now_s + self._policy.pause_s(now_s - self._began_s)
        self._hasten(now_s)

    def _hasten(self, now_s: float) -> None:
        """Retry within half the longest outage: even at a long interval, one fault ends no wait."""
        half_s = self.limit_s - self._policy.max_outage_s / 2
        if now_s < half_s < self.due_s:
            self.due_s = half_s
        self.due_s = max(self.due_s, self._not_before_s)


class _Queue:
    """The waits by the moment of their next request."""

    def __init__(self, waits: Iterable[_Wait]) -> None:
        self._order = count()
        self._heap = [(wait.due_s, next(self._order), wait) for wait in waits]

    @property
    def next_s(self) -> float:
        while self._heap and self._stale(*self._heap[0]):
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else float("inf")

    def pop(self) -> _Wait:
        """The next wait: only after ``next_s``, which drops those that are not due any more."""
        return heapq.heappop(self._heap)[2]

    def push(self, wait: _Wait) -> None:
        heapq.heappush(self._heap, (wait.due_s, next(self._order), wait))

    @staticmethod
    def _stale(due_s: float, _order: int, wait: _Wait) -> bool:
        return wait.settled or wait.in_flight or wait.due_s != due_s


class _OutageNotes:
    """The lines about outages: once for all tasks together."""

    def __init__(self, note: Callable[[str], None], max_outage_s: float) -> None:
        self._note = note
        self._max_outage_s = max_outage_s
        self._out: set[str] = set()
        self._began_s = 0.0

    def restart(self, now_s: float) -> None:
        """The process was stopped until now: that time is no outage."""
        self._began_s = now_s

    def follow(self, wait: _Wait, now_s: float) -> None:
        """Write what an answer, or the end of a wait, changed."""
        if wait.outage is not None and not wait.settled:
            if not self._out:
                self._began_s = now_s if wait.outage_since is None else wait.outage_since
                limit = _limit_text(self._max_outage_s)
                self._note(f"warning: {wait.outage}; retrying for up to {limit}")
            self._out.add(wait.task_id)
        elif wait.task_id in self._out:
            self._out.remove(wait.task_id)
            if not self._out and wait.outage is None:
                lasted = format_duration(now_s - self._began_s)
                self._note(f"the service is back after {lasted}")


def _retry_after_s(error: DlftaskError) -> float:
    wanted_s = error.retry_after_s if isinstance(error, ServiceUnavailable) else None
    return wanted_s or 0.0


def _limit_text(seconds: float) -> str:
    """A limit as a user would type it: ``5m``, not ``5m00s``."""
    return format_duration(seconds).replace("m00s", "m").replace("h00m", "h")
