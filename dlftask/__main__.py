"""``dlftask`` and ``python -m dlftask``: the one place that ends the process."""

import gc

# A run makes few objects that die in cycles and imports many that never die: until a wait
# begins, looking for garbage costs a tenth of the time that an answer takes.
gc.disable()

import os  # noqa: E402
import signal  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from types import FrameType  # noqa: E402

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dlftask.errors import DlftaskError

_LONGEST_GOODBYE_S = 0.7


def run() -> None:
    """Run the command line and end the process with its exit status.

    The interpreter's own way out takes as long as a question on loopback, waits for threads that
    hang in a look-up, and complains about streams that are gone: whatever has to be written was
    flushed when it was written.
    """
    # Until ``main`` knows better: a Ctrl-C at the very first prints no traceback of Python's.
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    os._exit(main(sys.argv[1:], began_s=time.monotonic()))


def main(arguments: list[str], *, began_s: float) -> int:
    """Run the command line; the exit status of its end, whatever that was."""
    _hold_closed_streams()
    from dlftask.errors import Interrupted

    try:
        signal.signal(signal.SIGINT, _interrupt)
        signal.signal(signal.SIGTERM, _interrupt)
        return _run(arguments, began_s)
    except Interrupted as interruption:
        return interruption.exit_status


def _run(arguments: list[str], began_s: float) -> int:
    from dlftask.errors import BrokenOutput, DlftaskError

    try:
        from dlftask.cli import run_command_line

        return run_command_line(arguments, began_s=began_s)
    except DlftaskError as error:
        if not isinstance(error, BrokenOutput):
            _report_error(error)
        return error.exit_status
    except Exception as error:  # noqa: BLE001 - a bug: even then no traceback, and no status of ours
        return _report_bug(error)


def _report_error(error: "DlftaskError") -> None:
    from dlftask.messages import write_error
    from dlftask.streams import Streams

    write_error(error, Streams())


def _report_bug(error: Exception) -> int:
    """Say that this is our bug. 70 is sysexits' EX_SOFTWARE: no status that means anything else."""
    from dlftask.errors import DlftaskError

    if os.environ.get("DLFTASK_DEBUG", "0").lower() not in ("", "0", "false", "no", "off"):
        import traceback

        traceback.print_exception(error)
    _report_error(
        DlftaskError(
            f"internal error: {type(error).__name__}: {error}",
            hint="this is a bug in dlftask: please report it, with what DLFTASK_DEBUG=1 shows",
        )
    )
    return 70


def _hold_closed_streams() -> None:
    """Keep 0, 1 and 2 from becoming a socket's: what is meant for a stream must not go there."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def _interrupt(signal_number: int, _frame: FrameType | None) -> None:
    # The first one is enough: a second must not break into saying goodbye. Not SIG_IGN: of a
    # second one that came with the first, Python would print a traceback.
    signal.signal(signal.SIGINT, lambda *_: None)
    signal.signal(signal.SIGTERM, lambda *_: None)
    # Nothing holds the end up: not even a reader that does not read what is said last.
    signal.signal(signal.SIGALRM, lambda *_: os._exit(128 + signal_number))
    signal.setitimer(signal.ITIMER_REAL, _LONGEST_GOODBYE_S)
    sys.unraisablehook = _raise_again
    from dlftask.errors import Interrupted

    raise Interrupted(signal_number)


def _raise_again(lost: "sys.UnraisableHookArgs") -> None:
    """An interruption that came in a finalizer, which loses it, comes again a moment later."""
    from dlftask.errors import Interrupted

    error = lost.exc_value
    if isinstance(error, Interrupted):
        number = error.exit_status - 128
        signal.signal(signal.SIGALRM, lambda *_: _interrupt(number, None))
        signal.setitimer(signal.ITIMER_REAL, 0.01)
    else:
        sys.__unraisablehook__(lost)


if __name__ == "__main__":
    run()
