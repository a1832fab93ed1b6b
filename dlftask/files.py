"""The user's folders and files."""

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from dlftask.errors import ConfigurationError
from dlftask.platforms import HAS_FILE_MODES, HOME, READ_FLAGS, wait_readable

_CHUNK = 64 * 1024


def expanded(text: str, what: str | None = None) -> Path:
    """A path, with ``~`` for a user's home; ``what`` is its name in errors.

    Raises ``ConfigurationError`` where that user has none.
    """
    try:
        return Path(text).expanduser()
    except RuntimeError:
        error = ConfigurationError(f"{text!r} is in the home of a user who has none")
        raise error.with_context(what) from None


def find_home(environ: Mapping[str, str]) -> Path:
    """The user's home folder; where there is none, a path that has nothing below it."""
    try:
        return Path(environ.get(HOME) or Path.home())
    except RuntimeError:
        return Path(os.devnull)


def user_folder(place: tuple[str, str], environ: Mapping[str, str], home: Path) -> Path:
    """The folder of dlftask in a place of ``platforms``: ``CONFIG_FOLDER`` or ``STATE_FOLDER``."""
    variable, default = place
    # By the XDG base directory rules a relative path is ignored.
    path = Path(environ.get(variable, ""))
    return (path if path.is_absolute() else home / default) / "dlftask"


def others_can_read(path: Path) -> str | None:
    """A warning about a file with a secret that the group or others can read."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return None
    # A pipe or a device, such as <(…) of a shell, is not stored anywhere.
    if HAS_FILE_MODES and stat.S_ISREG(mode) and mode & (stat.S_IRGRP | stat.S_IROTH):
        return f"{path} holds a secret and others can read it: chmod 600 {path}"
    return None


def read_file(path: Path, *, limit: int, until_s: float | None = None) -> bytes:
    """Read a whole file of at most ``limit`` bytes; a pipe until its writers close it.

    Signal handlers run meanwhile. Raises ``TimeoutError`` at ``until_s`` (``time.monotonic``),
    other ``OSError``, and ``ValueError`` for a larger file or an invalid path.
    """
    descriptor = os.open(path, READ_FLAGS)
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
            wait_readable(descriptor, until_s)
        try:
            chunk = os.read(descriptor, min(_CHUNK, limit + 1 - len(data)))
        except BlockingIOError:  # another reader was faster
            continue
        if not chunk:
            return bytes(data)
        data += chunk
    raise ValueError(f"larger than {limit // 1024} KiB")


def is_regular(path: Path) -> bool:
    """Whether a file can be read again, unlike a pipe or a device such as a shell's ``<(...)``.

    A missing file counts as regular: it may exist later.
    """
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except (OSError, ValueError):
        return True
