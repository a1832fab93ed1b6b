"""Tasks as tab-separated lines, which a program can read back without loss."""

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from dlftask.output.text import CI_COMMAND, CONTROLS, LINE_BREAKS, escaped
from dlftask.task import Subtask, Task
from dlftask.waiting.snapshot import Snapshot

if TYPE_CHECKING:
    from dlftask.output.formats import RenderOptions

# Not yet compiled: most runs do not need it. The start of a CI system's command is special too.
_SPECIAL = rf"{CI_COMMAND}|[{CONTROLS}{LINE_BREAKS}\\]"
_SHORT_ESCAPES = {"\t": r"\t", "\n": r"\n", "\r": r"\r", "\\": r"\\", "##": r"\x23#"}


def render_tsv(snapshots: Iterable[Snapshot], _: "RenderOptions") -> Iterator[str]:
    """One line per task that is available, and below it one per subtask.

    The second column is the ID that was asked for; the third is the ID in the response.
    """
    return ("".join(_tsv_lines(snapshot)) for snapshot in snapshots)


def _tsv_lines(snapshot: Snapshot) -> Iterator[str]:
    task = snapshot.result
    if task is None:
        return
    yield _tsv_line("task", snapshot.task_id, task)
    for subtask in task.subtasks:
        yield _tsv_line("subtask", snapshot.task_id, subtask)


def _tsv_line(kind: str, task_id: str, node: Task | Subtask) -> str:
    return (
        f"{kind}\t{task_id}\t{_field(node.id)}\t{_field(node.status)}"
        f"\t{_number(node.start_ms)}\t{_number(node.end_ms)}\t{_number(node.last_update_ms)}"
        f"\t{_number(node.duration_ms)}\t{_field(node.name)}\t{_field(node.message)}\n"
    )


def _number(value: int | None) -> str:
    return "" if value is None else str(value)


def _field(text: str | None) -> str:
    if not text or (text.isprintable() and "\\" not in text and "##" not in text):
        return text or ""
    return re.sub(_SPECIAL, short_escape, text)


def short_escape(match: re.Match[str]) -> str:
    r"""Escape one character, as ``\n`` rather than ``\x0a`` where it has a short form."""
    return _SHORT_ESCAPES.get(match[0]) or escaped(match)
