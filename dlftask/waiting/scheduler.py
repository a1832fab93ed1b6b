"""When to poll which task, for one task or a thousand.

The rules are the contract's section "Waiting". Nothing here knows threads, sockets or the time of
day: the pool fetches, and its clock is the only one.
"""

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from heapq import nsmallest
from operator import attrgetter

from dlftask.durations import format_duration
from dlftask.errors import ConfigurationError, DlftaskError, ServiceUnavailable, WaitTimeout
from dlftask.task import Task
from dlftask.waiting.policy import WaitPolicy
from dlftask.waiting.snapshot import Snapshot
from dlftask.waiting.workers import FetchResult, WorkerPool

RETRY_PAUSES_S = (0.5, 1.5)
"""Before the first valid response: the longest pause before each retry."""
LONGEST_FIRST_RETRY_AFTER_S = 10.0
"""Before the first valid response: the longest ``Retry-After`` that is obeyed."""
_CHECK_S = 0.5
"""While a request is in flight, the clock is read this often. A gap twice as long means that the
process was stopped, or that the machine slept."""
_NEVER = float("inf")
_due_s, _outage_since = attrgetter("due_s"), attrgetter("outage_since")


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
        until_s = run.next_check_s(tick_s)
        yield changed
        if not run.unsettled:
            return
        changed = run.update(pool.results(until_s), until_s)


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
        self._out: list[_Wait] = []
        self._out_since = _NEVER
        self.unsettled = {task_id: _Wait(task_id, policy, pool.now()) for task_id in task_ids}

    def start_due(self) -> None:
        """Start the requests that are due, as far as the pool is free."""
        now_s = self._pool.now()
        due = [wait for wait in self.unsettled.values() if wait.due_s <= now_s]
        for wait in nsmallest(self._pool.free, due, key=_due_s):
            wait.begin_request(self._pool.now())
            self._pool.start(wait.snapshot.task_id)

    def next_check_s(self, tick_s: float) -> float:
        """When something is due even if no response comes."""
        now_s, outage_limit_s = self._pool.now(), self._outage_limit_s()
        moments = [now_s + tick_s, self._policy.until_s, outage_limit_s]
        if self._pool.free:
            moments += map(_due_s, self.unsettled.values())
        if outage_limit_s < _NEVER:
            moments.append(now_s + _CHECK_S)
        return min(moments)

    def _outage_limit_s(self) -> float:
        """When the first outage becomes too long, including one that is only possible."""
        waits = self.unsettled.values()
        return min(map(_outage_since, waits), default=_NEVER) + self._policy.max_outage_s

    def update(self, results: Iterable[FetchResult], until_s: float) -> list[Snapshot]:
        """Process results and the time that passed; return the tasks that changed.

        ``until_s`` is when the pool should have returned.
        """
        now_s = self._pool.now()
        if now_s > until_s + _CHECK_S:
            self._wake(now_s)
        changed: dict[str, Snapshot] = {}
        for task_id, outcome in results:
            wait = self.unsettled[task_id]
            if wait.update(outcome, now_s):
                changed[task_id] = wait.snapshot
            if wait.snapshot.settled:
                del self.unsettled[task_id]
        failed_fast = self._policy.fail_fast and any(
            snapshot.holds_failure(strict=self._policy.strict) for snapshot in changed.values()
        )
        if failed_fast or now_s >= min(self._policy.until_s, self._outage_limit_s()):
            for task_id, wait in list(self.unsettled.items()):
                if wait.expire(now_s, failed_fast=failed_fast):
                    changed[task_id] = wait.snapshot
                    del self.unsettled[task_id]
                    self._pool.drop(task_id)
        self._note_outage(now_s)
        return list(changed.values())

    def _wake(self, now_s: float) -> None:
        """After a stop, give an outage its full time again: a request shows if it is over."""
        for wait in self.unsettled.values():
            wait.restart_outage(now_s)
        self._out_since = now_s

    def _note_outage(self, now_s: float) -> None:
        """Write a line when an outage begins, and when it is over: once for all tasks together."""
        out = [wait for wait in self.unsettled.values() if wait.snapshot.outage]
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
        self._began_s = self._not_before_s = now_s
        self._was_stopped = False
        self._first_pauses = iter(RETRY_PAUSES_S)

    def begin_request(self, now_s: float) -> None:
        """Begin a request: if it fails, the outage began now."""
        self.due_s = _NEVER
        self._was_stopped = False
        if self.snapshot.task is not None:
            self.outage_since = min(self.outage_since, now_s)

    def update(self, outcome: Task | DlftaskError, now_s: float) -> bool:
        """Process a result; return whether it changed what a user sees."""
        if isinstance(outcome, ConfigurationError):
            raise outcome
        before = self.snapshot
        self.due_s = now_s + self._policy.pause_s(now_s - self._began_s)
        if isinstance(outcome, Task):
            settled = not (self._policy.wait and outcome.running)
            self.snapshot = Snapshot(before.task_id, outcome, settled=settled)
            self.outage_since = _NEVER
        elif before.task is None:
            self._retry_first(outcome, now_s)
        else:
            self._retry(outcome, now_s)
        return self.snapshot != before

    def restart_outage(self, now_s: float) -> None:
        """The process was stopped until now: that time is not an outage."""
        if self.outage_since < _NEVER:
            self.outage_since = now_s
            self._was_stopped = True
            self._retry_sooner(now_s)

    def expire(self, now_s: float, *, failed_fast: bool) -> bool:
        """Stop polling if a task has failed or a limit is reached; return whether it stopped."""
        error: DlftaskError | None = None
        if failed_fast:
            if self.snapshot.task is None:  # otherwise its last state is the result
                error = WaitTimeout("no valid response before another task failed (--fail-fast)")
        elif self.outage_since + self._policy.max_outage_s <= now_s:
            error = self._outage_error()
        elif self._policy.until_s <= now_s:
            error = self._timeout_error()
        else:
            return False
        self.snapshot = replace(self.snapshot, error=error, settled=True, failed_fast=failed_fast)
        return True

    def _timeout_error(self) -> DlftaskError:
        task = self.snapshot.task
        state = f"still {task.status}" if task else "no valid response"
        limit = _limit_text(self._policy.timeout_s or 0.0)
        return WaitTimeout(f"{state} after {limit} (--timeout)")

    def _outage_error(self) -> DlftaskError:
        limit = _limit_text(self._policy.max_outage_s)
        reason = self.snapshot.outage or "the last request is still in flight"
        return ServiceUnavailable(
            f"gave up after {limit} without a valid response (--max-outage): {reason}",
            hint="raise --max-outage to wait longer",
        )

    def _end(self, error: DlftaskError) -> None:
        """Stop polling, for this reason."""
        self.snapshot = replace(self.snapshot, error=error, settled=True)

    def _retry_first(self, error: DlftaskError, now_s: float) -> None:
        longest_s = next(self._first_pauses, None)
        wanted_s = error.retry_after_s or 0.0
        if longest_s is None or not error.retryable:
            self._end(error)
        elif wanted_s > LONGEST_FIRST_RETRY_AFTER_S:
            wanted = format_duration(wanted_s)
            self._end(error.with_context(f"not retried, because the service asks to wait {wanted}"))
        else:
            # A random pause, so that many clients do not come back together.
            pause_s = random.uniform(0.0, longest_s)  # noqa: S311 - no secret
            self.due_s = now_s + max(pause_s, wanted_s)

    def _retry(self, error: DlftaskError, now_s: float) -> None:
        if not error.transient:
            self._end(error)
            return
        self._not_before_s = now_s + (error.retry_after_s or 0.0)
        if self._was_stopped:  # the stop broke the request, not the service
            self.due_s = self._not_before_s
            return
        self.snapshot = replace(self.snapshot, outage=error, outage_since=self.outage_since)
        self._retry_sooner(now_s)

    def _retry_sooner(self, now_s: float) -> None:
        """Retry within half of the maximum outage, so that one fault does not end a wait."""
        half_s = self.outage_since + self._policy.max_outage_s / 2
        if now_s < half_s < self.due_s < _NEVER:
            self.due_s = half_s
        self.due_s = max(self.due_s, self._not_before_s)


def _limit_text(seconds: float) -> str:
    """A limit as a user would type it: ``5m``, not ``5m00s``."""
    return format_duration(seconds).replace("m00s", "m").replace("h00m", "h")
