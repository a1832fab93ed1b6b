"""Every signal handler and timer."""

import _thread
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from dlftask.errors import Interrupted
from dlftask.platforms import CONTINUES, INTERRUPTIONS, STOPS, interrupt_thread

_CLEANUP_S = 0.7
_CHECK_S, _CHECKS = 0.1, 5
_Handler = Callable[[int, FrameType | None], object]


def handle_interruptions(handler: _Handler | None = None) -> None:
    """Make SIGINT and SIGTERM (Ctrl-C and Ctrl-Break on Windows) raise ``Interrupted``.

    With ``handler`` they call that instead.

    A signal that was ignored at the start (``nohup``, ``trap '' INT``) stays ignored.
    """
    for number in INTERRUPTIONS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, handler or _interrupt)
    sys.unraisablehook = _raise_again


def _interrupt(number: int, _frame: FrameType | None) -> None:
    # A second signal must not interrupt the clean-up. Not SIG_IGN: for a second one that came
    # together with the first, Python would print a traceback.
    handle_interruptions(lambda *_: None)
    number = signal.SIGTERM if number == signal.SIGTERM else signal.SIGINT
    end_stuck_process(time.monotonic() + _CLEANUP_S, 128 + number)
    MainThread.interruption = Interrupted(number)
    raise MainThread.interruption


def _raise_again(lost: "sys.UnraisableHookArgs") -> None:
    """Raise an interruption again, a moment later, that a running finalizer lost."""
    error = lost.exc_value
    if not isinstance(error, Interrupted):
        sys.__unraisablehook__(lost)
        return
    number, main_thread = signal.Signals(error.exit_status - 128), _thread.get_ident()
    signal.signal(number, _interrupt)

    def send() -> None:
        time.sleep(0.01)
        interrupt_thread(main_thread, number)

    if not _start_thread(send):
        os._exit(error.exit_status)


class MainThread:
    """What other modules and the thread that ends a stuck process check."""

    interruption: Interrupted | None = None
    """The interruption that was raised."""
    write: object | None = None
    """The write that the main thread is in: a new object each time."""
    limit: object | None = None
    """The last call of ``end_stuck_process``, the only one that counts."""


def end_stuck_process(at_s: float, status: int, *, writing_only: bool = False) -> None:
    """End the process at a moment (monotonic), unless another call or ``cancel_end`` comes first.

    With ``writing_only`` only once the main thread has hung in a single write for half a second
    after that moment: not while it is busy, and not because the process was stopped.
    """
    MainThread.limit = mine = object()

    def wait() -> None:
        checks, seen = 0, None
        while MainThread.limit is mine:
            left_s = at_s - time.monotonic()
            if left_s > 0:
                time.sleep(min(left_s, 60.0))
                continue
            checks = checks + 1 if MainThread.write is not None and MainThread.write is seen else 0
            seen = MainThread.write
            if checks == _CHECKS or not writing_only:
                os._exit(status)
            time.sleep(_CHECK_S)

    _start_thread(wait)


def cancel_end() -> None:
    """Cancel the last ``end_stuck_process``."""
    MainThread.limit = None


def _start_thread(function: Callable[[], None]) -> bool:
    """Start a daemon thread without a lock, safe in a signal handler; return whether it started."""
    try:
        _thread.start_new_thread(function, ())
    except RuntimeError:
        return False
    return True


@contextmanager
def terminal_restored(
    restore: bytes, redraw: Callable[[], object], *, descriptor: int = 1
) -> Iterator[None]:
    r"""Write ``restore`` to the terminal before Ctrl-Z stops or a signal ends the process.

    That is SIGTSTP, SIGHUP and SIGQUIT; ``redraw`` is called when the process continues. SIGINT and
    SIGTERM are exceptions in the main thread.
    """

    def act(number: int, _frame: FrameType | None) -> None:
        # Not through the streams: the signal may come in the middle of one of their writes.
        with suppress(OSError):
            os.write(descriptor, restore)
        # The default action. Not SIGSTOP: where no shell could continue the process, SIGTSTP does
        # not stop it.
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)
        signal.signal(number, act)
        redraw()

    handlers: dict[int, _Handler] = dict.fromkeys(STOPS, act)
    handlers |= dict.fromkeys(CONTINUES, lambda *_: redraw())
    ours = [number for number in handlers if signal.getsignal(number) == signal.SIG_DFL]
    for number in ours:
        signal.signal(number, handlers[number])
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)
