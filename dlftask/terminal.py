"""The terminal that is drawn on, given back whatever ends or stops the run."""

import os
import signal
from contextlib import suppress
from types import FrameType

_SHOW_CURSOR = b"\r\x1b[J\x1b[?7h\x1b[?25h"
_HIDE_CURSOR = b"\x1b[?25l"


def hand_back_on_signals() -> None:
    r"""Give the shell its cursor on Ctrl-Z, Ctrl-\ and a hang-up; ``fg`` goes on with the wait.

    SIGINT and SIGTERM are exceptions in the main thread (``__main__``) and come by ``close``.
    """
    signal.signal(signal.SIGTSTP, _suspend)
    for number in (signal.SIGHUP, signal.SIGQUIT):
        if signal.getsignal(number) is signal.SIG_DFL:  # not where nohup has it ignored
            signal.signal(number, _leave)


def _suspend(_signal_number: int, _frame: FrameType | None) -> None:
    _write(_SHOW_CURSOR)
    os.kill(os.getpid(), signal.SIGSTOP)
    _write(_HIDE_CURSOR)


def _leave(signal_number: int, _frame: FrameType | None) -> None:
    """End the run as the signal would have without us."""
    _write(_SHOW_CURSOR)
    signal.signal(signal_number, signal.SIG_DFL)
    os.kill(os.getpid(), signal_number)


def _write(data: bytes) -> None:
    # Not through the streams: a signal may come in the middle of one of their writes.
    with suppress(OSError):
        os.write(1, data)
