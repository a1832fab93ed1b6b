"""Help, and hints for usage errors."""

import sys

import pexpect
import pytest

from dlftask.options import OPTIONS, options_of
from tests.cli import run_dlftask

TASK_ID = "008aae2e675d3bcb01675d3c66f20000"


def test_the_help_of_dlftask_itself_fits_a_screen() -> None:
    bare, by_option, by_name = run_dlftask(), run_dlftask("--help"), run_dlftask("help")
    assert (bare.returncode, by_option.returncode, by_name.returncode) == (2, 0, 0)
    assert bare.stdout == by_option.stdout == by_name.stdout
    assert len(bare.stdout.splitlines()) <= 24
    assert "\x1b" not in bare.stdout


@pytest.mark.parametrize("command", ["get", "watch"])
def test_a_commands_help_names_each_option_its_variable_and_its_default(command: str) -> None:
    by_option, by_name = run_dlftask(command, "-h"), run_dlftask("help", command)
    assert (by_option.returncode, by_name.returncode) == (0, 0)
    assert by_option.stdout == by_name.stdout
    assert max(map(len, by_option.stdout.splitlines())) <= 80
    for option in options_of(command):
        assert f"{option.name} {option.metavar}".rstrip() in by_option.stdout
        if option.variable:
            assert f"[env: {option.variable}" in by_option.stdout
        if option.default:
            assert f"[default: {option.default}]" in by_option.stdout
    assert ("--wait " in by_option.stdout) == (command == "get")


def test_help_on_a_terminal_has_its_width_and_colored_headings() -> None:
    for columns in (60, 100, 200):
        child = pexpect.spawn(
            sys.executable,
            ["-m", "dlftask", "watch", "--help"],
            dimensions=(50, columns),
            env={"TERM": "xterm", "LANG": "C.UTF-8"},
            encoding="utf-8",
        )
        text = child.read()
        assert "\x1b[1;32mExamples:\x1b[0m" in text
        section = text.partition("Service")[2].partition("Exit status")[0]
        widest = max(map(len, section.splitlines()))
        assert min(columns, 100) - 25 < widest <= min(columns, 100)


@pytest.mark.parametrize(
    ("args", "hint"),
    [
        ([TASK_ID], f"dlftask get {TASK_ID}"),
        (["-"], "dlftask get -"),
        (["gte", TASK_ID], "dlftask get?"),
        (["help", "wathc"], "dlftask watch?"),
        (["get", "--ouput", "json", TASK_ID], "--output"),
        (["--wait", TASK_ID], "dlftask get --wait"),
        (["get", "--verison"], "dlftask --version"),
        (["get", "--format", "json", TASK_ID], "--output"),
        (["get", "--json", TASK_ID], "--output json"),
        (["get", "--no-color", TASK_ID], "--color never"),
        (["get", "-o", "jsno", TASK_ID], "json"),
        (["get", "--output=markdwon", TASK_ID], "markdown"),
        (["get", "--report", "juint:x.xml", TASK_ID], "junit"),
        (["--show-completion", "bahs"], "bash"),
        (["get", "--token", "s3cret-value", TASK_ID], "DLFTASK_TOKEN"),
        (["get", "--token=s3cret-value", TASK_ID], "DLFTASK_TOKEN"),
        (["--tokn=s3cret-value"], "DLFTASK_TOKEN"),
        (["get", "--timeout", "5s", TASK_ID], "--wait"),
        (["get", "--timeout"], "dlftask get --help"),
        (["get", "--zzz", TASK_ID], "dlftask get --help"),
        (["get", "--bad", TASK_ID], "dlftask get --help"),
        (["get", "-z", TASK_ID], "dlftask get --help"),
        (["get", "-k", TASK_ID], "dlftask get --help"),
        (["get", "--out", "json", TASK_ID], "--output"),
        (["frobnicate"], "dlftask --help"),
    ],
)
def test_a_usage_error_is_one_line_and_its_hint(args: list[str], hint: str) -> None:
    finished = run_dlftask(*args)
    assert (finished.returncode, finished.stdout) == (2, "")
    error, hint_line = finished.stderr.splitlines()
    assert error.startswith("dlftask: error: ")
    assert hint_line.startswith("hint: ")
    assert hint in hint_line
    assert "s3cret" not in finished.stderr


@pytest.mark.parametrize(
    ("args", "env", "colored"),
    [
        (["get", "--color", "always", "--bad"], {}, True),
        (["get", "--color=always"], {"NO_COLOR": "1"}, True),
        (["get", "--color", "never"], {"FORCE_COLOR": "1"}, False),
        (["get"], {"FORCE_COLOR": "1"}, True),
        (["get"], {}, False),
        (["get", "--color"], {}, False),
        (["get", "--query", "a --color always", "--bad"], {}, False),
    ],
)
def test_an_error_and_its_hint_are_colored_where_colors_are_chosen(
    args: list[str], env: dict[str, str], *, colored: bool
) -> None:
    finished = run_dlftask(*args, env=env)
    assert finished.returncode == 2
    error, hint_line = finished.stderr.splitlines()
    assert error.startswith("\x1b[1;31mdlftask: error:\x1b[0m") == colored
    assert hint_line.startswith("\x1b[1;36mhint:\x1b[0m") == colored
    assert ("\x1b" in finished.stderr) == colored


def test_watch_accepts_wait() -> None:
    finished = run_dlftask("watch", "--wait", "--demo", TASK_ID)
    assert (finished.returncode, finished.stderr) == (0, "")


@pytest.mark.parametrize("command", ["get", "watch"])
def test_a_missing_region_and_missing_credentials_are_reported_together(command: str) -> None:
    finished = run_dlftask(command, TASK_ID)
    assert (finished.returncode, finished.stdout) == (2, "")
    error, hint_line = finished.stderr.splitlines()
    assert ("region" in error, "credentials" in error) == (True, True)
    assert ("--region" in hint_line, "DLFTASK_TOKEN" in hint_line) == (True, True)
    finished = run_dlftask(command, TASK_ID, env={"HUAWEICLOUD_SDK_AK": "half-a-pair"})
    error = finished.stderr.splitlines()[0]
    assert ("region" in error, "HUAWEICLOUD_SDK_SK" in error) == (True, True)
    finished = run_dlftask(command, TASK_ID, env={"DLFTASK_TOKEN": "s3cret-value"})
    assert "region" in finished.stderr
    assert "credentials" not in finished.stderr


def test_no_two_options_have_the_same_short_name() -> None:
    shorts = [option.short for option in OPTIONS.values() if option.short]
    assert len(set(shorts)) == len(shorts)
