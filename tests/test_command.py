"""One run of a command: what it writes to its streams and reports, and its exit status."""

import io
import json
import os
import re
import signal
import tempfile
import termios
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import IO, Any

import pytest

from dlftask.command import Command, run
from dlftask.errors import ExitStatus, Interrupted, OutputFailed
from dlftask.options import ReportTarget
from dlftask.settings import load_settings
from dlftask.simulator import Fault, Simulator
from dlftask.streams import Streams
from tests.terminal import Terminal

SUCCESSFUL = "008aae2e675d3bcb01675d3c66f20000"
FAILED = "008aae2e675d3bcb01675d3e6b960004"
CLEAR = "\x1b]9;4;0;0\x1b\\"


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    """Imports take a second."""
    with Simulator(speed=9.3) as running:
        yield running


OPEN: list[IO[str]] = []


@pytest.fixture(autouse=True)
def close_files() -> Iterator[None]:
    yield
    while OPEN:
        OPEN.pop().close()


class Pipes:
    """Both streams as files, which are closed after the test."""

    def __init__(self, color: str | None = None) -> None:
        self._out = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115
        self._err = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115
        OPEN.extend((self._out, self._err))
        self.streams = Streams(self._out, self._err, color=color, environ={})

    @property
    def out(self) -> str:
        self._out.seek(0)
        return self._out.read()

    @property
    def err(self) -> list[str]:
        self._err.seek(0)
        return self._err.read().splitlines()


class Screen(Terminal):
    """A terminal as a shell leaves it: a newline returns to the first column."""

    def __init__(self, rows: int, columns: int) -> None:
        super().__init__(rows, columns)
        modes = termios.tcgetattr(self._slave)
        modes[1] |= termios.OPOST | termios.ONLCR
        termios.tcsetattr(self._slave, termios.TCSANOW, modes)


def run_command(
    simulator: Simulator,
    words: str,
    *ids: str,
    streams: Streams,
    environ: dict[str, str] | None = None,
    **changes: Any,
) -> ExitStatus:
    """Run ``words``, a command and its options; ``changes`` are settings."""
    name, *options = words.split()
    settings = load_settings(
        {"wait": name == "watch" or "--wait" in options or None},
        environ={**simulator.environment(), "DLFTASK_NO_HISTORY": "1", **(environ or {})},
        home=Path("/nonexistent"),
    )
    settings = settings._replace(**{"interval_s": 0.1, **changes})
    given = dict.fromkeys((word.removeprefix("--").replace("-", "_") for word in options), True)
    return run(Command(name, given, ids, time.monotonic()), settings, streams)


# On a terminal


@pytest.mark.parametrize("output", ["json", "tsv", "junit"])
def test_watch_in_another_format_prints_the_final_state_once_and_draws_no_tree(
    simulator: Simulator, output: str
) -> None:
    task_id = simulator.start_import()
    pipes = Pipes()
    assert run_command(simulator, "get", SUCCESSFUL, streams=pipes.streams, output=output) == 0
    with Screen(40, 200) as terminal:
        streams = terminal.streams
        status = run_command(simulator, "watch", task_id, streams=streams, output=output)
        drawn = terminal.read().decode()
    assert status == 0
    assert "──" not in drawn
    assert drawn.count("Import the job_batch job.") == 1


def test_plain_progress_prints_lines_on_a_terminal_and_no_tree(simulator: Simulator) -> None:
    task_id = simulator.start_import()
    with Screen(40, 200) as terminal:
        streams = terminal.streams
        assert run_command(simulator, "watch", task_id, streams=streams, progress="plain") == 0
        written = terminal.read().decode()
    assert "\x1b" not in written
    assert f"RUNNING    task    {task_id}" in written
    assert "── " not in written


@pytest.mark.parametrize("words", ["watch", "get --wait"])
def test_without_progress_only_the_result_is_printed(simulator: Simulator, words: str) -> None:
    task_id = simulator.start_import()
    pipes = Pipes()
    assert run_command(simulator, words, task_id, streams=pipes.streams, progress="none") == 0
    assert pipes.out.startswith("✓ Import the job")
    assert pipes.err == []


def test_the_last_screen_names_the_failed_one_of_a_thousand_subtasks() -> None:
    with Simulator(speed=9.3) as simulator, Screen(24, 80) as terminal:
        task_id = simulator.start_import("obs://a/big-and-fails.zip")
        assert run_command(simulator, "watch", task_id, streams=terminal.streams) == 1
        assert terminal.scrolled_off == []
        assert sum("Import the job_0501 job." in line for line in terminal.lines) == 2
        end = "".join(terminal.lines[-3:])
        assert "1 of 1000 subtasks failed" in end
        assert f"dlftask get {task_id}" in end


def test_watch_ends_with_a_summary_line(simulator: Simulator) -> None:
    with Screen(24, 80) as terminal:
        task_id = simulator.start_import()
        assert run_command(simulator, "watch", task_id, streams=terminal.streams) == 0
        assert re.match(
            r"dlftask: SUCCESSFUL after \S+, 0 of 5 subtasks failed", terminal.lines[-1]
        )


def test_get_summarizes_several_tasks_by_status_but_not_one_that_fits(
    simulator: Simulator,
) -> None:
    with Screen(24, 80) as terminal:
        ids = SUCCESSFUL, FAILED, "gone"
        assert run_command(simulator, "get", *ids, streams=terminal.streams) == 4
        assert terminal.lines[-1] == "dlftask: 3 tasks: 1 FAILED, 1 unavailable, 1 SUCCESSFUL"
    with Screen(24, 80) as terminal:
        assert run_command(simulator, "get", SUCCESSFUL, streams=terminal.streams) == 0
        assert "dlftask:" not in terminal.text


def test_an_outage_leaves_the_last_frame_and_then_the_state(simulator: Simulator) -> None:
    task_id = simulator.start_import()
    simulator.set_faults(Fault(status=503, after=1))
    with Screen(24, 100) as terminal:
        status = run_command(
            simulator, "watch", task_id, streams=terminal.streams, max_outage_s=0.5
        )
        assert status == 6
        frame = next(n for n, line in enumerate(terminal.lines) if line.startswith("● Import"))
        text = "\n".join(terminal.lines[frame:])
    assert "elapsed" in text
    assert f"dlftask: task {task_id}: RUNNING" in text
    assert text.index("elapsed") < text.index(f"dlftask watch {task_id}")


def test_an_outage_of_several_tasks_leaves_their_last_frame(simulator: Simulator) -> None:
    ids = [simulator.start_import() for _ in range(2)]
    simulator.set_faults(Fault(status=503, after=2))
    with Screen(24, 100) as terminal:
        assert (
            run_command(simulator, "watch", *ids, streams=terminal.streams, max_outage_s=0.5) == 6
        )
        assert any("0/2 tasks" in line or "2/2 tasks" in line for line in terminal.lines)


def test_after_the_timeout_the_last_state_is_printed_once_with_a_summary(
    simulator: Simulator,
) -> None:
    simulator.speed = 0.1
    task_id = simulator.start_import()
    with Screen(24, 100) as terminal:
        streams = terminal.streams
        assert run_command(simulator, "watch", task_id, streams=streams, timeout_s=0.5) == 124
        assert sum("Import the job" in line for line in terminal.lines) == 1
        assert "elapsed" not in terminal.text
        assert any(re.match(r"dlftask: RUNNING( |$)", line) for line in terminal.lines), (
            terminal.text
        )


def test_the_command_that_shows_all_uses_the_same_service(simulator: Simulator) -> None:
    options = {"endpoint": simulator.endpoint, "compact": None, "insecure": True, "timeout": "9m"}
    settings = load_settings(
        {**options, "wait": True},
        environ={**simulator.environment(), "DLFTASK_NO_HISTORY": "1"},
        home=Path("/nonexistent"),
    )
    with Screen(6, 200) as terminal:
        command = Command("watch", options, [SUCCESSFUL], time.monotonic())
        assert run(command, settings, terminal.streams) == 0
        shown = f"dlftask get --endpoint {simulator.endpoint} --insecure {SUCCESSFUL}"
        assert terminal.lines[-1].endswith(f"(to see all: {shown})")


def test_progress_in_the_tab_is_shown_on_known_terminals_and_removed(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM_PROGRAM", "ghostty")
    for words in ("watch", "get --wait"):
        with Screen(24, 80) as terminal:
            task_id = simulator.start_import("obs://a/fail.zip")
            assert run_command(simulator, words, task_id, streams=terminal.streams) == 1
            written = terminal.read().decode()
            assert "\x1b]9;4;2;" in written
            assert written.rindex(CLEAR) == written.rindex("\x1b]9;4;")
    pipes = Pipes()
    run_command(simulator, "watch", SUCCESSFUL, streams=pipes.streams)
    assert "\x1b" not in pipes.out + "".join(pipes.err)


# On a pipe


def test_lines_on_a_pipe_have_colours_if_the_user_chose_them(simulator: Simulator) -> None:
    for words in ("watch", "get --wait"):
        pipes = Pipes("always")
        run_command(simulator, words, FAILED, streams=pipes.streams)
        lines = pipes.out.splitlines() if words == "watch" else pipes.err
        assert any("\x1b[31mFAILED\x1b[0m" in line for line in lines)


def test_the_trace_begins_with_what_is_used(simulator: Simulator) -> None:
    pipes = Pipes()
    run_command(simulator, "get", SUCCESSFUL, streams=pipes.streams, debug=True)
    used = "\n".join(pipes.err[:4])
    assert simulator.endpoint in used
    assert simulator.project_id in used
    assert "DLFTASK_TOKEN" in used
    assert simulator.token not in "\n".join(pipes.err)


# --fail-fast


@pytest.mark.parametrize(
    ("words", "environ", "resumed"),
    [
        ("watch --fail-fast --utc", {}, "dlftask watch --utc"),
        ("watch", {"DLFTASK_FAIL_FAST": "1"}, "DLFTASK_FAIL_FAST=0 dlftask watch"),
    ],
)
def test_fail_fast_prints_how_to_resume_without_it(
    simulator: Simulator, words: str, environ: dict[str, str], resumed: str
) -> None:
    task_id = simulator.start_import()
    pipes = Pipes()
    status = run_command(
        simulator,
        words,
        FAILED,
        task_id,
        streams=pipes.streams,
        environ=environ,
        fail_fast=True,
    )
    assert status == 1
    assert pipes.err[-1] == f"dlftask: to resume: {resumed} {task_id}"
    assert any(line.startswith(f"dlftask: task {task_id}: ") for line in pipes.err)


# Reports


def report(path: Path) -> tuple[ReportTarget, ...]:
    return (ReportTarget("json", path),)


def test_a_report_has_the_last_state_after_the_timeout_and_after_an_outage(
    simulator: Simulator, tmp_path: Path
) -> None:
    simulator.speed = 0.1
    task_id = simulator.start_import()
    limits: list[tuple[dict[str, Any], list[Fault], int]] = [
        ({"timeout_s": 0.5}, [], 124),
        ({"max_outage_s": 0.5}, [Fault(status=503, after=1)], 6),
    ]
    for limit, faults, status in limits:
        path = tmp_path / str(status)
        simulator.set_faults(*faults)
        pipes = Pipes()
        found = run_command(
            simulator,
            "get --wait",
            task_id,
            streams=pipes.streams,
            reports=report(path),
            output="json",
            **limit,
        )
        assert found == status
        assert json.loads(path.read_text())["status"] == "RUNNING"
        assert bool(pipes.out) == (status == 124)


@contextmanager
def interrupted(after_s: float) -> Iterator[None]:
    """Send SIGTERM after ``after_s`` seconds."""

    def interrupt(number: int, _frame: FrameType | None) -> None:
        raise Interrupted(number)

    before = signal.signal(signal.SIGTERM, interrupt)
    alarm = threading.Timer(after_s, os.kill, (os.getpid(), signal.SIGTERM))
    alarm.start()
    try:
        with pytest.raises(Interrupted):
            yield
    finally:
        alarm.join()
        signal.signal(signal.SIGTERM, before)


def test_after_a_signal_reports_have_seen_and_unseen_tasks(
    simulator: Simulator, tmp_path: Path
) -> None:
    simulator.speed = 0.1
    task_id = simulator.start_import()
    simulator.set_faults(Fault(delay_s=60, task="unseen"))
    pipes = Pipes()
    path = tmp_path / "report"
    ids = task_id, "unseen"
    with interrupted(1.0):
        run_command(simulator, "get --wait", *ids, streams=pipes.streams, reports=report(path))
    seen, unseen = json.loads(path.read_text())
    assert seen["status"] == "RUNNING"
    assert unseen["error"]["exit_status"] == 143
    assert pipes.out == ""
    assert pipes.err[-1] == f"dlftask: to resume: dlftask get --wait {task_id} unseen"


def test_after_a_signal_a_task_that_an_outage_ended_can_be_resumed_too(
    simulator: Simulator,
) -> None:
    simulator.speed = 0.1
    ids = [simulator.start_import() for _ in range(2)]
    simulator.set_faults(Fault(status=503, after=1, task=ids[0]))
    pipes = Pipes()
    with interrupted(2.0):
        run_command(simulator, "get --wait", *ids, streams=pipes.streams, max_outage_s=0.5)
    assert any("--max-outage" in line for line in pipes.err)
    assert pipes.err[-1] == f"dlftask: to resume: dlftask get --wait {' '.join(ids)}"


@pytest.mark.parametrize(("task_id", "status"), [(SUCCESSFUL, 8), (FAILED, 1)])
def test_a_report_that_cannot_be_written_is_8_if_nothing_else_failed(
    simulator: Simulator, task_id: str, status: int
) -> None:
    pipes = Pipes()
    reports = report(Path("/dev/full"))
    found = run_command(simulator, "get", task_id, streams=pipes.streams, reports=reports)
    assert found == status
    assert sum(line.startswith("dlftask: error: ") for line in pipes.err) == 1
    assert pipes.out


def test_quiet_still_writes_reports(simulator: Simulator, tmp_path: Path) -> None:
    pipes, path = Pipes(), tmp_path / "report"
    streams = pipes.streams
    status = run_command(
        simulator, "watch", FAILED, streams=streams, reports=report(path), quiet=True
    )
    assert status == 1
    assert (pipes.out, pipes.err) == ("", [])
    assert json.loads(path.read_text())["status"] == "FAILED"


def test_a_result_that_cannot_be_printed_is_8_and_the_report_is_written(
    simulator: Simulator, tmp_path: Path
) -> None:
    path = tmp_path / "report"
    with Path("/dev/full").open("w") as full:
        streams = Streams(full, io.TextIOWrapper(io.BytesIO()), environ={})
        with pytest.raises(OutputFailed):
            run_command(simulator, "get", FAILED, streams=streams, reports=report(path))
    assert json.loads(path.read_text())["status"] == "FAILED"
