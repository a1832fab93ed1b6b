"""The README tells the truth: its commands run, its tables are the program's own."""

import bisect
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from dlftask.cli import app
from dlftask.errors import ExitStatus
from dlftask.profiles import Profile
from dlftask.settings import load_settings
from dlftask.simulator import Simulator
from dlftask.simulator.__main__ import _parser
from dlftask.simulator.faults import read_scenario
from dlftask.waiting.policy import WaitPolicy
from tests.test_credentials import PRECEDENCE

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROJECT_ID = "b384b9e9ab9b4ee8994c8633aabc9505"


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, the heading above it and what stands in it."""

    language: str
    heading: str
    text: str

    @property
    def name(self) -> str:
        return next(line for line in self.text.splitlines() if not line.startswith("#"))


def read_blocks() -> Iterator[Block]:
    heading, language, lines = "", None, list[str]()
    for line in README.splitlines():
        if line.startswith("```") and language is None:
            language, lines = line.removeprefix("```"), []
        elif line == "```":
            yield Block(language or "", heading, "\n".join(lines) + "\n")
            language = None
        elif language is not None:
            lines.append(line)
        elif line.startswith("#"):
            heading = line.lstrip("# ")


BLOCKS = list(read_blocks())
SHELL = [block for block in BLOCKS if block.language in ("sh", "console")]

# What a command ends with, where that is not 0, and what it says then.
ENDS_WITH = {
    "dlftask get --compact 008aae2e675d3bcb01675d40ab3f0005": (1, "Start the job_batch job"),
    "python -m dlftask.simulator --scenario scenario.toml --speed 2 -- \\": (
        1,
        "the import failed",
    ),
}
NOT_RUN = {
    "python3 -m venv .venv && .venv/bin/pip install . && .venv/bin/dlftask watch --demo": (
        ".ci/run installs the wheel in an empty environment and runs the demo there"
    ),
    "python3 -m venv .venv && .venv/bin/pip install -e '.[test]' && .venv/bin/pytest -n 4": (
        ".ci/run runs it: it is what runs this test"
    ),
    ".venv/bin/ruff check && .venv/bin/ruff format --check": (
        ".ci/run runs the linters, and test_completions.py the generator; the others take minutes"
    ),
    "answer=$(curl -sS --fail-with-body -X POST \\": (
        "the recipe's own test and the scenario's run it"
    ),
    ". completions/dlftask.bash                                 # bash: in ~/.bashrc": (
        "one line for each shell: test_completions.py sources the files in each"
    ),
}


def table(first_column: str) -> list[list[str]]:
    """The cells of the table whose first column has that title."""
    lines = README.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"| {first_column} |"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def recipe(heading: str, language: str = "sh") -> str:
    return next(b.text for b in BLOCKS if b.heading == heading and b.language == language)


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with Simulator(speed=20) as running:
        yield running


@pytest.fixture
def workplace(tmp_path: Path) -> Path:
    """A folder with what the README's commands find in theirs."""
    (tmp_path / "completions").symlink_to(ROOT / "completions")
    script = tmp_path / "import.sh"
    script.write_text(recipe("A shell script"), encoding="utf-8")
    script.chmod(0o755)
    (tmp_path / "scenario.toml").write_text(recipe("Faults", "toml"), encoding="utf-8")
    return tmp_path


def run_in_shell(
    text: str, folder: Path, variables: Mapping[str, str], *arguments: str
) -> subprocess.CompletedProcess[str]:
    programs = folder / "programs"
    programs.mkdir(exist_ok=True)
    for name, words in {"dlftask": "-m dlftask", "python": ""}.items():
        program = programs / name
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" {words} "$@"\n')
        program.chmod(0o755)
    return subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", text, "bash", *arguments],
        cwd=folder,
        env={
            "PATH": f"{programs}:{os.environ['PATH']}",
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "TASK_ID": "008aae2e675d3bcb01675d40ab3f0005",
            **variables,
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


def needs(*programs: str) -> None:
    for program in programs:
        if shutil.which(program) is None:
            if os.environ.get("DLFTASK_TEST_ALL"):
                pytest.fail(f"{program} is not installed")
            pytest.skip(f"{program} is not installed")


def commands(block: Block) -> Iterator[tuple[str, str | None]]:
    """The commands of a block, with what they print where the README shows that."""
    if block.language == "sh":
        yield block.text, None
        return
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        command, _, shown = part.partition("\n")
        yield command, shown


@pytest.mark.parametrize("block", [b for b in SHELL if b.name not in NOT_RUN], ids=lambda b: b.name)
def test_a_command_runs(block: Block, workplace: Path, simulator: Simulator) -> None:
    if "curl" in block.text or "import.sh" in block.text:
        needs("curl")
    variables = dict(simulator.environment())
    for command, shown in commands(block):
        done = run_in_shell(command, workplace, variables)
        assert "Traceback" not in done.stderr
        if shown is not None:
            assert done.stdout == shown
            continue
        status, says = ENDS_WITH.get(block.name, (0, ""))
        assert done.returncode == status, done.stderr
        assert says in done.stdout + done.stderr


def test_what_is_not_run_still_stands_there() -> None:
    names = [block.name for block in SHELL]
    assert set(NOT_RUN) | set(ENDS_WITH) <= set(names)


@pytest.mark.parametrize(
    ("path", "status", "says"),
    [
        ("obs://bucket/jobs.zip", 0, "imported"),
        ("obs://bucket/jobs-that-fail.zip", 1, "the import failed"),
        ("obs://bucket/jobs-that-warn.zip", 1, "has warnings"),
    ],
)
def test_the_shell_recipe_ends_as_the_import_does(
    path: str, status: int, says: str, workplace: Path, simulator: Simulator
) -> None:
    needs("curl")
    done = run_in_shell(f"./import.sh {path}", workplace, simulator.environment())
    assert done.returncode == status
    assert says in done.stdout + done.stderr


def test_the_shell_recipe_tells_a_refusal(workplace: Path, simulator: Simulator) -> None:
    needs("curl")
    variables = {**simulator.environment(), "DLFTASK_TOKEN": "stale"}
    done = run_in_shell("./import.sh obs://bucket/jobs.zip", workplace, variables)
    assert done.returncode == 1
    assert "not started: " in done.stderr


def test_the_recipe_for_github_actions_waits_and_then_says_what_went_wrong(
    workplace: Path, simulator: Simulator
) -> None:
    job = yaml.safe_load(recipe("GitHub Actions", "yaml"))["jobs"]["import"]
    install, wait, explain = job["steps"]
    assert set(job["env"]) == {
        "DLFTASK_REGION",
        "HUAWEICLOUD_SDK_AK",
        "HUAWEICLOUD_SDK_SK",
        "TASK_ID",
    }
    assert "DLFTASK_PACKAGE" in install["env"]
    waited = run_in_shell(wait["run"], workplace, simulator.environment())
    assert (waited.returncode, waited.stderr) == (1, "")
    assert "Z FAILED" in waited.stdout
    explained = run_in_shell(explain["run"], workplace, simulator.environment())
    assert explained.returncode == 0
    assert "✗ Start the job_batch job" in explained.stdout


def test_the_recipe_for_gitlab_leaves_a_report(workplace: Path, simulator: Simulator) -> None:
    job = yaml.safe_load(recipe("GitLab CI", "yaml"))["import"]
    done = run_in_shell(job["script"][1], workplace, simulator.environment())
    assert done.returncode == 1
    report = job["artifacts"]["reports"]["junit"]
    assert "<failure" in (workplace / report).read_text(encoding="utf-8")
    assert job["allow_failure"]["exit_codes"] == [ExitStatus.TIMEOUT]


def test_the_recipe_for_jenkins_leaves_a_report(workplace: Path, simulator: Simulator) -> None:
    pipeline = recipe("Jenkins", "groovy")
    script = re.findall(r"'''(.*?)'''", pipeline, re.DOTALL)[0]
    done = run_in_shell(script, workplace, simulator.environment())
    assert done.returncode == 1
    report = re.findall(r"testResults: '(.*?)'", pipeline)[0]
    assert "<failure" in (workplace / report).read_text(encoding="utf-8")
    assert pipeline.count("{") == pipeline.count("}")


# Tables


def options_in_help(command: str) -> dict[str, tuple[str, str]]:
    """Each option as its help has it: names and value, and the variables it says."""
    found = {}
    for param in get_command(app).commands[command].params:  # type: ignore[attr-defined]
        if param.param_type_name == "option":
            names = ", ".join(sorted([*param.opts, *param.secondary_opts], key=len))
            value = f" {param.metavar}" if param.metavar else ""
            variables = re.findall(r"\b(?:[A-Z]+_)+[A-Z]+\b", param.help.partition("[")[2])
            found[names + value] = (param.name, " ".join(variables))
    return found


def test_the_options_are_those_of_the_help() -> None:
    told = {
        cells[0].strip("`"): " ".join(re.findall(r"`(.*?)`", cells[1])) for cells in table("option")
    }
    helped = {
        names: variables.replace(" DLFTASK_TOKEN", "").replace("DLFTASK_TOKEN ", "")
        if "token-file" not in names
        else "DLFTASK_TOKEN_FILE"
        for command in ("get", "watch")
        for names, (_, variables) in options_in_help(command).items()
    }
    assert told == helped


def test_each_variable_of_the_options_is_read(tmp_path: Path) -> None:
    values = {"DURATION": "7s", "N": "3", "FORMAT": "tsv", "METHOD": "token", "URL": "https://h"}
    for cells in table("option"):
        option, names = cells[0].strip("`"), re.findall(r"`(DLFTASK_.*?)`", cells[1])
        field = option.rpartition("--")[2].partition(" ")[0].replace("-", "_")
        if not names or field in ("token_file", "profile"):
            continue  # test_credentials.py and test_profiles.py have them
        value = values.get(option.rpartition(" ")[2], "yes")
        environ = {names[0]: value, "DLFTASK_CONFIG": ""}
        settings = load_settings({"wait": True}, environ=environ, home=tmp_path)
        default = load_settings({"wait": True}, environ={}, home=tmp_path)
        field = field if hasattr(settings, field) else f"{field}_s"
        assert getattr(settings, field) != getattr(default, field), option


def test_the_defaults_are_the_settings_own(tmp_path: Path) -> None:
    settings = load_settings({}, environ={}, home=tmp_path)
    told = {
        cells[0].strip("`").rpartition("--")[2]: cells[2].strip("`") for cells in table("option")
    }
    assert told["connect-timeout DURATION"] == f"{settings.connect_timeout_s:.0f}s"
    assert told["read-timeout DURATION"] == f"{settings.read_timeout_s:.0f}s"
    assert told["max-outage DURATION"] == f"{settings.max_outage_s / 60:.0f}m"
    assert told["concurrency N"] == str(settings.concurrency)
    assert told["output FORMAT"] == settings.output
    assert told["auth METHOD"] == settings.auth
    assert told["color WHEN"] == (settings.color or "auto")


def test_the_exit_statuses_are_those_of_the_help_and_of_the_program() -> None:
    told = [int(n) for cells in table("status") for n in cells[0].split(", ")]
    help_text = run_in_shell_help()
    section = help_text.partition("Exit status:\n")[2]
    helped = [int(n) for n in re.findall(r"^ +(\d+) ", section, re.MULTILINE)]
    helped += [int(n) for n in re.findall(r"; (\d+) ", section)]
    assert sorted(told) == sorted(helped) == sorted(ExitStatus)


def run_in_shell_help() -> str:
    done = subprocess.run(
        [sys.executable, "-m", "dlftask", "get", "--help"],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=True,
    )
    return done.stdout


def test_the_sources_of_credentials_stand_in_their_order() -> None:
    assert [cells[0].strip("`") for cells in table("source")] == [row[0] for row in PRECEDENCE]


def test_the_simulators_options_are_those_of_its_help() -> None:
    actions = [action for action in _parser()._actions if action.dest != "help"]
    helped = [
        f"{action.option_strings[0]} {action.metavar or action.dest.upper()}" for action in actions
    ]
    start = README.index("| `--host HOST`")
    table, _, _ = README[start:].partition("\n\n")
    told = re.findall(r"^\| `(--.*?)`", table, re.MULTILINE)
    assert told == helped


TASKS_S = {"5 s": 5, "1 min": 60, "10 min": 600, "1 h": 3600, "10 h": 36_000}


def cost(policy: WaitPolicy, task_s: float) -> str:
    """Requests, and the mean delay in seconds, of tasks of 95 % to 105 % of a length."""
    polls = [0.0]
    while polls[-1] < task_s * 1.05:
        polls.append(polls[-1] + policy.pause_s(polls[-1]))
    ends = [task_s * (0.95 + 0.1 * (i + 0.5) / 1000) for i in range(1000)]
    seen = [bisect.bisect_left(polls, end) for end in ends]
    requests = sum(seen) / len(seen) + 1
    delay_s = sum(polls[i] - end for i, end in zip(seen, ends, strict=True)) / len(ends)
    return f"{requests:,.0f}; {delay_s:.1f} s"


def test_the_table_of_polls_is_what_the_code_does() -> None:
    ways = [WaitPolicy(wait=True, interval_s=seconds) for seconds in (None, 3.0, 5.0, 30.0)]
    rows = [
        f"| {name} | {' | '.join(cost(policy, seconds) for policy in ways)} |"
        for name, seconds in TASKS_S.items()
    ]
    told = README.split("<!-- polls -->")[1].strip().splitlines()[2:]
    assert told == rows


# Examples


def test_the_configuration_file_is_accepted(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(recipe("The configuration file", "toml"), encoding="utf-8")
    environ = {"DLFTASK_CONFIG": str(config)}
    settings = load_settings({"wait": True}, environ=environ, home=tmp_path)
    assert settings.region == "cn-north-4"
    assert isinstance(settings.profile, Profile)
    nightly = load_settings({"profile": "nightly", "wait": True}, environ=environ, home=tmp_path)
    assert (nightly.auth, nightly.strict, nightly.timeout_s) == ("agency", True, 6 * 3600.0)


def test_the_scenario_is_accepted(tmp_path: Path) -> None:
    scenario = tmp_path / "scenario.toml"
    scenario.write_text(recipe("Faults", "toml"), encoding="utf-8")
    assert [fault.status for fault in read_scenario(scenario)] == [429, None, None]


AIRFLOW = """
from typing import Any
class BaseSensorOperator:
    def __init__(self, *, task_id: str, poke_interval: float = ..., **kwargs: Any) -> None: ...
    def poke(self, context: Any) -> bool: ...
"""


@pytest.mark.parametrize("number", [0, 1])
def test_an_example_for_python_is_typed(number: int, tmp_path: Path) -> None:
    (tmp_path / "airflow").mkdir()
    (tmp_path / "airflow" / "__init__.pyi").touch()
    (tmp_path / "airflow" / "sdk.pyi").write_text(AIRFLOW)
    example = tmp_path / "example.py"
    example.write_text([b.text for b in BLOCKS if b.language == "python"][number])
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", str(example)],
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_the_first_example_for_python_runs(
    simulator: Simulator,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    for name, value in simulator.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HOME", str(tmp_path))
    names: dict[str, Any] = {}
    exec(next(b.text for b in BLOCKS if b.language == "python"), names)
    assert "SUCCESSFUL 15000\n[]\n" in capsys.readouterr().out


def test_the_rooms_are_those_that_there_are() -> None:
    plan = next(block.text for block in BLOCKS if block.text.startswith("dlftask/\n"))
    told, folder = set(), ""
    for indent, name in re.findall(
        r"^( *)([\w/.]+)  ", plan.partition("completions/")[0], re.MULTILINE
    ):
        if name.endswith("/"):
            folder = name
        told.add((folder if indent == "    " else "") + name if not name.endswith("/") else name)
    package = ROOT / "dlftask"
    there = {
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        if path.read_text(encoding="utf-8")
        and path.parent.name + path.name != "simulator__init__.py"
    }
    assert {name for name in told if name.endswith(".py")} == there


@pytest.mark.parametrize("target", re.findall(r"\]\(([^)]+)\)", README))
def test_a_link_leads_somewhere(target: str) -> None:
    if target.startswith("#"):
        headings = re.findall(r"^#+ (.*)$", README, re.MULTILINE)
        assert target[1:] in [heading.lower().replace(" ", "-") for heading in headings]
    else:
        assert (ROOT / target).is_file()


def test_the_contributors_commands_are_there() -> None:
    block = next(b.text for b in SHELL if b.name.startswith(".venv/bin/ruff check"))
    files = re.findall(r"\S+/\S+\.py|^\.ci/run", block, re.MULTILINE)
    assert len(files) >= 5
    assert all((ROOT / name).is_file() for name in files)


def test_ci_runs_the_readmes_test_command() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    command = next(block.text for block in BLOCKS if "[test]" in block.text)
    assert f"\n{command.strip()} || exit\n" in script
