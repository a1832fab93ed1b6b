import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlftask.task import MAX_NESTING, Status, Subtask, Task, read_task


def read(**fields: object) -> Task:
    return read_task(json.dumps({"id": "t", "status": "RUNNING", **fields}).encode())


def test_a_task_is_read_field_by_field() -> None:
    task = read_task(
        """{
        "endTime": 1543457794000, "id": "008aae2e675d3bcb01675d40ab3f0005",
        "lastUpdate": 1543457794000, "name": "从路径[obs://aaaaa/job_batch.zip]导入作业。",
        "projectId": "b384b9e9ab9b4ee8994c8633aabc9505", "startTime": 1543457778000,
        "status": "FAILED", "message": "no", "subtasks": [
          {"id": "s1", "lastUpdate": 1543457794000, "name": "Start", "status": "FAILED",
           "taskId": "008aae2e675d3bcb01675d40ab3f0005"}]}""".encode()
    )
    assert task.id == "008aae2e675d3bcb01675d40ab3f0005"
    assert task.name == "从路径[obs://aaaaa/job_batch.zip]导入作业。"
    assert task.status == Status.FAILED
    assert task.message == "no"
    assert (task.start_ms, task.end_ms) == (1543457778000, 1543457794000)
    assert task.duration_ms == 16_000
    assert task.subtasks == (Subtask("s1", "Start", "FAILED", last_update_ms=1543457794000),)
    assert list(task.raw)[:2] == ["endTime", "id"]
    assert not task.running


def test_id_and_status_are_all_that_is_needed() -> None:
    task = read_task(b'{"id": "t", "status": "RUNNING"}')
    assert (task.name, task.message, task.duration_ms, task.subtasks) == (None, None, None, ())
    assert task.running


@pytest.mark.parametrize("missing", ["name", "message", "startTime", "endTime", "subtasks"])
def test_null_is_missing(missing: str) -> None:
    assert replace(read(**{missing: None}), raw={}) == replace(read(), raw={})


def test_reversed_times_have_no_duration_and_are_kept() -> None:
    task = read_task(b'{"id": "t", "status": "FAILED", "startTime": 5, "endTime": 3}')
    assert (task.start_ms, task.end_ms, task.duration_ms) == (5, 3, None)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"5",
        b'"RUNNING"',
        b"[]",
        b"<html></html>",
        b"{",
        b'{"id": "t"}',
        b'{"status": "RUNNING"}',
        b'{"id": "", "status": "RUNNING"}',
        b'{"id": 5, "status": "RUNNING"}',
        b'{"id": "t", "status": true}',
        b'{"id": "t", "status": ["RUNNING"]}',
        b'{"id": "t", "status": "RUNNING", "x": NaN}',
        b'{"id": "t", "status": "RUNNING", "x": -Infinity}',
        b'{"id": "t", "status": "RUNNING", "status": "FAILED"}',
        b'{"id": "t", "status": "RUNNING", "subtasks": [{"id": "s", "id": "s"}]}',
        b'\xef\xbb\xbf{"id": "t", "status": "RUNNING"}',
        '{"id": "t", "status": "RUNNING"}'.encode("utf-16"),
        b'{"id": "t", "status": "RUNNING", "name": "\xff"}',
        b'{"id": "t", "status": "RUNNING"} {}',
        b'{"id": "t", "status": "RUNNING", "x": ' + b"[" * 200 + b"]" * 200 + b"}",
        b"[" * 1_000_000,
        b'{"a":' * 100_000,
    ],
)
def test_an_invalid_response_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_task(body)


@pytest.mark.parametrize(
    "field",
    [
        '"name": 5',
        '"message": ["no"]',
        '"startTime": "yesterday"',
        '"startTime": true',
        '"startTime": -5',
        '"startTime": 1e30',
        '"startTime": 1e400',
        '"lastUpdate": 253402300800000',
        '"endTime": 1.5',
        '"endTime": ' + "9" * 5000,
        '"subtasks": {}',
        '"subtasks": "none"',
        '"subtasks": ["s", null, 5]',
    ],
)
def test_a_field_of_a_wrong_type_or_out_of_range_counts_as_not_given(field: str) -> None:
    task = read_task(b'{"id": "t", "status": "RUNNING", %b}' % field.encode())
    assert replace(task, raw={}) == replace(read(), raw={})
    assert len(task.raw) == 3


def test_a_subtask_may_have_no_valid_field() -> None:
    (subtask,) = read(subtasks=["s", {"id": 5, "name": [], "status": 1, "startTime": {}}]).subtasks
    assert subtask == Subtask(None, None, None)


def test_nesting_that_a_service_might_have_is_read() -> None:
    depth = MAX_NESTING - 2
    body = b'{"id": "t", "status": "RUNNING", "x": ' + b"[" * depth + b"]" * depth + b"}"
    assert read_task(body).id == "t"


@given(st.binary() | st.text().map(str.encode))
def test_no_body_raises_anything_but_a_value_error(body: bytes) -> None:
    try:
        read_task(body)
    except ValueError:
        return


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
fields = st.sampled_from(
    ["id", "name", "status", "message", "startTime", "endTime", "lastUpdate", "subtasks", "x"]
)


@given(st.dictionaries(fields, json_values))
def test_the_original_is_kept_whole(raw: dict[str, object]) -> None:
    body = json.dumps({"id": "t", "status": "RUNNING", **raw}).encode()
    try:
        task = read_task(body)
    except ValueError:
        return
    assert task.raw == json.loads(body)
