"""Reading files that may be pipes, devices or too large: nothing hangs."""

import os
import threading
import time
from pathlib import Path

import pytest

from dlftask.files import is_regular, read_file


def test_a_file_of_exactly_the_limit_is_read_and_a_larger_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 100_000)
    assert read_file(path, limit=100_000) == b"x" * 100_000
    with pytest.raises(ValueError, match="larger"):
        read_file(path, limit=99_999)


def test_a_directory_an_endless_device_and_a_missing_file_are_errors(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing", tmp_path / "missing" / "more"):
        with pytest.raises(OSError, match=r"directory|No such file"):
            read_file(path, limit=10)
    for name in ("/dev/zero", "/dev/full"):
        with pytest.raises(ValueError, match="larger"):
            read_file(Path(name), limit=1000)
    with pytest.raises(ValueError, match="null"):
        read_file(Path("a\0b"), limit=10)


def test_a_fifo_is_read_until_its_writer_closes_it(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)

    def write() -> None:
        with path.open("wb", buffering=0) as fifo:
            for piece in (b"one ", b"two"):
                time.sleep(0.2)
                fifo.write(piece)

    writer = threading.Thread(target=write)
    writer.start()
    assert read_file(path, limit=100, until_s=time.monotonic() + 30) == b"one two"
    writer.join()


def test_a_writer_that_writes_nothing_ends_the_read(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    threading.Timer(0.2, lambda: path.open("wb").close()).start()
    assert read_file(path, limit=100, until_s=time.monotonic() + 30) == b""


@pytest.mark.parametrize("silent", [True, False], ids=["no writer", "a silent one"])
def test_a_fifo_that_nobody_writes_to_times_out(tmp_path: Path, *, silent: bool) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    writer = None if silent else os.open(path, os.O_RDWR)
    began_s = time.monotonic()
    with pytest.raises(TimeoutError):
        read_file(path, limit=100, until_s=began_s + 0.3)
    assert time.monotonic() >= began_s + 0.3
    if writer is not None:
        os.close(writer)


def test_a_pipe_is_not_regular_but_a_missing_file_counts_as_regular(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "file").touch()
    assert not is_regular(tmp_path / "fifo")
    assert not is_regular(Path("/dev/null"))
    assert is_regular(tmp_path / "file")
    assert is_regular(tmp_path / "missing")
