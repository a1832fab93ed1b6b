import json
import re
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from dlftask.errors import TaskNotFound, WaitTimeout
from dlftask.output.formats import RenderOptions, render
from dlftask.output.text import escape_controls
from dlftask.task import read_task
from dlftask.waiting.snapshot import Snapshot

PARSER = MarkdownIt("commonmark", {"html": True}).enable("table")
MARKUP = [
    "@name #123 https://example.org :smile: *em* **strong** [a](b) ![c](d) <b>x</b> ~~s~~ $`x`$",
    "| a | b |",
    "`", "``a`b```", " a ", "   ", "a\\", "\\|", "\\`|", "`" * 200, "</details>", "<!-- ", "##[x",
]  # fmt: skip
TEXT = st.sampled_from(MARKUP) | st.text(alphabet="`|\\ <>@#*_[]()!\n\r\tab&;:-~$", max_size=12)
STATUSES = st.sampled_from(["SUCCESSFUL", "FAILED", "RUNNING", "WARNING"]) | TEXT.filter(bool)


def snapshot_of(
    status: str, *subtasks: dict[str, Any], task_id: str = "given", **more: Any
) -> Snapshot:
    value = {"id": "own", "name": "Import", "status": status, "subtasks": subtasks, **more}
    return Snapshot(task_id, read_task(json.dumps(value).encode()), settled=True)


def markdown(*snapshots: Snapshot) -> str:
    return "".join(render("markdown", snapshots, RenderOptions(utc=True)))


def flat(text: str) -> list[Token]:
    """All tokens of the document, those inside a line too."""
    return [inner for token in PARSER.parse(text) for inner in (token, *(token.children or ()))]


def spans(text: str) -> list[str]:
    return [token.content for token in flat(text) if token.type == "code_inline"]


def test_a_task_is_a_heading_its_facts_its_message_and_a_table() -> None:
    text = markdown(
        snapshot_of(
            "FAILED",
            {"name": "a", "status": "SUCCESSFUL", "startTime": 0, "endTime": 1500},
            {"name": "b|c", "status": "FAILED", "message": "No `[CDM]`."},
            startTime=1543457499000,
            endTime=1543457514000,
            message="1 failed.",
        )
    )
    assert text == (
        "## ✗ FAILED `Import`\n"
        "\n"
        "ID `given` · in the response `own` · started 2018-11-29 02:11:39Z"
        " · ended 2018-11-29 02:11:54Z · 15s\n"
        "\n"
        "`1 failed.`\n"
        "\n"
        "| Status | Name | Duration | Message |\n"
        "|---|---|---|---|\n"
        "| ✗ FAILED | `b\\|c` |  | ``No `[CDM]`.`` |\n"
        "\n"
        "<details>\n"
        "<summary>1 SUCCESSFUL</summary>\n"
        "\n"
        "| Status | Name | Duration | Message |\n"
        "|---|---|---|---|\n"
        "| ✓ SUCCESSFUL | `a` | 1.5s |  |\n"
        "\n"
        "</details>\n"
        "\n"
    )


@settings(max_examples=300)
@given(TEXT, TEXT, STATUSES, STATUSES)
def test_text_of_the_service_is_never_markup(
    name: str, message: str, status: str, own: str
) -> None:
    node = {"id": "i", "name": name, "message": message, "status": status}
    text = markdown(snapshot_of(own, node, node, name=name, message=message))
    assert {token.type for token in flat(text)} <= {
        "heading_open", "heading_close", "paragraph_open", "paragraph_close", "inline", "text",
        "code_inline", "html_block", "table_open", "table_close", "thead_open", "thead_close",
        "tbody_open", "tbody_close", "tr_open", "tr_close", "th_open", "th_close", "td_open",
        "td_close", "text_special",
    }  # fmt: skip
    for token in flat(text):
        if token.type == "html_block":
            assert re.fullmatch(
                r"<details>\n<summary>\d+ SUCCESSFUL</summary>\n?|</details>\n?", token.content
            )
        if token.type == "text":
            assert not re.search(r"[`@#<\[*_|~$]", token.content)
    assert sum(token.type == "td_open" for token in flat(text)) == 8
    if message and message.count("`") < 80:
        assert spans(text).count(escape_controls(message)) >= 3
    assert not re.search(r"##(\[|vso\[)", text)


def test_an_unavailable_task_is_a_heading_and_its_error() -> None:
    gone = Snapshot("gone", error=TaskNotFound("no such task", service_message="<b>@x</b>"))
    late = Snapshot("late", snapshot_of("RUNNING").task, error=WaitTimeout("late"))
    text = markdown(gone, late)
    assert "no such task: <b>@x</b>" in spans(text)
    assert "## ● RUNNING `Import`" in text
    assert markdown(gone) == ""


def test_a_document_is_cut_below_githubs_limit_and_counts_what_is_cut() -> None:
    good = [{"name": f"good {n}", "status": "SUCCESSFUL"} for n in range(30_000)]
    bad = [{"name": "é" * 2000, "status": "FAILED", "message": "m"} for n in range(100)]
    text = markdown(snapshot_of("FAILED", *good, *bad), snapshot_of("FAILED", *good, *bad))
    assert 900_000 < len(text.encode()) <= 1_000_000
    assert text.count("| ✗ FAILED |") == 200
    left_out = 60_200 - text.count("\n| ✓") - text.count("\n| ✗")
    assert str(left_out) in text.splitlines()[-1]
    assert "200 texts" in text.splitlines()[-1]
    assert text.count("<details>") == text.count("</details>") == 2


def test_one_text_larger_than_the_document_leaves_the_rest() -> None:
    text = markdown(snapshot_of("FAILED", {"name": "b", "status": "FAILED"}, message="€" * 900_000))
    assert len(text.encode()) < 10_000
    assert "| ✗ FAILED | `b` |" in text
    assert "1 text" in text.splitlines()[-1]


def test_tasks_without_room_are_counted() -> None:
    text = markdown(*[snapshot_of("SUCCESSFUL", name=f"{n}" * 200) for n in range(9000)])
    assert len(text.encode()) <= 1_000_000
    assert f"{9000 - text.count('## ✓')} tasks" in text.splitlines()[-1]
