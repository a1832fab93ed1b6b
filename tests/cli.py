"""The real command line, as a process of its own, in a clean environment."""

import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

DLFTASK = (sys.executable, "-m", "dlftask")

# Subprocesses are measured if the tests are.
COVERAGE = {
    name: value for name, value in os.environ.items() if name.startswith("COVERAGE_PROCESS")
}

_SECRET = re.compile("TOKEN$|_SK$|SECRET_KEY$")


def check_no_secret(printed: str, env: Mapping[str, str] | None) -> None:
    """Check that no secret of an environment was printed, in every run of the whole suite."""
    secrets = {v for k, v in (env or {}).items() if _SECRET.search(k) and len(v) >= 10}
    assert not [secret for secret in secrets if secret in printed], printed


class Finished(subprocess.CompletedProcess[str]):
    """A run that has ended, and its cost: seconds of wall time, peak memory in MiB."""

    seconds: float
    peak_mib: float


def environment(home: Path, env: Mapping[str, str] | None = None) -> dict[str, str]:
    """A user's environment with nothing set up, and what is in ``env``."""
    return {
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / "config"),
        "XDG_STATE_HOME": str(home / "state"),
        **COVERAGE,
        **(env or {}),
    }


def configured(endpoint: str, **more: str) -> dict[str, str]:
    """The variables of a user who has an endpoint, a project and a token."""
    return {
        "DLFTASK_ENDPOINT": endpoint,
        "DLFTASK_PROJECT_ID": "b384b9e9ab9b4ee8994c8633aabc9505",
        "DLFTASK_TOKEN": "secret-token",
        **more,
    }


def _wait(process: subprocess.Popen[bytes]) -> int:
    """Wait for the end of a process; return its peak memory in KiB, or 0 where it is unknown."""
    if sys.platform == "win32":
        process.wait()
        return 0
    # Popen.wait does not report what the process cost.
    _, wait_status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(wait_status)
    # macOS counts bytes.
    return usage.ru_maxrss // (1024 if sys.platform == "darwin" else 1)


def startup_s() -> float:
    """How long a run that does nothing takes now, on this machine, however busy."""
    return run_dlftask("--version").seconds


def run_dlftask(
    *args: str,
    env: Mapping[str, str] | None = None,
    input: str | bytes | None = None,  # noqa: A002 - as subprocess.run calls it
    home: Path | None = None,
    stdin: int | IO[Any] | None = None,
    stdout: int | IO[Any] | None = None,
    stderr: int | IO[Any] | None = None,
    timeout: float = 30.0,
) -> Finished:
    """Run ``dlftask ARGS`` to its end, in ``home`` or a home folder of its own.

    A stream that is passed is not captured; standard input is empty without ``input``.
    Raises ``subprocess.TimeoutExpired``.
    """
    with ExitStack() as stack:
        folder = home or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        source, out, err = (stack.enter_context(tempfile.TemporaryFile()) for _ in range(3))
        source.write(input.encode() if isinstance(input, str) else input or b"")
        source.seek(0)
        started = time.monotonic()
        process = subprocess.Popen(
            [*DLFTASK, *args],
            env=environment(folder, env),
            cwd=folder,
            stdin=source if stdin is None else stdin,
            stdout=out if stdout is None else stdout,
            stderr=err if stderr is None else stderr,
        )
        alarm = threading.Timer(timeout, process.kill)
        alarm.start()
        peak_kib = _wait(process)
        seconds = time.monotonic() - started
        alarm.cancel()
        if seconds >= timeout:
            raise subprocess.TimeoutExpired([*DLFTASK, *args], timeout)
        out.seek(0)
        err.seek(0)
        finished = Finished(
            list(process.args),  # type: ignore[arg-type]
            process.returncode,
            out.read().decode(errors="surrogateescape"),
            err.read().decode(errors="surrogateescape"),
        )
        check_no_secret(finished.stdout + finished.stderr, env)
        finished.seconds = seconds
        finished.peak_mib = peak_kib / 1024
        return finished
