"""What is built and installed: its metadata, its files and what a program may import."""

import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email.message import Message
from email.parser import HeaderParser
from importlib.metadata import distribution, entry_points, version
from pathlib import Path

import pytest

import dlftask
from dlftask.__main__ import run

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the sdist, built as pip and build would build them."""
    folder = tmp_path_factory.mktemp("packages")
    build = (
        "from hatchling import build; import sys;"
        "build.build_sdist(sys.argv[1]); build.build_wheel(sys.argv[1])"
    )
    subprocess.run(
        [sys.executable, "-c", build, str(folder)], cwd=ROOT, check=True, stdout=subprocess.DEVNULL
    )
    return folder


@pytest.fixture(scope="module")
def wheel(packages: Path) -> zipfile.ZipFile:
    return zipfile.ZipFile(next(packages.glob("*.whl")))


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> Message:
    name = f"dlftask-{dlftask.__version__}.dist-info/METADATA"
    return HeaderParser().parsestr(wheel.read(name).decode())


def test_the_version_is_written_in_one_place(metadata: Message) -> None:
    assert version("dlftask") == metadata["Version"] == dlftask.__version__
    assert "version" not in PROJECT


def test_the_command_is_the_entry_point() -> None:
    (script,) = entry_points(group="console_scripts", name="dlftask")
    assert script.load() is run


def test_the_metadata_describes_it(metadata: Message) -> None:
    assert metadata["Name"] == "dlftask"
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["Summary"] == PROJECT["description"]
    assert metadata["Keywords"]
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert str(metadata.get_payload()).startswith("# dlftask\n")
    assert "Typing :: Typed" in metadata.get_all("Classifier", [])


def test_no_licence_is_claimed_that_the_owner_has_not_chosen(metadata: Message) -> None:
    assert metadata["License"] is None
    assert metadata["License-Expression"] is None
    assert not [c for c in metadata.get_all("Classifier", []) if c.startswith("License")]


def test_each_dependency_has_a_lowest_and_a_first_excluded_version() -> None:
    for dependency in PROJECT["dependencies"]:
        assert ">=" in dependency, dependency
        assert ",<" in dependency, dependency


def test_what_is_imported_is_depended_on(metadata: Message) -> None:
    needed = metadata.get_all("Requires-Dist", [])
    names = {line.split(">")[0].split("<")[0] for line in needed if "extra ==" not in line}
    assert names == {"jmespath", "requests", "rich", "typer", "urllib3"}


def test_the_wheel_holds_the_package_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    info = f"dlftask-{dlftask.__version__}"
    modules = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "dlftask").rglob("*")
        if path.suffix == ".py" or path.name == "py.typed"
    }
    scripts = {
        f"{info}.data/data/share/bash-completion/completions/dlftask": "dlftask.bash",
        f"{info}.data/data/share/zsh/site-functions/_dlftask": "_dlftask",
        f"{info}.data/data/share/fish/vendor_completions.d/dlftask.fish": "dlftask.fish",
    }
    scripts |= {
        f"dlftask/completions/{name}": name for name in ("dlftask.bash", "_dlftask", "dlftask.fish")
    }
    others = {f"{info}.dist-info/{name}" for name in ("METADATA", "WHEEL", "RECORD")}
    assert names == modules | set(scripts) | others | {f"{info}.dist-info/entry_points.txt"}
    for name, source in scripts.items():
        assert wheel.read(name) == (ROOT / "completions" / source).read_bytes()


def test_the_sdist_holds_what_builds_and_tests_it(packages: Path) -> None:
    (path,) = packages.glob("*.tar.gz")
    with tarfile.open(path) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    assert {"pyproject.toml", "README.md", "PKG-INFO", "tests/test_package.py"} <= names
    assert {"completions/_dlftask", "dlftask/py.typed", "tests/pictures/failed.svg"} <= names
    assert {".ci/run", ".github/CONTRIBUTING.md"} <= names
    tops = {name.partition("/")[0] for name in names}
    assert tops - {".gitignore"} == {
        ".ci",
        ".github",
        "PKG-INFO",
        "README.md",
        "completions",
        "dlftask",
        "pyproject.toml",
        "tests",
    }
    assert not [name for name in names if "cache" in name or name.endswith(".pyc")]


def test_the_installed_package_is_typed() -> None:
    assert Path(dlftask.__file__).with_name("py.typed").is_file()
    assert distribution("dlftask").metadata["Name"] == "dlftask"


def test_only_these_names_are_public() -> None:
    assert dlftask.__all__ == [
        "AuthenticationError",
        "Client",
        "ConfigurationError",
        "DlftaskError",
        "ExitStatus",
        "InvalidResponse",
        "ServiceUnavailable",
        "Snapshot",
        "Status",
        "Subtask",
        "Task",
        "TaskNotFound",
        "WaitTimeout",
    ]
    for name in dlftask.__all__:
        assert getattr(dlftask, name).__name__ == name
    with pytest.raises(AttributeError, match="Cleint"):
        _ = dlftask.Cleint


def test_importing_the_package_loads_nothing_that_costs_time() -> None:
    code = "import sys, dlftask; print(*sorted(m for m in sys.modules if 'dlftask' in m))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["dlftask"] or "__editable__" in done.stdout
