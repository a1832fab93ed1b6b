"""When to poll which task, for one task or a thousand.

The rules are the contract's section "Waiting". Nothing here knows threads, sockets or the time of
day: a pool fetches, and its clock is the only one.
"""

import random
from bisect import insort
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from operator import attrgetter

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
from dlftask.waiting.workers import Answer, WorkerPool

RETRY_PAUSES_S = (0.5, 1.5)
"""Before the first valid response: the longest pause before each retry."""
LONGEST_FIRST_RETRY_AFTER_S = 10.0
"""Before the first valid response: the longest ``Retry-After`` that is obeyed."""
_LOOK_S = 0.5
"""While a request is in flight, the clock is read this often. A gap twice as long means that the
process was stopped, or that the machine slept."""
_NEVER = float("inf")
_due_s = attrgetter("due_s")


def poll(
    task_ids: Sequence[str],
    pool: WorkerPool,
    policy: WaitPolicy,
    *,
    note: Callable[[str], None] = lambda _: None,
    tick_s: float = 60.0,
) -> Iterator[list[Snapshot]]:
    """Poll until every task is settled; yield those that changed, at least every ``tick_s``.

    ``note`` gets a line when an outage begins and one when it is over, for all tasks together.
    Raises ``ConfigurationError``, which concerns the run and not one task.
    """
    run = _Run(task_ids, pool, policy, note)
    changed: list[Snapshot] = []
    while True:
        run.start_due()
        until_s = run.next_look_s(tick_s)
        yield changed
        if not run.unsettled:
            return
        changed = run.update(pool.answers(until_s), until_s)


class _Run:
    """The waits for all tasks."""

    def __init__(
        self,
        task_ids: Sequence[str],
        pool: WorkerPool,
        policy: WaitPolicy,
        note: Callable[[str], None],
    ) -> None:
        self._pool = pool
        self._policy = policy
        self._note = note
        # Seen before, but without a valid response since their latest request began.
        self._unconfirmed: list[_Wait] = []
        self._out: list[_Wait] = []
        self._out_since = _NEVER
        self._changed: dict[str, _Wait] = {}
        self.unsettled = {task_id: _Wait(task_id, policy, pool.now()) for task_id in task_ids}
        # Those that no request is in flight for: the next one due comes first.
        self._idle = list(self.unsettled.values())

    def start_due(self) -> None:
        """Start the requests that are due, as far as the pool is free."""
        while self._pool.free and self._idle and self._idle[0].due_s <= self._pool.now():
            wait = self._idle.pop(0)
            wait.begin_request(self._pool.now())
            self._pool.start(wait.snapshot.task_id)
        self._unconfirmed = [wait for wait in self.unsettled.values() if wait.outage_since < _NEVER]

    def next_look_s(self, tick_s: float) -> float:
        """When something is due even if no answer comes."""
        now_s = self._pool.now()
        moments = [now_s + tick_s, self._policy.until_s]
        if self._pool.free and self._idle:
            moments.append(self._idle[0].due_s)
        if self._unconfirmed:
            moments += [now_s + _LOOK_S, *(wait.limit_s for wait in self._unconfirmed)]
        return min(moments)

    def update(self, answers: Iterable[Answer], until_s: float) -> list[Snapshot]:
        """Process answers and the time that passed; the tasks that changed.

        ``until_s`` is when the pool was to return.
        """
        now_s = self._pool.now()
        if now_s > until_s + _LOOK_S:
            self._wake(now_s)
        self._changed = {}
        for answer in answers:
            wait = self.unsettled.get(answer.task_id)
            if wait is None:
                continue
            if wait.update(answer.outcome, now_s):
                self._changed[answer.task_id] = wait
            if wait.snapshot.settled:
                del self.unsettled[answer.task_id]
            else:
                insort(self._idle, wait, key=_due_s)
        if self._policy.fail_fast and any(wait.failed for wait in self._changed.values()):
            self._end(self.unsettled.values(), _Wait.fail_fast)
        late = [wait for wait in self._unconfirmed if wait.limit_s <= now_s]
        self._end(late, _Wait.give_up)
        if now_s >= self._policy.until_s:
            self._end(self.unsettled.values(), _Wait.time_out)
        self._note_outage(now_s)
        return [wait.snapshot for wait in self._changed.values()]

    def _wake(self, now_s: float) -> None:
        """After a stop, an outage has its full time again, so that a request shows what is true."""
        for wait in self._unconfirmed:
            wait.restart_outage(now_s)
        self._idle.sort(key=_due_s)
        self._out_since = now_s

    def _end(self, waits: Iterable["_Wait"], how: Callable[["_Wait"], None]) -> None:
        for wait in [wait for wait in waits if not wait.snapshot.settled]:
            how(wait)
            task_id = wait.snapshot.task_id
            self._pool.drop(task_id)
            self._changed[task_id] = self.unsettled.pop(task_id)
            if wait in self._idle:
                self._idle.remove(wait)

    def _note_outage(self, now_s: float) -> None:
        """Write a line when an outage begins, and when it is over: once for all tasks together."""
        out = [
            wait for wait in self._unconfirmed if wait.snapshot.outage and not wait.snapshot.settled
        ]
        if out and not self._out:
            self._out_since = out[0].outage_since
            limit = _limit_text(self._policy.max_outage_s)
            self._note(f"warning: {out[0].snapshot.outage}; retrying for up to {limit}")
        if self._out and not out and all(wait.snapshot.outage is None for wait in self._out):
            self._note(f"the service is back after {format_duration(now_s - self._out_since)}")
        self._out = out


class _Wait:
    """The wait for one task.

    ``outage_since`` is when its first request without a valid response began: while that is in
    flight an outage is only possible, and the snapshot has none.
    """

    def __init__(self, task_id: str, policy: WaitPolicy, now_s: float) -> None:
        self.snapshot = Snapshot(task_id)
        self.due_s = now_s
        self.outage_since = _NEVER
        self._policy = policy
        self._began_s = self._asked_s = self._woke_s = self._not_before_s = now_s
        self._failures = 0

    @property
    def limit_s(self) -> float:
        """When the outage becomes too long."""
        return self.outage_since + self._policy.max_outage_s

    @property
    def failed(self) -> bool:
        """Whether the task or one of its subtasks failed."""
        task = self.snapshot.task
        return task is not None and holds_failure(task, strict=self._policy.strict)

    def begin_request(self, now_s: float) -> None:
        """A request begins: if it fails, the outage began now."""
        self._asked_s = now_s
        if self.snapshot.task is not None:
            self.outage_since = min(self.outage_since, now_s)

    def update(self, outcome: Task | DlftaskError, now_s: float) -> bool:
        """Process an answer; whether it changed anything that a user would want to see."""
        if isinstance(outcome, ConfigurationError):
            raise outcome
        before = self.snapshot
        if isinstance(outcome, Task):
            self._succeed(outcome, now_s)
        elif self.snapshot.task is None:
            self._retry_first(outcome, now_s)
        else:
            self._retry(outcome, now_s)
        return self.snapshot != before

    def restart_outage(self, now_s: float) -> None:
        """The process was stopped until now: that time is no outage."""
        self._woke_s = self.outage_since = now_s
        self._hasten(now_s)

    def time_out(self) -> None:
        """``--timeout`` is over."""
        task = self.snapshot.task
        state = f"still {task.status}" if task else "no valid response"
        limit = _limit_text(self._policy.timeout_s or 0.0)
        self._end(WaitTimeout(f"{state} after {limit} (--timeout)"))

    def give_up(self) -> None:
        """The outage has become too long."""
        limit = _limit_text(self._policy.max_outage_s)
        reason = self.snapshot.outage or "the last request is still in flight"
        self._end(
            ServiceUnavailable(
                f"gave up after {limit} without a valid response (--max-outage): {reason}",
                hint="raise --max-outage to wait longer",
            )
        )

    def fail_fast(self) -> None:
        """A task or subtask failed: the last state is the result."""
        self.snapshot = replace(self.snapshot, failed_fast=True, settled=True)
        if self.snapshot.task is None:
            self._end(WaitTimeout("no valid response before another task failed (--fail-fast)"))

    def _end(self, error: DlftaskError) -> None:
        """Poll no more, for this reason."""
        self.snapshot = replace(self.snapshot, error=error, settled=True)

    def _succeed(self, task: Task, now_s: float) -> None:
        settled = not (self._policy.wait and task.running)
        self.snapshot = Snapshot(self.snapshot.task_id, task, settled=settled)
        self.outage_since = _NEVER
        self.due_s = now_s + self._policy.pause_s(now_s - self._began_s)

    def _retry_first(self, error: DlftaskError, now_s: float) -> None:
        wanted_s = error.retry_after_s or 0.0
        if not error.retryable or self._failures == len(RETRY_PAUSES_S):
            self._end(error)
        elif wanted_s > LONGEST_FIRST_RETRY_AFTER_S:
            wanted = format_duration(wanted_s)
            self._end(error.with_context(f"not retried, because the service asks to wait {wanted}"))
        else:
            # A random pause, so that many clients do not come back together.
            pause_s = random.uniform(0.0, RETRY_PAUSES_S[self._failures])  # noqa: S311 - no secret
            self.due_s = now_s + max(pause_s, wanted_s)
            self._failures += 1

    def _retry(self, error: DlftaskError, now_s: float) -> None:
        if not error.transient:
            self._end(error)
            return
        self._not_before_s = now_s + (error.retry_after_s or 0.0)
        if self._asked_s < self._woke_s:  # the stop broke that request, not the service
            self.due_s = max(now_s, self._not_before_s)
            return
        self.snapshot = replace(self.snapshot, outage=error, outage_since=self.outage_since)
        self.due_s = now_s + self._policy.pause_s(now_s - self._began_s)
        self._hasten(now_s)

    def _hasten(self, now_s: float) -> None:
        """Retry within half the longest outage: even at a long interval, one fault ends no wait."""
        half_s = self.limit_s - self._policy.max_outage_s / 2
        if now_s < half_s < self.due_s:
            self.due_s = half_s
        self.due_s = max(self.due_s, self._not_before_s)


def _limit_text(seconds: float) -> str:
    """A limit as a user would type it: ``5m``, not ``5m00s``."""
    return format_duration(seconds).replace("m00s", "m").replace("h00m", "h")
