"""When to ask again, for one task or a thousand.

The rules are the contract's section "Waiting". Nothing here knows threads, sockets or the time of
day: a pool asks, and its clock is the only one.
"""

import heapq
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from itertools import count
from typing import NamedTuple, Protocol

from dlftask.durations import format_duration
from dlftask.errors import (
    ConfigurationError,
    DlftaskError,
    InvalidResponse,
    ServiceUnavailable,
    WaitTimeout,
)
from dlftask.task import Task
from dlftask.waiting.snapshot import Snapshot

RETRY_PAUSES_S = (0.5, 1.5)
"""Before the first good answer: the longest pause before each retry."""
LONGEST_FIRST_RETRY_AFTER_S = 10.0
"""Before the first good answer: the longest ``Retry-After`` that is obeyed."""


class Answer(NamedTuple):
    """What came of one question: a task, or why there is none. ``asked_s`` is the pool's time."""

    task_id: str
    asked_s: float
    outcome: Task | DlftaskError


class Asking(Protocol):
    """Who asks: a ``WorkerPool``, or a test's own with a clock that does as it is told."""

    @property
    def free(self) -> int:
        """How many more questions may be started now."""

    def now(self) -> float:
        """The clock, in seconds."""

    def start(self, task_id: str) -> None:
        """Ask for a task that is not being asked for."""

    def drop(self, task_id: str) -> None:
        """No longer care for a question's answer, if it is under way."""

    def answers(self, until_s: float) -> list[Answer]:
        """Wait for answers until a moment of the clock at the latest."""


class WaitPolicy(NamedTuple):
    """How long to wait and how often to ask, in seconds.

    Without ``wait`` each task is asked for once. ``interval_s`` ``None`` is ``auto``;
    ``timeout_s`` counts from ``began_s``, a moment of the pool's clock; ``None`` is for ever.
    """

    wait: bool
    interval_s: float | None = None
    max_outage_s: float = 300.0
    timeout_s: float | None = None
    began_s: float = 0.0

    @property
    def until_s(self) -> float:
        """When the wait ends, whatever has become of its tasks."""
        return float("inf") if self.timeout_s is None else self.began_s + self.timeout_s

    def pause_s(self, waited_s: float) -> float:
        """The pause before the next question, for a task that was waited for so long."""
        if self.interval_s is not None:
            return self.interval_s
        return min(max(waited_s / 20, 1.0), 15.0)


def full_jitter(most_s: float) -> float:
    """A pause anywhere up to the longest, so that many clients do not come back together."""
    return random.uniform(0.0, most_s)  # noqa: S311 - spreads load, keeps no secret


def poll(
    task_ids: Sequence[str],
    pool: Asking,
    policy: WaitPolicy,
    *,
    note: Callable[[str], None] = lambda _: None,
    tick_s: float = 60.0,
    jitter: Callable[[float], float] = full_jitter,
) -> Iterator[list[Snapshot]]:
    """Ask until every task is settled; give those that changed, at least every ``tick_s`` seconds.

    ``note`` gets a line when an outage begins and one when it is over, for all tasks together.
    Raises what is about the run and not about a task: ``ConfigurationError``.
    """
    waits = {task_id: _Wait(task_id, policy, pool.now(), jitter) for task_id in task_ids}
    queue = _Queue(waits.values())
    outages = _Outages(note, policy.max_outage_s)
    unsettled = len(waits)
    while unsettled:
        while pool.free and queue.next_s <= pool.now():
            wait = queue.pop()
            outages.may_begin(wait, pool.now())
            pool.start(wait.task_id)
        next_s = queue.next_s if pool.free else float("inf")
        moments = (pool.now() + tick_s, next_s, outages.next_limit_s, policy.until_s)
        changed: dict[str, _Wait] = {}
        for answer in pool.answers(min(moments)):
            wait = waits[answer.task_id]
            if wait.take(answer, pool.now()):
                changed[wait.task_id] = wait
            if not wait.settled:
                queue.push(wait)
            outages.follow(wait, pool.now())
        for wait in _out_of_time(waits, policy, outages, pool.now()):
            changed[wait.task_id] = wait
            pool.drop(wait.task_id)
            outages.follow(wait, pool.now())
        unsettled -= sum(wait.settled for wait in changed.values())
        yield [wait.snapshot() for wait in changed.values()]


class _Wait:
    """The wait for one task."""

    def __init__(
        self,
        task_id: str,
        policy: WaitPolicy,
        now_s: float,
        jitter: Callable[[float], float],
    ) -> None:
        self.task_id = task_id
        self.due_s = now_s
        self.settled = False
        self.outage: DlftaskError | None = None
        self.outage_began_s = 0.0
        self._patience = policy
        self._jitter = jitter
        self._began_s = now_s
        self._failures = 0
        self._task: Task | None = None
        self._error: DlftaskError | None = None

    @property
    def answered(self) -> bool:
        """Whether there was a good answer: from then on a fault is a poll without news."""
        return self._task is not None

    def snapshot(self) -> Snapshot:
        return Snapshot(self.task_id, self._task, self._error, self.outage, self.settled)

    def take(self, answer: Answer, now_s: float) -> bool:
        """Take an answer; whether it changed anything that a user would want to see."""
        if isinstance(answer.outcome, ConfigurationError):
            raise answer.outcome
        before = (self._task, self.outage, self.settled)
        if isinstance(answer.outcome, Task):
            self._news(answer.outcome, now_s)
        elif self._task is None:
            self._no_first_news(answer.outcome, now_s)
        else:
            self._no_news(answer.outcome, now_s)
        return before != (self._task, self.outage, self.settled)

    def end(self, error: DlftaskError) -> None:
        """Nothing more is asked: this is why."""
        self.settled = True
        self._error = error

    def time_out(self) -> None:
        """``--timeout`` is over."""
        limit = format_duration(self._patience.timeout_s or 0.0)
        state = f"still {self._task.status}" if self._task else "the service had not answered"
        self.end(WaitTimeout(f"{state} when the time-out of {limit} ran out"))

    def lose(self) -> None:
        """The outage has become too long."""
        limit = format_duration(self._patience.max_outage_s)
        reason = self.outage or "the last question is not answered yet"
        self.end(
            ServiceUnavailable(
                f"no good answer for {limit}, the longest outage: {reason}",
                hint="a longer --max-outage sits out more",
            )
        )

    def _news(self, task: Task, now_s: float) -> None:
        self._task = task
        self.outage = None
        self.settled = not (self._patience.wait and task.running)
        self.due_s = now_s + self._patience.pause_s(now_s - self._began_s)

    def _no_first_news(self, error: DlftaskError, now_s: float) -> None:
        retryable = isinstance(error, ServiceUnavailable) and not error.permanent
        if not retryable or self._failures == len(RETRY_PAUSES_S):
            self.end(error)
            return
        pause_s = self._jitter(RETRY_PAUSES_S[self._failures])
        self._failures += 1
        wanted_s = _retry_after_s(error)
        if wanted_s > LONGEST_FIRST_RETRY_AFTER_S:
            error = copy(error)  # it can be another task's too
            error.message += f" and wants to be asked again in {format_duration(wanted_s)}"
            self.end(error)
            return
        self.due_s = now_s + max(pause_s, wanted_s)

    def _no_news(self, error: DlftaskError, now_s: float) -> None:
        passing = isinstance(error, ServiceUnavailable) or (
            isinstance(error, InvalidResponse) and error.transient
        )
        if not passing:
            self.end(error)
            return
        self.outage = error
        self.due_s = now_s + self._patience.pause_s(now_s - self._began_s)
        # However long the interval: a single lost answer does not end a wait.
        half_s = self.outage_began_s + self._patience.max_outage_s / 2
        if now_s < half_s < self.due_s:
            self.due_s = half_s
        self.due_s = max(self.due_s, now_s + _retry_after_s(error))


class _Queue:
    """Who is to be asked next."""

    def __init__(self, waits: Iterable[_Wait]) -> None:
        self._order = count()
        self._heap = [(wait.due_s, next(self._order), wait) for wait in waits]

    @property
    def next_s(self) -> float:
        while self._heap and self._heap[0][2].settled:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else float("inf")

    def pop(self) -> _Wait:
        return heapq.heappop(self._heap)[2]

    def push(self, wait: _Wait) -> None:
        heapq.heappush(self._heap, (wait.due_s, next(self._order), wait))


class _Outages:
    """The tasks without news, and what is said of them: once for all together."""

    def __init__(self, note: Callable[[str], None], max_outage_s: float) -> None:
        self._note = note
        self._max_outage_s = max_outage_s
        self._silent: dict[str, _Wait] = {}
        self._lost: set[str] = set()
        self._began_s = 0.0

    @property
    def next_limit_s(self) -> float:
        began = (wait.outage_began_s for wait in self._silent.values())
        return min(began, default=float("inf")) + self._max_outage_s

    def too_long(self, now_s: float) -> list[_Wait]:
        return [
            wait
            for wait in self._silent.values()
            if wait.outage_began_s + self._max_outage_s <= now_s
        ]

    def may_begin(self, wait: _Wait, now_s: float) -> None:
        """A question is asked: should no good answer come, the outage began now."""
        if wait.answered and wait.task_id not in self._silent:
            wait.outage_began_s = now_s
            self._silent[wait.task_id] = wait

    def follow(self, wait: _Wait, now_s: float) -> None:
        """Take note of what has become of a task."""
        if wait.outage is None or wait.settled:
            self._silent.pop(wait.task_id, None)
        if wait.outage is not None and not wait.settled:
            if not self._lost:
                self._began_s = wait.outage_began_s
                limit = format_duration(self._max_outage_s)
                self._note(f"no news: {wait.outage}; asking on, for {limit} at most")
            self._lost.add(wait.task_id)
        elif wait.task_id in self._lost:
            self._lost.remove(wait.task_id)
            if not self._lost and wait.outage is None:
                lasted = format_duration(now_s - self._began_s)
                self._note(f"news again: the service answers, after an outage of {lasted}")


def _out_of_time(
    waits: Mapping[str, _Wait], policy: WaitPolicy, outages: _Outages, now_s: float
) -> list[_Wait]:
    """End what has taken too long; the waits that this ended."""
    lost = outages.too_long(now_s)
    for wait in lost:
        wait.lose()
    late = []
    if now_s >= policy.until_s:
        late = [wait for wait in waits.values() if not wait.settled]
        for wait in late:
            wait.time_out()
    return lost + late


def _retry_after_s(error: DlftaskError) -> float:
    wanted_s = error.retry_after_s if isinstance(error, ServiceUnavailable) else None
    return wanted_s or 0.0
