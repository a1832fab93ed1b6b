"""Waits in a broken environment: nobody reads or writes the other end, the package is gone."""

import os
import shutil
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

import dlftask
from dlftask.simulator import Simulator
from tests.cli import COVERAGE, DLFTASK, environment
from tests.running import ImportClock, Running

PACKAGE = Path(dlftask.__file__).parent


@pytest.mark.parametrize("command", ["get", "watch"])
def test_the_timeout_ends_the_wait_for_standard_input(command: str) -> None:
    reading, writing = os.pipe()
    with Simulator() as simulator, closing(os.fdopen(writing, "w")), os.fdopen(reading) as stdin:
        wait = ["--wait"] if command == "get" else []
        args = [command, *wait, "--timeout", "2s", "-"]
        with Running(*args, env=simulator.environment(), stdin=stdin.fileno()) as run:
            assert run.process.wait(60) == 124
            assert "--timeout" in run.stderr
        assert simulator.requests == ()


def test_change_lines_that_nobody_reads_are_whole_and_delay_no_timeout(
    import_clock: ImportClock,
) -> None:
    with Simulator(clock=import_clock, speed=0.1) as simulator:
        task_id = simulator.start_import("obs://bucket/big.zip")
        import_clock.ahead_s = 60.0  # more lines at once than a pipe holds
        reading, writing = os.pipe()
        with os.fdopen(reading, "rb") as unread:
            args = ["watch", "--timeout", "6s", task_id]
            with Running(*args, env=simulator.environment(), stdout=writing) as run:
                os.close(writing)
                assert run.process.wait(60) == 124
                assert f"task {task_id}: RUNNING" in run.stderr
                assert f"dlftask watch --timeout 6s {task_id}" in run.stderr
            printed = unread.read()
    assert len(printed) > 10_000
    assert printed.endswith(b"\n")
    assert all(line.count(task_id[:8].encode()) == 1 for line in printed.splitlines())


@pytest.mark.parametrize("output", ["tree", "json", "tsv", "junit", "markdown"])
def test_removing_the_package_during_a_wait_does_not_lose_the_result(
    import_clock: ImportClock, tmp_path: Path, output: str
) -> None:
    shutil.copytree(PACKAGE, tmp_path / "dlftask", ignore=shutil.ignore_patterns("__pycache__"))
    report = tmp_path / "report"
    with Simulator(clock=import_clock) as simulator:
        task_id = simulator.start_import("obs://bucket/jobs-that-fail.zip")
        # Coverage would look for the sources that are gone.
        unmeasured = dict.fromkeys(COVERAGE, "")
        env = {**simulator.environment(), **unmeasured, "PYTHONPATH": str(tmp_path)}
        args = ["get", "-w", "--interval", "100ms", "-o", output, "--report", f"junit:{report}"]
        with Running(*args, task_id, env=env) as run:
            run.until(lambda: len(simulator.requests) > 1)
            shutil.rmtree(tmp_path / "dlftask")
            import_clock.end_imports()
            assert run.process.wait(60) == 1, run.stderr
            assert "daily_report" in run.stdout
            assert "Traceback" not in run.stderr
    assert "<failure" in report.read_text()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_more_simultaneous_requests_than_file_descriptors_lose_no_result(
    import_clock: ImportClock,
) -> None:
    with Simulator(clock=import_clock) as simulator:
        ids = [simulator.start_import() for _ in range(40)]
        options = ["--interval", "200ms", "--concurrency", "200", "--rate", "none", "-o", "tsv"]
        command = [*DLFTASK, "get", "--wait", *options, *ids]
        limited = ["bash", "-c", 'ulimit -n 24; exec "$@"', "bash", *command]
        env = environment(Path(os.devnull), simulator.environment())
        with subprocess.Popen(limited, env=env, stdout=subprocess.PIPE, text=True) as run:
            while len({request.path for request in simulator.requests}) < len(ids):
                assert run.poll() is None
                time.sleep(0.05)
            import_clock.end_imports()
            printed, _ = run.communicate(timeout=120)
    assert run.returncode == 0
    assert [line.split("\t")[1] for line in printed.splitlines() if line[:5] == "task\t"] == ids
