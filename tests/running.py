"""A run of the command line in progress, an import's clock, an endpoint that accepts nothing."""

import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Self

from tests.cli import DLFTASK, check_no_secret, environment

LIMIT_S = 1.0
"""How long a run may take to end after a signal."""


class ImportClock:
    """The simulator's clock: imports run until a test sets it forward."""

    ahead_s = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead_s

    def end_imports(self) -> None:
        """Make every import that was started end."""
        self.ahead_s += 60.0


class Running:
    """A run in progress; both of its streams are files, unless others are passed."""

    def __init__(
        self,
        *args: str,
        env: dict[str, str],
        stdin: int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        process_group: int | None = None,
    ) -> None:
        self._stack = ExitStack()
        home = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        self._out, self._err = (
            self._stack.enter_context((Path(home) / name).open("w+b")) for name in ("out", "err")
        )
        self._env = env
        self.process = subprocess.Popen(
            [*DLFTASK, *args],
            env=environment(home, {"TERM": "xterm", **env}),
            cwd=home,
            stdin=subprocess.DEVNULL if stdin is None else stdin,
            stdout=self._out if stdout is None else stdout,
            stderr=self._err if stderr is None else stderr,
            process_group=process_group,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        try:
            check_no_secret(self.stdout + self.stderr, self._env)
        finally:
            self._stack.close()

    @property
    def stdout(self) -> str:
        return self._read(self._out)

    @property
    def stderr(self) -> str:
        return self._read(self._err)

    def _read(self, file: IO[bytes]) -> str:
        # Not seek: the process shares the file's position.
        return os.pread(file.fileno(), 1_000_000, 0).decode()

    def until(self, happened: Callable[[], object], within_s: float = 60.0) -> None:
        limit = time.monotonic() + within_s
        while not happened():
            assert self.process.poll() is None, f"ended too soon: {self.stdout}{self.stderr}"
            assert time.monotonic() < limit, f"did not happen: {self.stdout}{self.stderr}"
            time.sleep(0.02)

    def end(self, *numbers: signal.Signals, gap_s: float = 0.0) -> int:
        """Send these signals; return the exit status, which must come within a second."""
        began = time.monotonic()
        for number in numbers:
            self.process.send_signal(number)
            time.sleep(gap_s)
        status = self.process.wait(20)
        took = time.monotonic() - began
        assert took < LIMIT_S, f"took {took:.2f}s"
        assert "Traceback" not in self.stderr
        assert "Exception ignored" not in self.stderr
        return status


@contextmanager
def black_hole() -> Iterator[str]:
    """An endpoint to which every connection hangs: a listener's queue that is full."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.settimeout(0)
            waiting.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
