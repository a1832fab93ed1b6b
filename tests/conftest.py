"""What all tests share: no clock for properties, and the fault matrix's table in the summary."""

import signal
from typing import Any

from hypothesis import settings

# Whoever runs the tests in the background has these ignored, and no shell that a test starts could
# catch one: what was ignored when a shell began stays so.
for _number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, signal.SIG_DFL)

# A loaded machine is no reason for a property to fail.
settings.register_profile("no clock", deadline=None)
settings.load_profile("no clock")

_FAULTS = "fault"


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print what came of each fault: exit statuses, one row a fault."""
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
    terminalreporter.write_sep("=", "faults: exit status of the task that each befell")
    for line in lines:
        cells_of_line = (text.ljust(width) for text, width in zip(line, widths, strict=True))
        terminalreporter.write_line("  ".join(cells_of_line).rstrip())
