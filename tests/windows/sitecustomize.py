"""Removes from a process what Windows lacks: the folder of this file is put on ``PYTHONPATH``.

Modules that check ``sys.platform`` when they are imported are imported before it changes.
"""

import array
import asyncio
import ctypes
import encodings.idna
import fcntl
import http.client
import http.server
import locale
import multiprocessing
import os
import select
import signal
import socket
import socketserver
import ssl
import subprocess
import sys
import tempfile
import termios
import types
import urllib.request
from typing import Any

# Typer, requests and rich check the platform too; they are not what is tested here.
import certifi
import requests
import rich.console
import typer.main
import urllib3

_USED = (
    asyncio, ctypes, encodings.idna, http.client, http.server, locale, multiprocessing,
    socketserver, ssl, subprocess, tempfile, urllib.request, certifi, requests, rich.console,
    typer.main, urllib3,
)  # fmt: skip
# The standard library's own modules keep what they have imported.
_select, _poll, _error = select.select, select.poll, OSError

_MISSING = {
    os: "fork forkpty getuid geteuid getgid getpgrp getpgid setsid setpgid tcgetpgrp tcsetpgrp "
    "killpg mkfifo O_NONBLOCK O_CLOEXEC O_NOCTTY register_at_fork wait3 wait4 ttyname chown",
    signal: "SIGALRM SIGTSTP SIGHUP SIGQUIT SIGCHLD SIGCONT SIGSTOP SIGKILL SIGXFSZ SIGPIPE "
    "setitimer alarm ITIMER_REAL pthread_kill pthread_sigmask sigwait siginterrupt",
    select: "poll epoll PIPE_BUF",
}


def _select_sockets_alone(*lists: Any) -> Any:
    for one in (one for many in lists[:3] for one in many):
        if not isinstance(one, socket.socket):
            raise _error(10038, "an operation was attempted on something that is not a socket")
    return _select(*lists)


def _peek_named_pipe(handle: int, _size: int = 0) -> tuple[int, int]:
    """The bytes that can be read now; raises where there are none and the writers are gone."""
    poller = _poll()
    poller.register(handle, 1)
    events = poller.poll(0)
    waiting = array.array("i", [0])
    fcntl.ioctl(handle, termios.FIONREAD, waiting)
    if events and not waiting[0]:
        raise BrokenPipeError
    return waiting[0], 0


class _Kernel:
    """A console that understands escape sequences where the environment says so."""

    def GetConsoleMode(self, _handle: int, _mode: object) -> int:  # noqa: N802
        return int(os.environ.get("CONSOLE_UNDERSTANDS_ESCAPES", "0"))

    def SetConsoleMode(self, _handle: int, _mode: int) -> int:  # noqa: N802
        return 1


def _remove() -> None:
    for module, names in _MISSING.items():
        for name in names.split():
            if hasattr(module, name):
                delattr(module, name)
    select.select = _select_sockets_alone
    for module_name in ("fcntl", "termios", "pwd", "grp", "pty", "tty", "resource"):
        sys.modules[module_name] = None  # type: ignore[assignment]
    windows: Any = types.ModuleType("_winapi")
    windows.PeekNamedPipe = _peek_named_pipe
    runtime: Any = types.ModuleType("msvcrt")
    runtime.get_osfhandle = lambda descriptor: descriptor
    sys.modules.update(_winapi=windows, msvcrt=runtime)
    setattr(os, "O_BINARY", 0)  # noqa: B010
    setattr(signal, "SIGBREAK", signal.SIGUSR1)  # noqa: B010
    setattr(ctypes, "windll", types.SimpleNamespace(kernel32=_Kernel()))  # noqa: B010
    sys.platform = "win32"


_remove()
