"""Full disks, broken pipes, closed streams, homes that cannot be written to."""

import array
import contextlib
import fcntl
import json
import os
import signal
import subprocess
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dlftask.streams import Streams
from tests.cli import DLFTASK, configured, environment, run_dlftask
from tests.servers import TASK, Server, http_response
from tests.terminal import Terminal

LARGE = json.dumps(
    {
        "id": "t1",
        "status": "SUCCESSFUL",
        "subtasks": [
            {"id": f"s{n}", "name": "x" * 90, "status": "SUCCESSFUL"} for n in range(3000)
        ],
    }
).encode()
FORMATS = ["tree", "json", "jsonl", "tsv", "junit"]


@pytest.fixture(scope="module")
def service() -> Iterator[Server]:
    def talk(connection: object, head: bytes) -> None:
        body = LARGE if b"/large " in head else TASK
        connection.sendall(http_response(body))  # type: ignore[attr-defined]

    with Server(talk, keep_alive=True) as server:
        yield server


def shell(service: Server, home: Path, script: str) -> "subprocess.CompletedProcess[str]":
    """Run a shell script in which ``"$@"`` is dlftask, in a configured environment."""
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", script, "bash", *DLFTASK],
        env=environment(home, configured(service.url)),
        cwd=home,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize("output", FORMATS)
@pytest.mark.parametrize("command", ["get", "watch"])
def test_a_full_disk_is_8(service: Server, command: str, output: str) -> None:
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        run = run_dlftask(command, "-o", output, "t1", env=configured(service.url), stdout=full)
    assert run.returncode == 8
    errors = [line for line in run.stderr.splitlines() if "error" in line]
    assert errors == ["dlftask: error: the output could not be written: No space left on device"]


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["get", "--help"], []])
def test_a_full_disk_is_8_for_help_and_version_too(arguments: list[str]) -> None:
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        run = run_dlftask(*arguments, stdout=full)
    assert run.returncode == 8
    assert run.stderr.count("\n") == 1


@pytest.mark.parametrize("output", FORMATS)
@pytest.mark.parametrize("command", ["get", "watch"])
def test_a_broken_pipe_is_141_and_quiet(service: Server, command: str, output: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "wb") as gone:  # noqa: PTH123
        run = run_dlftask(
            *(command, "-o", output, "t1"),
            env=configured(service.url),
            stdout=gone,
        )
    assert run.returncode == 141
    assert "error" not in run.stderr
    assert "Traceback" not in run.stderr


def test_a_pipe_that_breaks_after_the_first_line_is_141_and_quiet(
    service: Server, tmp_path: Path
) -> None:
    run = shell(service, tmp_path, '"$@" get large | head -1; echo ${PIPESTATUS[0]}')
    first, status = run.stdout.splitlines()
    assert first.startswith("✓ ")
    assert status == "141"
    assert run.stderr == ""


@pytest.mark.parametrize("command", ["get", "watch", "get -o json", "get -o junit"])
def test_a_closed_standard_output_is_8_and_one_line(
    service: Server, tmp_path: Path, command: str
) -> None:
    run = shell(service, tmp_path, f'"$@" {command} t1 >&-')
    assert run.returncode == 8
    assert "dlftask: error: the output could not be written" in run.stderr
    assert "Traceback" not in run.stderr


def test_a_closed_standard_error_changes_nothing(service: Server, tmp_path: Path) -> None:
    good = shell(service, tmp_path, '"$@" get t1 2>&-')
    bad = shell(service, tmp_path, '"$@" get no/id 2>&-')
    waited = shell(service, tmp_path, '"$@" get --wait t1 2>&-')
    assert (good.returncode, bad.returncode, waited.returncode) == (0, 2, 0)
    assert "Import" in good.stdout
    assert "error" not in good.stdout + bad.stdout + waited.stdout


def test_a_full_standard_error_changes_nothing(service: Server) -> None:
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        run = run_dlftask("get", "--wait", "t1", env=configured(service.url), stderr=full)
    assert run.returncode == 0
    assert "Import" in run.stdout


def test_a_closed_standard_input_matters_only_to_a_dash(service: Server, tmp_path: Path) -> None:
    assert shell(service, tmp_path, '"$@" get t1 <&-').returncode == 0
    run = shell(service, tmp_path, '"$@" get - <&-')
    assert run.returncode == 2
    assert run.stderr.startswith("dlftask: error: ")
    assert len(run.stderr.splitlines()) <= 2


def test_all_three_closed_is_8_without_output(service: Server, tmp_path: Path) -> None:
    run = shell(service, tmp_path, '"$@" get t1 <&- >&- 2>&-')
    assert (run.returncode, run.stdout, run.stderr) == (8, "", "")


def test_quiet_needs_no_standard_output(service: Server, tmp_path: Path) -> None:
    assert shell(service, tmp_path, '"$@" get -q t1 >&-').returncode == 0


HOMES = {
    "no-home-folder": {"HOME": "/nonexistent/home"},
    "no-HOME": {"HOME": "", "XDG_CONFIG_HOME": "", "XDG_STATE_HOME": ""},
    "a-home-that-is-a-device": {"HOME": "/dev/null", "XDG_CONFIG_HOME": "", "XDG_STATE_HOME": ""},
    "a-home-that-nobody-can-write-to": {
        "HOME": "/proc",
        "XDG_CONFIG_HOME": "",
        "XDG_STATE_HOME": "",
    },
    "a-read-only-state-folder": {"XDG_STATE_HOME": "/proc/self"},
    "a-state-folder-that-is-a-file": {"XDG_STATE_HOME": "/etc/hosts"},
    "a-state-folder-that-is-full": {"XDG_STATE_HOME": "/dev/full"},
    "a-state-folder-with-a-newline": {"XDG_STATE_HOME": "/proc/a\nb"},
}


@pytest.mark.parametrize("row", HOMES)
@pytest.mark.parametrize("command", [["get"], ["get", "-o", "json", "--wait"]])
def test_an_unwritable_home_is_ignored(service: Server, row: str, command: list[str]) -> None:
    run = run_dlftask(*command, "t1", env=configured(service.url, **HOMES[row]))
    assert run.returncode == 0, run.stderr
    assert "error" not in run.stderr


def test_a_working_directory_that_was_removed_is_ignored(service: Server, tmp_path: Path) -> None:
    run = shell(service, tmp_path, 'mkdir gone; cd gone; rmdir ../gone; "$@" get t1')
    assert run.returncode == 0, run.stderr


def test_a_recent_file_that_is_a_folder_is_ignored(service: Server, tmp_path: Path) -> None:
    (tmp_path / "state" / "dlftask" / "recent").mkdir(parents=True)
    run = run_dlftask("get", "t1", env=configured(service.url), home=tmp_path)
    assert (run.returncode, run.stderr) == (0, "")


# With PYTHONUNBUFFERED, as in many container images, Python loses the rest of a short write.
UNBUFFERED = pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])


def started(service: Server, home: Path, stdout: int, **env: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [*DLFTASK, "get", "-o", "json", "large"],
        env=environment(home, configured(service.url, **env)),
        cwd=home,
        stdout=stdout,
        stderr=subprocess.PIPE,
    )


def read_slowly(descriptor: int, pause_s: float = 0.001) -> bytes:
    data = b""
    while chunk := os.read(descriptor, 4096):
        data += chunk
        time.sleep(pause_s)
    return data


def wait_until_full(descriptor: int) -> None:
    """Wait until a pipe is full, given its reading end."""
    held = 0
    while True:
        waiting = array.array("i", [0])
        fcntl.ioctl(descriptor, termios.FIONREAD, waiting)
        if waiting[0] and waiting[0] == held:
            return
        held = waiting[0]
        time.sleep(0.2)


@UNBUFFERED
def test_a_non_blocking_pipe_that_is_read_slowly_gets_everything(
    service: Server, tmp_path: Path, unbuffered: str
) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    process = started(service, tmp_path, writer, PYTHONUNBUFFERED=unbuffered)
    os.close(writer)
    with open(reader, "rb") as source:  # noqa: PTH123
        wait_until_full(source.fileno())
        data = read_slowly(source.fileno())
    assert process.wait(20) == 0
    process.communicate()
    assert json.loads(data) == json.loads(LARGE)


@UNBUFFERED
def test_a_stop_in_the_middle_of_a_write_loses_nothing(
    service: Server, tmp_path: Path, unbuffered: str
) -> None:
    reader, writer = os.pipe()
    process = started(service, tmp_path, writer, PYTHONUNBUFFERED=unbuffered)
    os.close(writer)
    with open(reader, "rb") as source:  # noqa: PTH123
        wait_until_full(source.fileno())
        for _ in range(3):
            process.send_signal(signal.SIGSTOP)
            os.read(source.fileno(), 0)
            time.sleep(0.1)
            process.send_signal(signal.SIGCONT)
            time.sleep(0.1)
        data = read_slowly(source.fileno())
    assert process.wait(20) == 0
    process.communicate()
    assert json.loads(data) == json.loads(LARGE)


@UNBUFFERED
def test_a_file_that_may_not_grow_is_8(service: Server, tmp_path: Path, unbuffered: str) -> None:
    script = 'ulimit -f 100; "$@" get -o json large >out; echo $?'
    run = shell(service, tmp_path, f"export PYTHONUNBUFFERED={unbuffered}; {script}")
    assert run.stdout == "8\n"


def test_a_full_pipe_on_standard_error_changes_no_status(service: Server, tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with open(reader, "rb") as source, open(writer, "wb") as error:  # noqa: PTH123
        with contextlib.suppress(BlockingIOError):
            while os.write(error.fileno(), b"x" * 4096):
                pass
        process = subprocess.Popen(
            [*DLFTASK, "get", "--wait", "t1"],
            env=environment(tmp_path, configured(service.url, PYTHONUNBUFFERED="1")),
            stdout=subprocess.PIPE,
            stderr=error,
        )
        error.close()
        data = read_slowly(source.fileno())
        out, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert b"Import" in out
    assert b"waiting for task t1" in data


@pytest.mark.parametrize("length", [10, 100, 3000])
def test_lines_that_nobody_reads_in_time_are_dropped_whole(length: int) -> None:
    reader, writer = os.pipe()
    with open(reader, "rb") as source:  # noqa: PTH123
        with open(writer, "w") as out:  # noqa: PTH123
            text = ("x" * length + "\n") * (200_000 // length)
            Streams(out, out, environ={}).write(text, until_s=time.monotonic() + 0.3)
        lines = source.read().decode().splitlines(keepends=True)
    assert 0 < len(lines) < 200_000 // length
    assert set(lines) == {"x" * length + "\n"}


COLORS = {
    "a-pipe": ([], {}, False),
    "forced": ([], {"FORCE_COLOR": "1"}, True),
    "forced-not": ([], {"FORCE_COLOR": "0"}, False),
    "no-color-beats-force-color": ([], {"NO_COLOR": "1", "FORCE_COLOR": "1"}, False),
    "an-empty-variable-is-unset": ([], {"NO_COLOR": "", "FORCE_COLOR": "1"}, True),
    "the-option-beats-no-color": (["--color", "always"], {"NO_COLOR": "1"}, True),
    "the-option-beats-a-dumb-terminal": (["--color", "always"], {"TERM": "dumb"}, True),
    "the-option-beats-force-color": (["--color", "never"], {"FORCE_COLOR": "1"}, False),
    "auto-beats-force-color": (["--color", "auto"], {"FORCE_COLOR": "1"}, False),
}


@pytest.mark.parametrize("row", COLORS)
def test_colours_come_by_option_then_variable_then_terminal(service: Server, row: str) -> None:
    options, env, colored = COLORS[row]
    run = run_dlftask("get", *options, "t1", env=configured(service.url, **env))
    assert ("\x1b[" in run.stdout) is colored


@pytest.mark.parametrize("row", COLORS)
def test_standard_error_has_colours_by_the_same_rule(row: str, tmp_path: Path) -> None:
    options, env, colored = COLORS[row]
    with (tmp_path / "pipe").open("w") as pipe:
        color = options[1] if options else None
        assert Streams(pipe, pipe, color=color, environ=env).err_color is colored


def test_the_profiles_colours_are_those_of_an_error_that_ends_the_run(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text('[default]\ncolor = "always"\n')
    env = {"DLFTASK_CONFIG": str(config), "DLFTASK_REGION": "cn-north-4"}
    run = run_dlftask("get", "t1", env=env)
    assert run.returncode == 2
    assert run.stderr.startswith("\x1b[1;31mdlftask: error:\x1b[0m no credentials")


@pytest.mark.parametrize(
    ("term", "variable", "colored"),
    [("xterm", "", True), ("dumb", "", False), ("xterm", "1", False)],
)
def test_a_terminal_has_colours_unless_it_is_dumb(term: str, variable: str, colored: bool) -> None:  # noqa: FBT001
    with Terminal() as terminal:
        slave = terminal.streams._out
        streams = Streams(slave, slave, environ={"TERM": term, "NO_COLOR": variable})
        assert (streams.color, streams.err_color) == (colored, colored)


def test_the_c_locale_gets_only_ascii(service: Server) -> None:
    run = run_dlftask("get", "t1", env=configured(service.url, LC_ALL="C"))
    assert run.returncode == 0
    assert run.stdout.isascii()
    assert run_dlftask("get", "t1", env=configured(service.url)).stdout.startswith("✓")


def test_a_bug_is_70_and_asks_to_be_reported(service: Server, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import json\ndef broken(*_, **__): raise RuntimeError('broken\\x1b')\n"
        "json.JSONDecoder.decode = broken\n"
    )
    env = configured(service.url, PYTHONPATH=str(tmp_path))
    run = run_dlftask("get", "t1", env=env)
    assert (run.returncode, run.stdout) == (70, "")
    error, hint = run.stderr.splitlines()
    assert error.startswith("dlftask: error: ")
    assert "RuntimeError" in error
    assert "report" in hint
    shown = run_dlftask("get", "t1", env={**env, "DLFTASK_DEBUG": "1"})
    assert shown.returncode == 70
    assert "Traceback" in shown.stderr
    assert "\x1b" not in shown.stderr
