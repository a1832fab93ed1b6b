"""Tasks as data for programs: json, jsonl, tsv, and what ``--query`` selects from the JSON.

No format lets a control character through, so that each is safe on a terminal too: JSON and tsv
both have escapes for them, and a reader gets the same value back.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from dlftask.errors import ConfigurationError
from dlftask.output.text import C0, CONTROLS, LINE_BREAKS, escape_controls, escaped
from dlftask.task import Subtask, Task
from dlftask.waiting.snapshot import Snapshot

# Patterns, not yet compiled: most runs need none of them.
# JSON's own writer escapes C0 alone; the newlines of its indentation must stay.
_JSON_CONTROL = f"[{CONTROLS.removeprefix(C0)}{LINE_BREAKS}]"
_SURROGATE = r"[\ud800-\udfff]"
# All that some reader of lines takes for the end of one, and lone surrogates.
_LINE_END = rf"[\n-\r\x1c-\x1e\x85{LINE_BREAKS}\ud800-\udfff]"
_TSV_SPECIAL = f"[{CONTROLS}{LINE_BREAKS}\\\\]"
_SHORT_ESCAPES = {"\t": r"\t", "\n": r"\n", "\r": r"\r", "\\": r"\\"}


class Query:
    """What ``--query`` selects: a JMESPath expression, read before anything is asked."""

    def __init__(self, expression: str) -> None:
        """Raise ``ConfigurationError`` where the expression is none, or has unknown functions."""
        import jmespath
        from jmespath.exceptions import JMESPathError

        try:
            self._parsed = jmespath.compile(expression)
        except (JMESPathError, RecursionError) as error:
            raise ConfigurationError(f"--query: {_reason(error)}") from None
        for name in _functions_called(self._parsed.parsed):
            _check_function(name)

    def select(self, value: Any) -> Any:
        """The part of a JSON value; raises ``ConfigurationError`` where its types do not fit."""
        try:
            found = self._parsed.search(value)
        except (ValueError, TypeError, LookupError, ArithmeticError, RecursionError) as error:
            raise ConfigurationError(f"--query: {_reason(error)}") from None
        try:
            json.dumps(found, allow_nan=False)
        except TypeError:
            raise ConfigurationError("--query: selects an expression, which is no value") from None
        except (ValueError, RecursionError):
            raise ConfigurationError("--query: selects what JSON cannot hold") from None
        return found


def compile_query(expression: str) -> Query:
    """Read a JMESPath expression; raises ``ConfigurationError`` where it is none."""
    return Query(expression)


def _reason(error: Exception) -> str:
    # The library draws a second and a third line with a marker below the expression.
    reason = str(error).partition(", for expression")[0].partition("\n")[0]
    return escape_controls(reason.rstrip(": "))


def _functions_called(node: Any) -> Iterator[str]:
    nodes = [node]
    while nodes:
        node = nodes.pop()
        if node["type"] == "function_expression":
            yield node["value"]
        nodes.extend(child for child in node["children"] if isinstance(child, dict))


def _check_function(name: str) -> None:
    from jmespath.functions import Functions

    if name not in Functions.FUNCTION_TABLE:
        raise ConfigurationError(f"--query: Unknown function: {escape_controls(name)}()")


def document(snapshot: Snapshot) -> Any:
    """The service's own object; an error object where the task could not be had."""
    if snapshot.result is not None:
        return snapshot.result.raw
    error = snapshot.error
    return {
        "id": snapshot.task_id,
        "error": {
            "code": error.code if error else None,
            "message": (error.service_message or error.message) if error else "no answer",
            "exit_status": int(snapshot.exit_status(strict=False)),
        },
    }


def render_json(
    snapshots: Sequence[Snapshot], query: Query | None = None, *, terminal: bool = False
) -> str:
    """One task's object, or an array of several in their order; empty for one that was not had."""
    if len(snapshots) == 1:
        if snapshots[0].result is None:
            return ""
        value = document(snapshots[0])
    else:
        value = [document(snapshot) for snapshot in snapshots]
    if query is None:
        return _indented(value) + "\n"
    found = query.select(value)
    return (_bare(found, terminal=terminal) if isinstance(found, str) else _indented(found)) + "\n"


def render_jsonl(
    snapshots: Sequence[Snapshot], query: Query | None = None, *, terminal: bool = False
) -> str:
    """A line a task, in their order; empty for a single one that was not had."""
    if len(snapshots) == 1 and snapshots[0].result is None:
        return ""
    return "".join(json_line(snapshot, query, terminal=terminal) for snapshot in snapshots)


def json_line(snapshot: Snapshot, query: Query | None = None, *, terminal: bool = False) -> str:
    """One task, or its error object, as one compact line, its newline included."""
    value = document(snapshot)
    if query is not None:
        value = query.select(value)
        if isinstance(value, str):
            # One object stays one line, even on a pipe.
            value = re.sub(_LINE_END, _short_escape, value)
            return _bare(value, terminal=terminal) + "\n"
    return _json_safe(json.dumps(value, ensure_ascii=False, separators=(",", ":"))) + "\n"


def render_tsv(snapshots: Iterable[Snapshot]) -> str:
    """A line for each task that could be had, and below it one for each of its subtasks.

    The second column is the ID that was asked for; the third is what the answer calls the node.
    """
    return "".join(line for snapshot in snapshots for line in _tsv_lines(snapshot))


def _tsv_lines(snapshot: Snapshot) -> Iterator[str]:
    task = snapshot.result
    if task is None:
        return
    yield _tsv_line("task", snapshot.task_id, task)
    for part in task.subtasks:
        yield _tsv_line("subtask", snapshot.task_id, part)


def _tsv_line(kind: str, asked: str, node: Task | Subtask) -> str:
    return (
        f"{kind}\t{asked}\t{_field(node.id)}\t{_field(node.status)}"
        f"\t{_number(node.start_ms)}\t{_number(node.end_ms)}\t{_number(node.last_update_ms)}"
        f"\t{_number(node.duration_ms)}\t{_field(node.name)}\t{_field(node.message)}\n"
    )


def _number(value: int | None) -> str:
    return "" if value is None else str(value)


def _field(text: str | None) -> str:
    if not text or (text.isprintable() and "\\" not in text):
        return text or ""
    return re.sub(_TSV_SPECIAL, _short_escape, text)


def _short_escape(match: re.Match[str]) -> str:
    return _SHORT_ESCAPES.get(match[0]) or escaped(match)


def _indented(value: Any) -> str:
    return _json_safe(json.dumps(value, ensure_ascii=False, indent=2))


def _json_safe(text: str) -> str:
    if text.isascii() and "\x7f" not in text:
        return text
    # These characters stand inside strings alone, where JSON has an escape for each.
    return re.sub(_JSON_CONTROL, lambda match: f"\\u{ord(match[0]):04x}", text)


def _bare(text: str, *, terminal: bool) -> str:
    # A pipe gets the string itself; but no encoding has lone surrogates.
    return escape_controls(text) if terminal else re.sub(_SURROGATE, escaped, text)
