"""Words and symbols that all views of a task share; untrusted text made safe to show.

CI systems obey commands in a log: ``##[…]`` (GitHub, Azure), ``##vso[…]`` (Azure) and
``##teamcity[…]`` anywhere in a line, ``::…`` (GitHub) at its start. An escape breaks them.

Control characters are replaced too: the characters of the contract's "Text from the service" (C0,
DEL, C1, bidirectional controls), lone surrogates, and others that deceive because they are
invisible or break a line: soft hyphen, zero-width space, word joiner and invisible operators,
byte order mark, line and paragraph separator, annotation marks, tags. The two joiners U+200C and
U+200D stay: Persian, Indic scripts and emoji are written with them.
"""

import re
import time

from dlftask.durations import format_duration
from dlftask.task import Subtask, Task, status_info

C0 = r"\x00-\x1f"
CONTROLS = C0 + r"\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff"
"""For a regex's brackets: what the contract never allows in output, and lone surrogates."""

LINE_BREAKS = r"\u2028\u2029"
"""For a regex's brackets: other characters that some programs take as the end of a line."""

_INVISIBLE = r"\xad\u180e\u200b\u2060-\u2065\u206a-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"
# Not yet compiled: most runs do not need it.
_DECEPTIVE = f"[{CONTROLS}{LINE_BREAKS}{_INVISIBLE}]"

CI_COMMAND = r"(?i)##(?=\[|vso\[|teamcity\[)"
"""A regex for the start of a CI system's command that is obeyed anywhere in a line."""

_COLORS = {"bold": 1, "dim": 2, "red": 31, "green": 32, "yellow": 33, "blue": 34, "magenta": 35}
"""Styles, with colours of the terminal's own theme."""

_LONGEST_LINE = 1000
"""Characters of a line on standard error: a service's message can be too long to read."""


def escaped(match: re.Match[str]) -> str:
    r"""Escape one character: ``\x1b``, ``\u202e`` or ``\U000e0041``."""
    code = ord(match[0])
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def escape_characters(text: str) -> str:
    """Replace each control or deceptive character by its escape."""
    # Python counts each of them as unprintable: the common case costs next to nothing.
    return text if text.isprintable() else re.sub(_DECEPTIVE, escaped, text)


def escape_controls(text: str) -> str:
    """Make text of the service safe on a line: control characters and CI commands are escaped."""
    text = escape_characters(text)
    if "##" in text:
        text = re.sub(CI_COMMAND, r"\\x23#", text)
    return escape_line_start(text)


def escape_line_start(line: str) -> str:
    """Escape the CI command that a line begins with, after white space and colours too.

    For a line that begins where text was wrapped: its start was in the middle of a line before.
    """
    if "::" not in line:
        return line
    return re.sub(r"\A((?:\s|\x1b\[[0-9;]*m)*):(?=:)", r"\1\\x3a", line)


def encodable(text: str, encoding: str) -> str:
    """The text with each character that the encoding lacks replaced by its escape."""
    return text.encode(encoding, "backslashreplace").decode(encoding)


def one_line(text: str, encoding: str) -> str:
    """The text made safe, as it can be written, and cut at 1,000 characters."""
    line = encodable(escape_controls(text), encoding)
    if len(line) <= _LONGEST_LINE:
        return line
    end = ellipsis(encoding)
    return line[: _LONGEST_LINE - len(end)] + end


def ellipsis(encoding: str) -> str:
    """One character where the encoding has it."""
    return "…" if encodable("…", encoding) == "…" else "..."


def symbol(status: str | None, *, unicode: bool) -> str:
    """The status as one narrow character; ``?`` for an unknown one."""
    info = status_info(status)
    return info.symbol if unicode else info.ascii_symbol


def style(status: str | None) -> str:
    """The status as a rich style."""
    return status_info(status).style


def paint(text: str, style: str) -> str:
    """The text in a style, which may be empty; the text must be escaped already."""
    return f"\x1b[{_COLORS[style]}m{text}\x1b[0m" if style and text else text


def status_word(status: str | None) -> str:
    """The status as a word that is safe to show; a placeholder where there is none."""
    return escape_controls(status) if status else "(no status)"


def display_name(name: str | None, identity: str | None) -> str:
    """The name, safe to show; without a name the ID, without an ID a placeholder."""
    return escape_controls(name_or_id(name, identity))


def name_or_id(name: str | None, identity: str | None) -> str:
    """The same, not escaped."""
    return (name if name and not name.isspace() else identity) or "(no name)"


def message_text(node: Task | Subtask) -> str:
    """The message of a node, after a colon; empty where there is none."""
    return f": {escape_controls(node.message)}" if node.message else ""


def duration_text(milliseconds: int | None) -> str:
    """A duration as people read it: ``340ms``, ``15s``, ``1m30s``; empty where unknown."""
    if milliseconds is None:
        return ""
    return format_duration(milliseconds / 1000)


def task_time(milliseconds: int, *, utc: bool) -> str:
    """A task's time (ms since the epoch) as ``2018-11-29 02:11:39Z``, or local with its offset."""
    return _date_time(milliseconds // 1000, " ", utc=utc)


def task_times(task: Task, *, utc: bool) -> list[str]:
    """When a task started and when it ended, where that is known."""
    times = (("started", task.start_ms), ("ended", task.end_ms))
    return [
        f"{word} {task_time(time_ms, utc=utc)}" for word, time_ms in times if time_ms is not None
    ]


def rfc3339(seconds: float, *, utc: bool) -> str:
    """A wall clock's time (s since the epoch) as ``2018-11-29T02:11:39Z``, or with its offset."""
    return _date_time(int(seconds), "T", utc=utc)


def _date_time(seconds: int, separator: str, *, utc: bool) -> str:
    layout = f"%Y-%m-%d{separator}%H:%M:%S"
    if utc:
        return time.strftime(f"{layout}Z", time.gmtime(seconds))
    text = time.strftime(f"{layout}%z", time.localtime(seconds))
    return f"{text[:-2]}:{text[-2:]}"
