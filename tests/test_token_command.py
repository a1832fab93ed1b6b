"""``token_command``: a program that prints a token."""

import json
import shlex
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dlftask.auth import token_command
from dlftask.auth.token_command import TokenCommand
from dlftask.errors import AuthenticationError, ExitStatus
from dlftask.simulator import Fault, Simulator
from tests.cli import Finished, run_dlftask
from tests.running import Running

TASK = "008aae2e675d3bcb01675d3c66f20000"  # SUCCESSFUL


def shell(script: str) -> TokenCommand:
    return TokenCommand(["/bin/sh", "-c", script], "token_command")


def test_a_token_is_printed_by_a_program_without_a_shell(tmp_path: Path) -> None:
    assert shell("printf ' geheim\\n'").run() == "geheim"
    script = tmp_path / "a program; true"
    script.write_text('#!/bin/sh\nprintf %s "$1"')
    script.chmod(0o700)
    assert TokenCommand([str(script), "$HOME"], "token_command").run() == "$HOME"


def test_it_has_no_input() -> None:
    assert shell("cat; echo t").run() == "t"


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("echo geheim; exit 3", "exit status 3"),
        ("echo geheim; kill -9 $$", "signal 9"),
        ("true", "empty"),
        ("echo geheim; echo geheim", "character"),
        ("yes geheim", "64 KiB"),
        ("printf '\\377\\376'", "not text"),
    ],
)
def test_a_failure_is_a_refusal_that_never_repeats_the_output(script: str, expected: str) -> None:
    with pytest.raises(AuthenticationError, match=expected) as caught:
        shell(script).run()
    assert "/bin/sh" in caught.value.message
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize("command", [["/no/such/program"], ["/"], ["a\0b"]])
def test_a_program_that_cannot_be_run_is_a_refusal(command: list[str]) -> None:
    with pytest.raises(AuthenticationError, match="cannot be run"):
        TokenCommand(command, "token_command").run()


def alive(pid_file: Path) -> bool:
    """Whether a process runs: one that nobody has waited for yet counts as ended."""
    state = Path(f"/proc/{pid_file.read_text().strip()}/stat")
    try:
        return state.read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def gone(pid_file: Path) -> bool:
    limit = time.monotonic() + 20
    while alive(pid_file) and time.monotonic() < limit:
        time.sleep(0.02)
    return not alive(pid_file)


@pytest.mark.parametrize("script", ["sleep 600", "exec >&-; sleep 600", "sleep 600 & echo t"])
def test_a_command_that_takes_too_long_is_ended_with_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    monkeypatch.setattr(token_command, "LIMIT_S", 1.0)
    pid = tmp_path / "pid"
    command = shell(f"sh -c 'echo $$ >{pid}; sleep 600' & {script}")
    with pytest.raises(AuthenticationError, match="within 1s"):
        command.run()
    assert gone(pid)


def test_closing_ends_it_for_good(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    command = shell(f"echo $$ >{pid}; sleep 600")

    def close() -> None:
        while not (pid.exists() and pid.read_text().strip()):
            time.sleep(0.02)
        command.close()

    threading.Thread(target=close).start()
    with pytest.raises(AuthenticationError, match="signal"):
        command.run()
    with pytest.raises(AuthenticationError, match="closed"):
        command.run()


# From the command line


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


class User:
    """A user whose profile names a token command: a script that counts its runs."""

    def __init__(self, home: Path, simulator: Simulator) -> None:
        self.home = home
        self.runs = home / "runs"
        self.env = {
            name: value
            for name, value in simulator.environment().items()
            if name in ("DLFTASK_ENDPOINT", "DLFTASK_IAM_ENDPOINT", "DLFTASK_PROJECT_ID")
        }
        self.env["DLFTASK_CONFIG"] = str(home / "config.toml")
        self.token = simulator.environment()["DLFTASK_TOKEN"]

    def profile(self, script: str, **more: str) -> None:
        words = ["/bin/sh", "-c", f"echo run >>{shlex.quote(str(self.runs))}; {script}"]
        keys = "".join(f"{key} = {json.dumps(value)}\n" for key, value in more.items())
        config = self.home / "config.toml"
        config.write_text(f"[default]\n{keys}token_command = {json.dumps(words)}\n")
        config.chmod(0o600)

    def run(self, *args: str) -> Finished:
        return run_dlftask(*args, env=self.env, home=self.home)

    @property
    def counted(self) -> int:
        return len(self.runs.read_text().split()) if self.runs.exists() else 0


@pytest.fixture
def user(tmp_path: Path, simulator: Simulator) -> User:
    return User(tmp_path, simulator)


def test_a_run_gets_its_token_from_the_command_once(user: User, simulator: Simulator) -> None:
    user.profile(f"echo to the user >&2; echo {user.token}", ak="unused", sk="unused")
    ids = [TASK, simulator.start_import()]
    finished = user.run("get", "--wait", *ids, "-o", "jsonl")
    assert finished.returncode == 0
    assert TASK in finished.stdout
    assert "to the user" in finished.stderr
    assert user.counted == 1


def test_after_a_refused_token_the_command_runs_again_once(user: User) -> None:
    user.profile("echo always-the-same-wrong-one")
    finished = user.run("get", TASK)
    assert (finished.returncode, finished.stdout) == (5, "")
    assert user.counted == 2


def test_a_wait_goes_on_with_the_next_token(user: User, simulator: Simulator) -> None:
    task_id = simulator.start_import()
    user.profile(f"echo {user.token}")
    simulator.set_faults(Fault(status=401, after=1, count=1))
    finished = user.run("get", "--wait", "--interval", "100ms", "-o", "json", task_id)
    assert (finished.returncode, user.counted) == (0, 2)


def test_a_command_that_fails_is_exit_5_with_its_status(user: User) -> None:
    user.profile("exit 42")
    finished = user.run("get", TASK, "another-task")
    assert (finished.returncode, finished.stdout) == (5, "")
    assert "42" in finished.stderr
    assert "token_command" in finished.stderr
    assert user.counted == 1


def test_another_kind_and_a_demo_run_no_command(user: User) -> None:
    user.profile("exit 1")
    assert user.run("get", "--auth", "aksk", TASK).returncode == 2
    assert user.run("get", "--demo", TASK).returncode == 0
    user.env["DLFTASK_TOKEN"] = user.token
    assert user.run("get", TASK).returncode == 0
    assert user.counted == 0


@pytest.mark.parametrize("value", ['"a string"', "[]", "[1]", "true"])
def test_a_value_that_is_not_an_array_of_strings_is_a_configuration_error(
    user: User, value: str
) -> None:
    (user.home / "config.toml").write_text(f"[default]\ntoken_command = {value}\n")
    finished = user.run("get", TASK)
    assert finished.returncode == 2
    assert "token_command" in finished.stderr
    assert "config.toml" in finished.stderr


def test_the_timeout_ends_a_command_that_hangs(user: User) -> None:
    user.profile(f"echo $$ >{user.home / 'pid'}; sleep 600")
    finished = user.run("get", "--wait", "--timeout", "2s", TASK)
    assert finished.returncode == ExitStatus.TIMEOUT
    assert finished.seconds < 10
    assert gone(user.home / "pid")


def test_an_interruption_ends_a_command_that_hangs(user: User) -> None:
    pid = user.home / "pid"
    user.profile(f"echo $$ >{pid}; sleep 600")
    with Running("get", TASK, env=user.env) as run:
        run.until(lambda: pid.exists() and pid.read_text().strip())
        assert run.end(signal.SIGINT) == 130
    assert gone(pid)
