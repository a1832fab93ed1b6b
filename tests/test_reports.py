import json
import os
import sys
import threading
from pathlib import Path

import pytest

from dlftask.errors import ConfigurationError, ServiceUnavailable, TaskNotFound
from dlftask.output.formats import FORMATS, RenderOptions, render
from dlftask.output.query import Query
from dlftask.output.reports import check_report_paths, write_reports
from dlftask.task import read_task
from dlftask.waiting.snapshot import Snapshot
from tests.cli import configured, run_dlftask
from tests.servers import Server, http_response, sending

DONE = Snapshot("1", read_task(b'{"id":"1","name":"n","status":"FAILED"}'), settled=True)
GONE = Snapshot("2", error=TaskNotFound("not there"), settled=True)
posix = pytest.mark.skipif(sys.platform == "win32", reason="has no FIFO and no modes")


@pytest.mark.parametrize("name", FORMATS)
def test_a_report_is_what_the_format_prints(name: str, tmp_path: Path) -> None:
    path = tmp_path / "report"
    path.write_text("an old one, longer than the new one" * 100)
    assert write_reports([(name, path)], [DONE, GONE], RenderOptions(color=True, width=9)) == []
    printed = "".join(render(name, [DONE, GONE], RenderOptions()))
    assert path.read_text(encoding="utf-8") == printed != ""


def test_a_report_has_the_last_state_of_a_task_even_if_stdout_does_not(
    tmp_path: Path,
) -> None:
    lost = Snapshot("1", DONE.task, error=ServiceUnavailable("refused"), settled=True)
    for name in FORMATS:
        path = tmp_path / name
        assert "".join(render(name, [lost], RenderOptions())) == ""
        write_reports([(name, path)], [lost], RenderOptions())
        assert "FAILED" in path.read_text() or "failure" in path.read_text()


def test_a_task_never_seen_leaves_an_error_object_or_an_empty_report(tmp_path: Path) -> None:
    path = tmp_path / "report"
    path.write_text("old")
    write_reports([("json", path)], [GONE], RenderOptions())
    assert path.read_bytes() == b""
    write_reports([("junit", path)], [GONE], RenderOptions())
    assert "not there" in path.read_text()
    unseen = Snapshot("3", outage=ServiceUnavailable("refused"))
    write_reports([("json", path)], [unseen, Snapshot("4")], RenderOptions())
    errors = [item["error"] for item in json.loads(path.read_text())]
    assert [error["exit_status"] for error in errors] == [6, 6]


def test_a_query_applies_only_to_json(tmp_path: Path) -> None:
    paths = [tmp_path / "a", tmp_path / "b"]
    options = RenderOptions(query=Query("name"))
    assert write_reports(zip(("json", "tsv"), paths, strict=True), [DONE], options) == []
    assert paths[0].read_text() == "n\n"
    assert paths[1].read_text().startswith("task\t1\t")


@posix
def test_links_and_modes_are_kept(tmp_path: Path) -> None:
    path, link = tmp_path / "real", tmp_path / "link"
    path.write_text("old")
    path.chmod(0o640)
    link.symlink_to(path)
    assert write_reports([("tsv", link)], [DONE], RenderOptions()) == []
    assert link.is_symlink()
    assert path.read_text().startswith("task")
    assert path.stat().st_mode & 0o777 == 0o640


@posix
def test_a_pipe_can_be_written_by_its_descriptor() -> None:
    reader, writer = os.pipe()
    path = Path(f"/dev/fd/{writer}")
    check_report_paths([("tsv", path)])
    assert write_reports([("tsv", path)], [DONE], RenderOptions()) == []
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        assert file.read().startswith(b"task")


@posix
def test_a_fifo_can_be_written_and_is_an_error_without_a_reader(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    check_report_paths([("tsv", fifo)])
    (error,) = write_reports([("tsv", fifo)], [DONE], RenderOptions())
    assert str(fifo) in str(error)
    found: list[bytes] = []
    reader = threading.Thread(target=lambda: found.append(fifo.read_bytes()))
    reader.start()
    many = b'{"id":"1","name":"%b","status":"FAILED"}' % (b"n" * 300_000)
    errors = write_reports([("tsv", fifo)], [Snapshot("1", read_task(many))], RenderOptions())
    reader.join()
    assert errors == []
    assert len(found[0]) > 300_000


def test_a_report_that_cannot_be_written_does_not_stop_the_others(tmp_path: Path) -> None:
    targets = [("tsv", tmp_path / "none" / "a"), ("tsv", tmp_path / "b")]
    (error,) = write_reports(targets, [DONE], RenderOptions())
    assert error.exit_status == 8
    assert "none" in str(error)
    assert targets[1][1].exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="has no full device")
def test_a_full_disk_is_an_error() -> None:
    check_report_paths([("tsv", Path("/dev/full"))])
    assert len(write_reports([("tsv", Path("/dev/full"))], [DONE], RenderOptions())) == 1


def test_paths_that_cannot_be_written_are_refused_before_the_run(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.write_text("old")
    check_report_paths([("json", there), ("tsv", tmp_path / "new")])
    assert there.read_text() == "old"
    assert not (tmp_path / "new").exists()
    for path in (
        tmp_path,
        tmp_path / "none" / "x",
        tmp_path / "none" / ".." / "x",
        there / "x",
        Path("a\0b"),
    ):
        with pytest.raises(ConfigurationError):
            check_report_paths([("json", path)])


def test_two_reports_to_one_file_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    there = tmp_path / "there"
    there.write_text("")
    (tmp_path / "hard").hardlink_to(there)
    pairs = [("new", "./new"), ("new", str(tmp_path / "new")), ("there", "hard")]
    for one, other in pairs:
        with pytest.raises(ConfigurationError):
            check_report_paths([("json", Path(one)), ("tsv", Path(other))])


@posix
def test_a_report_to_a_redirected_stdout_follows_the_result(tmp_path: Path) -> None:
    with Server(sending(http_response())) as server, (tmp_path / "log").open("wb") as log:
        args = ("get", "t1", "--report", "jsonl:/dev/stdout", "-o", "tsv")
        status = run_dlftask(*args, env=configured(server.url), stdout=log).returncode
    assert status == 0
    assert [line[:5] for line in (tmp_path / "log").read_text().splitlines()] == ["task\t", '{"id"']
