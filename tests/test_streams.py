"""Full disks, readers that go away, closed streams, homes that cannot be written to."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli import DLFTASK, configured, environment, run_dlftask
from tests.servers import TASK, Server, answer

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
        connection.sendall(answer(body))  # type: ignore[attr-defined]

    with Server(talk, keep_alive=True) as server:
        yield server


def shell(service: Server, home: Path, script: str) -> "subprocess.CompletedProcess[str]":
    """Run a script of the shell in which ``"$@"`` is dlftask, in a configured environment."""
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
def test_a_reader_that_has_gone_is_141_and_quiet(
    service: Server, command: str, output: str
) -> None:
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


def test_a_reader_that_goes_after_the_first_line_is_141_and_quiet(
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


def test_a_closed_standard_input_matters_to_a_dash_alone(service: Server, tmp_path: Path) -> None:
    assert shell(service, tmp_path, '"$@" get t1 <&-').returncode == 0
    run = shell(service, tmp_path, '"$@" get - <&-')
    assert run.returncode == 2
    assert run.stderr.startswith("dlftask: error: ")
    assert len(run.stderr.splitlines()) <= 2


def test_all_three_closed_is_8_without_a_sound(service: Server, tmp_path: Path) -> None:
    run = shell(service, tmp_path, '"$@" get t1 <&- >&- 2>&-')
    assert (run.returncode, run.stdout, run.stderr) == (8, "", "")


def test_what_is_quiet_needs_no_standard_output(service: Server, tmp_path: Path) -> None:
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
def test_a_home_that_cannot_be_written_to_is_no_reason_to_fail(
    service: Server, row: str, command: list[str]
) -> None:
    run = run_dlftask(*command, "t1", env=configured(service.url, **HOMES[row]))
    assert run.returncode == 0, run.stderr
    assert "error" not in run.stderr


def test_a_folder_that_went_away_while_one_stood_in_it_is_no_reason_to_fail(
    service: Server, tmp_path: Path
) -> None:
    run = shell(service, tmp_path, 'mkdir gone; cd gone; rmdir ../gone; "$@" get t1')
    assert run.returncode == 0, run.stderr


def test_a_recent_file_that_is_a_folder_is_no_reason_to_fail(
    service: Server, tmp_path: Path
) -> None:
    (tmp_path / "state" / "dlftask" / "recent").mkdir(parents=True)
    run = run_dlftask("get", "t1", env=configured(service.url), home=tmp_path)
    assert (run.returncode, run.stderr) == (0, "")
