"""What shows a wait while it happens."""

from collections.abc import Sequence
from typing import Protocol

from dlftask.waiting.snapshot import Snapshot


class View(Protocol):
    """A wait as its user sees it: in place on a terminal, a line a change elsewhere."""

    tick_s: float
    """How often ``tick`` wants to be called, in seconds, while nothing changes."""

    def show(self, snapshots: Sequence[Snapshot]) -> None:
        """Show the tasks that changed since the last call; the first sight is a change."""

    def tick(self) -> None:
        """Time has passed: move what moves, and be not silent for too long."""

    def note(self, text: str) -> None:
        """Say one line about the wait itself on standard error, beside whatever is drawn."""

    def close(self) -> None:
        """Draw no more, and leave the terminal as it was found. May be called twice."""
