"""The command line on imitated Windows: what Windows lacks is removed (``tests/windows``)."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import dlftask
from dlftask.simulator import Simulator
from tests.cli import environment, run_dlftask
from tests.running import Running
from tests.terminal import Terminal

WINDOWS = {"PYTHONPATH": f"{Path(__file__).parent / 'windows'}:{Path(__file__).parent.parent}"}
GOOD = "008aae2e675d3bcb01675d3c66f20000"


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with Simulator() as running:
        yield running


@pytest.fixture
def windows(simulator: Simulator) -> dict[str, str]:
    return {**simulator.environment(), **WINDOWS}


def test_the_imitation_lacks_what_windows_lacks() -> None:
    script = "import os, signal, sys; print(sys.platform, hasattr(os, 'fork'), dir(signal))"
    run = subprocess.run(
        [sys.executable, "-c", script], env=WINDOWS, capture_output=True, text=True, check=True
    )
    assert run.stdout.startswith("win32 False")
    assert "SIGALRM" not in run.stdout


def test_only_one_module_checks_the_platform() -> None:
    package = Path(dlftask.__file__).parent
    modules = {
        path.name
        for path in package.rglob("*.py")
        if re.search(
            r"sys\.platform|os\.name\b|msvcrt|_winapi|getattr\((os|signal|select),",
            path.read_text(),
        )
    }
    assert modules == {"platforms.py"}


@pytest.mark.parametrize("command", [["get"], ["get", "--wait"], ["watch"], ["get", "-o", "json"]])
def test_a_task_is_shown(windows: dict[str, str], command: list[str]) -> None:
    run = run_dlftask(*command, GOOD, env=windows)
    assert run.returncode == 0, run.stderr
    assert GOOD in run.stdout


def test_an_import_is_watched_to_its_end_on_a_pipe() -> None:
    with Simulator(speed=10.0) as fast:
        task_id = fast.start_import()
        run = run_dlftask("watch", task_id, env={**fast.environment(), **WINDOWS})
    assert run.returncode == 0, run.stderr
    assert f"SUCCESSFUL task    {task_id}" in run.stdout.splitlines()[-1]


def test_the_demo_needs_nothing_else() -> None:
    assert run_dlftask("get", "--demo", GOOD, env=WINDOWS).returncode == 0


def test_task_ids_come_from_a_pipe(windows: dict[str, str]) -> None:
    reading, writing = os.pipe()
    with (
        os.fdopen(reading, "rb") as source,
        Running("get", "-", env=windows, stdin=source.fileno()) as run,
    ):
        with os.fdopen(writing, "wb") as typed:
            time.sleep(0.3)  # whether it waits already or not
            typed.write(GOOD.encode())
        assert run.process.wait(20) == 0, run.stderr
        assert GOOD in run.stdout


def test_a_pipe_that_does_not_end_delays_no_timeout(windows: dict[str, str]) -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading) as source, os.fdopen(writing, "wb"):
        run = run_dlftask("get", "-w", "--timeout", "1s", "-", env=windows, stdin=source)
    assert run.returncode == 124


def test_a_wait_times_out(simulator: Simulator, windows: dict[str, str]) -> None:
    task_id = simulator.start_import("obs://b/subtasks-100")
    run = run_dlftask("watch", "--timeout", "1500ms", "--interval", "1h", task_id, env=windows)
    assert run.returncode == 124, run.stderr
    assert f"dlftask watch --timeout 1500ms --interval 1h {task_id}" in run.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGUSR1], ids=["Ctrl-C", "Ctrl-Break"])
def test_an_interruption_is_130(
    simulator: Simulator, windows: dict[str, str], number: signal.Signals
) -> None:
    args = ["get", "--wait", "--interval", "1h", simulator.start_import("obs://b/subtasks-1000")]
    with Running(*args, env=windows) as run:
        run.until(lambda: "RUNNING" in run.stderr)
        assert run.end(number) == 130
        assert "dlftask get --wait" in run.stderr


def test_the_folders_are_those_of_windows(windows: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "roaming" / "dlftask").mkdir(parents=True)
    config = tmp_path / "roaming" / "dlftask" / "config.toml"
    config.write_text('[default]\noutput = "tsv"\ntoken = "0123456789-secret"\n')
    config.chmod(0o644)  # means nothing there
    folders = {"APPDATA": str(tmp_path / "roaming"), "LOCALAPPDATA": str(tmp_path / "local")}
    run = run_dlftask("get", GOOD, env={**windows, **folders})
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("task\t")
    assert run.stderr == ""
    assert (tmp_path / "local" / "dlftask" / "recent").read_text() == f"{GOOD}\n"


def test_the_simulator_runs_a_command(tmp_path: Path) -> None:
    script = [sys.executable, "-c", "import os; print(os.environ['DLFTASK_ENDPOINT']); exit(7)"]
    run = subprocess.run(
        [sys.executable, "-m", "dlftask.simulator", "--", *script],
        env=environment(tmp_path, WINDOWS),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert run.returncode == 7, run.stderr
    assert run.stdout.startswith("http://127.0.0.1:")


@pytest.mark.parametrize("understands", ["0", "1"])
def test_a_console_is_drawn_on_where_it_understands_escapes(understands: str) -> None:
    with Simulator(speed=10.0) as fast, Terminal() as terminal:
        task_id = fast.start_import()
        env = {**fast.environment(), **WINDOWS, "CONSOLE_UNDERSTANDS_ESCAPES": understands}
        slave = terminal._slave.fileno()
        with Running("watch", task_id, env=env, stdout=slave) as run:
            data = b""
            while run.process.poll() is None:
                data += terminal.read()
                time.sleep(0.05)
            data += terminal.read()
            assert run.process.returncode == 0, run.stderr
    assert (b"\x1b[" in data) is (understands == "1")
    assert b"SUCCESSFUL" in data
