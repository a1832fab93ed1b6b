"""The contributors' guide is correct: its layout, its commands, its limits."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks.lines import MAX_FUNCTION, MAX_MODULE, count

ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / ".github" / "CONTRIBUTING.md").read_text(encoding="utf-8")


def listed_modules() -> set[str]:
    layout = GUIDE.partition("```\ndlftask/\n")[2].partition("completions/")[0]
    modules, folder = set(), ""
    for indent, name in re.findall(r"^( +)([\w/.]+)(?: +\S|\s*$)", layout, re.MULTILINE):
        if name.endswith("/"):
            folder = name
        else:
            modules.add((folder if indent == "    " else "") + name)
    return modules


def test_the_layout_is_the_package() -> None:
    package = ROOT / "dlftask"
    modules = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if path.name != "__init__.py" or path.parent == package
    }
    assert listed_modules() == modules


def test_its_commands_exist() -> None:
    paths = re.findall(r"(?:tests|completions)/[\w/]+\.py|\.ci/run", GUIDE)
    assert len(paths) >= 6
    for path in paths:
        assert (ROOT / path).is_file(), path


def test_its_limits_are_those_that_are_checked() -> None:
    assert f"longer than {MAX_FUNCTION} lines" in GUIDE
    assert f"longer than {MAX_MODULE}" in GUIDE


def test_lines_of_code_are_counted_without_comments_and_docstrings(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text(
        '"""A module.\n\nOf two lines.\n"""\n\nX = 1  # one\n"""What X is."""\n\n\n'
        'def f() -> str:\n    """A function."""\n    # Why.\n    return """a\n\n    b"""\n'
    )
    assert count(module) == 5


@pytest.mark.parametrize("name", ["compare", "steady", "lines"])
def test_a_benchmark_starts(name: str) -> None:
    command = [sys.executable, str(ROOT / "tests" / "benchmarks" / f"{name}.py")]
    command += ["polls"] if name == "compare" else ["--help"] if name == "steady" else []
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
