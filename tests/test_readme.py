"""The README is correct: its commands run, and its tables and figures match the program."""

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

from dlftask.errors import ExitStatus
from dlftask.options import OPTIONS
from dlftask.settings import load_settings
from dlftask.simulator import Simulator
from tests.benchmarks.compare import PARTS, polls
from tests.cli import run_dlftask
from tests.readme import (
    BLOCKS,
    README,
    ROOT,
    Block,
    block,
    needs,
    run_in_shell,
    table,
    write_program,
)
from tests.servers import Server, http_response
from tests.test_credentials import PRECEDENCE

SHELL = [b for b in BLOCKS if b.language in ("sh", "console")]

# The exit status of a command, where it is not 0.
ENDS_WITH = {
    "python -m dlftask.simulator --speed 2 --fault 'drop,from=1500ms,until=3500ms,"
    "path=*/system-tasks/*' -- \\": 1,
}
NOT_RUN = {
    "python3 -m venv .venv && .venv/bin/pip install . && .venv/bin/dlftask watch --demo": (
        ".ci/run installs the wheel in an empty environment and runs the demo there"
    ),
    "python3 -m venv .venv && .venv/bin/pip install -e '.[test]' && .venv/bin/pytest -n 4": (
        ".ci/run runs it: it is what runs this test"
    ),
    "pip install .": ".ci/run installs with each of them",
    "# get-token.sh: print an IAM token for the project of a region.": "it has a test of its own",
    "export DLFTASK_REGION=cn-north-4": "it has a test of its own",
    "# import.sh PATH: import jobs and wait for them, for an hour at most. It ends with the "
    "status of": "test_readme_recipes.py runs it",
}


def test_it_is_short_enough_to_be_read() -> None:
    assert len(README.splitlines()) <= 400


def commands(shown: Block) -> Iterator[tuple[str, str | None]]:
    """The commands of a block, with what they print where the README shows that."""
    if shown.language == "sh":
        yield shown.text, None
        return
    for part in re.split(r"^\$ ", shown.text, flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        yield f"{{ {command}; }} 2>&1", output


@pytest.mark.parametrize("shown", [b for b in SHELL if b.name not in NOT_RUN], ids=lambda b: b.name)
def test_a_command_runs(shown: Block, tmp_path: Path, simulator: Simulator) -> None:
    needs("curl", "jq")
    write_program(tmp_path, "import.sh", block("A shell script"))
    for command, output in commands(shown):
        done = run_in_shell(command, tmp_path, simulator.environment())
        assert "Traceback" not in done.stderr
        if output is None:
            assert done.returncode == ENDS_WITH.get(shown.name, 0), done.stderr
        else:
            assert re.sub(r"request ID [\w-]+", "request ID …", done.stdout) == output


def test_the_exceptions_are_in_the_readme() -> None:
    assert set(NOT_RUN) | set(ENDS_WITH) <= {shown.name for shown in SHELL}


def test_a_key_pair_and_a_region_are_enough(tmp_path: Path, simulator: Simulator) -> None:
    variables = simulator.environment()
    text = block("Connect").replace("SDK_AK=…", f"SDK_AK={variables['HUAWEICLOUD_SDK_AK']}")
    text = text.replace("SDK_SK=…", f"SDK_SK={variables['HUAWEICLOUD_SDK_SK']}")
    places = {name: variables[name] for name in ("DLFTASK_ENDPOINT", "DLFTASK_IAM_ENDPOINT")}
    done = run_in_shell(text, tmp_path, places)
    assert done.returncode == 0, done.stderr
    assert "SUCCESSFUL" in done.stdout


@pytest.fixture
def get_token(tmp_path: Path) -> Iterator[tuple[Path, list[bytes]]]:
    """The README's script that gets a token, as a program that uses a fake IAM."""
    needs("curl", "jq")
    bodies: list[bytes] = []

    def issue(connection: Any, head: bytes) -> None:
        body = head.partition(b"\r\n\r\n")[2]
        while b"}}}}}}" not in re.sub(rb"\s", b"", body):
            body += connection.recv(65536)
        bodies.append(body)
        token = {"X-Subject-Token": "a-new-token"}
        connection.sendall(http_response(b"{}", status="201 Created", headers=token))

    with Server(issue) as iam:
        text = block("Connect", number=1)
        url = "${DLFTASK_IAM_ENDPOINT:-https://iam.${DLFTASK_REGION:?}.myhuaweicloud.com}"
        assert url in text
        write_program(tmp_path, "get-token.sh", text.replace(url, iam.url))
        yield tmp_path, bodies


def test_the_script_gets_a_token(get_token: tuple[Path, list[bytes]]) -> None:
    folder, bodies = get_token
    user = {"IAM_USER": "me", "IAM_PASSWORD": 'a"b', "IAM_ACCOUNT": "us", "DLFTASK_REGION": "here"}
    done = run_in_shell("./get-token.sh", folder, user)
    assert (done.returncode, done.stdout) == (0, "a-new-token\n"), done.stderr
    assert b'a\\"b' in bodies[0]


def test_the_configuration_file_is_accepted(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(block("Connect", "toml"), encoding="utf-8")
    environ = {"DLFTASK_CONFIG": str(config)}
    settings = load_settings({"wait": True}, environ=environ, home=tmp_path)
    assert settings.region == "cn-north-4"
    nightly = load_settings({"profile": "nightly", "wait": True}, environ=environ, home=tmp_path)
    assert (nightly.auth, nightly.timeout_s) == ("agency", 6 * 3600.0)


# Tables, figures and links


def test_the_exit_statuses_are_those_of_the_help_and_of_the_program() -> None:
    listed = {int(n) for cells in table("status") for n in cells[0].split(", ")}
    section = run_dlftask("get", "--help").stdout.partition("Exit status:\n")[2]
    helped = {int(n) for n in re.findall(r"^ +(\d+) ", section, re.MULTILINE)}
    helped |= {int(n) for n in re.findall(r"; (\d+) ", section)}
    assert listed == helped == {*ExitStatus, 70}


def test_the_sources_of_credentials_are_in_their_order() -> None:
    listed = [cells[0].strip("`") for cells in table("source")]
    # A token command is not in that table: test_token_command.py runs it.
    command = listed.index("profile: token_command")
    assert listed[command - 1 : command + 2 : 2] == ["profile: token_file", "profile: ak, sk"]
    tested = [row[0] for row in PRECEDENCE]
    assert [source for source in listed if source in tested or source != listed[command]] == tested


def test_each_option_exists() -> None:
    simulator = [sys.executable, "-m", "dlftask.simulator", "--help"]
    text = subprocess.run(simulator, capture_output=True, text=True, check=True).stdout
    known = {option.name for option in OPTIONS.values()} | set(re.findall(r"--[a-z-]+", text))
    others = {"--cli-waiter", "--force", "--upgrade", "--max-time", "--fail-with-body"}
    others |= {"--config", "--arg", "--no-deps", "--option", "--show-completion"}
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", README)) <= known | others


def test_each_variable_is_read_by_the_program() -> None:
    sources = "".join(p.read_text(encoding="utf-8") for p in (ROOT / "dlftask").rglob("*.py"))
    names = set(re.findall(r"\b(?:DLFTASK|HUAWEICLOUD_SDK|HW)_[A-Z_]+\b", README))
    for name in names - {"DLFTASK_PACKAGE"}:
        prefix, _, option = name.partition("_")
        derived = prefix == "DLFTASK" and f"--{option.lower().replace('_', '-')}" in sources
        assert name in sources or derived, name


def test_the_cost_of_a_wait_is_what_the_code_computes() -> None:
    (ours, theirs) = polls(3600.0, None), polls(3600.0, 5.0)
    assert f"costs {ours[0]:.0f} requests, and its end is seen {ours[1]:.1f} s late" in README
    assert f"costs {theirs[0]:.0f} requests and is {theirs[1]:.1f} s late" in README


def test_each_figure_has_a_command_that_measures_it() -> None:
    named = re.findall(r"`python (tests/benchmarks/\w+\.py) ([\w-]+)`", README)
    assert {part for _, part in named} >= {"polls", "start-up"}
    for path, part in named:
        assert (ROOT / path).is_file()
        assert part in PARTS


@pytest.mark.parametrize("target", re.findall(r"\]\(([^)]+)\)", README))
def test_a_link_has_a_target(target: str) -> None:
    if target.startswith("#"):
        headings = re.findall(r"^#+ (.*)$", README, re.MULTILINE)
        assert target[1:] in [heading.lower().replace(" ", "-") for heading in headings]
    else:
        assert (ROOT / target).is_file()


def test_the_markdown_is_parsed_as_intended() -> None:
    tokens = MarkdownIt("gfm-like", {"linkify": False}).parse(README)
    fences = [(t.info, t.content) for t in tokens if t.type == "fence"]
    assert fences == [(b.language, b.text) for b in BLOCKS]
    widths = {len(cells) for name in ("status", "source", "it needs") for cells in table(name)}
    assert widths == {2, 3}


def test_a_log_of_ci_is_a_real_one(simulator: Simulator) -> None:
    def plain(line: str) -> str:
        return re.sub(r"^\S+|\b[0-9a-f]{32}\b", "…", line)

    shown = block("CI recipes", "text").splitlines()
    assert len(shown) == 12
    task_id = simulator.start_import("obs://bucket/jobs-that-fail.zip")
    environ = simulator.environment()
    done = run_dlftask("watch", "--utc", task_id, env=environ)
    real = {plain(line) for line in done.stdout.splitlines()}
    assert {plain(line) for line in shown if " RUNNING " not in line} <= real
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ \w+ +\w+ +\w{32} ", s) for s in shown)


def test_each_wait_in_a_recipe_has_a_timeout() -> None:
    recipes = [b for b in BLOCKS if b.language in ("yaml", "groovy") or b.name.startswith("# imp")]
    waits = [line for b in recipes for line in b.text.splitlines() if "dlftask watch" in line]
    assert len(waits) == len(recipes) == 5
    assert all("--timeout " in line for line in waits)


# Troubleshooting: the first column of a row has text of the error.
TROUBLES: list[tuple[str, dict[str, str], list[str], str]] = [
    ("DLF.0810", {}, ["get", "no-such-task"], ""),
    ("HTTP 401", {"DLFTASK_TOKEN": "an-old-token"}, ["get", "t1"], ""),
    ("DLF.6888", {}, ["get", "t1"], "403 Forbidden"),
    ("HTTP 403", {}, ["get", "t1"], "403 Forbidden"),
    ("HTTP 429", {}, ["get", "t1"], "429 Too Many Requests"),
    ("does not resolve", {"DLFTASK_ENDPOINT": "https://no-such-host.invalid"}, ["get", "t1"], ""),
]


@pytest.mark.parametrize(("text", "environ", "arguments", "status"), TROUBLES)
def test_an_error_contains_what_troubleshooting_lists(
    text: str, environ: dict[str, str], arguments: list[str], status: str, simulator: Simulator
) -> None:
    assert any(f"`{text}`" in cells[0] for cells in table("the error contains"))
    variables = {**simulator.environment(), **environ}
    body = b'{"error_code": "DLF.6888", "error_msg": "no permission"}'

    def refuse(connection: Any, _head: bytes) -> None:
        connection.sendall(http_response(body, status=status, headers={"Connection": "close"}))

    with Server(refuse) as server:
        if status:
            variables["DLFTASK_ENDPOINT"] = server.url
        done = run_dlftask(*arguments, env=variables, timeout=60)
    assert text in done.stderr
    assert done.returncode in set(ExitStatus)


# What runs all this


def test_ci_runs_the_readmes_test_command_and_installs_as_documented() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    command = next(b.text for b in BLOCKS if "[test]" in b.text)
    assert re.search(rf"\n{re.escape(command.strip())} \|\|\n.* \|\| exit\n", script)
    for program in ("pip", "pipx", "uv"):
        assert re.search(rf'bin/{program}" (tool )?install ', script)


def test_the_floors_are_those_of_the_project() -> None:
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {"requests>=2.34,<3", "urllib3>=2.6.3,<3"} <= set(needed["dependencies"])
    assert "Needs requests 2.34 and urllib3 2.6.3, or newer" in README
