"""The lines of errors, hints and warnings: their content and their length."""

import io

import pytest

from dlftask.errors import AuthenticationError, DlftaskError, ServiceUnavailable, TaskNotFound
from dlftask.messages import write_error, write_errors, write_warning
from dlftask.streams import Streams
from dlftask.waiting.snapshot import Snapshot


def lines_of(
    error: DlftaskError, *, encoding: str = "utf-8", task_id: str | None = "t"
) -> list[str]:
    """The lines on standard error, as they are written."""
    written = io.BytesIO()
    stderr = io.TextIOWrapper(written, encoding=encoding)
    write_error(error, Streams(io.TextIOWrapper(io.BytesIO()), stderr, environ={}), task_id=task_id)
    return written.getvalue().decode(encoding).splitlines()


def test_a_line_has_the_task_and_the_services_error_and_a_second_one_the_hint() -> None:
    error = TaskNotFound(
        "not there",
        code="DLF.0810",
        service_message="No [t].",
        http_status=400,
        request_id="r1",
        hint="check the ID",
    )
    assert lines_of(error) == [
        "dlftask: error: task t: not there (HTTP 400, DLF.0810, request ID r1): No [t].",
        "hint: check the ID",
    ]


@pytest.mark.parametrize(
    ("encoding", "end"),
    [("utf-8", "作…"), ("ascii", "..."), ("latin-1", "..."), ("gb18030", "作…")],
)
def test_a_line_is_cut_at_1000_characters_as_written(encoding: str, end: str) -> None:
    (line,) = lines_of(ServiceUnavailable("broken", service_message="作" * 5000), encoding=encoding)
    assert len(line) == 1000
    assert line.endswith(end)


def test_a_line_of_1000_characters_is_whole() -> None:
    message = "m" * (1000 - len("dlftask: error: "))
    assert lines_of(ServiceUnavailable(message), task_id=None) == [f"dlftask: error: {message}"]


def test_a_hint_that_several_tasks_share_is_written_once() -> None:
    written = io.BytesIO()
    streams = Streams(stderr=io.TextIOWrapper(written, encoding="utf-8"), environ={})
    errors = [TaskNotFound("gone", hint=hint) for hint in (None, "check it", "check it", None)]
    write_errors([Snapshot("t", error=error, settled=True) for error in errors], streams)
    line = "dlftask: error: task t: gone"
    assert written.getvalue().decode().splitlines() == [line, line, "hint: check it", line, line]


def test_errors_hints_and_warnings_are_colored_where_standard_error_is() -> None:
    written = io.BytesIO()
    stderr = io.TextIOWrapper(written, encoding="utf-8")
    streams = Streams(stderr=stderr, color="always", environ={})
    write_error(TaskNotFound("gone", hint="look"), streams)
    write_warning("careful\x1b[2J", streams)
    assert written.getvalue().decode().splitlines() == [
        "\x1b[1;31mdlftask: error:\x1b[0m gone",
        "\x1b[1;36mhint:\x1b[0m look",
        "\x1b[1;33mdlftask: warning:\x1b[0m careful\\x1b[2J",
    ]


def test_a_code_that_is_the_http_status_is_written_once() -> None:
    error = AuthenticationError("refused", code="401", http_status=401)
    assert lines_of(error) == ["dlftask: error: task t: refused (HTTP 401)"]


def test_an_endless_code_or_request_id_hides_nothing_else() -> None:
    error = ServiceUnavailable(
        "broken", code="c" * 3000, request_id="r" * 3000, http_status=500, service_message="why"
    )
    assert lines_of(error) == [
        f"dlftask: error: task t: broken (HTTP 500, {'c' * 100}..., request ID {'r' * 100}...): why"
    ]
