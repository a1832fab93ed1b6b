"""`dlftask/recent`, which the TAB key reads: the contract's section "TAB"."""

import os
import stat
from pathlib import Path

import pytest

from dlftask.history import KEPT, remember


def recent(home: Path) -> list[str]:
    return (home / ".local/state/dlftask/recent").read_text().splitlines()


def test_the_newest_comes_first_and_each_stands_once(tmp_path: Path) -> None:
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


def test_whoever_wants_no_history_has_none(tmp_path: Path) -> None:
    remember(["a"], environ={"DLFTASK_NO_HISTORY": "1"}, home=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"\xff\xfe", b"", b"\n\n", b"old\r\nolder\r\n"])
def test_what_was_there_before_is_no_reason_to_fail(tmp_path: Path, content: bytes) -> None:
    folder = tmp_path / ".local/state/dlftask"
    folder.mkdir(parents=True)
    (folder / "recent").write_bytes(content)
    remember(["a"], environ={}, home=tmp_path)
    assert recent(tmp_path)[0] == "a"


@pytest.mark.parametrize("home", ["/dev/null", "/proc", "/nonexistent/\0"])
def test_a_home_that_cannot_be_written_is_no_reason_to_fail(home: str) -> None:
    remember(["a"], environ={}, home=Path(home))
    assert not Path("/proc/.local").exists()
