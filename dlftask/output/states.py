"""The state of a task as it is shown, and counts of states, in words that the views share."""

from collections.abc import Mapping

from dlftask.durations import format_duration
from dlftask.errors import DlftaskError, ServiceUnavailable, WaitTimeout
from dlftask.output.text import status_word
from dlftask.task import Status, status_info
from dlftask.waiting.snapshot import Snapshot

_MAX_STATUSES = 6
_LONGEST_STATUS = 24

NO_RESPONSE = "no response yet"


def shown_status(snapshot: Snapshot) -> str | None:
    """The status to count a task under: a task that is unavailable counts as FAILED."""
    if is_unavailable(snapshot):
        return Status.FAILED
    return snapshot.task.status if snapshot.task else NO_RESPONSE


def is_unavailable(snapshot: Snapshot) -> bool:
    """Whether an error ended the wait for a task; after a timeout its last state is valid."""
    return snapshot.error is not None and not isinstance(snapshot.error, WaitTimeout)


def missing(snapshot: Snapshot) -> DlftaskError:
    """The error that explains why there is no task to show."""
    return snapshot.error or ServiceUnavailable("no response")


def counts_text(counts: Mapping[str | None, int]) -> str:
    """``2 FAILED, 7 RUNNING, 991 SUCCESSFUL``: what needs a look first.

    If there are many unknown statuses, a few are named and the rest counted.
    """
    ordered = sorted(counts.items(), key=lambda item: (status_info(item[0]).rank, -item[1]))
    words = [f"{n} {status_word(s)[:_LONGEST_STATUS]}" for s, n in ordered[:_MAX_STATUSES]]
    others = sum(n for _, n in ordered[_MAX_STATUSES:])
    return ", ".join([*words, f"{others} others"] if others else words)


def elapsed_text(seconds: float) -> str:
    """Time so far, in whole seconds: ``0s``, ``12s``, ``1m02s``."""
    return format_duration(int(seconds)) if seconds >= 1 else "0s"
