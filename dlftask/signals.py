"""Signals, timers and terminal modes: the one module that knows what Windows lacks of them."""

import _thread
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING

from dlftask.errors import Interrupted

if TYPE_CHECKING:
    from subprocess import Popen

LONGEST_WAIT_S = 0.2 if sys.platform == "win32" else 3600.0
"""How long the main thread may wait for a lock: on Windows no Ctrl-C ends such a wait."""

PIPE_CHUNK = getattr(select, "PIPE_BUF", 32768)
"""Bytes that a pipe that is ready takes at once, and whole."""

_GOODBYE_S = 0.7
_LOOK_S, _LOOKS = 0.1, 5
_Handler = Callable[[int, FrameType | None], object]

if sys.platform == "win32":
    _INTERRUPTIONS = (signal.SIGINT, signal.SIGBREAK)
    FORWARDED: tuple[signal.Signals, ...] = _INTERRUPTIONS
else:
    _INTERRUPTIONS = (signal.SIGINT, signal.SIGTERM)
    FORWARDED = (*_INTERRUPTIONS, signal.SIGHUP)
"""What a program passes on to the command that it runs."""


def handle_interruptions(handler: _Handler | None = None) -> None:
    """Let SIGINT and SIGTERM (Ctrl-C and Ctrl-Break on Windows) raise ``Interrupted``, or do else.

    A signal that was ignored at the start (``nohup``, ``trap '' INT``) stays ignored.
    """
    for number in _INTERRUPTIONS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, handler or _interrupt)
    sys.unraisablehook = _raise_again


def _interrupt(number: int, _frame: FrameType | None) -> None:
    # A second signal must not break into the goodbye. Not SIG_IGN: for a second one that came
    # together with the first, Python would print a traceback.
    handle_interruptions(lambda *_: None)
    number = signal.SIGTERM if number == signal.SIGTERM else signal.SIGINT
    end_stuck_process(time.monotonic() + _GOODBYE_S, 128 + number)
    raise Interrupted(number)


def _raise_again(lost: "sys.UnraisableHookArgs") -> None:
    """Raise an interruption again, a moment later, that came in a finalizer, which loses it."""
    error = lost.exc_value
    if not isinstance(error, Interrupted):
        sys.__unraisablehook__(lost)
        return
    number, main_thread = signal.Signals(error.exit_status - 128), _thread.get_ident()
    signal.signal(number, _interrupt)

    def send() -> None:
        time.sleep(0.01)
        if sys.platform == "win32":
            _thread.interrupt_main(number)
        else:
            signal.pthread_kill(main_thread, number)

    if not _start_thread(send):
        os._exit(error.exit_status)


def keep_child_statuses() -> None:
    """Have the exit status of a child kept: an inherited SIGCHLD that is ignored loses it."""
    if sys.platform != "win32":
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)


class MainThread:
    """What the thread that ends a stuck process looks at."""

    write: object | None = None
    """The write that the main thread is in: another object each time."""
    limit: object | None = None
    """The last call of ``end_stuck_process``, which alone counts."""


def end_stuck_process(at_s: float, status: int, *, writing_only: bool = False) -> None:
    """End the process at a moment (monotonic), unless another call or ``cancel_end`` comes first.

    With ``writing_only`` only once the main thread has hung in a single write for half a second
    after that moment: not while it is busy, and not because the process was stopped.
    """
    MainThread.limit = mine = object()

    def wait() -> None:
        looks, seen = 0, None
        while MainThread.limit is mine:
            left_s = at_s - time.monotonic()
            if left_s > 0:
                time.sleep(min(left_s, 60.0))
                continue
            looks = looks + 1 if MainThread.write is not None and MainThread.write is seen else 0
            seen = MainThread.write
            if looks == _LOOKS or not writing_only:
                os._exit(status)
            time.sleep(_LOOK_S)

    _start_thread(wait)


def cancel_end() -> None:
    """Forget the last ``end_stuck_process``."""
    MainThread.limit = None


def _start_thread(function: Callable[[], None]) -> bool:
    """Start a daemon thread without a lock, as a signal handler may; whether there is one."""
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
    if sys.platform == "win32":
        yield
        return

    def act(number: int, _frame: FrameType | None) -> None:
        # Not through the streams: the signal may come in the middle of one of their writes.
        with suppress(OSError):
            os.write(descriptor, restore)
        # As without us. Not SIGSTOP: where no shell could continue it, SIGTSTP does not stop it.
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)
        signal.signal(number, act)
        redraw()

    handlers: Mapping[int, _Handler] = {
        signal.SIGTSTP: act,
        signal.SIGHUP: act,
        signal.SIGQUIT: act,
        signal.SIGCONT: lambda *_: redraw(),
    }
    ours = [number for number in handlers if signal.getsignal(number) == signal.SIG_DFL]
    for number in ours:
        signal.signal(number, handlers[number])
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


def in_foreground() -> bool:
    """Whether this process is in the foreground of its terminal, and so may draw on it."""
    if sys.platform == "win32":
        return True
    for descriptor in (1, 2):
        with suppress(OSError):
            return os.tcgetpgrp(descriptor) == os.getpgrp()
    return True


def owns_terminal() -> bool:
    """Whether a Ctrl-C on the terminal reaches this process and its children by itself."""
    if sys.platform == "win32":
        return True
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)


def wait_writable(descriptor: int, timeout_s: float) -> bool:
    """Wait until something can be written; on Windows the write itself waits."""
    if sys.platform == "win32":
        return True
    return bool(select.select([], [descriptor], [], timeout_s)[1])


def is_broken_pipe(descriptor: int) -> bool:
    """Whether nobody reads the other end any more; no on Windows, where a write tells."""
    if sys.platform == "win32":
        return False
    poll = select.poll()
    poll.register(descriptor, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def enable_vt(descriptor: int) -> bool:
    """Let a terminal understand escape sequences; whether it does."""
    if sys.platform != "win32":
        return True
    import ctypes
    import msvcrt

    try:
        handle = msvcrt.get_osfhandle(descriptor)
        kernel, mode = ctypes.windll.kernel32, ctypes.c_uint32()
        vt = 0x0004  # ENABLE_VIRTUAL_TERMINAL_PROCESSING
        found = kernel.GetConsoleMode(handle, ctypes.byref(mode))
        return bool(found and kernel.SetConsoleMode(handle, mode.value | vt))
    except OSError:
        return False


def kill_group(process: "Popen[bytes]") -> None:
    """End a process and the children in its group; nothing where it was waited for already."""
    if process.returncode is not None:
        return
    if sys.platform == "win32":
        process.kill()
    else:
        with suppress(ProcessLookupError, PermissionError):  # all have ended
            os.killpg(process.pid, signal.SIGKILL)
