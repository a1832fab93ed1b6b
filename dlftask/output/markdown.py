"""Tasks as GitHub's Markdown, for a job summary or a comment.

Text from the service is put into code spans, in which GitHub interprets nothing. GitHub drops a
summary larger than 1 MiB: the document is cut before that, and its last line counts what is cut.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dlftask.output.states import missing
from dlftask.output.text import duration_text, escape_controls, name_or_id, symbol, task_times
from dlftask.task import STATUSES, Status, Subtask, Task, status_info
from dlftask.waiting.snapshot import Snapshot

if TYPE_CHECKING:
    from dlftask.output.formats import RenderOptions

_MAX_BYTES = 1_000_000
_LAST_LINE_BYTES = 200
"""Kept free for the line that counts what was cut."""
_LONGEST_TEXT = 1000
"""Characters of a name or a message in a document that has to be cut."""
_CUT_MARK = " … (cut)"
_MAX_BACKTICKS = 80
"""Backticks of a code span's fence: GitHub's parser does not accept a longer one."""

_TABLE = "| Status | Name | Duration | Message |\n|---|---|---|---|\n"
_DETAILS_END = "\n</details>\n\n"


@dataclass(slots=True)
class _Section:
    """A task: its head, and the rows of its table, first those that need a look."""

    head: str
    first: list[str] = field(default_factory=list)
    rest: list[str] = field(default_factory=list)


def render_markdown(snapshots: Sequence[Snapshot], options: "RenderOptions") -> Iterator[str]:
    """The document, at most 1,000,000 bytes in UTF-8."""
    utc = options.utc
    text = "".join(_text(_section(snapshot, None, utc=utc)) for snapshot in snapshots)
    if _size(text) > _MAX_BYTES:
        text = _cut([_section(snapshot, _LONGEST_TEXT, utc=utc) for snapshot in snapshots])
    yield text


def _cut(sections: Sequence[_Section]) -> str:
    """What there is room for: first every task, then what is not SUCCESSFUL, then the rest."""
    left = _MAX_BYTES - _LAST_LINE_BYTES
    kept: list[_Section] = []
    for section in sections:
        short = _Section(section.head, section.first[:1], section.rest[:1])
        left -= _size(_text(short))
        if left < 0:
            break
        kept.append(short)
    for rows in ("first", "rest"):
        for section, short in zip(sections, kept, strict=False):
            for row in getattr(section, rows)[1:]:
                left -= _size(row)
                if left < 0:
                    break
                getattr(short, rows).append(row)
    rows_of = [sum(len(s.first) + len(s.rest) for s in some) for some in (sections, kept)]
    tasks, subtasks = len(sections) - len(kept), rows_of[0] - rows_of[1]
    text = "".join(map(_text, kept))
    shortened = text.count(_CUT_MARK)
    return (
        f"{text}Left out: {tasks} tasks, {subtasks} subtasks; shortened: {shortened} texts"
        f" of more than {_LONGEST_TEXT} characters.\n"
    )


def _size(text: str) -> int:
    return len(text.encode())


def _text(section: _Section) -> str:
    text = section.head
    if section.first:
        text += f"{_TABLE}{''.join(section.first)}\n"
    if section.rest:
        # Markdown goes on inside HTML after an empty line.
        title = f"<details>\n<summary>{len(section.rest)} {Status.SUCCESSFUL}</summary>\n\n"
        text += f"{title}{_TABLE}{''.join(section.rest)}{_DETAILS_END}"
    return text


def _section(snapshot: Snapshot, longest: int | None, *, utc: bool) -> _Section:
    task = snapshot.result
    if task is None:
        error = _code(str(missing(snapshot)), longest)
        return _Section(f"## ✗ {_code(snapshot.task_id, longest)}\n\nError: {error}\n\n")
    name = name_or_id(task.name, task.id)
    facts = [f"ID {_code(snapshot.task_id, longest)}"]
    if task.id != snapshot.task_id:
        facts.append(f"in the response {_code(task.id, longest)}")
    facts += task_times(task, utc=utc)
    if task.duration_ms is not None:
        facts.append(duration_text(task.duration_ms))
    head = f"## {_status(task.status, longest)} {_code(name, longest)}\n\n{' · '.join(facts)}\n\n"
    if task.message:
        head += f"{_code(task.message, longest)}\n\n"
    section = _Section(head)
    for subtask in sorted(task.subtasks, key=lambda subtask: status_info(subtask.status).rank):
        rows = section.rest if subtask.status == Status.SUCCESSFUL else section.first
        rows.append(_row(subtask, longest))
    return section


def _row(node: Task | Subtask, longest: int | None) -> str:
    cells = [
        _status(node.status, longest),
        _code(name_or_id(node.name, node.id), longest),
        duration_text(node.duration_ms),
        _code(node.message or "", longest),
    ]
    # Only an escaped pipe does not end a table's cell, even in a code span.
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n"


def _status(status: str | None, longest: int | None) -> str:
    word = status if status in STATUSES else _code(status or "(no status)", longest)
    return f"{symbol(status, unicode=True)} {word}"


def _code(text: str, longest: int | None) -> str:
    """The text as a code span, which only a fence of as many backticks ends."""
    text = escape_controls(text)
    if longest is not None and len(text) > longest:
        text = text[:longest] + _CUT_MARK
    if not text:
        return ""
    most = max(map(len, re.findall("`+", text)), default=0)
    if most >= _MAX_BACKTICKS:
        text, most = text.replace("`", r"\x60"), 0
    fence = "`" * (most + 1)
    # Markdown removes one space at each end where both ends have one, unless all is spaces.
    padded = text[0] == "`" or text[-1] == "`" or (text[0] == text[-1] == " " and text.strip(" "))
    return f"{fence} {text} {fence}" if padded else f"{fence}{text}{fence}"
