"""The threads that fetch: unwanted results are ignored, and no thread is left over."""

import threading
import time
from collections.abc import Iterator

import pytest

from dlftask.errors import TaskNotFound
from dlftask.task import Task
from dlftask.waiting.workers import FetchResult, WorkerPool

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


def results(pool: WorkerPool, within_s: float = LONG_S) -> list[FetchResult]:
    return pool.results(pool.now() + within_s)


def test_each_request_has_one_result() -> None:
    def fetch(task_id: str) -> Task:
        if task_id == "missing":
            raise TaskNotFound("no such task")
        return RUNNING

    pool = WorkerPool(fetch, size=2)
    pool.start("a")
    pool.start("missing")
    assert pool.free == 0
    found: dict[str, object] = {}
    while len(found) < 2:
        found |= {result.task_id: result.outcome for result in results(pool)}
    assert pool.free == 2
    assert found["a"] is RUNNING
    assert isinstance(found["missing"], TaskNotFound)
    pool.close()


def test_a_bug_is_raised_where_it_is_waited_for() -> None:
    def fetch(_task_id: str) -> Task:
        raise ZeroDivisionError

    pool = WorkerPool(fetch, size=1)
    pool.start("a")
    with pytest.raises(ZeroDivisionError):
        results(pool)
    pool.close()


def test_without_a_result_the_wait_ends_on_time() -> None:
    pool = WorkerPool(lambda _: RUNNING, size=1)
    began = time.monotonic()
    assert results(pool, 0.05) == []
    assert 0.05 <= time.monotonic() - began < LONG_S


class Hanging:
    """A fetch function that waits until ``wake`` is set."""

    def __init__(self) -> None:
        self.wake = threading.Event()
        self.in_flight = threading.Semaphore(0)

    def __call__(self, _task_id: str) -> Task:
        self.in_flight.release()
        self.wake.wait(LONG_S)
        return RUNNING


def test_a_result_that_is_no_longer_wanted_is_ignored_and_its_place_is_free() -> None:
    fetch = Hanging()
    pool = WorkerPool(fetch, size=2)
    pool.start("a")
    assert fetch.in_flight.acquire(timeout=LONG_S)
    pool.drop("a")
    pool.drop("never started")
    assert pool.free == 2
    pool.start("b")
    pool.start("c")
    fetch.wake.set()
    found: list[str] = []
    while len(found) < 2:
        found += [result.task_id for result in results(pool)]
    assert sorted(found) == ["b", "c"]
    assert results(pool, 0.1) == []
    pool.close()


def test_everything_is_fetched_with_fewer_threads_than_wanted_or_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start, allowed = threading.Thread.start, 0

    def start_if_allowed(thread: threading.Thread) -> None:
        nonlocal allowed
        if not allowed:
            raise RuntimeError("can't start new thread")
        allowed -= 1
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_if_allowed)
    for count in (0, 1, 2):
        allowed = count
        pool = WorkerPool(lambda _: RUNNING, size=4)
        for name in "abcd":
            pool.start(name)
        found: list[str] = []
        while len(found) < 4:
            found += [result.task_id for result in results(pool)]
        assert sorted(found) == ["a", "b", "c", "d"]
        pool.close()


def test_dropping_a_request_as_it_completes_leaves_no_thread_behind() -> None:
    started = threading.Semaphore(0)

    def fetch(_task_id: str) -> Task:
        started.release()
        return RUNNING

    pool = WorkerPool(fetch, size=1)
    for round_ in range(300):
        pool.start("a")
        assert started.acquire(timeout=LONG_S)
        time.sleep(round_ % 10 * 1e-5)
        pool.drop("a")
    assert results(pool, 0.05) == []
    pool.start("a")
    assert [result.outcome for result in results(pool)] == [RUNNING]
    pool.close()


def test_there_are_no_more_threads_than_simultaneous_requests() -> None:
    names: set[int] = set()

    def fetch(_task_id: str) -> Task:
        names.add(threading.get_ident())
        return RUNNING

    pool = WorkerPool(fetch, size=4)
    for number in range(200):
        while not pool.free:
            results(pool)
        pool.start(str(number))
    assert len(names) <= 4
    pool.close()
