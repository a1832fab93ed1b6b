"""The task IDs last asked for, for shell completion: ``dlftask/recent`` in the state folder."""

import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from dlftask.files import is_regular, user_folder
from dlftask.platforms import STATE_FOLDER

KEPT = 100
_MAX_BYTES = 64 * 1024


def remember(task_ids: Sequence[str], *, environ: Mapping[str, str], home: Path) -> None:
    """Put IDs in front, newest first, one per line, at most 100, readable only by this user.

    Does nothing with ``DLFTASK_NO_HISTORY`` set. Never fails and never waits: no problem with a
    file, folder or disk may keep a command from working.
    """
    if environ.get("DLFTASK_NO_HISTORY"):
        return
    recent = user_folder(STATE_FOLDER, environ, home) / "recent"
    newest = list(reversed(task_ids[-KEPT:]))
    with suppress(OSError, ValueError):
        _write(recent, list(dict.fromkeys([*newest, *_read(recent)]))[:KEPT])


def _read(recent: Path) -> list[str]:
    """The IDs in a regular file (of a large one only those at its beginning); otherwise none."""
    data = b""
    with suppress(OSError, ValueError):
        if is_regular(recent):
            with recent.open("rb") as file:
                data = file.read(_MAX_BYTES)
    lines = data.decode("ascii", "replace").split()
    return [line for line in lines if re.fullmatch("[A-Za-z0-9_-]{1,128}", line)]


def _write(recent: Path, task_ids: Sequence[str]) -> None:
    recent.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # mkstemp makes it 0600; the rename is atomic for a shell that is reading it.
    handle, draft = tempfile.mkstemp(prefix=".recent-", dir=recent.parent)
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.writelines(f"{task_id}\n" for task_id in task_ids)
        Path(draft).replace(recent)
    except BaseException:  # a Ctrl-C too
        Path(draft).unlink(missing_ok=True)
        raise
