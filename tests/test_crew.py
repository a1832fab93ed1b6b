"""The threads that ask: none is waited for longer than it may take, none is left over."""

import threading
import time
from collections.abc import Iterator

import pytest

from dlftask.crew import Crew
from dlftask.errors import ServiceUnavailable, TaskNotFound
from dlftask.polling import Answer
from dlftask.task import Task
from dlftask.transport import _calls

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


def answers(crew: Crew, within_s: float = LONG_S) -> list[Answer]:
    return crew.answers(crew.now() + within_s)


def test_what_comes_of_a_question_is_its_answer() -> None:
    def ask(task_id: str) -> Task:
        if task_id == "missing":
            raise TaskNotFound("no such task")
        return RUNNING

    crew = Crew(ask, size=2)
    crew.start("a")
    crew.start("missing")
    assert crew.free == 0
    found: dict[str, object] = {}
    while len(found) < 2:
        found |= {answer.task_id: answer.outcome for answer in answers(crew)}
    assert crew.free == 2
    assert found["a"] is RUNNING
    assert isinstance(found["missing"], TaskNotFound)
    crew.dismiss()


def test_a_bug_is_raised_where_it_is_waited_for() -> None:
    def ask(_task_id: str) -> Task:
        raise ZeroDivisionError

    crew = Crew(ask, size=1)
    crew.start("a")
    with pytest.raises(ZeroDivisionError):
        answers(crew)
    crew.dismiss()


def test_without_an_answer_the_moment_comes() -> None:
    crew = Crew(lambda _: RUNNING, size=1)
    began = time.monotonic()
    assert answers(crew, 0.05) == []
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
    crew = Crew(ask, size=1)
    for _ in range(3):
        crew.start("a")
        (answer,) = answers(crew)
        assert isinstance(answer.outcome, ServiceUnavailable)
        assert "no answer within 50ms" in str(answer.outcome)
        assert crew.free == 1
    ask.wake.set()
    # What the three bring in the end is not taken for an answer to another question.
    ask.limit_s = LONG_S
    assert answers(crew, 0.1) == []
    crew.start("a")
    (answer,) = answers(crew)
    assert answer.outcome is RUNNING
    crew.dismiss()


def test_a_dropped_questions_answer_is_dropped_too() -> None:
    ask = Hanging(LONG_S)
    crew = Crew(ask, size=2)
    crew.start("a")
    assert ask.under_way.acquire(timeout=LONG_S)
    crew.drop("a")
    crew.drop("never asked for")
    assert crew.free == 2
    ask.wake.set()
    assert answers(crew, 0.1) == []
    crew.dismiss()


def test_one_that_is_dropped_just_as_it_answers_leaves_no_thread_behind() -> None:
    asked = threading.Semaphore(0)

    def ask(_task_id: str) -> Task:
        asked.release()
        return RUNNING

    crew = Crew(ask, size=1)
    for round_ in range(300):
        crew.start("a")
        assert asked.acquire(timeout=LONG_S)
        time.sleep(round_ % 10 * 1e-5)
        crew.drop("a")
    assert answers(crew, 0.05) == []
    crew.start("a")
    assert [answer.outcome for answer in answers(crew)] == [RUNNING]
    crew.dismiss()


def test_no_more_threads_than_questions_at_once() -> None:
    names: set[int] = set()

    def ask(_task_id: str) -> Task:
        names.add(threading.get_ident())
        return RUNNING

    crew = Crew(ask, size=4)
    for number in range(200):
        while not crew.free:
            answers(crew)
        crew.start(str(number))
    assert len(names) <= 4
    crew.dismiss()


def test_a_call_that_hangs_is_ended_in_time_however_many_others_answer() -> None:
    def ask(task_id: str) -> Task:
        if task_id == "hangs":
            _calls.current.begins("a host", "answer", 0.3)
            time.sleep(1.5)
        time.sleep(0.01)
        return RUNNING

    crew = Crew(ask, size=2)
    crew.start("hangs")
    began_s = crew.now()
    while True:
        if crew.free:
            crew.start("answers")
        if any(a.task_id == "hangs" for a in crew.answers(crew.now() + 5)):
            break
    assert crew.now() - began_s < 1.2
    crew.dismiss()
