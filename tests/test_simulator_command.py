"""``python -m dlftask.simulator``, as a process of its own."""

import http.client
import os
import pty
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

SIMULATOR = [sys.executable, "-m", "dlftask.simulator"]
PATH = "/v1/b384b9e9ab9b4ee8994c8633aabc9505/system-tasks/008aae2e675d3bcb01675d3e6b960004"


def run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*SIMULATOR, *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=30,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **environ},
    )


def serve(*arguments: str) -> tuple[subprocess.Popen[str], dict[str, str]]:
    """A simulator that serves, and the variables that its lines set in a shell."""
    process = subprocess.Popen([*SIMULATOR, *arguments], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(6)]
    assert all(line.startswith("export ") for line in lines)
    words = shlex.split("".join(lines).replace("export ", ""))
    return process, dict(word.split("=", 1) for word in words)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_alone_it_serves_until_it_is_interrupted(number: signal.Signals) -> None:
    process, variables = serve("--token", "it's$HOME", "--access-key", "ak", "--secret-key", "sk;")
    with process:
        assert variables["DLFTASK_TOKEN"] == "it's$HOME"
        assert variables["HUAWEICLOUD_SDK_AK"] == "ak"
        assert variables["HUAWEICLOUD_SDK_SK"] == "sk;"
        assert variables["DLFTASK_IAM_ENDPOINT"] == variables["DLFTASK_ENDPOINT"]
        host = urlsplit(variables["DLFTASK_ENDPOINT"]).netloc
        connection = http.client.HTTPConnection(host, timeout=10)
        connection.request("GET", PATH, headers={"X-Auth-Token": variables["DLFTASK_TOKEN"]})
        assert connection.getresponse().status == 200
        connection.close()
        process.send_signal(number)
        assert process.wait(10) == 0


def test_a_shell_can_source_its_lines(tmp_path: Path) -> None:
    lines = tmp_path / "simulator.env"
    with lines.open("w") as output:
        process = subprocess.Popen([*SIMULATOR, "--token", "a'b\"c$d"], stdout=output)
    try:
        script = 'until [ -s "$1" ]; do sleep 0.05; done; . "$1"; printf %s "$DLFTASK_TOKEN"'
        shell = subprocess.run(
            ["sh", "-c", script, "sh", str(lines)], capture_output=True, text=True, timeout=30,
            check=True,
        )  # fmt: skip
    finally:
        process.terminate()
        process.wait(10)
    assert shell.stdout == "a'b\"c$d"


@pytest.mark.parametrize(
    ("command", "status"),
    [
        (["true"], 0),
        (["sh", "-c", "exit 7"], 7),
        (["sh", "-c", "kill -TERM $$"], 143),
        (["sh", "-c", "kill -KILL $$"], 137),
        (["no-such-command"], 127),
        (["/dev/null"], 126),
        (["/"], 126),
    ],
)
def test_it_exits_with_the_commands_status(command: list[str], status: int) -> None:
    result = run("--", *command)
    assert result.returncode == status
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == (1 if status in {126, 127} else 0)


def test_the_status_is_the_commands_where_sigchld_is_ignored() -> None:
    ignoring = (
        "import os, signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN); "
        "os.execv(sys.executable, sys.argv[1:])"
    )
    command = [*SIMULATOR, "--", "sh", "-c", "exit 7"]
    shell = subprocess.run([sys.executable, "-c", ignoring, *command], timeout=30, check=False)
    assert shell.returncode == 7


def test_the_command_has_the_streams_the_variables_and_what_follows_the_dashes() -> None:
    script = 'cat; echo "$DLFTASK_TOKEN $HUAWEICLOUD_SDK_AK $1 $2"; echo err >&2'
    result = subprocess.run(
        [*SIMULATOR, "--token=t", "--access-key=ak", "--", "sh", "-c", script, "sh", "--", "-x"],
        input="in\n", capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    assert result.stdout == "in\nt ak -- -x\n"
    assert result.stderr == "err\n"


def test_the_command_gets_no_variables_of_another_account() -> None:
    result = run(
        "--",
        "env",
        DLFTASK_ENDPOINT="https://example.com",
        DLFTASK_TOKEN_FILE="/nowhere",
        HW_ACCESS_KEY="theirs",
        HUAWEICLOUD_SDK_SECURITY_TOKEN="theirs",
        DLFTASK_TIMEOUT="5m",
        http_proxy="http://192.0.2.1:3128",
        NO_PROXY="example.com",
    )
    variables = dict(line.split("=", 1) for line in result.stdout.splitlines() if "=" in line)
    assert variables["DLFTASK_ENDPOINT"].startswith("http://127.0.0.1:")
    assert variables["DLFTASK_TIMEOUT"] == "5m"
    assert variables["NO_PROXY"] == "example.com,127.0.0.1,localhost"
    assert not variables.keys() & {
        "DLFTASK_TOKEN_FILE", "HW_ACCESS_KEY", "HUAWEICLOUD_SDK_SECURITY_TOKEN",
    }  # fmt: skip


_TALK = (
    "import os, sys, urllib.request as u\n"
    "url = os.environ['DLFTASK_ENDPOINT'] + sys.argv[1]\n"
    "request = u.Request(url, headers={'X-Auth-Token': os.environ['DLFTASK_TOKEN']})\n"
    "try:\n"
    "    print(u.urlopen(request).status)\n"
    "except u.HTTPError as error:\n"
    "    print(error.code)\n"
)


def test_the_command_reaches_it_and_gets_its_faults(tmp_path: Path) -> None:
    talk = [sys.executable, "-c", _TALK, PATH]
    assert run("--", *talk).stdout == "200\n"
    assert run("--fault", "status=418", "--", *talk).stdout == "418\n"
    scenario = tmp_path / "scenario.toml"
    scenario.write_text("[[fault]]\nstatus = 503\ncount = 1\n", encoding="utf-8")
    with_both = run("--scenario", str(scenario), "--fault", "status=418", "--", *talk)
    assert with_both.stdout == "503\n"


@pytest.mark.parametrize(
    ("host", "endpoint"),
    [
        ("localhost", "http://localhost:"),
        ("0.0.0.0", "http://127.0.0.1:"),
        ("::1", "http://[::1]:"),
    ],
)
def test_the_endpoint_can_be_reached(host: str, endpoint: str) -> None:
    if host == "::1" and not Path("/proc/net/if_inet6").exists():
        pytest.skip("this machine has no IPv6")
    script = f'echo "$DLFTASK_ENDPOINT"; exec {shlex.join([sys.executable, "-c", _TALK, PATH])}'
    result = run("--host", host, "--", "sh", "-c", script)
    assert result.stdout.startswith(endpoint)
    assert result.stdout.endswith("\n200\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_reaches_the_command(number: signal.Signals) -> None:
    script = "trap 'exit 9' TERM INT HUP; echo ready; while :; do sleep 0.05; done"
    with subprocess.Popen(
        [*SIMULATOR, "--", "sh", "-c", script],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        assert process.wait(10) == 9


def test_ctrl_c_on_a_terminal_reaches_the_command_once() -> None:
    script = (
        "import signal, time\n"
        "seen = []\n"
        "signal.signal(signal.SIGINT, lambda *_: seen.append(1))\n"
        "print('ready', flush=True)\n"
        "while not seen: time.sleep(0.02)\n"
        "time.sleep(0.3)\n"
        "print('seen', len(seen), flush=True)\n"
    )
    child, terminal = pty.fork()
    if child == 0:
        os.execv(sys.executable, [*SIMULATOR, "--", sys.executable, "-c", script])
    output = b""
    while b"ready" not in output:
        output += os.read(terminal, 1024)
    os.write(terminal, b"\x03")
    while b"seen" not in output or not output.endswith(b"\n"):
        output += os.read(terminal, 1024)
    _, status = os.waitpid(child, 0)
    os.close(terminal)
    assert b"seen 1" in output
    assert os.waitstatus_to_exitcode(status) == 0


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--fault", "statsu=3"], "did you mean 'status'?"),
        (["--scenario", "/nowhere/at/all"], "No such file or directory"),
        (["--port", "65536"], "is not a port"),
        (["--port", "-1"], "is not a port"),
        (["--speed", "0"], "not a number above zero"),
        (["--rate-limit", "0"], "not a whole number above zero"),
        (["--speed", "nan"], "not a number above zero"),
        (["--token", ""], "empty, or not of printable ASCII"),
        (["--access-key", "a,b"], "holds a comma"),
        (["--nosuch"], "--nosuch"),
        (["command"], "command"),
        (["--"], "no COMMAND"),
        (["--host", "203.0.113.1"], "cannot listen on 203.0.113.1"),
    ],
)
def test_a_usage_error_is_one_line(arguments: list[str], expected: str) -> None:
    result = run(*arguments)
    assert result.returncode == 2
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("dlftask.simulator: error: ")
    assert expected in result.stderr


def test_lines_that_cannot_be_written_end_it() -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        result = subprocess.run(
            SIMULATOR, stdout=full, stderr=subprocess.PIPE, text=True, timeout=30, check=False
        )
    assert result.returncode == 1
    expected = "dlftask.simulator: error: standard output: No space left on device\n"
    assert result.stderr == expected


def test_a_port_in_use_is_one_line() -> None:
    process, variables = serve()
    with process:
        port = str(urlsplit(variables["DLFTASK_ENDPOINT"]).port)
        result = run("--port", port)
        process.terminate()
    assert result.returncode == 2
    assert "Address already in use" in result.stderr


def test_the_help_leads_with_examples_and_fits_80_columns() -> None:
    result = run("--help", COLUMNS="80")
    assert result.returncode == 0
    assert result.stdout.index("examples:") < result.stdout.index("options:")
    assert max(len(line) for line in result.stdout.splitlines()) <= 80
    assert run("--help", PYTHONIOENCODING="ascii").returncode == 0
