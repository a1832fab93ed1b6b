import csv
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlftask.errors import ConfigurationError, ServiceUnavailable, TaskNotFound, WaitTimeout
from dlftask.output.formats import RenderOptions, render
from dlftask.output.query import Query
from dlftask.task import read_task
from dlftask.waiting.snapshot import Snapshot

FORBIDDEN = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
TEXT = st.text(alphabet=st.characters())
# What JSON can hold: its readers combine two surrogates of a pair into one character.
JSON_TEXT = TEXT.map(lambda text: json.loads(json.dumps(text)))
NOT_FOUND = TaskNotFound("the task does not exist", code="DLF.0810", service_message="No Task.")


def snapshot_of(value: dict[str, Any], task_id: str = "given") -> Snapshot:
    return Snapshot(task_id, read_task(json.dumps(value).encode()), settled=True)


def task(**more: Any) -> dict[str, Any]:
    return {"id": "own", "status": "FAILED", **more}


def tsv(snapshots: list[Snapshot]) -> str:
    return "".join(render("tsv", snapshots, RenderOptions()))


def render_json(snapshots: list[Snapshot], query: Query | None = None, **options: Any) -> str:
    return "".join(render("json", snapshots, RenderOptions(query=query, **options)))


def render_jsonl(snapshots: list[Snapshot], query: Query | None = None, **options: Any) -> str:
    return "".join(render("jsonl", snapshots, RenderOptions(query=query, **options)))


MISSING = Snapshot("gone", error=NOT_FOUND, settled=True)
MISSING_OBJECT = {
    "id": "gone",
    "error": {"code": "DLF.0810", "message": "No Task.", "exit_status": 4},
}


def test_json_is_the_services_own_object_in_its_own_order() -> None:
    value = {
        "zeta": 1,
        "status": "RUNNING",
        "name": "导入",
        "id": "1",
        "new": {"b": 1.5, "a": None},
    }
    assert (
        render_json([snapshot_of(value)]) == json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    )


def test_json_of_several_is_an_array_with_errors_for_unavailable_tasks() -> None:
    found = json.loads(render_json([MISSING, snapshot_of(task())]))
    assert found == [MISSING_OBJECT, task()]


def test_jsonl_has_one_compact_object_per_line() -> None:
    text = render_jsonl([snapshot_of(task(name="a\u2028\x85b")), MISSING])
    assert [json.loads(line) for line in text.splitlines()] == [
        task(name="a\u2028\x85b"),
        MISSING_OBJECT,
    ]
    assert text.startswith('{"id":"own","status":"FAILED","name":"a\\u2028\\u0085b"}\n')


def test_without_a_message_of_the_service_an_error_object_has_the_errors_own() -> None:
    error = ServiceUnavailable("the connection was refused")
    unavailable = Snapshot("unavailable", read_task(json.dumps(task()).encode()), error=error)
    assert json.loads(render_json([unavailable, snapshot_of(task())]))[0] == {
        "id": "unavailable",
        "error": {"code": None, "message": "the connection was refused", "exit_status": 6},
    }


def test_a_task_that_timed_out_has_its_last_state() -> None:
    late = Snapshot("1", read_task(json.dumps(task()).encode()), error=WaitTimeout("late"))
    assert json.loads(render_json([late])) == task()


def test_a_single_unavailable_task_prints_nothing() -> None:
    for options in (RenderOptions(), RenderOptions(query=Query("id"))):
        for name in ("tree", "json", "jsonl", "tsv", "markdown"):
            assert "".join(render(name, [MISSING], options)) == ""


@pytest.mark.parametrize("command", ["##[x]", "##vso[x]", "##VSO[x]", "a###teamcity[x]"])
def test_ci_commands_are_escaped_and_a_reader_gets_them_back(command: str) -> None:
    snapshot = snapshot_of(task(name=command, message="no ## [command]"))
    for text in (render_json([snapshot]), render_jsonl([snapshot])):
        assert json.loads(text) == snapshot.result.raw  # type: ignore[union-attr]
        assert not re.search(r"##(\[|vso|teamcity)", text, re.IGNORECASE)
        assert "no ## [command]" in text
    fields = tsv([snapshot]).rstrip("\n").split("\t")
    assert unescape(fields[8]) == command
    assert not re.search(r"##(\[|vso|teamcity)", fields[8], re.IGNORECASE)
    assert fields[9] == "no ## [command]"


@given(JSON_TEXT)
def test_json_holds_the_same_value_and_no_control_character(name: str) -> None:
    snapshot = snapshot_of(task(name=name, **{f"x{name}": [name]}))
    for text in (render_json([snapshot]), render_jsonl([snapshot])):
        assert json.loads(text) == snapshot.result.raw  # type: ignore[union-attr]
        assert not FORBIDDEN.search(text)
        assert text.encode()


def test_tsv_has_ten_columns() -> None:
    subtask = {"id": "p", "status": "SUCCESSFUL", "name": "n", "startTime": 5, "lastUpdate": 9}
    value = task(startTime=1000, endTime=3500, lastUpdate=4000, name="x", message="m")
    assert tsv(
        [snapshot_of({**value, "subtasks": [subtask, {}]}), MISSING, snapshot_of(task(), "b")]
    ) == (
        "task\tgiven\town\tFAILED\t1000\t3500\t4000\t2500\tx\tm\n"
        "subtask\tgiven\tp\tSUCCESSFUL\t5\t\t9\t\tn\t\n"
        "subtask\tgiven\t\t\t\t\t\t\t\t\n"
        "task\tb\town\tFAILED\t\t\t\t\t\t\n"
    )


def test_tsv_escapes_line_breaks_and_control_characters() -> None:
    line = tsv([snapshot_of(task(name="a\tb\nc\rd\\e", message="\x1b\x85\u202e\ud800\u2028é"))])
    assert line.endswith("a\\tb\\nc\\rd\\\\e\t\\x1b\\x85\\u202e\\ud800\\u2028é\n")


def unescape(field: str) -> str:
    plain = {"t": "\t", "n": "\n", "r": "\r", "\\": "\\"}
    return re.sub(
        r"\\(x[0-9a-f]{2}|u[0-9a-f]{4}|.)",
        lambda found: plain.get(found[1]) or chr(int(found[1][1:], 16)),
        field,
    )


@given(JSON_TEXT, JSON_TEXT)
def test_tsv_gives_back_what_went_in(name: str, message: str) -> None:
    text = tsv([snapshot_of(task(name=name, message=message))])
    (row,) = csv.reader(text.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE)
    assert [unescape(field) for field in row[8:]] == [name, message]
    assert not FORBIDDEN.search(text.replace("\t", ""))


@pytest.mark.parametrize(
    ("expression", "printed"),
    [
        ("status", "FAILED\n"),
        ("nothing", "null\n"),
        ("length(subtasks)", "1\n"),
        ("{a: id}", '{\n  "a": "own"\n}\n'),
        ("subtasks[].id", '[\n  "p"\n]\n'),
    ],
)
def test_a_query_selects_from_the_object(expression: str, printed: str) -> None:
    value = task(subtasks=[{"id": "p"}])
    assert render_json([snapshot_of(value)], Query(expression)) == printed


def test_a_query_of_several_selects_from_the_array() -> None:
    printed = render_json([snapshot_of(task()), MISSING], Query("[?error].id | [0]"))
    assert printed == "gone\n"


def test_a_query_with_jsonl_selects_from_each_line() -> None:
    printed = render_jsonl([snapshot_of(task()), MISSING], Query("status"))
    assert printed == "FAILED\nnull\n"
    assert render_jsonl([snapshot_of(task())], Query("[id, status]")) == '["own","FAILED"]\n'


def test_a_bare_string_goes_to_a_pipe_as_it_is_and_to_a_terminal_escaped() -> None:
    snapshot, query = snapshot_of(task(name="a\nb\x1b\ud800")), Query("name")
    assert render_json([snapshot], query) == "a\nb\x1b\\ud800\n"
    assert render_json([snapshot], query, width=80) == "a\\x0ab\\x1b\\ud800\n"


def test_a_bare_string_of_jsonl_is_always_one_line() -> None:
    snapshot, query = snapshot_of(task(name="a\nb\r\x0b\x0c\x85\u2028\x1b\t\\é")), Query("name")
    piped = render_jsonl([snapshot], query)
    assert piped == "a\\nb\\r\\x0b\\x0c\\x85\\u2028\x1b\t\\é\n"
    assert len(piped.splitlines()) == 1
    shown = render_jsonl([snapshot], query, width=80)
    assert shown == "a\\nb\\r\\x0b\\x0c\\x85\\u2028\\x1b\\x09\\é\n"


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("a[", "Invalid jmespath expression: Incomplete expression"),
        ("&name", "selects an expression, not a value"),
        ("{a: [&name]}", "selects an expression, not a value"),
        ("to_number('nan')", "selects what JSON cannot hold"),
    ],
)
def test_a_bad_expression_is_explained(expression: str, expected: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Query(expression).select({"name": "x"})
    assert str(caught.value) == f"--query: {expected}"


@pytest.mark.parametrize(
    "expression",
    ["", "foo[", "a b", "'open", "nofunction(@)", "a[?nofunction(@)]", "(" * 5000, "\x1b"],
)
def test_a_bad_expression_is_found_before_any_request(expression: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Query(expression)
    assert str(caught.value).startswith("--query: ")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    "expression", ["length(`1`)", "sum(id)", "length()", "&id", "to_number('nan')", "[id][::0]"]
)
def test_an_expression_that_does_not_fit_is_a_configuration_error(expression: str) -> None:
    query = Query(expression)
    with pytest.raises(ConfigurationError) as caught:
        render_json([snapshot_of(task())], query)
    assert len(str(caught.value).splitlines()) == 1


@given(TEXT)
def test_no_expression_raises_anything_else(expression: str) -> None:
    try:
        render_json([snapshot_of(task(name="n", subtasks=[{"id": "p"}]))], Query(expression))
    except ConfigurationError as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017 - either way is fine
