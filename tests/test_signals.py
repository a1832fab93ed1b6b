"""SIGINT and SIGTERM end a run within a second, in the middle of anything."""

import contextlib
import os
import pty
import re
import select
import shlex
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from fcntl import ioctl
from pathlib import Path
from typing import Self

import pyte
import pytest

from dlftask.simulator import Fault, Simulator
from tests.cli import DLFTASK, environment, run_dlftask
from tests.running import ImportClock, Running, black_hole

PROJECT = {"DLFTASK_PROJECT_ID": "b384b9e9ab9b4ee8994c8633aabc9505", "DLFTASK_TOKEN": "secret"}


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator() as running:
        yield running


both = pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["INT", "TERM"]
)


@both
def test_in_the_middle_of_a_sleep(
    simulator: Simulator, number: signal.Signals, status: int
) -> None:
    task_id = simulator.start_import()
    args = ["get", "--wait", "--interval", "1h", "-o", "json", task_id]
    with Running(*args, env=simulator.environment()) as run:
        run.until(lambda: "RUNNING" in run.stderr)
        assert run.end(number) == status
        assert run.stdout == ""
        lines = run.stderr.splitlines()
        assert all(line.startswith("dlftask: ") for line in lines)
        assert re.fullmatch(f"dlftask: task {task_id}: RUNNING(, .*)?", lines[-2])
        assert lines[-1].endswith(f"dlftask get --wait --interval 1h --output json {task_id}")


def test_the_printed_command_resumes_the_wait(import_clock: ImportClock) -> None:
    with Simulator(clock=import_clock) as simulator:
        ids = [simulator.start_import(), "-dash", "008aae2e675d3bcb01675d3c66f20000"]
        args = ["watch", "--interval", "200ms", "--utc", "--", *ids]
        with Running(*args, env=simulator.environment()) as run:
            run.until(lambda: f"RUNNING    task    {ids[0]}" in run.stdout)
            run.until(lambda: len(simulator.requests) > 5)  # the others have ended
            assert run.end(signal.SIGINT) == 130
            printed = run.stderr.splitlines()[-1].partition(" dlftask ")[2]
        words = shlex.split(printed)
        assert words == ["watch", "--interval", "200ms", "--utc", ids[0]]
        import_clock.end_imports()
        resumed = run_dlftask(*words, env=simulator.environment())
        assert resumed.returncode == 0
        assert f"SUCCESSFUL task    {ids[0]}" in resumed.stdout.splitlines()[-1]


@both
def test_in_a_read_from_a_silent_server(
    simulator: Simulator, number: signal.Signals, status: int
) -> None:
    simulator.set_faults(Fault(delay_s=60))
    with Running("get", "x", env=simulator.environment()) as run:
        run.until(lambda: simulator.requests)
        assert run.end(number) == status
        assert (run.stdout, run.stderr) == ("", "")


def test_in_a_read_of_one_byte_a_second(simulator: Simulator) -> None:
    simulator.set_faults(Fault(trickle=1, headers=True))
    with Running("watch", "x", env=simulator.environment()) as run:
        run.until(lambda: simulator.requests)
        assert run.end(signal.SIGINT) == 130
        assert "dlftask: task x: no response yet" in run.stderr


def is_connecting(process_id: int, port: int) -> bool:
    """Whether a process has a connection to a port in the state SYN_SENT."""
    table = Path(f"/proc/{process_id}/net/tcp").read_text().splitlines()[1:]
    inodes = {
        row[9]
        for row in map(str.split, table)
        if row[2].endswith(f":{port:04X}") and row[3] == "02"
    }
    handles = Path(f"/proc/{process_id}/fd").iterdir()
    links = {str(handle.readlink()) for handle in handles if handle.is_symlink()}
    return any(f"socket:[{inode}]" in links for inode in inodes)


@pytest.mark.skipif(sys.platform != "linux", reason="a connection that hangs is made by Linux")
def test_in_a_connect_that_hangs() -> None:
    with black_hole() as endpoint:
        port = int(endpoint.rpartition(":")[2])
        args = ["watch", "--connect-timeout", "60s", "x"]
        with Running(*args, env={**PROJECT, "DLFTASK_ENDPOINT": endpoint}) as run:
            run.until(lambda: is_connecting(run.process.pid, port))
            assert run.end(signal.SIGINT) == 130
            assert run.stdout == ""
            assert "dlftask: task x: no response yet" in run.stderr


@both
def test_while_standard_input_is_read(number: signal.Signals, status: int, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading), os.fdopen(writing, "wb", buffering=0) as typed:
        environ = {**PROJECT, "DLFTASK_ENDPOINT": "http://127.0.0.1:9"}
        report = tmp_path / "report.xml"
        report.write_text("of an older run")
        args = ["watch", "--report", f"junit:{report}", "-"]
        with Running(*args, env=environ, stdin=reading) as run:
            typed.write(b"008aae2e675d3bcb01675d3c66f20000\n")
            # Once the input has been read, it waits for more.
            run.until(lambda: not select.select([reading], [], [], 0)[0])
            assert run.end(number) == status
            assert run.stdout == ""
            lines = run.stderr.splitlines()
        assert lines[0] == "dlftask: task -: no response yet"
        assert lines[1:] == [f"dlftask: to resume: dlftask {shlex.join(args)}"]
        assert 'errors="1"' in report.read_text()


def test_at_any_moment_of_the_start(simulator: Simulator) -> None:
    """At many moments of the start, except for the interpreter's own first moments."""
    task_id = simulator.start_import()
    args = ["get", "-w", "--debug", task_id]
    # The first step of ``run`` comes before the line is printed, or a slow machine would be late.
    ready = (
        "import os, signal; import dlftask.__main__ as m; "
        "signal.signal(signal.SIGINT, lambda *_: os._exit(130)); print(flush=True); m.run()"
    )
    for delay_s in [n / 40 for n in range(16)]:
        process = subprocess.Popen(
            [sys.executable, "-c", ready, *args],
            env={**environment(Path("/nonexistent")), **simulator.environment()},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(delay_s + 0.005)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
        assert (process.returncode, out) == (130, ""), (delay_s, err)
        assert "Traceback" not in err
        assert "Exception ignored" not in err


def test_an_interruption_that_python_turns_into_another_error() -> None:
    """An import that is interrupted can end with a TypeError of CPython's own."""
    program = """
import signal, sys, dlftask.cli, dlftask.__main__ as m
def run_command_line(*_, **__):
    try:
        signal.raise_signal(signal.SIGINT)
    except BaseException:
        raise TypeError("expected a message argument")
dlftask.cli.run_command_line = run_command_line
m.run()
"""
    command = [sys.executable, "-c", program]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (finished.returncode, finished.stdout, finished.stderr) == (130, "", "")


@pytest.mark.parametrize("gap_s", [0.0, 0.001, 0.01])
def test_a_second_signal_at_once_changes_nothing(simulator: Simulator, gap_s: float) -> None:
    task_id = simulator.start_import()
    with Running("watch", task_id, env=simulator.environment()) as run:
        run.until(lambda: "RUNNING" in run.stdout)
        numbers = [signal.SIGINT, signal.SIGINT, signal.SIGTERM, signal.SIGINT]
        assert run.end(*numbers, gap_s=gap_s) in (130, 143)
        assert f"dlftask watch {task_id}" in run.stderr


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_while_a_reader_does_not_read(simulator: Simulator, stream: str) -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading), os.fdopen(writing, "wb"):
        os.set_blocking(writing, False)
        try:
            while os.write(writing, b"x" * 4096):
                pass
        except BlockingIOError:
            os.set_blocking(writing, True)
        args = ["watch", simulator.start_import()]
        if stream == "stderr":
            args = ["get", "-w", *args[1:]]
        given = {stream: writing}
        with Running(*args, env=simulator.environment(), **given) as run:
            if stream == "stdout":  # standard error blocks before any request
                run.until(lambda: simulator.requests)
            time.sleep(1.0)
            assert run.end(signal.SIGINT) == 130


def test_quiet_ends_without_output(simulator: Simulator) -> None:
    task_id = simulator.start_import()
    with Running("watch", "-q", task_id, env=simulator.environment()) as run:
        run.until(lambda: simulator.requests)
        time.sleep(0.2)
        assert run.end(signal.SIGTERM) == 143
        assert (run.stdout, run.stderr) == ("", "")


class Drawn:
    """A ``watch`` in progress on a terminal of 24 rows and 80 columns."""

    def __init__(self, *task_ids: str, env: dict[str, str]) -> None:
        self._master, slave = pty.openpty()
        ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.screen = pyte.Screen(80, 24)
        self._emulator = pyte.ByteStream(self.screen)
        args = ["watch", "--interval", "100ms", *task_ids]
        # A group of its own, as a shell with job control gives it: Ctrl-Z stops no other.
        self.run = Running(*args, env=env, stdout=slave, stdin=slave, process_group=0)
        os.close(slave)

    def __enter__(self) -> Self:
        self.run.until(lambda: "Import" in self.text)
        return self

    def __exit__(self, *_: object) -> None:
        self.run.__exit__()
        os.close(self._master)

    @property
    def text(self) -> str:
        while select.select([self._master], [], [], 0)[0]:
            try:
                self._emulator.feed(os.read(self._master, 65536))
            except OSError:  # the other end is closed
                break
        return "".join(self.screen.display).strip()


@pytest.mark.parametrize("tasks", [1, 300], ids=["one task", "many tasks"])
@both
def test_in_a_redraw_the_last_frame_stays(number: signal.Signals, status: int, tasks: int) -> None:
    # So slow that no task has ended when the first frame is there, on a busy machine either.
    with Simulator(speed=0.1) as simulator:
        ids = [simulator.start_import("obs://a/big.zip") for _ in range(tasks)]
        with Drawn(*ids, env=simulator.environment()) as drawn:
            assert drawn.run.end(number) == status
            # The last frame stays, without its spinner.
            assert drawn.text.startswith("● Imp")
            assert "elapsed" in drawn.text
            assert not drawn.screen.cursor.hidden
            lines = drawn.run.stderr.splitlines()
            assert sum(line.startswith("dlftask: task ") for line in lines) == tasks
            assert "dlftask watch" in lines[-1]


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGQUIT], ids=["HUP", "QUIT"])
def test_other_signals_end_it_as_usual_but_restore_the_cursor(
    simulator: Simulator, number: signal.Signals
) -> None:
    with Drawn(simulator.start_import("obs://a/b"), env=simulator.environment()) as drawn:
        assert drawn.run.end(number) == -number
        assert drawn.text == ""
        assert not drawn.screen.cursor.hidden


def test_after_ctrl_z_the_shell_has_its_cursor_and_the_wait_goes_on(simulator: Simulator) -> None:
    with Drawn(simulator.start_import("obs://a/b"), env=simulator.environment()) as drawn:
        drawn.run.process.send_signal(signal.SIGTSTP)
        _, stopped = os.waitpid(drawn.run.process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(stopped)
        assert drawn.text == ""
        assert not drawn.screen.cursor.hidden
        # Longer than any pause of the wait: nothing may wait forever after it.
        time.sleep(1.2)
        drawn.run.process.send_signal(signal.SIGCONT)
        drawn.run.until(lambda: "elapsed" in drawn.text)
        assert drawn.run.end(signal.SIGINT) == 130


def test_where_no_shell_could_continue_it_ctrl_z_does_not_stop_it(simulator: Simulator) -> None:
    """As in ``ssh -t host dlftask watch``: its process group has no parent in its session."""
    master, slave = pty.openpty()
    screen = pyte.Screen(80, 24)
    emulator = pyte.ByteStream(screen)
    process = subprocess.Popen(
        [*DLFTASK, "watch", "--interval", "100ms", simulator.start_import("obs://a/b")],
        env={**environment(Path("/nonexistent")), **simulator.environment(), "TERM": "xterm"},
        stdout=slave,
        stdin=slave,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.close(slave)

    def is_drawn() -> bool:
        while select.select([master], [], [], 0.1)[0]:
            emulator.feed(os.read(master, 65536))
        return "elapsed" in "".join(screen.display)

    try:
        until(is_drawn)
        process.send_signal(signal.SIGTSTP)
        time.sleep(0.3)
        screen.reset()
        until(is_drawn)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
    finally:
        process.kill()
        os.close(master)


def until(happened: Callable[[], bool]) -> None:
    limit = time.monotonic() + 20
    while not happened():
        assert time.monotonic() < limit


@pytest.mark.parametrize(
    ("ignored", "other", "status"),
    [("INT", signal.SIGTERM, 143), ("TERM", signal.SIGINT, 130)],
    ids=["INT", "TERM"],
)
def test_what_was_ignored_at_the_start_stays_ignored(
    simulator: Simulator, tmp_path: Path, ignored: str, other: signal.Signals, status: int
) -> None:
    task_id = simulator.start_import("obs://b/subtasks-1000")
    wait = [*DLFTASK, "get", "-w", "--interval", "100ms", task_id]
    process = subprocess.Popen(
        ["sh", "-c", f"trap '' {ignored}; exec \"$@\"", "sh", *wait],
        env={**environment(tmp_path), **simulator.environment()},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until(lambda: len(simulator.requests) > 1)
        process.send_signal(getattr(signal, f"SIG{ignored}"))
        count = len(simulator.requests)
        until(lambda: len(simulator.requests) > count + 3)
        process.send_signal(other)
        assert process.wait(20) == status
    finally:
        process.kill()


def test_an_interruption_that_a_finalizer_loses_is_raised_again() -> None:
    script = """
import os, signal, time
from dlftask.errors import Interrupted
from dlftask.signals import handle_interruptions
handle_interruptions()
class Slow:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)
try:
    Slow()
    time.sleep(5)
    print("lost")
except Interrupted:
    print("raised")
os._exit(0)
"""
    run = subprocess.run(
        [sys.executable, "-u", "-c", script], capture_output=True, text=True, check=True
    )
    assert (run.stdout, run.stderr) == ("raised\n", "")


def test_only_the_foreground_of_a_terminal_may_be_drawn_on() -> None:
    script = """
import os
from dlftask.platforms import in_foreground
print("front", in_foreground(), flush=True)
if os.fork():
    os.wait()
else:
    os.setpgid(0, 0)
    print("back", in_foreground(), flush=True)
"""
    child, master = pty.fork()
    if child == 0:
        os.execv(sys.executable, [sys.executable, "-c", script])
    printed = b""
    with contextlib.suppress(OSError):  # how Linux reports that the other end is closed
        while chunk := os.read(master, 4096):
            printed += chunk
    os.waitpid(child, 0)
    os.close(master)
    assert printed.split() == [b"front", b"True", b"back", b"False"]


def test_a_process_without_a_terminal_is_never_in_the_background() -> None:
    script = "from dlftask.platforms import in_foreground; print(in_foreground())"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert run.stdout == b"True\n"
