"""Tasks as JSON: json, and jsonl, of which ``watch`` prints a line at each change.

Control characters and commands of CI systems are escaped, as JSON allows: a reader gets the same
value back.
"""

import json
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from dlftask.output.states import missing
from dlftask.output.text import C0, CI_COMMAND, CONTROLS, LINE_BREAKS, escape_controls, escaped
from dlftask.output.tsv import short_escape
from dlftask.waiting.snapshot import Snapshot

if TYPE_CHECKING:
    from dlftask.output.formats import RenderOptions

# Patterns, not yet compiled: most runs need none of them.
# The json module escapes only C0; the newlines of its indentation must stay.
_JSON_CONTROL = f"[{CONTROLS.removeprefix(C0)}{LINE_BREAKS}]"
_SURROGATE = r"[\ud800-\udfff]"
# Every character that some program takes as the end of a line, and lone surrogates.
_LINE_END = rf"[\n-\r\x1c-\x1e\x85{LINE_BREAKS}\ud800-\udfff]"


def document(snapshot: Snapshot) -> Any:
    """The service's own object; an error object where the task is unavailable."""
    if snapshot.result is not None:
        return snapshot.result.raw
    error = missing(snapshot)
    return {
        "id": snapshot.task_id,
        "error": {
            "code": error.code,
            "message": error.service_message or error.message,
            "exit_status": int(error.exit_status),
        },
    }


def render_json(snapshots: Sequence[Snapshot], options: "RenderOptions") -> Iterator[str]:
    """One task's object, or an array of several in their order."""
    values = [document(snapshot) for snapshot in snapshots]
    value = values[0] if len(values) == 1 else values
    if options.query is not None:
        value = options.query.select(value)
        if isinstance(value, str):
            yield _bare(value, options) + "\n"
            return
    yield _json_safe(json.dumps(value, ensure_ascii=False, indent=2)) + "\n"


def render_jsonl(snapshots: Sequence[Snapshot], options: "RenderOptions") -> Iterator[str]:
    """One line for each task, in their order."""
    yield "".join(json_line(snapshot, options) for snapshot in snapshots)


def json_line(snapshot: Snapshot, options: "RenderOptions") -> str:
    """One task, or its error object, as one compact line, its newline included."""
    value = document(snapshot)
    if options.query is not None:
        value = options.query.select(value)
        if isinstance(value, str):
            # One object stays one line, even on a pipe.
            return _bare(re.sub(_LINE_END, short_escape, value), options) + "\n"
    return _json_safe(json.dumps(value, ensure_ascii=False, separators=(",", ":"))) + "\n"


def _json_safe(text: str) -> str:
    if "##" in text:
        text = re.sub(CI_COMMAND, r"\\u0023#", text)
    if text.isascii() and "\x7f" not in text:
        return text
    # These characters occur only inside strings, where JSON has an escape for each.
    return re.sub(_JSON_CONTROL, lambda match: f"\\u{ord(match[0]):04x}", text)


def _bare(text: str, options: "RenderOptions") -> str:
    # A pipe gets the string itself; but no encoding has lone surrogates.
    terminal = options.width is not None
    return escape_controls(text) if terminal else re.sub(_SURROGATE, escaped, text)
