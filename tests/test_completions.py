"""Shell completion: the Tab key, pressed in the real shells on a pseudo-terminal.

A shell that is not installed is skipped; with ``DLFTASK_TEST_ALL`` set that is a failure.
"""

import os
import re
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import pexpect
import pyte
import pytest

from dlftask.api.endpoints import REGIONS
from dlftask.options import AUTH_METHODS, COLORS, OPTIONS, OUTPUTS, PROGRESS
from tests.cli import run_dlftask

SCRIPTS = Path(__file__).parent.parent / "completions"
SCRIPT_NAMES = {"bash": "dlftask.bash", "zsh": "_dlftask", "fish": "dlftask.fish"}
SHELLS = tuple(SCRIPT_NAMES)
TIMEOUT_S = 20.0
# Ends a line in which Tab was pressed: the shell prints the completed line, and clears it.
CLEAR_SCREEN = "\x0c"
PRINT_LINE = "\x07"
PRINTED_LINE = re.compile(rb"\x1d(.*?)\x1e", re.DOTALL)
COLUMNS = 120
# So long that no shell puts two of them beside each other on such a screen.
NEWEST, MIDDLE, OLDEST = ("c" + "3" * 63, "a" + "1" * 63, "b" + "2" * 63)

BASH_RC = """
PS1='ready> '
bind 'set enable-bracketed-paste off'
bind 'set completion-query-items 0'
bind 'set page-completions off'
bind 'set bell-style none'
bind 'set show-all-if-ambiguous on'
_print_line() { printf '\\035%s\\036' "$READLINE_LINE"; READLINE_LINE=''; READLINE_POINT=0; }
bind -x '"\\C-g": _print_line'
set -u
"""
ZSH_RC = """
PS1='ready> '
unsetopt beep prompt_sp
autoload -Uz compinit
compinit -u -D
_print_line() { printf '\\035%s\\036' "$BUFFER"; BUFFER=''; zle -Rc; }
zle -N _print_line
bindkey '^G' _print_line
LISTMAX=9999
setopt nounset
"""
FISH_RC = """
set -g fish_greeting
set -g fish_autosuggestion_enabled 0
function fish_prompt; printf 'ready> '; end
function _print_line; printf '\\035%s\\036' (commandline | string collect); commandline ''; end
bind \\cg _print_line
"""


class _Screen(pyte.Screen):
    """A terminal that responds to queries: a shell may send one and wait for the response."""

    child: "pexpect.spawn[bytes]"

    def write_process_input(self, data: str) -> None:
        self.child.send(data)


class Shell:
    """A shell on a terminal, with the completion script where its users install it."""

    def __init__(self, name: str, folder: Path, **environment: str) -> None:
        self.name = name
        self.folder = folder
        self.recent = folder / "state" / "dlftask" / "recent"
        self.marks = folder / "marks"
        self._screen = _Screen(COLUMNS, 90)
        self._terminal = pyte.ByteStream(self._screen)
        self._unread = b""
        self.text = ""
        self._child = self._screen.child = self._start(environment)
        self._wait_for_text("ready>")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._child.close(force=True)

    def _start(self, extra: dict[str, str]) -> "pexpect.spawn[bytes]":
        program = find_shell(self.name)
        programs = self.folder / "programs"
        programs.mkdir()
        for command in ("python", "python3", "dlftask"):
            shim = programs / command
            shim.write_text(f'#!/bin/sh\necho "$0" >>"{self.marks}"\n')
            shim.chmod(stat.S_IRWXU)
        config = self.folder / "config"
        (config / "fish" / "completions").mkdir(parents=True)
        # Otherwise fish reads all manual pages, with a Python program, when it first starts.
        for folder in ("data", "cache"):  # fish 3 and fish 4
            (self.folder / folder / "fish" / "generated_completions").mkdir(parents=True)
        environment = {
            "HOME": str(self.folder),
            "LC_ALL": "C.UTF-8",
            "PATH": f"{programs}:/usr/local/bin:/usr/bin:/bin",
            "TERM": "xterm",
            "XDG_CACHE_HOME": str(self.folder / "cache"),
            "XDG_CONFIG_HOME": str(config),
            "XDG_DATA_HOME": str(self.folder / "data"),
            "XDG_STATE_HOME": str(self.folder / "state"),
            "ZDOTDIR": str(config),
            **extra,
        }
        if self.name == "bash":
            (config / "bashrc").write_text(BASH_RC + f"source '{SCRIPTS / 'dlftask.bash'}'\n")
            arguments = ["--noprofile", "--rcfile", str(config / "bashrc"), "-i"]
        elif self.name == "zsh":
            (config / ".zshrc").write_text(f"fpath=('{SCRIPTS}' $fpath)\n{ZSH_RC}")
            arguments = ["-d", "-i"]
        else:
            (config / "fish" / "config.fish").write_text(FISH_RC)
            shutil.copy(SCRIPTS / "dlftask.fish", config / "fish" / "completions")
            arguments = ["-i"]
        return pexpect.spawn(
            program,
            arguments,
            env=environment,
            cwd=str(self.folder),
            dimensions=(90, COLUMNS),
        )

    @property
    def offered(self) -> list[str]:
        """The words on the screen below the line."""
        return " ".join(self.text.splitlines()[1:]).split()

    def remember(self, *task_ids: str) -> None:
        """Make these the recent task IDs, newest first."""
        self.recent.parent.mkdir(parents=True, exist_ok=True)
        self.recent.write_text("".join(f"{task_id}\n" for task_id in task_ids))

    def type(self, keys: str) -> str:
        """The line after these keys; ``text`` is the screen at that moment."""
        self._child.send(CLEAR_SCREEN + keys + PRINT_LINE)
        deadline = time.monotonic() + TIMEOUT_S
        while not (printed := PRINTED_LINE.search(self._unread)):
            self._read(deadline)
        self._terminal.feed(self._unread[: printed.start()])
        self.text = self._text()
        self._unread = self._unread[printed.end() :]
        return printed[1].decode()

    def _wait_for_text(self, text: str) -> None:
        deadline = time.monotonic() + TIMEOUT_S
        while text not in self._text():
            self._read(deadline)
            self._terminal.feed(self._unread)
            self._unread = b""

    def _read(self, deadline: float) -> None:
        try:
            left_s = max(0.0, deadline - time.monotonic())
            self._unread += self._child.read_nonblocking(65536, timeout=left_s)
        except (pexpect.TIMEOUT, pexpect.EOF):
            pytest.fail(
                f"the shell prints nothing more: {self._text()}{self._unread!r}", pytrace=False
            )

    def _text(self) -> str:
        return "\n".join(line.rstrip() for line in self._screen.display).rstrip()


def find_shell(name: str) -> str:
    program = shutil.which(name)
    if program is None:
        if os.environ.get("DLFTASK_TEST_ALL"):
            pytest.fail(f"{name} is not installed")
        pytest.skip(f"{name} is not installed")
    return program


@pytest.fixture(scope="module", params=SHELLS)
def started(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shell]:
    with Shell(request.param, tmp_path_factory.mktemp(request.param)) as shell:
        yield shell


@pytest.fixture
def shell(started: Shell) -> Iterator[Shell]:
    shutil.rmtree(started.folder / "state", ignore_errors=True)
    yield started
    assert not started.marks.exists(), "completion started a program"


VALUES = {
    "timeout": ("none", "10m", "30m", "1h", "2h"),
    "interval": ("auto", "5s", "30s", "1m"),
    "max_outage": ("1m", "5m", "30m", "1h"),
    "connect_timeout": ("5s", "10s", "30s"),
    "read_timeout": ("10s", "30s", "1m"),
    "rate": ("none",),
    "output": OUTPUTS,
    "report": OUTPUTS,
    "progress": PROGRESS,
    "color": COLORS,
    "region": REGIONS,
    "auth": AUTH_METHODS,
}


@pytest.mark.parametrize("name", [*SCRIPT_NAMES])
def test_a_script_offers_values_of_each_option_that_has_some(name: str) -> None:
    assert VALUES.keys() <= OPTIONS.keys()
    text = (SCRIPTS / SCRIPT_NAMES[name]).read_text()
    offered = re.sub(r"\\s+", " ", text) if name == "bash" else text
    offered = re.sub(r"\s+", " ", offered.replace("\\\n", " "))
    for key, values in VALUES.items():
        words = [f"{value}:" for value in values] if (key, name) == ("report", "bash") else values
        assert " ".join(words) in offered, key


@pytest.mark.parametrize("name", [*SCRIPT_NAMES])
def test_the_program_prints_the_script(name: str) -> None:
    finished = run_dlftask("--show-completion", name)
    assert (finished.returncode, finished.stderr) == (0, "")
    assert finished.stdout == (SCRIPTS / SCRIPT_NAMES[name]).read_text()


@pytest.mark.parametrize(
    ("line", "finished"),
    [
        ("dlftask g", "dlftask get"),
        ("dlftask w", "dlftask watch"),
        ("dlftask --v", "dlftask --version"),
        ("dlftask get --wa", "dlftask get --wait"),
        ("dlftask get --ou", "dlftask get --output"),
        ("dlftask watch --proj", "dlftask watch --project-id"),
        ("dlftask watch -o ju", "dlftask watch -o junit"),
        ("dlftask get --output ju", "dlftask get --output junit"),
        ("dlftask get --output=ju", "dlftask get --output=junit"),
        ("dlftask get -oju", "dlftask get -ojunit"),
        ("dlftask get -wqo ju", "dlftask get -wqo junit"),
        ("dlftask get --color al", "dlftask get --color always"),
        ("dlftask get --color=ne", "dlftask get --color=never"),
        ("dlftask get --auth ag", "dlftask get --auth agency"),
        ("dlftask watch --timeout n", "dlftask watch --timeout none"),
        ("dlftask watch --interval a", "dlftask watch --interval auto"),
        ("dlftask get --read-timeout 1m", "dlftask get --read-timeout 1m"),
        ("dlftask get -r af", "dlftask get -r af-south-1"),
        ("dlftask get --region=sa", "dlftask get --region=sa-brazil-1"),
        ("dlftask get --progress p", "dlftask get --progress plain"),
        ("dlftask get --report ju", "dlftask get --report junit:"),
        ("dlftask get --report=ju", "dlftask get --report=junit:"),
        ("dlftask get --report junit:con", "dlftask get --report junit:config/"),
        ("dlftask get --report=junit:con", "dlftask get --report=junit:config/"),
        (
            "dlftask get --report tsv:x --report markd",
            "dlftask get --report tsv:x --report markdown:",
        ),
        ("dlftask get --report tsv:x b", f"dlftask get --report tsv:x {OLDEST}"),
        ("dlftask help w", "dlftask help watch"),
        ("dlftask --show-completion f", "dlftask --show-completion fish"),
        ("dlftask get --token-file con", "dlftask get --token-file config/"),
        ("dlftask get --ca-bundle=con", "dlftask get --ca-bundle=config/"),
        ("dlftask get --strict -o tree b", f"dlftask get --strict -o tree {OLDEST}"),
        ("dlftask get -o tree --output=json --strict b", None),
        ("dlftask get > con", "dlftask get > config/"),
    ],
)
def test_a_word_is_completed(shell: Shell, line: str, finished: str | None) -> None:
    shell.remember(NEWEST, MIDDLE, OLDEST)
    finished = finished or line[:-1] + OLDEST
    assert shell.type(line + "\t").rstrip(" =") == finished


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("dlftask ", ("get", "watch", "help")),
        ("dlftask -", ("--version", "-h", "--help", "--show-completion")),
        ("dlftask get --region ", REGIONS),
        ("dlftask get --progress ", PROGRESS),
        ("dlftask get --timeout ", ("none", "30m", "1h")),
        ("dlftask get -o ", OUTPUTS),
        ("dlftask get --color ", COLORS),
        ("dlftask watch --auth ", AUTH_METHODS),
    ],
)
def test_words_are_listed(shell: Shell, line: str, words: tuple[str, ...]) -> None:
    shell.type(line + "\t")
    assert set(words) <= set(shell.offered)


@pytest.mark.parametrize("command", ["get", "watch"])
def test_every_option_of_the_help_is_listed(shell: Shell, command: str) -> None:
    run = [sys.executable, "-m", "dlftask", command, "--help"]
    text = subprocess.run(run, check=True, capture_output=True, text=True).stdout
    names = set(re.findall(r"^  +(?:-\w, )?(--[a-z-]+)", text, re.MULTILINE))
    assert len(names) > 20
    shell.type(f"dlftask {command} -\t")
    assert {word for word in shell.offered if re.fullmatch("--[a-z-]+", word)} - {"--"} == names


@pytest.mark.parametrize("started", ["zsh", "fish"], indirect=True)
def test_options_and_commands_are_described(shell: Shell) -> None:
    shell.type("dlftask get -\t")
    assert "Wait for every task to end" in shell.text
    shell.type("dlftask \t")
    assert "Watch tasks until they end" in shell.text


def ids_on(shell: Shell) -> list[str]:
    return [word for word in shell.offered if len(word) == len(NEWEST)]


@pytest.mark.parametrize("line", ["dlftask get ", "dlftask watch --strict ", "dlftask get -- "])
def test_task_ids_are_offered_newest_first(shell: Shell, line: str) -> None:
    shell.remember(NEWEST, MIDDLE, OLDEST)
    shell.type(line + "\t")
    assert ids_on(shell) == [NEWEST, MIDDLE, OLDEST]


def test_a_task_id_on_the_line_is_not_offered_again(shell: Shell) -> None:
    shell.remember(NEWEST, "before", MIDDLE, OLDEST)
    shell.type("dlftask get before \t")
    assert ids_on(shell) == [NEWEST, MIDDLE, OLDEST]
    assert "before" not in shell.offered


# fish does not tell a completion script what is after the cursor.
@pytest.mark.parametrize("started", ["bash", "zsh"], indirect=True)
def test_a_task_id_after_the_cursor_is_not_offered_again(shell: Shell) -> None:
    shell.remember(NEWEST, MIDDLE, "behind", OLDEST)
    back_to_the_gap = "\x02" * len(" behind")
    shell.type(f"dlftask get  behind{back_to_the_gap}\t")
    assert ids_on(shell) == [NEWEST, MIDDLE, OLDEST]
    assert "behind" not in shell.offered


@pytest.mark.parametrize("started", ["bash", "zsh"], indirect=True)
def test_only_the_word_before_the_cursor_is_completed(shell: Shell) -> None:
    line = shell.type("dlftask get -o ju --utc" + "\x02" * len(" --utc") + "\t")
    assert line.split() == ["dlftask", "get", "-o", "junit", "--utc"]


def test_after_two_dashes_there_are_task_ids_only(shell: Shell) -> None:
    shell.remember("--zz-id", NEWEST)  # which matches no option, even letter by letter as in fish 4
    assert shell.type("dlftask get -- --z\t").rstrip() == "dlftask get -- --zz-id"
    assert shell.type("dlftask get -- --s\t") == "dlftask get -- --s"
    assert shell.type("dlftask get --zz\t") == "dlftask get --zz"


@pytest.mark.parametrize(
    "line",
    [
        "dlftask get --workspace ",
        "dlftask get --query ",
        "dlftask watch -p ",
        "dlftask get --profile=",
        "dlftask other ",
        "dlftask watch --wai",
    ],
)
def test_unknown_values_have_no_completions(shell: Shell, line: str) -> None:
    shell.remember(NEWEST, MIDDLE)
    assert shell.type(line + "\t") == line
    assert shell.text in just(line)


def just(line: str) -> tuple[str, str]:
    """A screen with nothing else on it; bash removes the line before it runs a key's command."""
    return ("", f"ready> {line}".rstrip())


def _no_file(recent: Path) -> None:
    shutil.rmtree(recent.parent)


def _empty(recent: Path) -> None:
    recent.touch()


def _folder(recent: Path) -> None:
    recent.mkdir()


def _pipe_that_nobody_fills(recent: Path) -> None:
    os.mkfifo(recent)


def _file_where_the_folder_should_be(recent: Path) -> None:
    recent.parent.rmdir()
    recent.parent.touch()


def _of_somebody_else(recent: Path) -> None:
    recent.write_text(f"{NEWEST}\n")
    recent.chmod(0)
    if os.access(recent, os.R_OK):
        pytest.skip("root can read every file")


@pytest.mark.parametrize(
    "make",
    [
        _no_file,
        _empty,
        _folder,
        _pipe_that_nobody_fills,
        _file_where_the_folder_should_be,
        _of_somebody_else,
    ],
)
def test_a_missing_or_bad_history_prints_no_error(
    shell: Shell, make: Callable[[Path], None]
) -> None:
    shell.recent.parent.mkdir(parents=True)
    make(shell.recent)
    assert shell.type("dlftask get \t") == "dlftask get "
    assert shell.text in just("dlftask get ")


def test_only_valid_task_ids_are_offered(shell: Shell) -> None:
    made = shell.folder / "made"
    odd = [f"$(touch {made})", "`id`", "../x", "é" * 64, "a b", "\x1b[31mred", "", "x" * 129, "*"]
    shell.remember(*odd)
    shell.recent.write_bytes(
        b"\xff\xfe\n" + shell.recent.read_bytes() + f"{NEWEST}\r\n{MIDDLE}\n{OLDEST}".encode()
    )
    shell.type("dlftask get \t")
    assert [word for word in shell.offered if len(word) > 1][:1] == [NEWEST]
    assert ids_on(shell) == [NEWEST, MIDDLE, OLDEST]
    for text in ("touch", "id`", "../", "é", "red", "xx", "*"):
        assert text not in shell.text
    assert not made.exists()


@pytest.mark.parametrize("name", SHELLS)
@pytest.mark.parametrize("state_home", ["", "relative"])
def test_the_state_folder_is_below_home_by_default(
    name: str, state_home: str, tmp_path: Path
) -> None:
    with Shell(name, tmp_path, XDG_STATE_HOME=state_home) as shell:
        shell.recent = tmp_path / ".local" / "state" / "dlftask" / "recent"
        shell.remember(NEWEST)
        assert shell.type("dlftask get c\t").rstrip() == f"dlftask get {NEWEST}"


def test_starting_a_program_is_detected(started: Shell) -> None:
    started.type("dlftask\r")
    assert started.marks.exists()
    started.marks.unlink()


@pytest.mark.parametrize("started", ["bash"], indirect=True)
def test_bash_where_equals_signs_do_not_break_words(started: Shell) -> None:
    started.type("COMP_WORDBREAKS=${COMP_WORDBREAKS//=}\r")
    try:
        assert started.type("dlftask get --output=ju\t") == "dlftask get --output=junit "
        assert started.type("dlftask get --ca-bundle=con\t") == "dlftask get --ca-bundle=config "
    finally:
        started.type("COMP_WORDBREAKS+='='\r")
