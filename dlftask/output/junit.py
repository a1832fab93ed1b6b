"""Tasks as a JUnit report, which CI systems show: a test suite a task, a test case a subtask.

Follows the schema that Jenkins publishes for its own report reader; GitLab reads the same elements.
The time stamps are UTC without a zone, as the format has it; a time that is not known is left out.
A WARNING passes and says so in its output; with ``strict`` it is a failure.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from dlftask.output.text import display_name, escape_controls, status_word, task_time
from dlftask.task import Status, Subtask, Task
from dlftask.waiting.snapshot import Snapshot

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

# What ``escape_controls`` leaves and XML 1.0 has not.
_NOT_XML = re.compile("[\ufffe\uffff]")

_TOGETHER = 500
"""Test cases of one piece: each is written and flushed."""


@dataclass(frozen=True, slots=True)
class _Case:
    """One test case; ``verdict`` is ``failure``, ``error`` or empty, ``kind`` a word for why."""

    name: str
    verdict: str
    kind: str
    text: str
    duration_ms: int | None = None


def render_junit(snapshots: Sequence[Snapshot], *, strict: bool) -> Iterator[str]:
    """The report as an XML document, in pieces; what could not be had is an ``error`` in it.

    A task may have a million subtasks: the elements of all of them at once would take many times
    the report's own size.
    """
    pieces = _pieces(snapshots, strict=strict)
    while piece := "".join(islice(pieces, _TOGETHER)):
        yield piece


def _pieces(snapshots: Sequence[Snapshot], *, strict: bool) -> Iterator[str]:
    from xml.etree.ElementTree import Element

    counts = [Counter(_verdicts(snapshot, strict=strict)) for snapshot in snapshots]
    tasks = [snapshot.result for snapshot in snapshots]
    root = Element("testsuites", name="dlftask")
    _count(root, sum(counts, Counter()))
    known_ms = [task.duration_ms for task in tasks if task]
    root.set("time", _seconds(sum(ms for ms in known_ms if ms is not None)))
    yield '<?xml version="1.0" encoding="UTF-8"?>\n'
    yield _text(root, level=0).removesuffix(" />\n") + ">\n"
    for snapshot, of_suite in zip(snapshots, counts, strict=True):
        end = "  </testsuite>\n"
        yield _text(_suite(snapshot, of_suite), level=1).removesuffix(end)
        # Jenkins splits it at the dot into a package and a class: all of a task stands together.
        class_name = f"dlftask.{snapshot.task_id}"
        for name, case in _distinct(_cases(snapshot, strict=strict)):
            yield _text(_element(case, name, class_name), level=2)
        yield end
    yield "</testsuites>\n"


def _text(element: "Element", *, level: int) -> str:
    from xml.etree.ElementTree import tostring

    _indent(element, level=level)
    return f"{'  ' * level}{tostring(element, encoding='unicode')}\n"


def _indent(element: "Element", *, level: int) -> None:
    # The library's own leaves a cycle behind each time, for a collector that may be off.
    if len(element):
        element.text = "\n" + "  " * (level + 1)
    for child in element:
        _indent(child, level=level + 1)
        child.tail = element.text
    if len(element):
        element[-1].tail = "\n" + "  " * level


def _verdicts(snapshot: Snapshot, *, strict: bool) -> Iterator[str]:
    return (case.verdict for case in _cases(snapshot, strict=strict))


def _count(element: "Element", verdicts: Counter[str]) -> None:
    element.set("tests", str(verdicts.total()))
    element.set("failures", str(verdicts["failure"]))
    element.set("errors", str(verdicts["error"]))


def _suite(snapshot: Snapshot, counts: Counter[str]) -> "Element":
    from xml.etree.ElementTree import Element, SubElement

    task = snapshot.result
    suite = Element("testsuite", name=_clean(_name(task) if task else snapshot.task_id))
    _count(suite, counts)
    suite.set("skipped", "0")
    properties = SubElement(suite, "properties")
    SubElement(properties, "property", name="taskId", value=snapshot.task_id)
    if task:
        if task.duration_ms is not None:
            suite.set("time", _seconds(task.duration_ms))
        if task.start_ms is not None:
            started = task_time(task.start_ms, utc=True)
            if started.endswith("Z"):
                suite.set("timestamp", started.removesuffix("Z").replace(" ", "T"))
        for name, value in (("id", task.id), ("status", task.status), ("message", task.message)):
            if value:
                SubElement(properties, "property", name=name, value=_clean(value))
    return suite


def _cases(snapshot: Snapshot, *, strict: bool) -> Iterator[_Case]:
    task = snapshot.result
    if task is None:
        yield _missing(snapshot)
        return
    failed = False
    for part in task.subtasks:
        case = _case(part, strict=strict)
        failed = failed or case.verdict == "failure"
        yield case
    own = _case(task, strict=strict)
    if not task.subtasks or (own.verdict and not failed):
        yield own


def _case(node: Task | Subtask, *, strict: bool) -> _Case:
    message = node.message or ""
    status = status_word(node.status)
    verdict, text = "", message
    match node.status:
        case Status.FAILED:
            verdict, text = "failure", message or status
        case Status.WARNING:
            verdict = "failure" if strict else ""
            text = f"{status}: {message}" if message else status
        case Status.RUNNING:
            verdict, text = "error", f"still {status}: {message}" if message else f"still {status}"
        case unknown if unknown != Status.SUCCESSFUL:
            said = f"unknown status {status}" if unknown else "no status"
            verdict, text = "error", f"{said}: {message}" if message else said
    return _Case(_name(node), verdict, status, text, node.duration_ms)


def _missing(snapshot: Snapshot) -> _Case:
    error = snapshot.error
    kind = error.code or type(error).__name__ if error else "NoAnswer"
    return _Case(snapshot.task_id, "error", kind, str(error) if error else "no answer")


def _name(node: Task | Subtask) -> str:
    return display_name(node.name, node.id)


def _distinct(cases: Iterable[_Case]) -> Iterator[tuple[str, _Case]]:
    """The cases with names, numbered where one stands twice: GitLab would show only one of them."""
    taken: set[str] = set()
    count: dict[str, int] = {}
    for case in cases:
        name = case.name
        while name in taken:
            count[case.name] = count.get(case.name, 1) + 1
            name = f"{case.name} #{count[case.name]}"
        taken.add(name)
        yield name, case


def _element(case: _Case, name: str, class_name: str) -> "Element":
    from xml.etree.ElementTree import Element, SubElement

    element = Element("testcase", name=_clean(name), classname=class_name)
    if case.duration_ms is not None:
        element.set("time", _seconds(case.duration_ms))
    text = _clean(case.text)
    if case.verdict:
        verdict = SubElement(element, case.verdict, message=text, type=_clean(case.kind))
        verdict.text = text
    elif text:
        SubElement(element, "system-out").text = text
    return element


def _clean(text: str) -> str:
    return _NOT_XML.sub(lambda match: f"\\u{ord(match[0]):04x}", escape_controls(text))


def _seconds(milliseconds: int) -> str:
    return f"{milliseconds // 1000}.{milliseconds % 1000:03d}"
