"""What a run loads: start-up time is checked by the names of modules, not by a clock."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from dlftask.simulator import Simulator
from tests.cli import COVERAGE, configured, environment

TASK = "008aae2e675d3bcb01675d3c66f20000"
HEAVY = {"requests", "urllib3", "rich", "jmespath", "http.server", "xml.etree", "tomllib"}

# Like ``python -m dlftask``, except for its exit; the names of the loaded modules go to a file.
PROGRAM = """\
import json, sys, time
from pathlib import Path
from dlftask.__main__ import main
status = main(sys.argv[2:], began_s=time.monotonic())
Path(sys.argv[1]).write_text(json.dumps([status, list(sys.modules)]))
"""


def as_typed(value: list[str] | str | int) -> str:
    return " ".join(["dlftask", *value]) if isinstance(value, list) else str(value)


def unmeasured(env: Mapping[str, str]) -> dict[str, str]:
    """An environment in which coverage is not measured: that loads modules too."""
    return {name: value for name, value in env.items() if name not in COVERAGE}


def loaded_by(
    *arguments: str, status: int, simulator: Simulator, home: Path, **env: str
) -> set[str]:
    """The heavy modules that ``dlftask ARGUMENTS``, with its output on a pipe, has loaded."""
    loaded = home / "loaded"
    variables = {**configured(simulator.endpoint), **simulator.environment(), **env}
    subprocess.run(
        [sys.executable, "-c", PROGRAM, str(loaded), *arguments],
        env=unmeasured(environment(home, variables)),
        check=True,
        capture_output=True,
        timeout=30,
    )
    found_status, modules = json.loads(loaded.read_text())
    assert found_status == status
    return HEAVY & set(modules)


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["--version"], 0),
        (["--help"], 0),
        (["get", "--help"], 0),
        (["watch", "-h"], 0),
        ([], 2),
        (["nonsense"], 2),
        (["get"], 2),
        (["get", "--nonsense", TASK], 2),
        (["get", "not/an/id"], 2),
        (["get", "-o", "xml", TASK], 2),
        (["get", "--timeout", "5s", TASK], 2),
        (["get", "--wait", "--timeout", "5x", TASK], 2),
        (["watch", "--concurrency", "0", TASK], 2),
    ],
    ids=as_typed,
)
def test_help_and_usage_errors_load_nothing_heavy(
    arguments: list[str], status: int, simulator: Simulator, tmp_path: Path
) -> None:
    assert loaded_by(*arguments, status=status, simulator=simulator, home=tmp_path) == set()


@pytest.mark.parametrize(
    "arguments",
    [
        ["get", TASK],
        ["get", "-o", "json", TASK],
        ["get", "-o", "jsonl", TASK],
        ["get", "-o", "tsv", TASK],
        ["get", "--wait", TASK],
        ["get", "--wait", "-o", "json", TASK],
        ["watch", TASK],
        ["watch", "-o", "jsonl", TASK],
    ],
    ids=as_typed,
)
def test_a_run_on_a_pipe_loads_only_what_sends_requests(
    arguments: list[str], simulator: Simulator, tmp_path: Path
) -> None:
    loaded = loaded_by(*arguments, status=0, simulator=simulator, home=tmp_path)
    assert loaded == {"requests", "urllib3"}


@pytest.mark.parametrize(
    ("arguments", "more"),
    [
        (["get", "--color", "always", TASK], "rich"),
        (["get", "--query", "status", TASK], "jmespath"),
        (["get", "--demo", TASK], "http.server"),
    ],
    ids=as_typed,
)
def test_what_only_some_runs_need_is_loaded_only_by_those(
    arguments: list[str], more: str, simulator: Simulator, tmp_path: Path
) -> None:
    loaded = loaded_by(*arguments, status=0, simulator=simulator, home=tmp_path)
    assert loaded == {"requests", "urllib3", more}


def test_only_a_configuration_file_loads_toml(simulator: Simulator, tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text("[default]\nutc = true\n")
    loaded = loaded_by(
        "get", TASK, status=0, simulator=simulator, home=tmp_path, DLFTASK_CONFIG=str(config)
    )
    assert loaded == {"requests", "urllib3", "tomllib"}


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import dlftask, sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=unmeasured(os.environ),
        check=True,
        capture_output=True,
        text=True,
    )
    assert not (HEAVY | {"typer", "dataclasses"}) & set(done.stdout.split())
