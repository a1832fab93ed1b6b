"""`dlftask/recent`, which shell completion reads: the contract's section "TAB"."""

import os
import stat
from pathlib import Path

import pytest

from dlftask.history import KEPT, remember
from dlftask.simulator import Simulator
from tests.cli import run_dlftask


def recent(home: Path) -> list[str]:
    return (home / ".local/state/dlftask/recent").read_text().splitlines()


def test_the_newest_comes_first_and_none_is_repeated(tmp_path: Path) -> None:
    for task_ids in (["a"], ["b", "c"], ["a"]):
        remember(task_ids, environ={}, home=tmp_path)
    assert recent(tmp_path) == ["a", "c", "b"]


def test_a_hundred_are_kept(tmp_path: Path) -> None:
    remember([f"t{n}" for n in range(150)], environ={}, home=tmp_path)
    assert len(recent(tmp_path)) == KEPT == 100
    assert recent(tmp_path)[0] == "t149"
    remember(["new"], environ={}, home=tmp_path)
    assert len(recent(tmp_path)) == 100
    assert recent(tmp_path)[:2] == ["new", "t149"]


def test_nobody_else_reads_it(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        remember(["a"], environ={}, home=tmp_path)
    finally:
        os.umask(old)
    path = tmp_path / ".local/state/dlftask/recent"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["recent"]


def test_the_state_folder_is_the_users_own(tmp_path: Path) -> None:
    remember(["a"], environ={"XDG_STATE_HOME": str(tmp_path / "s")}, home=tmp_path)
    assert (tmp_path / "s/dlftask/recent").read_text() == "a\n"
    remember(["b"], environ={"XDG_STATE_HOME": "relative"}, home=tmp_path)
    assert recent(tmp_path) == ["b"]


def test_a_user_who_wants_no_history_has_none(tmp_path: Path) -> None:
    remember(["a"], environ={"DLFTASK_NO_HISTORY": "1"}, home=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"\xff\xfe", b"", b"\n\n", b"old\r\nolder\r\n"])
def test_any_old_content_is_accepted(tmp_path: Path, content: bytes) -> None:
    folder = tmp_path / ".local/state/dlftask"
    folder.mkdir(parents=True)
    (folder / "recent").write_bytes(content)
    remember(["a"], environ={}, home=tmp_path)
    assert recent(tmp_path)[0] == "a"


@pytest.mark.parametrize("target", ["/dev/full", "/dev/zero", "/dev/null", "/no/where", "recent"])
def test_a_link_to_anything_is_replaced(tmp_path: Path, target: str) -> None:
    folder = tmp_path / ".local/state/dlftask"
    folder.mkdir(parents=True)
    (folder / "recent").symlink_to(target)
    remember(["a"], environ={}, home=tmp_path)
    assert recent(tmp_path) == ["a"]
    assert not (folder / "recent").is_symlink()


def test_a_fifo_is_neither_read_nor_written(tmp_path: Path) -> None:
    folder = tmp_path / ".local/state/dlftask"
    folder.mkdir(parents=True)
    os.mkfifo(folder / "recent")
    remember(["a"], environ={}, home=tmp_path)
    assert recent(tmp_path) == ["a"]


def test_a_directory_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / ".local/state/dlftask/recent"
    path.mkdir(parents=True)
    remember(["a"], environ={}, home=tmp_path)
    assert path.is_dir()
    assert [entry.name for entry in path.parent.iterdir()] == ["recent"]


def test_the_first_ids_of_a_huge_file_are_kept(tmp_path: Path) -> None:
    folder = tmp_path / ".local/state/dlftask"
    folder.mkdir(parents=True)
    with (folder / "recent").open("wb") as file:
        file.write(b"old\n" + b"x" * 200 + b"\na/b\n")
        file.truncate(2**40)  # more than any memory
    remember(["a"], environ={}, home=tmp_path)
    assert recent(tmp_path) == ["a", "old"]


TASK = "008aae2e675d3bcb01675d3c66f20000"


@pytest.mark.parametrize(
    ("args", "more", "written"),
    [
        ([], {}, True),
        (["--demo"], {}, False),
        ([], {"DLFTASK_NO_HISTORY": "1"}, False),
    ],
    ids=["a run", "--demo", "DLFTASK_NO_HISTORY"],
)
def test_a_run_is_remembered_unless_it_is_a_demo_or_history_is_off(
    tmp_path: Path, args: list[str], more: dict[str, str], *, written: bool
) -> None:
    with Simulator() as simulator:
        env = {**simulator.environment(), **more}
        assert run_dlftask("get", *args, TASK, env=env, home=tmp_path).returncode == 0
    path = tmp_path / "state/dlftask/recent"
    assert path.exists() is written
    if written:
        assert path.read_text() == f"{TASK}\n"


@pytest.mark.parametrize("home", ["/dev/null", "/proc", "/nonexistent/\0"])
def test_an_unwritable_home_is_ignored(home: str) -> None:
    remember(["a"], environ={}, home=Path(home))
    assert not Path("/proc/.local").exists()
