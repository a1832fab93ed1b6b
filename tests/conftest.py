"""What all tests share: a simulator and its clock, an endpoint that hangs, the summary."""

import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from dlftask.simulator import Simulator
from tests.running import ImportClock, black_hole

# Tests that run in the background inherit these as ignored, and no shell that a test starts could
# catch them: a signal that was ignored when a shell started stays ignored.
for _number in (getattr(signal, name, None) for name in ("SIGINT", "SIGQUIT", "SIGHUP")):
    if _number is not None and signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, signal.SIG_DFL)

# What needs a Unix terminal or Unix limits is left out on Windows.
if sys.platform == "win32":
    collect_ignore = [
        path.name
        for path in Path(__file__).parent.glob("test_*.py")
        if re.search(
            r"tests\.terminal|pexpect|\b(fcntl|pty|resource|termios)\b", path.read_text("utf-8")
        )
    ]

# A property must not fail because the machine is busy.
settings.register_profile("no clock", deadline=None)
settings.load_profile("no clock")


@pytest.fixture
def import_clock() -> ImportClock:
    return ImportClock()


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    """The simulator of a module's tests; a module whose tests change it defines its own."""
    with Simulator(speed=20) as running:
        yield running


@pytest.fixture
def unresponsive() -> Iterator[str]:
    """An endpoint to which every connection hangs."""
    with black_hole() as endpoint:
        yield endpoint


_FAULTS = "fault"


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the exit status for each fault, one row per fault."""
    reports = [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]
    cells = [
        value for report in reports for name, value in report.user_properties if name == _FAULTS
    ]
    if not cells:
        return
    rows = dict.fromkeys(row for row, _, _ in cells)
    columns = dict.fromkeys(column for _, column, _ in cells)
    table = {(row, column): text for row, column, text in cells}
    header = ["fault", *columns]
    lines = [header, *([row, *(table.get((row, c), "") for c in columns)] for row in rows)]
    widths = [max(len(line[index]) for line in lines) for index in range(len(header))]
    terminalreporter.write_sep("=", "faults: exit status of the task that each applied to")
    for line in lines:
        cells_of_line = (text.ljust(width) for text, width in zip(line, widths, strict=True))
        terminalreporter.write_line("  ".join(cells_of_line).rstrip())
