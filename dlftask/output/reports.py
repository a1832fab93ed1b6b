"""Reports: the result written to files, each in a format of its own, once, at the end."""

import errno
import os
import stat
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from dlftask.errors import ConfigurationError, DlftaskError, OutputFailed
from dlftask.output.formats import RenderOptions, render
from dlftask.platforms import WRITE_FLAGS
from dlftask.waiting.snapshot import Snapshot

_READER_WAIT_S = 1.0
"""How long to wait until somebody reads a FIFO."""
_STALL_S = 10.0
"""How long to wait until a reader continues."""


def check_report_paths(targets: Iterable[tuple[str, Path]]) -> None:
    """Raise ``ConfigurationError`` where a report could not be written, or two to one file."""
    seen: set[Path | tuple[int, int]] = set()
    for form, path in targets:
        about = f"--report {form}:{path}"
        try:
            key = _check_path(path)
        except (OSError, ValueError) as error:  # a folder, a null byte
            reason = getattr(error, "strerror", None) or error
            raise ConfigurationError(f"{about}: {reason}") from None
        if key in seen:
            raise ConfigurationError(f"{about}: two reports to the same file")
        seen.add(key)


def _check_path(path: Path) -> Path | tuple[int, int]:
    """A key for the file: hard links to one file have the same key.

    Raises ``OSError`` and ``ValueError``.
    """
    try:
        found = path.stat()  # not of the resolved path: that of /dev/stdout is not a path
    except FileNotFoundError:
        real = Path(os.path.realpath(path))
        folder = real.parent if path.is_symlink() else path.parent
        if not folder.is_dir():
            raise ValueError(f"{folder} is not a folder") from None
        if not os.access(folder, os.W_OK | os.X_OK):
            raise ValueError(f"{folder} cannot be written to") from None
        return real
    if stat.S_ISDIR(found.st_mode):
        raise ValueError("is a folder")
    if not os.access(path, os.W_OK):
        raise ValueError("cannot be written to")
    return found.st_dev, found.st_ino


def write_reports(
    targets: Iterable[tuple[str, Path]],
    snapshots: Iterable[Snapshot],
    options: RenderOptions,
    *,
    unseen: DlftaskError | None = None,
) -> list[OutputFailed]:
    """Write each report; returns an error for each that could not be written.

    A task that was seen has its last state, however the wait ended; one that was never seen has its
    own error, or ``unseen``.
    """
    snapshots = [replace(one, error=None if one.task else one.error or unseen) for one in snapshots]
    options = options._replace(unicode=True, color=False, width=None)
    failed = []
    for form, path in targets:
        try:
            _write(path, (piece.encode() for piece in render(form, snapshots, options)))
        # ConfigurationError: a query that does not fit the response.
        except (OSError, ValueError, ConfigurationError) as error:
            reason = getattr(error, "strerror", None) or error
            failed.append(OutputFailed(f"the report {path} could not be written: {reason}"))
    return failed


def _write(path: Path, pieces: Iterable[bytes]) -> None:
    file = _open(path)
    try:
        for piece in pieces:
            left = memoryview(piece)
            while left:
                left = left[_retry(partial(os.write, file, left), errno.EAGAIN, _STALL_S) :]
        if stat.S_ISREG(os.fstat(file).st_mode):
            os.ftruncate(file, os.lseek(file, 0, os.SEEK_CUR))
    finally:
        os.close(file)


def _open(path: Path) -> int:
    for stream in (1, 2):  # /dev/stdout that is a file: to open it again would lose the result
        with suppress(OSError):
            if os.path.samestat(os.fstat(stream), path.stat()):
                return os.dup(stream)
    # Without O_TRUNC: an old report is shortened only once the new one is written.
    # ENXIO: nobody has opened the FIFO for reading.
    return _retry(partial(os.open, path, WRITE_FLAGS, 0o666), errno.ENXIO, _READER_WAIT_S)


def _retry(action: Callable[[], int], code: int, limit_s: float) -> int:
    """Repeat an action, for ``limit_s`` at most, while it fails with this error code."""
    until_s = time.monotonic() + limit_s
    while True:
        try:
            return action()
        except OSError as error:
            if error.errno != code or time.monotonic() >= until_s:
                raise
        time.sleep(0.01)
