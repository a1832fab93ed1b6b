"""The threads that ask: none is waited for longer than it may take, none is left over."""

import threading
import time
from collections.abc import Iterator

import pytest

from dlftask.api.transport import _calls
from dlftask.errors import ServiceUnavailable, TaskNotFound
from dlftask.task import Task
from dlftask.waiting.scheduler import Answer
from dlftask.waiting.workers import WorkerPool

RUNNING = Task(id="a", status="RUNNING")
LONG_S = 10.0


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = threading.active_count()
    yield
    limit = time.monotonic() + LONG_S
    while threading.active_count() > before and time.monotonic() < limit:
        time.sleep(0.01)
    assert threading.active_count() <= before


def answers(pool: WorkerPool, within_s: float = LONG_S) -> list[Answer]:
    return pool.answers(pool.now() + within_s)


def test_what_comes_of_a_question_is_its_answer() -> None:
    def ask(task_id: str) -> Task:
        if task_id == "missing":
            raise TaskNotFound("no such task")
        return RUNNING

    pool = WorkerPool(ask, size=2)
    pool.start("a")
    pool.start("missing")
    assert pool.free == 0
    found: dict[str, object] = {}
    while len(found) < 2:
        found |= {answer.task_id: answer.outcome for answer in answers(pool)}
    assert pool.free == 2
    assert found["a"] is RUNNING
    assert isinstance(found["missing"], TaskNotFound)
    pool.close()


def test_a_bug_is_raised_where_it_is_waited_for() -> None:
    def ask(_task_id: str) -> Task:
        raise ZeroDivisionError

    pool = WorkerPool(ask, size=1)
    pool.start("a")
    with pytest.raises(ZeroDivisionError):
        answers(pool)
    pool.close()


def test_without_an_answer_the_moment_comes() -> None:
    pool = WorkerPool(lambda _: RUNNING, size=1)
    began = time.monotonic()
    assert answers(pool, 0.05) == []
    assert 0.05 <= time.monotonic() - began < LONG_S


class Hanging:
    """A way to ask that hangs, in nothing that can be ended from outside."""

    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        self.wake = threading.Event()
        self.under_way = threading.Semaphore(0)

    def __call__(self, _task_id: str) -> Task:
        _calls.current.begins("a host", "answer", self.limit_s)
        self.under_way.release()
        self.wake.wait(LONG_S)
        return RUNNING


def test_a_question_that_hangs_is_answered_for_and_its_place_is_free() -> None:
    ask = Hanging(0.05)
    pool = WorkerPool(ask, size=1)
    for _ in range(3):
        pool.start("a")
        (answer,) = answers(pool)
        assert isinstance(answer.outcome, ServiceUnavailable)
        assert "no answer within 50ms" in str(answer.outcome)
        assert pool.free == 1
    ask.wake.set()
    # What the three bring in the end is not taken for an answer to another question.
    ask.limit_s = LONG_S
    assert answers(pool, 0.1) == []
    pool.start("a")
    (answer,) = answers(pool)
    assert answer.outcome is RUNNING
    pool.close()


def test_a_dropped_questions_answer_is_dropped_too() -> None:
    ask = Hanging(LONG_S)
    pool = WorkerPool(ask, size=2)
    pool.start("a")
    assert ask.under_way.acquire(timeout=LONG_S)
    pool.drop("a")
    pool.drop("never asked for")
    assert pool.free == 2
    ask.wake.set()
    assert answers(pool, 0.1) == []
    pool.close()


def test_one_that_is_dropped_just_as_it_answers_leaves_no_thread_behind() -> None:
    asked = threading.Semaphore(0)

    def ask(_task_id: str) -> Task:
        asked.release()
        return RUNNING

    pool = WorkerPool(ask, size=1)
    for round_ in range(300):
        pool.start("a")
        assert asked.acquire(timeout=LONG_S)
        time.sleep(round_ % 10 * 1e-5)
        pool.drop("a")
    assert answers(pool, 0.05) == []
    pool.start("a")
    assert [answer.outcome for answer in answers(pool)] == [RUNNING]
    pool.close()


def test_no_more_threads_than_questions_at_once() -> None:
    names: set[int] = set()

    def ask(_task_id: str) -> Task:
        names.add(threading.get_ident())
        return RUNNING

    pool = WorkerPool(ask, size=4)
    for number in range(200):
        while not pool.free:
            answers(pool)
        pool.start(str(number))
    assert len(names) <= 4
    pool.close()


def test_a_call_that_hangs_is_ended_in_time_however_many_others_answer() -> None:
    def ask(task_id: str) -> Task:
        if task_id == "hangs":
            _calls.current.begins("a host", "answer", 0.3)
            time.sleep(1.5)
        time.sleep(0.01)
        return RUNNING

    pool = WorkerPool(ask, size=2)
    pool.start("hangs")
    began_s = pool.now()
    while True:
        if pool.free:
            pool.start("answers")
        if any(a.task_id == "hangs" for a in pool.answers(pool.now() + 5)):
            break
    assert pool.now() - began_s < 1.2
    pool.close()
