import gc
import json
import tracemalloc
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import junitparser
import pytest
import xmlschema
from hypothesis import given, settings
from hypothesis import strategies as st

from dlftask.errors import ServiceUnavailable, TaskNotFound, WaitTimeout
from dlftask.output.formats import RenderOptions
from dlftask.output.junit import render_junit
from dlftask.task import read_task
from dlftask.waiting.snapshot import Snapshot

SCHEMA = xmlschema.XMLSchema(str(Path(__file__).parent / "junit.xsd"))
TEXT = st.text(alphabet=st.characters()).map(lambda text: json.loads(json.dumps(text)))
STATUSES = st.sampled_from(["SUCCESSFUL", "FAILED", "RUNNING", "WARNING", "PAUSED"])


def snapshot_of(
    status: str, *subtasks: dict[str, Any], task_id: str = "given", **more: Any
) -> Snapshot:
    value = {"id": "own", "name": "Import", "status": status, "subtasks": subtasks, **more}
    return Snapshot(task_id, read_task(json.dumps(value).encode()), settled=True)


def subtask(status: str | None, **more: Any) -> dict[str, Any]:
    return {"id": "p", "name": "subtask", "status": status, **more}


def report(*snapshots: Snapshot, strict: bool = False) -> ET.Element:
    """The parsed report, after a check of its schema and of its own counts."""
    text = "".join(render_junit(snapshots, RenderOptions(strict=strict)))
    SCHEMA.validate(text)
    root = ET.fromstring(text.encode())
    for node in (root, *root.iter("testsuite")):
        for count, tag in (("tests", "testcase"), ("failures", "failure"), ("errors", "error")):
            assert int(node.get(count, "")) == len(list(node.iter(tag)))
    return root


def verdicts(root: ET.Element) -> list[tuple[str | None, str, str | None]]:
    """The name, the verdict and the message of each test case."""
    found = []
    for case in root.iter("testcase"):
        child = case.find("*")
        text = child is not None and (child.get("message") or child.text)
        found.append((case.get("name"), child.tag if child is not None else "", text or None))
    return found


def test_a_task_that_went_well_is_its_subtasks() -> None:
    root = report(
        snapshot_of(
            "SUCCESSFUL",
            subtask("SUCCESSFUL", name="a", startTime=0, endTime=1500),
            subtask("SUCCESSFUL", name="b"),
            startTime=1543457499000,
            endTime=1543457514000,
        )
    )
    assert verdicts(root) == [("a", "", None), ("b", "", None)]
    suite = root.find("testsuite")
    assert suite is not None
    assert (suite.get("name"), suite.get("time"), suite.get("timestamp")) == (
        "Import",
        "15.000",
        "2018-11-29T02:11:39",
    )
    assert [case.get("time") for case in suite.iter("testcase")] == ["1.500", None]
    assert {case.get("classname") for case in suite.iter("testcase")} == {"Import"}


def test_a_failed_subtask_is_a_failure_and_its_task_is_not_another() -> None:
    root = report(
        snapshot_of("FAILED", subtask("FAILED", message="No [CDM]."), message="1 failed.")
    )
    assert verdicts(root) == [("subtask", "failure", "No [CDM].")]


@pytest.mark.parametrize("subtasks", [[], [subtask("SUCCESSFUL")]])
def test_a_task_that_failed_though_no_subtask_did_is_a_failure_itself(
    subtasks: list[dict[str, Any]],
) -> None:
    root = report(snapshot_of("FAILED", *subtasks, message="Failed to read."))
    assert verdicts(root)[-1] == ("Import", "failure", "Failed to read.")
    assert len(verdicts(root)) == len(subtasks) + 1


def test_a_task_without_subtasks_is_a_case_of_its_own() -> None:
    assert verdicts(report(snapshot_of("SUCCESSFUL"))) == [("Import", "", None)]


def test_running_and_unknown_statuses_are_errors() -> None:
    root = report(
        snapshot_of("RUNNING", subtask("RUNNING", message="50 %"), subtask("PAUSED"), subtask(None))
    )
    assert verdicts(root) == [
        ("subtask", "error", "still RUNNING: 50 %"),
        ("subtask #2", "error", "unknown status PAUSED"),
        ("subtask #3", "error", "no status"),
        ("Import", "error", "still RUNNING"),
    ]


def test_a_warning_passes_with_a_note() -> None:
    root = report(snapshot_of("WARNING", subtask("WARNING", message="Skipped.")))
    assert verdicts(root) == [("subtask", "system-out", "WARNING: Skipped.")]


def test_a_warning_is_a_failure_with_strict() -> None:
    warned = snapshot_of("WARNING", subtask("WARNING", message="Skipped."))
    assert verdicts(report(warned, strict=True)) == [("subtask", "failure", "WARNING: Skipped.")]
    alone = snapshot_of("WARNING", subtask("SUCCESSFUL"))
    assert verdicts(report(alone, strict=True))[-1] == ("Import", "failure", "WARNING")


def test_an_unavailable_task_is_an_error_with_the_services_message() -> None:
    missing = TaskNotFound("no such task", code="DLF.0810", service_message="Does not exist.")
    unavailable = Snapshot(
        "unavailable",
        read_task(b'{"id":"1","status":"RUNNING"}'),
        error=ServiceUnavailable("refused"),
    )
    root = report(Snapshot("gone", error=missing), unavailable, snapshot_of("SUCCESSFUL"))
    assert verdicts(root) == [
        ("gone", "error", "no such task (DLF.0810): Does not exist."),
        ("unavailable", "error", "refused"),
        ("Import", "", None),
    ]


def test_a_task_that_timed_out_is_shown_with_its_last_state() -> None:
    task = read_task(b'{"id":"1","name":"Import","status":"RUNNING"}')
    root = report(Snapshot("1", task, error=WaitTimeout("late")))
    assert verdicts(root) == [("Import", "error", "still RUNNING")]


def test_subtasks_with_the_same_name_get_distinct_names() -> None:
    subtasks = [subtask("SUCCESSFUL", name=name) for name in ("a", "a #2", "a", "a")]
    names = [name for name, _, _ in verdicts(report(snapshot_of("SUCCESSFUL", *subtasks)))]
    assert len(set(names)) == 4


@settings(max_examples=60)
@given(TEXT, TEXT, STATUSES, STATUSES)
def test_a_report_is_valid_with_any_names(name: str, message: str, status: str, own: str) -> None:
    odd = subtask(status, name=name, message=message)
    root = report(snapshot_of(own, odd, odd, name=name, message=message), strict=True)
    assert len(root) == 1


def test_characters_that_xml_forbids_are_escaped() -> None:
    root = report(snapshot_of("FAILED", name='<&"\x00\x1b\ufffe\ud800\n]]>'))
    assert verdicts(root)[0][0] == '<&"\\x00\\x1b\\ufffe\\ud800\\x0a]]>'


@pytest.mark.parametrize("start", [-5, 10**17, None])
def test_an_odd_time_is_left_out(start: int | None) -> None:
    root = report(snapshot_of("FAILED", startTime=start, endTime=3))
    assert root.find("testsuite").get("timestamp") is None  # type: ignore[union-attr]


def test_another_parser_reads_the_same(tmp_path: Path) -> None:
    path = tmp_path / "report.xml"
    failed = snapshot_of(
        "FAILED", subtask("FAILED", message="从路径"), subtask("RUNNING"), subtask("SUCCESSFUL")
    )
    text = "".join(render_junit([failed, snapshot_of("WARNING")], RenderOptions()))
    path.write_text(text, encoding="utf-8")
    found = junitparser.JUnitXml.fromfile(str(path))
    assert (found.tests, found.failures, found.errors) == (4, 1, 1)
    first = next(iter(found))
    assert [type(case.result[0]).__name__ if case.result else None for case in first] == [
        "Failure",
        "Error",
        None,
    ]
    assert next(iter(first)).result[0].message == "从路径"


def test_a_report_of_many_subtasks_is_never_in_memory_as_a_whole() -> None:
    message = "why it failed " * 50
    subtasks = [subtask("FAILED", name=f"subtask {n}", message=message) for n in range(4000)]
    snapshot = snapshot_of("FAILED", *subtasks)
    gc.disable()
    tracemalloc.start()
    try:
        size = sum(len(piece) for piece in render_junit([snapshot], RenderOptions()))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        gc.enable()
    assert size > 5_000_000
    assert peak < size / 2


@pytest.mark.parametrize("command", ["##[x]", "##vso[x]", "##TeamCity[x]"])
def test_ci_commands_are_escaped_and_a_reader_gets_them_back(command: str) -> None:
    snapshot = snapshot_of("FAILED", subtask("FAILED", name=command, message=command), name=command)
    text = "".join(render_junit([snapshot], RenderOptions()))
    assert "##" not in text
    assert verdicts(report(snapshot)) == [(command, "failure", command)]


def test_the_tasks_message_is_seen_where_a_subtask_failed() -> None:
    root = report(snapshot_of("FAILED", subtask("FAILED"), message="1 failed."))
    assert [node.text for node in root.iter("system-out")] == ["1 failed."]


def test_two_tasks_with_the_same_name_share_no_case() -> None:
    cases = report(snapshot_of("SUCCESSFUL"), snapshot_of("SUCCESSFUL", task_id="b")).iter(
        "testcase"
    )
    assert len({(case.get("classname"), case.get("name")) for case in cases}) == 2
