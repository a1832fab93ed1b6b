"""The README's recipes and examples: each is parsed by its own parser, and its commands are run."""

import logging
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from junitparser import JUnitXml

from dlftask.errors import ExitStatus
from dlftask.simulator import Simulator
from tests.cli import configured
from tests.readme import README, block, needs, run_in_shell, write_program
from tests.servers import Server, http_response, sending

SUCCESSFUL = "008aae2e675d3bcb01675d3c66f20000"
FAILED = "008aae2e675d3bcb01675d40ab3f0005"  # TASK_ID of run_in_shell


def failures(report: Path) -> int:
    return sum(suite.failures for suite in JUnitXml.fromfile(str(report)))


# The shell script


@pytest.fixture
def script(tmp_path: Path) -> Path:
    needs("curl", "jq")
    write_program(tmp_path, "import.sh", block("A shell script"))
    return tmp_path


@pytest.mark.parametrize("shell", ["bash", "sh"])
@pytest.mark.parametrize(
    ("path", "status", "output"),
    [
        ("obs://bucket/jobs.zip", 0, "imported"),
        ("obs://bucket/jobs-that-fail.zip", 1, "1 job could not be imported"),
        ("obs://bucket/jobs-that-warn.zip", 1, "has warnings"),
        ('obs://bucket/a "quoted" \\name.zip', 0, 'a "quoted" '),
    ],
)
def test_the_script_ends_as_the_import_does_and_prints_why(
    path: str, status: int, output: str, shell: str, script: Path, simulator: Simulator
) -> None:
    variables = {**simulator.environment(), "IMPORT_PATH": path}
    done = run_in_shell('./import.sh "$IMPORT_PATH"', script, variables, shell=shell)
    assert done.returncode == status, done.stderr
    assert output in done.stdout + done.stderr


def test_an_import_that_was_not_started_has_a_status_of_its_own(
    script: Path, simulator: Simulator
) -> None:
    variables = {**simulator.environment(), "DLFTASK_TOKEN": "stale"}
    done = run_in_shell("./import.sh obs://bucket/jobs.zip", script, variables)
    assert done.returncode == 10
    assert 10 not in set(ExitStatus)
    assert "HTTP" in done.stderr or "error" in done.stderr


def test_without_a_service_no_import_is_started(script: Path, simulator: Simulator) -> None:
    with Server(sending()) as gone:
        url = gone.url
    variables = {**simulator.environment(), "DLFTASK_ENDPOINT": url}
    assert run_in_shell("./import.sh obs://bucket/jobs.zip", script, variables).returncode == 10


# CI systems


def test_a_github_step_leaves_a_log_a_summary_and_a_report(
    tmp_path: Path, simulator: Simulator
) -> None:
    job = yaml.safe_load(block("GitHub Actions", "yaml"))["jobs"]["import"]
    _, install, wait, upload = job["steps"]
    assert "DLFTASK_PACKAGE" in install["run"]
    assert "DLFTASK_PACKAGE" in job["env"]
    assert upload["if"] == "always()"
    (tmp_path / "summary").touch()
    variables = {**simulator.environment(), "GITHUB_STEP_SUMMARY": str(tmp_path / "summary")}
    done = run_in_shell(wait["run"], tmp_path, variables)
    assert (done.returncode, done.stderr) == (1, "")
    assert "Z FAILED" in done.stdout
    assert "FAILED" in (tmp_path / "summary").read_text(encoding="utf-8")
    assert failures(tmp_path / upload["with"]["path"]) == 1


def test_a_gitlab_job_leaves_a_report(tmp_path: Path, simulator: Simulator) -> None:
    job = yaml.safe_load(block("GitLab CI", "yaml"))["import"]
    done = run_in_shell(job["script"][1], tmp_path, simulator.environment())
    assert done.returncode == 1
    assert failures(tmp_path / job["artifacts"]["reports"]["junit"]) == 1
    assert job["artifacts"]["when"] == "always"
    assert job["allow_failure"]["exit_codes"] == [ExitStatus.TIMEOUT]


def test_a_jenkins_stage_leaves_a_report(tmp_path: Path, simulator: Simulator) -> None:
    pipeline = block("Jenkins", "groovy")
    (script,) = re.findall(r"'''(.*?)'''", pipeline, re.DOTALL)
    done = run_in_shell(script, tmp_path, simulator.environment())
    assert done.returncode == 1
    (report,) = re.findall(r"testResults: '(.*?)'", pipeline)
    assert failures(tmp_path / report) == 1
    assert pipeline.count("{") == pipeline.count("}")


def test_an_azure_step_uploads_its_summary_and_keeps_the_status(
    tmp_path: Path, simulator: Simulator
) -> None:
    steps = yaml.safe_load(block("Azure Pipelines", "yaml"))["steps"]
    done = run_in_shell(steps[2]["script"], tmp_path, simulator.environment())
    assert done.returncode == 1, done.stderr
    (summary,) = re.findall(r"^##vso\[task\.uploadsummary\](.*)$", done.stdout, re.MULTILINE)
    assert "FAILED" in Path(summary).read_text(encoding="utf-8")
    assert failures(tmp_path / steps[3]["inputs"]["testResultsFiles"]) == 1
    assert steps[3]["condition"] == "always()"


def test_a_jobs_own_limit_is_longer_than_the_timeout() -> None:
    github = yaml.safe_load(block("GitHub Actions", "yaml"))["jobs"]["import"]
    assert github["timeout-minutes"] > 120
    assert "--timeout 2h " in github["steps"][2]["run"]
    assert yaml.safe_load(block("GitLab CI", "yaml"))["import"]["timeout"] == "2h 10m"


# Python

AIRFLOW = {
    "__init__.pyi": "",
    "sdk/exceptions.pyi": "class AirflowFailException(Exception): ...\n",
    "sdk/__init__.pyi": """
import logging
from typing import Any
class BaseSensorOperator:
    log: logging.Logger
    def __init__(self, *, task_id: str, poke_interval: float = ..., **kwargs: Any) -> None: ...
    def poke(self, context: Any) -> bool: ...
""",
}


@pytest.mark.parametrize("heading", ["Airflow 3", "From Python"])
def test_an_example_is_typed(heading: str, tmp_path: Path) -> None:
    (tmp_path / "airflow" / "sdk").mkdir(parents=True)
    for name, text in AIRFLOW.items():
        (tmp_path / "airflow" / name).write_text(text)
    (tmp_path / "example.py").write_text(block(heading, "python"), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", "example.py"],
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def use(environment: dict[str, str], home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**environment, "HOME": str(home)}.items():
        monkeypatch.setenv(name, value)


def test_the_example_for_python_runs(
    simulator: Simulator,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    use(simulator.environment(), tmp_path, monkeypatch)
    exec(block("From Python", "python"), {})
    assert capsys.readouterr().out.endswith(" SUCCESSFUL 15000\n[]\n")


class AirflowFailException(Exception):
    """Replaces the exception that ends an Airflow task without a retry."""


class BaseSensorOperator:
    """Replaces Airflow's class, with what the sensor inherits and uses."""

    log = logging.getLogger("sensor")

    def __init__(self, *, task_id: str) -> None:
        self.task_id = task_id


@pytest.fixture
def sensor(monkeypatch: pytest.MonkeyPatch) -> type[Any]:
    """The README's sensor, without the rest of Airflow. It was run in Airflow itself by hand."""
    names = ("airflow", "airflow.sdk", "airflow.sdk.exceptions")
    modules = {name: ModuleType(name) for name in names}
    vars(modules["airflow.sdk"])["BaseSensorOperator"] = BaseSensorOperator
    vars(modules["airflow.sdk.exceptions"])["AirflowFailException"] = AirflowFailException
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    example: dict[str, Any] = {"__name__": "example"}
    exec(block("Airflow 3", "python"), example)
    found: type[Any] = example["SystemTaskSensor"]
    return found


def test_the_sensor_ends_when_the_task_does(
    sensor: type[Any], simulator: Simulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    use(simulator.environment(), tmp_path, monkeypatch)
    assert sensor(task_id="wait", system_task_id=SUCCESSFUL).poke({}) is True
    with pytest.raises(AirflowFailException):
        sensor(task_id="wait", system_task_id=FAILED).poke({})
    with pytest.raises(AirflowFailException, match="DLF"):
        sensor(task_id="wait", system_task_id="no-such-task").poke({})


def test_the_sensor_polls_on_while_a_task_runs_and_during_an_outage(
    sensor: type[Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    running = http_response(b'{"id": "t1", "status": "RUNNING"}')
    busy = http_response(b"", status="503 Service Unavailable")
    for response in (running, busy):
        with Server(sending(response)) as server:
            use(configured(server.url), tmp_path, monkeypatch)
            assert sensor(task_id="wait", system_task_id="t1").poke({}) is False


def test_the_sensor_takes_its_id_from_a_template(sensor: type[Any]) -> None:
    assert sensor.template_fields == ("system_task_id",)
    assert 'system_task_id="{{ ti.xcom_pull(task_ids=' in README
    for mode in ("poke", "reschedule"):
        assert f'mode="{mode}"' in README
