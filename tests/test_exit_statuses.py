"""Every exit status of the contract, from the real command line, and what it prints then."""

import json
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from dlftask.simulator import Fault, Simulator
from tests.cli import Finished, run_dlftask
from tests.servers import Server, http_response, sending

SUCCESSFUL = "008aae2e675d3bcb01675d3c66f20000"
FAILED = "008aae2e675d3bcb01675d3e6b960004"
MISSING = "no-such-task"
LONGEST_LINE = 1000


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator() as running:
        yield running


@pytest.fixture
def fast() -> Iterator[Simulator]:
    """Imports end as soon as they have begun."""
    with Simulator(speed=1000) as running:
        yield running


def run(simulator: Simulator, *args: str, **environ: str) -> Finished:
    return run_dlftask(*args, env={**simulator.environment(), **environ})


def error_lines(finished: Finished) -> list[str]:
    """The errors on standard error, which contains nothing else but their hints."""
    errors = []
    previous = ""
    for line in finished.stderr.splitlines():
        if line.startswith("hint: "):
            assert previous.startswith("dlftask: error: "), finished.stderr
        else:
            assert line.startswith("dlftask: error: "), finished.stderr
            assert len(line) <= LONGEST_LINE
            errors.append(line.removeprefix("dlftask: error: "))
        previous = line
    assert not finished.stderr or finished.stderr.endswith("\n")
    return errors


def the_error(finished: Finished) -> str:
    assert finished.stdout == ""
    (error,) = error_lines(finished)
    return error


def hint(finished: Finished) -> str:
    return finished.stderr.partition("\nhint: ")[2]


# 0, 1, 3


def test_0_a_successful_task(simulator: Simulator) -> None:
    finished = run(simulator, "get", SUCCESSFUL)
    assert (finished.returncode, finished.stderr) == (0, "")
    assert "SUCCESSFUL" in finished.stdout


def test_1_a_failed_task_is_a_result_and_not_an_error(simulator: Simulator) -> None:
    finished = run(simulator, "get", FAILED)
    assert (finished.returncode, finished.stderr) == (1, "")
    assert "Failed to read the OBS file obs://aaaaa/traffic2.zip." in finished.stdout


@pytest.mark.parametrize(
    ("strict", "environ", "status"),
    [([], {}, 0), (["--strict"], {}, 1), ([], {"DLFTASK_STRICT": "yes"}, 1)],
)
def test_a_warning_is_good_enough_unless_strict(
    fast: Simulator, strict: list[str], environ: dict[str, str], status: int
) -> None:
    task_id = fast.start_import("obs://aaaaa/warn.zip")
    finished = run(fast, "get", *strict, task_id, **environ)
    assert (finished.returncode, finished.stderr) == (status, "")
    assert "WARNING" in finished.stdout


def test_3_a_task_that_is_still_running(simulator: Simulator) -> None:
    finished = run(simulator, "get", simulator.start_import())
    assert (finished.returncode, finished.stderr) == (3, "")
    assert "RUNNING" in finished.stdout
    assert len(simulator.requests) == 1


def test_a_plain_get_ignores_wait_settings_in_the_environment(
    simulator: Simulator,
) -> None:
    waiting = {"DLFTASK_TIMEOUT": "1s", "DLFTASK_INTERVAL": "2s", "DLFTASK_MAX_OUTAGE": "3s"}
    finished = run(simulator, "get", simulator.start_import(), **waiting)
    assert (finished.returncode, finished.stderr) == (3, "")


# 2


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["get", "a/b"], "a/b"),
        (["get", "a.b"], "a.b"),
        (["get", "a%62"], "a%62"),
        (["get", SUCCESSFUL, "../x"], "../x"),
        (["get", "x" * 129], "xxx"),
        (["get", ""], "''"),
        (["get"], "no task ID"),
        (["watch"], "no task ID"),
        (["get", "-"], "standard input"),
        (["get", "--frobnicate", SUCCESSFUL], "--frobnicate"),
        (["get", "--token", "x", SUCCESSFUL], "--token"),
        (["frobnicate"], "frobnicate"),
        (["get", "-o", "xml", SUCCESSFUL], "xml"),
        (["get", "-w", "--timeout", "5x", SUCCESSFUL], "5x"),
        (["get", "-w", "--timeout", "-1s", SUCCESSFUL], "-1s"),
        (["watch", "--interval", "0", SUCCESSFUL], "--interval"),
        (["watch", "--max-outage", "none", SUCCESSFUL], "none"),
        (["get", "--timeout", "5s", SUCCESSFUL], "--timeout"),
        (["get", "--interval", "5s", SUCCESSFUL], "--interval"),
        (["get", "--max-outage", "5s", SUCCESSFUL], "--max-outage"),
        (["get", "--query", "status", "-o", "tsv", SUCCESSFUL], "--query"),
        (["get", "--query", "[", SUCCESSFUL], "--query"),
        (["get", "--fail-fast", SUCCESSFUL], "--fail-fast"),
        (["get", "--rate", "0", SUCCESSFUL], "--rate"),
        (["get", "--progress", "x", SUCCESSFUL], "--progress"),
        (["get", "--report", "junit", SUCCESSFUL], "--report"),
        (["get", "--report", "junit:-", SUCCESSFUL], "--report"),
        (["get", "--endpoint", "not a URL", SUCCESSFUL], "not a URL"),
        (["get", "--endpoint", "ftp://service.test", SUCCESSFUL], "ftp://service.test"),
        (["get", "--endpoint", "http://service.test", SUCCESSFUL], "http"),
        (["get", "--profile", "nobody", SUCCESSFUL], "config.toml"),
        (["get", "--ca-bundle", "/no/such/bundle.pem", SUCCESSFUL], "/no/such/bundle.pem"),
        (["get", "--token-file", "/no/such/token", SUCCESSFUL], "/no/such/token"),
        (["get", "--concurrency", "0", SUCCESSFUL], "0"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_2_bad_usage_is_one_line_and_no_request(
    simulator: Simulator, args: list[str], expected: str
) -> None:
    finished = run(simulator, *args)
    assert finished.returncode == 2
    assert expected in the_error(finished)
    assert simulator.requests == ()


def test_2_a_bare_command_prints_the_help(simulator: Simulator) -> None:
    finished = run_dlftask()
    assert (finished.returncode, finished.stderr) == (2, "")
    assert "Usage:" in finished.stdout


@pytest.mark.parametrize(
    ("missing", "expected"),
    [
        (["DLFTASK_TOKEN", "HUAWEICLOUD_SDK_AK", "HUAWEICLOUD_SDK_SK"], "no credentials"),
        (["DLFTASK_TOKEN", "HUAWEICLOUD_SDK_SK"], "HUAWEICLOUD_SDK_SK"),
        (["DLFTASK_PROJECT_ID"], "no project ID"),
        (["DLFTASK_ENDPOINT"], "endpoint"),
    ],
)
def test_2_what_is_not_set_up_is_named_with_a_hint(
    simulator: Simulator, missing: list[str], expected: str
) -> None:
    environ = {k: v for k, v in simulator.environment().items() if k not in missing}
    finished = run_dlftask("get", SUCCESSFUL, env=environ)
    assert finished.returncode == 2
    assert expected in the_error(finished)
    assert hint(finished)
    assert simulator.requests == ()


def test_124_a_configuration_file_that_does_not_end(simulator: Simulator, tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    os.mkfifo(config)
    finished = run(simulator, "watch", "--timeout", "1s", SUCCESSFUL, DLFTASK_CONFIG=str(config))
    assert finished.returncode == 124
    assert str(config) in the_error(finished)


@pytest.mark.parametrize("content", ["", " \n", "two\nlines", None])
def test_2_a_token_file_without_a_token(
    simulator: Simulator, tmp_path: Path, content: str | None
) -> None:
    token_file = tmp_path / "token"
    if content is None:
        token_file.mkdir()  # unreadable even for root
    else:
        token_file.write_text(content)
    finished = run(simulator, "get", "--token-file", str(token_file), SUCCESSFUL)
    assert finished.returncode == 2
    assert str(token_file) in the_error(finished)
    assert simulator.requests == ()


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_2_a_token_file_of_somebody_else(simulator: Simulator, tmp_path: Path) -> None:
    token_file = tmp_path / "token"
    token_file.write_text("secret")
    token_file.chmod(0)
    finished = run(simulator, "get", "--token-file", str(token_file), SUCCESSFUL)
    assert finished.returncode == 2
    assert str(token_file) in the_error(finished)


@pytest.mark.parametrize("text", ["", " \n\t", "[]", "{}", '{"taskId": 5}', '{"a"', '["a/b"]'])
def test_2_an_input_without_a_task_id(simulator: Simulator, text: str) -> None:
    finished = run_dlftask("get", "-", env=simulator.environment(), input=text)
    assert finished.returncode == 2
    assert the_error(finished)
    assert simulator.requests == ()


def test_2_a_project_that_iam_does_not_know_ends_the_run() -> None:
    with Simulator(projects={"cn-north-4": []}) as simulator:
        environ = {**simulator.environment(), "DLFTASK_PROJECT_ID": ""}
        finished = run_dlftask("watch", "-r", "cn-north-4", SUCCESSFUL, FAILED, env=environ)
    assert finished.returncode == 2
    assert "cn-north-4" in finished.stderr
    assert len([line for line in finished.stderr.splitlines() if "error:" in line]) == 1
    assert "Traceback" not in finished.stderr


# 4, 5, 6, 7: each with the service's error


def test_4_a_task_that_does_not_exist(simulator: Simulator) -> None:
    finished = run(simulator, "get", MISSING)
    assert finished.returncode == 4
    error = the_error(finished)
    assert error.startswith(f"task {MISSING}: ")
    assert "DLF.0810" in error
    assert "HTTP 400" in error
    assert "DLF.0810" in error
    assert error.lower().count("does not exist") == 1
    assert re.search("request ID [0-9a-f]{32}", error)
    assert "--workspace" in hint(finished)


def test_4_by_the_later_editions_code() -> None:
    body = b'{"error_code": "DLF.20810", "error_msg": "Task[x] does not exist"}'
    with Server(sending(http_response(body, status="400 Bad Request"))) as server:
        finished = run_dlftask("get", "x", env=at(server.url))
    assert finished.returncode == 4
    assert "DLF.20810" in the_error(finished)


def at(endpoint: str) -> dict[str, str]:
    return {
        "DLFTASK_ENDPOINT": endpoint,
        "DLFTASK_PROJECT_ID": "p",
        "DLFTASK_TOKEN": "secret-token",
    }


def test_5_a_wrong_token(simulator: Simulator) -> None:
    finished = run(simulator, "get", SUCCESSFUL, DLFTASK_TOKEN="wrong-secret")
    assert finished.returncode == 5
    error = the_error(finished)
    assert "HTTP 401" in error
    assert "APIGW.0301" in error
    assert "token" in hint(finished)
    assert "wrong-secret" not in finished.stderr
    assert len(simulator.requests) == 1


def test_5_a_wrong_secret_key(simulator: Simulator) -> None:
    environ = {"DLFTASK_TOKEN": "", "HUAWEICLOUD_SDK_SK": "wrong-secret"}
    finished = run(simulator, "get", SUCCESSFUL, **environ)
    assert finished.returncode == 5
    assert "APIGW.0301" in the_error(finished)
    assert hint(finished)
    assert "wrong-secret" not in finished.stderr


def test_5_another_project(simulator: Simulator) -> None:
    finished = run(simulator, "get", "-p", "other", SUCCESSFUL)
    assert finished.returncode == 5
    assert "HTTP 403" in the_error(finished)


def test_5_no_permission_by_code() -> None:
    body = b'{"error_code": "DLF.6888", "error_msg": "no permission"}'
    with Server(sending(http_response(body, status="400 Bad Request"))) as server:
        finished = run_dlftask("get", "x", env=at(server.url))
    assert finished.returncode == 5
    assert "DLF.6888" in the_error(finished)


def test_5_refused_by_iam() -> None:
    with Simulator(projects={"cn-north-4": None}) as simulator:
        environ = {**simulator.environment(), "DLFTASK_PROJECT_ID": ""}
        finished = run_dlftask("get", "-r", "cn-north-4", SUCCESSFUL, env=environ)
    assert finished.returncode == 5
    assert "cn-north-4" in the_error(finished)


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_6_the_service_fails_three_times(simulator: Simulator, status: int) -> None:
    simulator.set_faults(Fault(status=status))
    finished = run(simulator, "get", SUCCESSFUL)
    assert finished.returncode == 6
    assert f"HTTP {status}" in the_error(finished)
    assert len(simulator.requests) == 3


@pytest.mark.parametrize("status", [429, 503])
def test_a_fault_that_passes_is_not_an_error(simulator: Simulator, status: int) -> None:
    simulator.set_faults(Fault(status=status, count=2))
    finished = run(simulator, "get", SUCCESSFUL)
    assert (finished.returncode, finished.stderr) == (0, "")


def test_6_a_long_retry_after(simulator: Simulator) -> None:
    simulator.set_faults(Fault(status=429, retry_after="3600"))
    finished = run(simulator, "get", SUCCESSFUL)
    assert finished.returncode == 6
    assert "1h00m" in the_error(finished)
    assert len(simulator.requests) == 1


@pytest.mark.parametrize("fault", [Fault(drop=True), Fault(reset=True), Fault(truncate=20)])
def test_6_a_broken_connection(simulator: Simulator, fault: Fault) -> None:
    simulator.set_faults(fault)
    finished = run(simulator, "get", SUCCESSFUL)
    assert finished.returncode == 6
    assert the_error(finished)
    assert len(simulator.requests) == 3


def test_6_nobody_listens() -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{reserved.getsockname()[1]}"
        finished = run_dlftask("get", "x", env=at(endpoint))
    assert finished.returncode == 6
    assert "refused" in the_error(finished)
    assert finished.seconds < 10


def test_6_the_name_does_not_resolve() -> None:
    finished = run_dlftask("get", "x", env=at("https://no-such-host.invalid"), timeout=60)
    assert finished.returncode == 6
    assert "no-such-host.invalid" in the_error(finished)
    assert hint(finished)


def test_6_silence(simulator: Simulator) -> None:
    simulator.set_faults(Fault(delay_s=60))
    finished = run(simulator, "get", "--read-timeout", "300ms", SUCCESSFUL)
    assert finished.returncode == 6
    assert "300ms" in the_error(finished)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Fault(invalid="html"), "JSON"),
        (Fault(invalid="empty"), "JSON"),
        (Fault(invalid="no-status"), "status"),
        (Fault(invalid="no-id"), "id"),
        (Fault(status=302), "redirect"),
        (Fault(status=404), "HTTP 404"),
        (Fault(status=405), "HTTP 405"),
    ],
)
def test_7_an_invalid_response(simulator: Simulator, fault: Fault, expected: str) -> None:
    simulator.set_faults(fault)
    finished = run(simulator, "get", SUCCESSFUL)
    assert finished.returncode == 7
    assert expected in the_error(finished)
    assert len(simulator.requests) == 1


def test_7_an_unknown_status_is_shown_too(simulator: Simulator) -> None:
    simulator.set_faults(Fault(invalid="unknown-status"))
    finished = run(simulator, "get", "--wait", "-q", SUCCESSFUL)
    assert finished.returncode == 7
    assert "PONDERING" in finished.stderr
    finished = run(simulator, "get", "-o", "json", SUCCESSFUL)
    assert json.loads(finished.stdout)["status"] == "PONDERING"
    assert "PONDERING" in error_lines(finished)[0]


def test_7_not_http() -> None:
    with Server(sending(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")) as server:
        finished = run_dlftask("get", "x", env=at(server.url))
    assert finished.returncode == 7
    assert "not HTTP" in the_error(finished)


def test_a_long_message_of_the_service_is_cut() -> None:
    body = json.dumps({"error_code": "X.1", "error_msg": "long " * 10_000}).encode()
    headers = {"X-Request-Id": "abc"}
    with Server(sending(http_response(body, status="400 Bad Request", headers=headers))) as server:
        finished = run_dlftask("get", "x", env=at(server.url))
    assert finished.returncode == 7
    error = the_error(finished)
    assert "X.1" in error
    assert "request ID abc" in error


# 8, 141


def test_8_a_full_disk(simulator: Simulator) -> None:
    with Path("/dev/full").open("w") as full:
        finished = run_dlftask("get", SUCCESSFUL, env=simulator.environment(), stdout=full)
    assert finished.returncode == 8
    assert len(error_lines(finished)) == 1


def test_141_a_broken_pipe_prints_no_error(simulator: Simulator) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as gone:
        finished = run_dlftask("get", SUCCESSFUL, env=simulator.environment(), stdout=gone)
    assert (finished.returncode, finished.stderr) == (141, "")


# 124


def test_124_prints_the_last_state_and_how_to_resume(simulator: Simulator) -> None:
    task_id = simulator.start_import()
    finished = run(simulator, "get", "--wait", "--timeout", "4s", "-o", "json", task_id)
    assert finished.returncode == 124
    assert json.loads(finished.stdout)["status"] == "RUNNING"
    lines = finished.stderr.splitlines()
    assert all(line.startswith(("dlftask: ", "hint: ")) for line in lines)
    (error,) = [line for line in lines if line.startswith("dlftask: error: ")]
    assert task_id in error
    assert "4s" in error
    assert any("RUNNING" in line for line in lines)
    assert any(
        line.endswith(f"dlftask get --wait --timeout 4s --output json {task_id}") for line in lines
    )


def test_124_without_any_response_prints_no_state(simulator: Simulator) -> None:
    simulator.set_faults(Fault(delay_s=60))
    finished = run(simulator, "get", "-w", "-q", "--timeout", "1s", SUCCESSFUL)
    assert finished.returncode == 124
    assert "1s" in the_error(finished)


# Several tasks


@pytest.mark.parametrize(
    ("faults", "more", "status"),
    [
        ([], [], 0),
        ([], ["RUNNING"], 3),
        ([], ["RUNNING", FAILED], 1),
        ([], [MISSING, FAILED, "RUNNING"], 4),
        ([Fault(invalid="html", task="odd")], ["odd", MISSING, FAILED], 7),
        ([Fault(invalid="html", task="odd"), Fault(status=500, task="down")], ["odd", "down"], 6),
        ([Fault(status=500, task="down"), Fault(status=403, task="shut")], ["down", "shut"], 5),
    ],
)
def test_the_contracts_order_decides_for_several_tasks(
    simulator: Simulator, faults: list[Fault], more: list[str], status: int
) -> None:
    simulator.set_faults(*faults)
    ids = [simulator.start_import() if name == "RUNNING" else name for name in more]
    finished = run(simulator, "get", "-o", "json", *ids, SUCCESSFUL)
    assert finished.returncode == status
    found = json.loads(finished.stdout)
    if not ids:
        assert found["status"] == "SUCCESSFUL"
        return
    # In the order given; an unavailable task has an error of its own.
    assert [one["id"] for one in found] == [*ids, SUCCESSFUL]
    failures = [one for one in found if "error" in one]
    assert all({"code", "message", "exit_status"} == one["error"].keys() for one in failures)
    assert len(error_lines(finished)) == len(failures)


def test_a_failed_task_takes_precedence_over_the_timeout(simulator: Simulator) -> None:
    task_id = simulator.start_import()
    finished = run(simulator, "get", "-w", "-q", "--timeout", "4s", task_id, FAILED)
    assert finished.returncode == 1
    assert len(error_lines(finished)) == 1


@pytest.mark.parametrize("output", ["tree", "json", "jsonl", "tsv"])
def test_a_single_unavailable_task_prints_nothing(simulator: Simulator, output: str) -> None:
    finished = run(simulator, "get", "-o", output, MISSING)
    assert (finished.returncode, finished.stdout) == (4, "")


def test_a_single_unavailable_task_is_an_error_in_junit(simulator: Simulator) -> None:
    finished = run(simulator, "get", "-o", "junit", MISSING)
    assert finished.returncode == 4
    assert "<error" in finished.stdout


def test_quiet_leaves_the_status_and_the_errors(simulator: Simulator) -> None:
    finished = run(simulator, "watch", "-q", FAILED)
    assert (finished.returncode, finished.stdout, finished.stderr) == (1, "", "")
    finished = run(simulator, "get", "-q", MISSING)
    assert (finished.returncode, finished.stdout) == (4, "")
    assert len(error_lines(finished)) == 1
