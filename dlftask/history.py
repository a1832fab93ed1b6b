"""The task IDs last asked for, which the TAB key offers: ``dlftask/recent`` in the state folder."""

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from dlftask.files import user_folder

KEPT = 100


def remember(task_ids: Sequence[str], *, environ: Mapping[str, str], home: Path) -> None:
    """Put IDs in front, newest first, one a line, at most 100, for nobody else to read.

    Does nothing with ``DLFTASK_NO_HISTORY`` set. Never fails: a full disk, a read-only home or
    no home at all is no reason for a query not to be answered.
    """
    if environ.get("DLFTASK_NO_HISTORY"):
        return
    recent = user_folder("XDG_STATE_HOME", ".local/state", environ, home) / "dlftask" / "recent"
    newest = list(reversed(task_ids[-KEPT:]))
    try:
        _write(recent, list(dict.fromkeys([*newest, *_read(recent)]))[:KEPT])
    except (OSError, ValueError):
        return


def _read(recent: Path) -> list[str]:
    try:
        return recent.read_text("ascii").split()
    except (OSError, ValueError):
        return []


def _write(recent: Path, task_ids: Sequence[str]) -> None:
    recent.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # mkstemp makes it 0600; the rename makes it whole for a shell that reads it just now.
    handle, draft = tempfile.mkstemp(prefix=".recent-", dir=recent.parent)
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.writelines(f"{task_id}\n" for task_id in task_ids)
        Path(draft).replace(recent)
    except BaseException:  # a Ctrl-C too
        Path(draft).unlink(missing_ok=True)
        raise
