"""The terminal that is drawn on, given back whatever ends or stops the run."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from subprocess import Popen

_HAND_BACK = b"\r\x1b[J\x1b[?7h\x1b[?25h"
_TAKE_AGAIN = b"\x1b[?25l"


@contextmanager
def handed_back_on_signals() -> Iterator[None]:
    r"""While drawing: give the shell its cursor on Ctrl-Z, Ctrl-\ and a hang-up.

    ``fg`` goes on with the wait. SIGINT and SIGTERM are exceptions in the main thread
    (``__main__``), and give it back by the view's ``close``.
    """
    handlers = {signal.SIGTSTP: _suspend, signal.SIGHUP: _leave, signal.SIGQUIT: _leave}
    # Not what is ignored already, as nohup does.
    ours = [number for number in handlers if signal.getsignal(number) is signal.SIG_DFL]
    for number in ours:
        signal.signal(number, handlers[number])
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


def _suspend(_signal_number: int, _frame: FrameType | None) -> None:
    _write(_HAND_BACK)
    os.kill(os.getpid(), signal.SIGSTOP)
    _write(_TAKE_AGAIN)


def _leave(signal_number: int, _frame: FrameType | None) -> None:
    """End the run as the signal would have without us."""
    _write(_HAND_BACK)
    signal.signal(signal_number, signal.SIG_DFL)
    os.kill(os.getpid(), signal_number)


def _write(data: bytes) -> None:
    # Not through the streams: a signal may come in the middle of one of their writes.
    with suppress(OSError):
        os.write(1, data)


def kill_group(process: "Popen[bytes]") -> None:
    """End a process and the children in its group; nothing where it was waited for already."""
    if process.returncode is not None:
        return
    if sys.platform == "win32":
        process.kill()
    else:
        with suppress(ProcessLookupError, PermissionError):  # all have ended
            os.killpg(process.pid, signal.SIGKILL)
