"""What differs between Linux, macOS and Windows; no other module checks which of them it is."""

import _thread
import os
import select
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from subprocess import Popen

if sys.platform == "win32":
    HOME = "USERPROFILE"
    """The variable with the user's home folder."""
    CONFIG_FOLDER = "APPDATA", "AppData/Roaming"
    """The variable with the folder of configuration files, and its default in the home folder."""
    STATE_FOLDER = "LOCALAPPDATA", "AppData/Local"
    """The same for what programs remember for the user."""
    HAS_FILE_MODES = False
    """Whether a file's mode shows who can read it."""
    READ_FLAGS = os.O_RDONLY | os.O_BINARY
    """To open any file or FIFO to read it, without waiting for a writer."""
    WRITE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_BINARY
    """To open any file or FIFO to write it; a FIFO that nobody reads gives ENXIO."""
    INTERRUPTIONS: tuple[signal.Signals, ...] = (signal.SIGINT, signal.SIGBREAK)
    """What ends a command."""
    FORWARDED = INTERRUPTIONS
    """What a program passes on to the command that it runs."""
    STOPS: tuple[signal.Signals, ...] = ()
    """What else stops or ends a process that draws on its terminal."""
    CONTINUES: tuple[signal.Signals, ...] = ()
    """What tells such a process that it continues."""
    PIPE_CHUNK = 32768
    """Bytes that a ready pipe accepts in one write."""
else:
    HOME = "HOME"
    CONFIG_FOLDER = "XDG_CONFIG_HOME", ".config"
    STATE_FOLDER = "XDG_STATE_HOME", ".local/state"
    HAS_FILE_MODES = True
    READ_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
    WRITE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK | os.O_NOCTTY
    INTERRUPTIONS = (signal.SIGINT, signal.SIGTERM)
    FORWARDED = (*INTERRUPTIONS, signal.SIGHUP)
    STOPS = (signal.SIGTSTP, signal.SIGHUP, signal.SIGQUIT)
    CONTINUES = (signal.SIGCONT,)
    PIPE_CHUNK = select.PIPE_BUF


def keep_child_statuses() -> None:
    """Keep the exit statuses of children: if SIGCHLD is inherited as ignored, they are lost."""
    if sys.platform != "win32":
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def interrupt_thread(thread: int, number: signal.Signals) -> None:
    """Have a signal's handler called, even while that thread (the main one) is blocked."""
    if sys.platform == "win32":
        _thread.interrupt_main(number)
    else:
        signal.pthread_kill(thread, number)


def kill_group(process: "Popen[bytes]") -> None:
    """End a process and the children in its group, unless it was waited for already."""
    if process.returncode is not None:
        return
    if sys.platform == "win32":
        process.kill()
    else:
        with suppress(ProcessLookupError, PermissionError):  # all have ended
            os.killpg(process.pid, signal.SIGKILL)


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
        with Path("/dev/tty").open("rb", buffering=0) as terminal:
            return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    except OSError:
        return False


def enable_vt(descriptor: int) -> bool:
    """Make a terminal understand escape sequences; return whether it does."""
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


def wait_writable(descriptor: int, timeout_s: float) -> bool:
    """Wait until something can be written; on Windows the write itself waits."""
    if sys.platform == "win32":
        return True
    return bool(select.select([], [descriptor], [], timeout_s)[1])


def is_broken_pipe(descriptor: int) -> bool:
    """Whether the other end of a pipe is closed; never on Windows, where a write reports it."""
    if sys.platform == "win32":
        return False
    poll = select.poll()
    poll.register(descriptor, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def wait_readable(descriptor: int, until_s: float | None) -> None:
    """Wait until something can be read, or all writers have closed it.

    Raises ``TimeoutError`` at ``until_s`` (monotonic).
    """
    limit_s = float("inf") if until_s is None else until_s
    while not _is_readable(descriptor, min(limit_s - time.monotonic(), 3600.0)):
        if time.monotonic() >= limit_s:
            raise TimeoutError("no data in time")


def _is_readable(descriptor: int, timeout_s: float) -> bool:
    if sys.platform != "win32":
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(max(0.0, timeout_s) * 1000))
    import _winapi
    import msvcrt

    try:
        readable = bool(_winapi.PeekNamedPipe(msvcrt.get_osfhandle(descriptor), 0)[0])
    except OSError:  # closed by its writers, or no pipe
        return True
    if not readable:
        time.sleep(0.05)
    return readable
