"""Tasks as a JUnit report for CI systems: one test suite per task, one test case per subtask.

Follows the schema that Jenkins publishes for its own report reader; GitLab reads the same elements.
Timestamps are UTC without a zone, as the format requires; an unknown time is left out. A WARNING
passes, with the status in its output; with ``strict`` it is a failure.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from dlftask.output.states import missing
from dlftask.output.text import CI_COMMAND, escape_characters, name_or_id, status_word, task_time
from dlftask.task import Status, Subtask, Task, is_failed, status_info
from dlftask.waiting.snapshot import Snapshot

if TYPE_CHECKING:
    from dlftask.output.formats import RenderOptions

# What ``escape_characters`` keeps and XML 1.0 forbids.
_NOT_XML = re.compile("[\ufffe\uffff]")
_MARKUP = re.compile(f'{CI_COMMAND}|[&<>"]')
_REFERENCES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "##": "&#35;#"}

_TOGETHER = 500
"""Test cases per piece: each piece is written and flushed."""


@dataclass(frozen=True, slots=True)
class _Case:
    """One test case; ``verdict`` is ``failure``, ``error`` or empty, ``kind`` a short reason."""

    name: str
    verdict: str
    kind: str
    text: str
    node: Task | Subtask | None = None


def render_junit(snapshots: Sequence[Snapshot], options: "RenderOptions") -> Iterator[str]:
    """The report as an XML document, in pieces; a task that is unavailable is an ``error`` in it.

    A task may have a million subtasks: the elements of all of them at once would take many times
    the report's own size.
    """
    pieces = _pieces(snapshots, strict=options.strict)
    while piece := "".join(islice(pieces, _TOGETHER)):
        yield piece


def _pieces(snapshots: Sequence[Snapshot], *, strict: bool) -> Iterator[str]:
    counts = [
        Counter(case.verdict for case in _cases(snapshot, strict=strict)) for snapshot in snapshots
    ]
    durations_ms = [snapshot.result.duration_ms or 0 for snapshot in snapshots if snapshot.result]
    yield '<?xml version="1.0" encoding="UTF-8"?>\n'
    total = _counts(sum(counts, Counter()))
    yield f'<testsuites name="dlftask"{total} time="{_seconds(sum(durations_ms))}">\n'
    taken = defaultdict[str, Counter[str]](Counter)
    for snapshot, of_suite in zip(snapshots, counts, strict=True):
        task = snapshot.result
        yield _suite_head(snapshot, of_suite)
        class_name = _name(task) if task else "dlftask"
        own_shown = False
        for case in _cases(snapshot, strict=strict):
            own_shown = case.node is task  # its own comes last
            yield _case_text(case, _distinct(case.name, taken[class_name]), class_name)
        if task and task.message and not own_shown:
            yield f"    <system-out>{_xml(task.message)}</system-out>\n"
        yield "  </testsuite>\n"
    yield "</testsuites>\n"


def _counts(verdicts: Counter[str]) -> str:
    return (
        f' tests="{verdicts.total()}" failures="{verdicts["failure"]}" errors="{verdicts["error"]}"'
    )


def _suite_head(snapshot: Snapshot, counts: Counter[str]) -> str:
    task = snapshot.result
    head = f'name="{_xml(_name(task) if task else snapshot.task_id)}"{_counts(counts)} skipped="0"'
    properties = [("taskId", snapshot.task_id)]
    if task:
        if task.duration_ms is not None:
            head += f' time="{_seconds(task.duration_ms)}"'
        if task.start_ms is not None:
            started = task_time(task.start_ms, utc=True).removesuffix("Z").replace(" ", "T")
            head += f' timestamp="{started}"'
        own = (("id", task.id), ("status", task.status), ("message", task.message))
        properties += [(name, value) for name, value in own if value]
    lines = "".join(
        f'      <property name="{name}" value="{_xml(value)}" />\n' for name, value in properties
    )
    return f"  <testsuite {head}>\n    <properties>\n{lines}    </properties>\n"


def _cases(snapshot: Snapshot, *, strict: bool) -> Iterator[_Case]:
    task = snapshot.result
    if task is None:
        error = missing(snapshot)
        kind = error.code or type(error).__name__
        yield _Case(snapshot.task_id, "error", kind, str(error))
        return
    for subtask in task.subtasks:
        yield _case(subtask, strict=strict)
    own = _case(task, strict=strict)
    failed = any(is_failed(subtask.status, strict=strict) for subtask in task.subtasks)
    if not task.subtasks or (own.verdict and not failed):
        yield own


def _case(node: Task | Subtask, *, strict: bool) -> _Case:
    info, status = status_info(node.status), status_word(node.status)
    verdict, label = "", status
    if is_failed(node.status, strict=strict):
        verdict = "failure"
    elif node.status == Status.RUNNING:
        verdict, label = "error", f"still {status}"
    elif not info.done:
        verdict, label = "error", f"unknown status {status}" if node.status else "no status"
    if node.status == Status.SUCCESSFUL or (info.failed and node.message):
        label = ""  # the verdict and its type show it
    text = ": ".join(filter(None, [label, node.message]))
    return _Case(_name(node), verdict, status, text, node)


def _name(node: Task | Subtask) -> str:
    return escape_characters(name_or_id(node.name, node.id))


def _distinct(name: str, taken: Counter[str]) -> str:
    """The name, numbered where it is repeated: GitLab would show only one of the test cases."""
    distinct = name
    while distinct in taken:
        taken[name] += 1
        distinct = f"{name} #{taken[name]}"
    taken[distinct] = 1
    return distinct


def _case_text(case: _Case, name: str, class_name: str) -> str:
    head = f'    <testcase name="{_xml(name)}" classname="{_xml(class_name)}"'
    if case.node is not None and case.node.duration_ms is not None:
        head += f' time="{_seconds(case.node.duration_ms)}"'
    if not case.text and not case.verdict:
        return f"{head} />\n"
    text = _xml(case.text)
    if case.verdict:
        start = f'<{case.verdict} message="{text}" type="{_xml(case.kind)}">'
        body = f"{start}{text}</{case.verdict}>"
    else:
        body = f"<system-out>{text}</system-out>"
    return f"{head}>\n      {body}\n    </testcase>\n"


def _xml(text: str) -> str:
    """Escape text for an element or an attribute; an XML reader gets a CI system's command back."""
    if not text.isprintable():
        text = escape_characters(text)
        text = _NOT_XML.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
    return _MARKUP.sub(lambda match: _REFERENCES[match[0]], text)


def _seconds(milliseconds: int) -> str:
    return f"{milliseconds // 1000}.{milliseconds % 1000:03d}"
