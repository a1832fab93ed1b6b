"""Tasks as a JUnit report, which CI systems show: a test suite a task, a test case a subtask.

Follows the schema that Jenkins publishes for its own report reader; GitLab reads the same elements.
The time stamps are UTC without a zone, as the format has it; a time that is not known is left out.
A WARNING passes and says so in its output; with ``strict`` it is a failure.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dlftask.output.text import display_name, status_word, task_time, visible
from dlftask.snapshot import Snapshot
from dlftask.task import Status, Subtask, Task

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

# What ``visible`` leaves and XML 1.0 has not.
_NOT_XML = re.compile("[\ufffe\uffff]")


@dataclass(frozen=True, slots=True)
class _Case:
    """One test case; ``verdict`` is ``failure``, ``error`` or empty, ``kind`` a word for why."""

    name: str
    verdict: str
    kind: str
    text: str
    duration_ms: int | None = None


def render_junit(snapshots: Sequence[Snapshot], *, strict: bool) -> str:
    """The report as an XML document; what could not be had is an ``error`` in it."""
    from xml.etree.ElementTree import Element, indent, tostring

    suites = [_suite(snapshot, strict=strict) for snapshot in snapshots]
    known_ms = [task.duration_ms for task in map(_result, snapshots) if task]
    root = Element("testsuites", name="dlftask")
    for count in ("tests", "failures", "errors"):
        root.set(count, str(sum(int(suite.get(count, "0")) for suite in suites)))
    root.set("time", _seconds(sum(ms for ms in known_ms if ms is not None)))
    root.extend(suites)
    indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{tostring(root, encoding="unicode")}\n'


def _result(snapshot: Snapshot) -> Task | None:
    return snapshot.result


def _suite(snapshot: Snapshot, *, strict: bool) -> "Element":
    from xml.etree.ElementTree import Element, SubElement

    task = snapshot.result
    cases = _cases(task, strict=strict) if task else [_missing(snapshot)]
    suite = Element("testsuite", name=_clean(_name(task) if task else snapshot.task_id))
    suite.set("tests", str(len(cases)))
    suite.set("failures", str(sum(case.verdict == "failure" for case in cases)))
    suite.set("errors", str(sum(case.verdict == "error" for case in cases)))
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
    # Jenkins splits it at the dot into a package and a class: all of a task stands together.
    class_name = f"dlftask.{snapshot.task_id}"
    for name, case in zip(_distinct(cases), cases, strict=True):
        _add_case(suite, case, name, class_name)
    return suite


def _cases(task: Task, *, strict: bool) -> list[_Case]:
    cases = [_case(part, strict=strict) for part in task.subtasks]
    own = _case(task, strict=strict)
    failed = any(case.verdict == "failure" for case in cases)
    if not cases or (own.verdict and not failed):
        cases.append(own)
    return cases


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


def _distinct(cases: Sequence[_Case]) -> Iterator[str]:
    """The cases' names, numbered where one stands twice: GitLab would show only one of them."""
    taken: set[str] = set()
    count: dict[str, int] = {}
    for case in cases:
        name = case.name
        while name in taken:
            count[case.name] = count.get(case.name, 1) + 1
            name = f"{case.name} #{count[case.name]}"
        taken.add(name)
        yield name


def _add_case(suite: "Element", case: _Case, name: str, class_name: str) -> None:
    from xml.etree.ElementTree import SubElement

    element = SubElement(suite, "testcase", name=_clean(name), classname=class_name)
    if case.duration_ms is not None:
        element.set("time", _seconds(case.duration_ms))
    text = _clean(case.text)
    if case.verdict:
        verdict = SubElement(element, case.verdict, message=text, type=_clean(case.kind))
        verdict.text = text
    elif text:
        SubElement(element, "system-out").text = text


def _clean(text: str) -> str:
    return _NOT_XML.sub(lambda match: f"\\u{ord(match[0]):04x}", visible(text))


def _seconds(milliseconds: int) -> str:
    return f"{milliseconds // 1000}.{milliseconds % 1000:03d}"
