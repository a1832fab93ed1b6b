"""Folders and files of the user's."""

import os
import stat
import sys
import time
from collections.abc import Mapping
from pathlib import Path

_CHUNK = 64 * 1024


def expanded(text: str) -> Path:
    """A path, with ``~`` for a user's home. Raises ``ValueError`` where that user has none."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise ValueError(f"{text!r} is in the home of a user who has none") from None


def find_home(environ: Mapping[str, str]) -> Path:
    """The user's home folder; where there is none, a path below which nothing can be."""
    if environ.get("HOME"):
        return Path(environ["HOME"])
    try:
        return Path.home()
    except RuntimeError:
        return Path(os.devnull)


def user_folder(variable: str, below_home: str, environ: Mapping[str, str], home: Path) -> Path:
    """A folder by the XDG base directory rules: a relative path in the variable does not count."""
    named = Path(environ.get(variable) or "")
    return named if named.is_absolute() else home / below_home


def read_file(path: Path, *, limit: int, until_s: float | None = None) -> bytes:
    """Read a whole file of at most ``limit`` bytes; of a pipe, all until its writers close it.

    A signal's handler runs meanwhile. Raises ``TimeoutError`` at ``until_s`` (``time.monotonic``),
    other ``OSError``, and ``ValueError`` for a file that is larger or a path that none can have.
    """
    if sys.platform == "win32":
        flags = os.O_RDONLY | os.O_BINARY
    else:
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC  # a FIFO would wait for its writer
    descriptor = os.open(path, flags)
    try:
        return read_descriptor(descriptor, limit=limit, until_s=until_s)
    finally:
        os.close(descriptor)


def read_descriptor(descriptor: int, *, limit: int, until_s: float | None = None) -> bytes:
    """Read to the end, as ``read_file`` does; ``descriptor`` stays open."""
    regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
    data = bytearray()
    while len(data) <= limit:
        if not regular:
            _await_data(descriptor, until_s)
        try:
            chunk = os.read(descriptor, min(_CHUNK, limit + 1 - len(data)))
        except BlockingIOError:  # another reader was faster
            continue
        if not chunk:
            return bytes(data)
        data += chunk
    raise ValueError(f"larger than {limit // 1024} KiB")


def is_regular(path: Path) -> bool:
    """Whether a file can be read again; not so a pipe or a device, such as ``<(...)`` of a shell.

    A file that is not there now can be there later.
    """
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except (OSError, ValueError):
        return True


def can_exist(path: Path) -> bool:
    """Whether there can be a file: not so in a folder that this user cannot enter."""
    try:
        path.lstat()
    except PermissionError:
        return False
    except (OSError, ValueError):
        return True
    return True


if sys.platform == "win32":

    def _await_data(descriptor: int, until_s: float | None) -> None:
        import _winapi
        import msvcrt

        handle = msvcrt.get_osfhandle(descriptor)
        while True:
            try:
                if _winapi.PeekNamedPipe(handle, 0)[0]:
                    return
            except OSError:  # closed by its writers, or no pipe
                return
            if until_s is not None and time.monotonic() >= until_s:
                raise TimeoutError
            time.sleep(0.05)

else:

    def _await_data(descriptor: int, until_s: float | None) -> None:
        import select

        poller = select.poll()
        poller.register(descriptor, select.POLLIN)
        left_s = 3600.0 if until_s is None else until_s - time.monotonic()
        while not poller.poll(max(0.0, left_s) * 1000):
            left_s = 3600.0 if until_s is None else until_s - time.monotonic()
            if left_s <= 0:
                raise TimeoutError("no data in time")
