"""How long a wait lasts and how often it polls."""

from typing import NamedTuple

_SHORTEST_S, _LONGEST_S = 1.0, 15.0
"""Limits of the automatic pause between two polls of a task. The README gives numbers of both."""
_SHARE = 20
"""Between them it is the time waited so far, divided by this: an end is seen at most 5 % late."""


class WaitPolicy(NamedTuple):
    """The limits of a wait, in seconds.

    Without ``wait`` each task is polled once. ``interval_s`` ``None`` is ``auto``. ``timeout_s``
    counts from ``began_s``, a moment of the scheduler's clock; ``None`` is no limit. With
    ``fail_fast`` the first task or subtask that failed ends every wait; with ``strict`` one that
    ended with WARNING has failed too.
    """

    wait: bool
    interval_s: float | None = None
    max_outage_s: float = 300.0
    timeout_s: float | None = None
    began_s: float = 0.0
    fail_fast: bool = False
    strict: bool = False

    @property
    def until_s(self) -> float:
        """When the wait ends even if its tasks still run."""
        return float("inf") if self.timeout_s is None else self.began_s + self.timeout_s

    def pause_s(self, waited_s: float) -> float:
        """The pause before the next poll of a task, after waiting for it for ``waited_s``."""
        if self.interval_s is not None:
            return self.interval_s
        return min(max(waited_s / _SHARE, _SHORTEST_S), _LONGEST_S)
