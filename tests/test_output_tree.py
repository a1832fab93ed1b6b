import io
import json
import re
import subprocess
import sys
from typing import Any

import pyte
import pytest

from dlftask.errors import TaskNotFound
from dlftask.output.formats import RenderOptions, render, tree_fits
from dlftask.output.rich_tree import render_rich_trees
from dlftask.output.text import encodable
from dlftask.streams import Streams
from dlftask.task import Task, read_task
from dlftask.waiting.snapshot import Snapshot

FAILED = {
    "id": "008aae2e675d3bcb01675d40ab3f0005",
    "name": "Start the traffic solution",
    "status": "FAILED",
    "startTime": 1543457778000,
    "endTime": 1543457794000,
    "message": "Failed.",
    "subtasks": [
        {"id": "1", "name": "Start the job_batch job", "status": "FAILED", "message": "No [CDM]."},
        {"id": "2", "name": "从路径[obs://aaaaa/job_batch.zip]导入作业。", "status": "SUCCESSFUL"},
        {"id": "3", "name": "[bold]c[/bold] :smile:", "status": "RUNNING"},
        {"id": "4", "name": "d", "status": "WARNING", "startTime": 0, "endTime": 1500},
        {"id": "5", "name": "e", "status": "SUCCESSFUL"},
    ],
}

FULL = """\
✗ Start the traffic solution  FAILED  16s  Failed.
  ID 008aae2e675d3bcb01675d40ab3f0005
  started 2018-11-29 02:16:18Z  ended 2018-11-29 02:16:34Z
├── ✗ Start the job_batch job  FAILED  No [CDM].
├── ✓ 从路径[obs://aaaaa/job_batch.zip]导入作业。  SUCCESSFUL
├── ● [bold]c[/bold] :smile:  RUNNING
├── ! d  WARNING  1.5s
└── ✓ e  SUCCESSFUL
"""

COMPACT = """\
✗ Start the traffic solution  FAILED  16s  Failed.
  ID 008aae2e675d3bcb01675d40ab3f0005
  started 2018-11-29 02:16:18Z  ended 2018-11-29 02:16:34Z
├── ✗ Start the job_batch job  FAILED  No [CDM].
├── ● [bold]c[/bold] :smile:  RUNNING
├── ! d  WARNING  1.5s
└── … 2 more SUCCESSFUL
"""

ASCII = """\
x Start the traffic solution  FAILED  16s  Failed.
  ID 008aae2e675d3bcb01675d40ab3f0005
  started 2018-11-29 02:16:18Z  ended 2018-11-29 02:16:34Z
+-- x Start the job_batch job  FAILED  No [CDM].
+-- > [bold]c[/bold] :smile:  RUNNING
+-- ! d  WARNING  1.5s
`-- ... 2 more SUCCESSFUL
"""


def task(value: dict[str, Any]) -> Task:
    return read_task(json.dumps(value).encode())


def plain(
    value: dict[str, Any],
    *,
    compact: bool = False,
    unicode: bool = True,
    task_id: str | None = None,
) -> str:
    options = RenderOptions(utc=True, compact=compact, unicode=unicode)
    return "".join(render("tree", [Snapshot(task_id or value["id"], task(value))], options))


def rich(
    *values: dict[str, Any],
    compact: bool = False,
    color: str = "never",
    encoding: str = "utf-8",
    columns: int | None = None,
    task_id: str | None = None,
) -> str:
    """The tree that rich draws: on a pipe, or on a terminal of ``columns``."""
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    streams = Streams(out, io.TextIOWrapper(io.BytesIO()), color=color, environ={})
    options = RenderOptions(
        utc=True, compact=compact, unicode=streams.unicode, color=streams.color, width=columns
    )
    snapshots = [Snapshot(task_id or value["id"], task(value)) for value in values]
    # Without colours a pipe does not use rich: call it directly.
    return encodable(render_rich_trees(snapshots, options), encoding)


@pytest.mark.parametrize(
    ("expected", "compact", "encoding"),
    [(FULL, False, "utf-8"), (COMPACT, True, "utf-8"), (ASCII, True, "ascii")],
)
def test_both_trees_read_the_same(expected: str, *, compact: bool, encoding: str) -> None:
    assert plain(FAILED, compact=compact, unicode=encoding == "utf-8") == expected
    assert rich(FAILED, compact=compact, encoding=encoding) == expected


def test_an_encoding_with_the_symbols_need_not_be_utf_8() -> None:
    assert rich(FAILED, encoding="gb18030") == FULL


def test_what_the_encoding_lacks_is_shown_as_its_escape() -> None:
    assert r"+-- v \u4ece\u8def" in rich(FAILED, encoding="latin-1")


def test_a_status_has_its_colour_beside_its_symbol_and_word() -> None:
    text = rich(FAILED, color="always")
    assert "\x1b[31m✗\x1b[0m" in text
    assert "\x1b[31mFAILED\x1b[0m" in text
    assert "\x1b[32mSUCCESSFUL\x1b[0m" in text
    assert "\x1b[34mRUNNING\x1b[0m" in text
    assert "\x1b[33mWARNING\x1b[0m" in text
    assert "\x1b[35mPAUSED\x1b[0m" in rich({"id": "1", "status": "PAUSED"}, color="always")


def test_without_colours_no_escape_code_is_written() -> None:
    assert "\x1b" not in rich(FAILED, color="never", columns=80)


def test_a_pipe_never_wraps_or_cuts_even_in_colour() -> None:
    long = {"id": "1", "status": "FAILED", "name": "n" * 5000, "message": "word " * 2000 + "end"}
    text = rich({**long, "subtasks": [long]}, color="always")
    assert len(text.splitlines()) == 3
    assert text.count("n" * 5000) == 2
    assert text.count("word " * 2000 + "end") == 2


@pytest.mark.parametrize("columns", [24, 40, 80])
def test_a_terminal_wraps_and_loses_nothing(columns: int) -> None:
    subtask = {"id": "2", "status": "FAILED", "name": "宽" * 100, "message": "m" * 300}
    text = rich(
        {"id": "1", "status": "FAILED", "subtasks": [subtask]}, color="always", columns=columns
    )
    screen = pyte.Screen(columns, 100)
    pyte.Stream(screen).feed(text.replace("\n", "\r\n"))
    shown = "".join(screen.display)
    assert shown.count("宽") == 100
    assert shown.count("m") == 300
    used = [line for line in screen.display if line.strip()]
    assert len(used) == text.count("\n")  # the terminal itself had nothing to wrap


@pytest.mark.parametrize("columns", [-5, 0, 1, 3, 99999])
def test_an_absurd_width_does_not_fail(columns: int) -> None:
    assert "FAILED" in rich(FAILED, columns=columns)


@pytest.mark.parametrize("columns", ["0", "1", "-5", "99999", "abc", ""])
def test_the_environment_is_not_read(columns: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setenv("LINES", columns)
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[31m" in rich(FAILED, color="always")


def test_text_from_the_service_is_escaped() -> None:
    text = "\x1b]0;owned\x07\n\u202egpj\u200b\ud800 [red]r[/red]"
    shown = r"\x1b]0;owned\x07\x0a\u202egpj\u200b\ud800 [red]r[/red]"
    node = {"id": text, "name": text, "status": text, "message": text}
    value = {**node, "subtasks": [node]}
    assert plain(value) == (
        f"? {shown}  {shown}  {shown}\n  ID {shown}\n└── ? {shown}  {shown}  {shown}\n"
    )
    assert rich(value) == plain(value)


@pytest.mark.parametrize("color", ["never", "always"])
def test_wrapping_never_creates_a_ci_command(color: str) -> None:
    message = f"{'a' * 60} ::error::{'b' * 60} ::warning::c"
    node = {"id": "1", "name": "n", "status": "FAILED", "message": message}
    for columns in range(20, 100):
        text = rich({**node, "subtasks": [node]}, columns=columns, color=color)
        lines = re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines()
        assert not [line for line in lines if line.lstrip().startswith("::")]
        assert r"\x3a:" in text or columns > 90


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"subtasks": None}, "● 1  RUNNING\n  ID 1\n"),
        ({"name": ""}, "● 1  RUNNING\n  ID 1\n"),
        (
            {"startTime": 2000, "endTime": 1000},
            "● 1  RUNNING\n  ID 1\n  started 1970-01-01 00:00:02Z  ended 1970-01-01 00:00:01Z\n",
        ),
        ({"startTime": None, "endTime": -7}, "● 1  RUNNING\n  ID 1\n"),
        ({"subtasks": [{}]}, "● 1  RUNNING\n  ID 1\n└── ? (no name)  (no status)\n"),
        ({"subtasks": [{"id": "2"}]}, "● 1  RUNNING\n  ID 1\n└── ? 2  (no status)\n"),
    ],
)
def test_odd_values_are_shown_as_what_they_are(value: dict[str, Any], expected: str) -> None:
    whole = {"id": "1", "status": "RUNNING", **value}
    assert plain(whole) == expected
    assert rich(whole) == expected


def test_the_id_asked_for_is_shown_beside_another_id_in_the_response() -> None:
    value = {"id": "own\x1b", "status": "RUNNING"}
    expected = "● own\\x1b  RUNNING\n  ID own\\x1b (asked for other)\n"
    assert plain(value, task_id="other") == expected
    assert rich(value, task_id="other") == expected


def test_an_unavailable_task_has_no_tree() -> None:
    unavailable = Snapshot("gone", error=TaskNotFound("not there"), settled=True)
    for options in (RenderOptions(), RenderOptions(color=True), RenderOptions(width=80)):
        assert "".join(render("tree", [unavailable, unavailable], options)) == ""


def test_wrapped_lines_are_aligned_with_the_name() -> None:
    subtask = {"id": "2", "status": "FAILED", "name": "the part", "message": "some words to wrap"}
    value = {"id": "i" * 30, "status": "FAILED", "name": "the whole of it", "subtasks": [subtask]}
    assert rich(value, columns=24) == (
        "✗ the whole of it  \n"
        "  FAILED\n"
        "  ID \n"
        f"  {'i' * 22}\n"
        f"  {'i' * 8}\n"
        "└── ✗ the part  FAILED  \n"
        "      some words to wrap\n"
    )


def test_a_compact_tree_of_a_successful_task_is_one_line() -> None:
    subtasks = [{"id": str(n), "status": "SUCCESSFUL"} for n in range(3)]
    value = {
        "id": "1",
        "name": "n",
        "status": "SUCCESSFUL",
        "startTime": 0,
        "endTime": 15000,
        "subtasks": subtasks,
    }
    expected = "✓ n  SUCCESSFUL  15s  3 subtasks  1\n"
    assert plain(value, compact=True) == expected
    assert rich(value, compact=True) == expected
    expected = "✓ n  SUCCESSFUL  15s  3 subtasks  other\n"
    assert rich(value, compact=True, task_id="other") == expected


def test_a_running_task_shows_its_time_so_far_only_on_a_terminal() -> None:
    value = {"id": "1", "status": "RUNNING", "startTime": 1000, "subtasks": [{"status": "RUNNING"}]}
    snapshots = [Snapshot("1", task(value))]
    options = RenderOptions(utc=True, now_ms=91_500)
    shown = "".join(render("tree", snapshots, options._replace(width=80)))
    assert shown.splitlines()[0] == "● 1  RUNNING  1m30s"
    assert shown.splitlines()[-1] == "└── ● (no name)  RUNNING"
    for other in (options, options._replace(color=True)):
        assert "1m30s" not in "".join(render("tree", snapshots, other))


def test_whether_trees_fit_counts_wrapped_rows() -> None:
    snapshots = [Snapshot("1", task(FAILED))]
    wide, narrow = RenderOptions(width=80, utc=True), RenderOptions(width=30, utc=True)
    assert tree_fits(snapshots, wide, 8)
    assert not tree_fits(snapshots, wide, 7)
    assert not tree_fits(snapshots, narrow, 8)
    assert tree_fits(snapshots, wide._replace(compact=True), 7)
    assert not tree_fits(snapshots, wide, 2)


def test_several_trees_are_printed_one_below_the_other() -> None:
    assert rich(FAILED, FAILED) == FULL + FULL


def test_pipes_and_files_need_no_rich() -> None:
    program = (
        "import sys, dlftask.output.tree, dlftask.output.log, dlftask.output.data,"
        " dlftask.output.junit; print({'rich', 'requests', 'jmespath', 'xml', 'datetime'}"
        " & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], env={}, capture_output=True, check=True)
    assert done.stdout.strip() == b"set()"
