"""The README for tests: its blocks and tables, and a shell that runs what is in them."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cli import COVERAGE

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, the heading or summary above it, and its text."""

    language: str
    heading: str
    text: str

    @property
    def name(self) -> str:
        return next(line for line in self.text.splitlines() if not line.startswith("#!"))


def _blocks() -> Iterator[Block]:
    heading, language, lines = "", None, list[str]()
    for line in README.splitlines():
        if line.startswith("```") and language is None:
            language, lines = line.removeprefix("```"), []
        elif line == "```":
            yield Block(language or "", heading, "\n".join(lines) + "\n")
            language = None
        elif language is not None:
            lines.append(line)
        elif found := re.match(r"#+ (.*)|<details><summary>(.*)</summary>", line):
            heading = found[1] or found[2]


BLOCKS = list(_blocks())


def block(heading: str, language: str = "sh", *, number: int = 0) -> str:
    """The text of a block below a heading."""
    return [b.text for b in BLOCKS if b.heading == heading and b.language == language][number]


def table(first_column: str) -> list[list[str]]:
    """The cells of the table whose first column has this title."""
    lines = README.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"| {first_column} |"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip("|"))])
    return rows


def needs(*programs: str) -> None:
    """Skip the test if a program is missing; fail it if nothing may be skipped."""
    for program in programs:
        if shutil.which(program) is None:
            if os.environ.get("DLFTASK_TEST_ALL"):
                pytest.fail(f"{program} is not installed")
            pytest.skip(f"{program} is not installed")


def write_program(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)


def run_in_shell(
    text: str, folder: Path, variables: Mapping[str, str], *, shell: str = "bash"
) -> subprocess.CompletedProcess[str]:
    """Run a script in a folder, also its home, with this checkout's ``dlftask`` and ``python``."""
    needs(shell)
    programs = folder / "programs"
    programs.mkdir(exist_ok=True)
    for name, words in {"dlftask": "-m dlftask", "python": ""}.items():
        write_program(programs, name, f'#!/bin/sh\nexec "{sys.executable}" {words} "$@"\n')
    options = ["-e", "-o", "pipefail"] if shell == "bash" else ["-e"]
    return subprocess.run(
        [shell, *options, "-c", text],
        cwd=folder,
        env={
            "PATH": f"{programs}:{os.environ['PATH']}",
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "TASK_ID": "008aae2e675d3bcb01675d40ab3f0005",
            **COVERAGE,
            **variables,
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
