"""Threads that ask, so that whoever waits for them can always look at the clock and at signals."""

import threading
import time
from collections.abc import Callable
from queue import Empty, Queue, SimpleQueue

from dlftask.api.transport import Call, attend
from dlftask.errors import DlftaskError
from dlftask.task import Task
from dlftask.waiting.scheduler import Answer

_LOOK_S = 0.2
"""How often the limits of what is under way are looked at."""
_GRACE_S = 0.3
"""How long a thread has to come back after its call was ended."""


class _Question:
    def __init__(self, task_id: str) -> None:
        self.task_id = task_id
        self.asked_s = time.monotonic()
        self.call = Call()
        self.dropped = False
        self.done = False
        self.outcome: Task | BaseException = AssertionError("not answered yet")


class WorkerPool:
    """At most ``size`` questions under way at once, each on a thread of its own.

    A question whose time is up is answered for it and its thread left to itself: not even a name
    look-up that hangs in the C library holds up anything. The threads end with the process.
    """

    def __init__(self, ask: Callable[[str], Task], *, size: int) -> None:
        self._ask = ask
        self._size = size
        self._started = 0
        self._lock = threading.Lock()
        self._waiting: SimpleQueue[_Question | None] = SimpleQueue()
        # Not a SimpleQueue: a signal whose handler outlasts the timeout (Ctrl-Z) makes one wait for
        # ever.
        self._done: Queue[_Question] = Queue()
        self._under_way: dict[str, _Question] = {}
        self._looked_s = self.now()

    @property
    def free(self) -> int:
        """How many more questions may be started now."""
        return self._size - len(self._under_way)

    def now(self) -> float:
        """The clock that ``answers`` waits by, in seconds."""
        return time.monotonic()

    def start(self, task_id: str) -> None:
        """Ask for a task that is not being asked for."""
        question = self._under_way[task_id] = _Question(task_id)
        self._waiting.put(question)
        if self._started < len(self._under_way):
            self._started += 1
            threading.Thread(target=self._work, daemon=True).start()

    def drop(self, task_id: str) -> None:
        """No longer care for a question's answer, if it is under way."""
        question = self._under_way.pop(task_id, None)
        if question is None:
            return
        with self._lock:
            question.dropped = True
            if question.done:
                return  # its thread is free again already
            self._started -= 1
        question.call.give_up()

    def answers(self, until_s: float) -> list[Answer]:
        """What has come: waits for the first answer, until a moment of ``now`` at the latest.

        Whatever is raised while asking and is not a ``DlftaskError`` is raised here.
        """
        while True:
            # A call sets itself new limits while this waits.
            look_s = self._looked_s + _LOOK_S if self._under_way else until_s
            wait_s = min(max(0.0, min(until_s, look_s) - self.now()), 3600.0)
            try:
                done = [self._done.get(timeout=wait_s)]
            except Empty:
                found = []
            else:
                while not self._done.empty():
                    done.append(self._done.get())
                found = [self._finish(question) for question in done if not question.dropped]
            if self.now() >= self._looked_s + _LOOK_S:
                self._looked_s = self.now()
                found += self._overdue()
            if found or self.now() >= until_s:
                return found

    def close(self) -> None:
        """Ask nothing more: idle threads end, and whatever is under way is dropped."""
        for task_id in list(self._under_way):
            self.drop(task_id)
        for _ in range(self._started):
            self._waiting.put(None)

    def _overdue(self) -> list[Answer]:
        """End what has taken too long, and answer for the threads that even so do not come back.

        Most do, at once, and know better what it was that took so long.
        """
        now_s = self.now()
        late = [q for q in self._under_way.values() if q.call.until <= now_s]
        lost = [
            q
            for q in late
            if q.call.until + _GRACE_S <= now_s or not (q.call.given_up or q.call.give_up())
        ]
        for question in lost:
            self.drop(question.task_id)
        return [Answer(q.task_id, q.asked_s, q.call.overdue()) for q in lost]

    def _finish(self, question: _Question) -> Answer:
        del self._under_way[question.task_id]
        if isinstance(question.outcome, Task | DlftaskError):
            return Answer(question.task_id, question.asked_s, question.outcome)
        raise question.outcome

    def _work(self) -> None:
        while True:
            question = self._waiting.get()
            if question is None:
                return
            attend(question.call)
            try:
                question.outcome = self._ask(question.task_id)
            except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
                question.outcome = error
            with self._lock:
                if question.dropped:
                    return  # another was started in this thread's place
                question.done = True
                self._done.put(question)
