"""``dlftask`` and ``python -m dlftask``: the one place that ends the process."""

import os
import signal
import sys
import time


def run() -> None:
    """Run the command line and end the process with its exit status.

    The interpreter's own exit takes as long as a request on loopback, and waits for threads that
    hang in a name lookup. All output is written by then.
    """
    # Until main handles it: a Ctrl-C at the very start must not print a traceback.
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    os._exit(main(sys.argv[1:], began_s=time.monotonic()))


def main(arguments: list[str], *, began_s: float) -> int:
    """Run the command line and return its exit status, also after a signal or a bug."""
    _reserve_closed_streams()
    import gc

    from dlftask.errors import BrokenOutput, Interrupted
    from dlftask.platforms import keep_child_statuses
    from dlftask.signals import MainThread, handle_interruptions

    # Imports and large responses make many objects and little garbage.
    gc.set_threshold(100_000)
    keep_child_statuses()
    try:
        handle_interruptions()
        try:
            from dlftask.cli import run_command_line

            return run_command_line(arguments, began_s=began_s)
        except BrokenOutput as error:
            return error.exit_status
        except Exception as error:  # noqa: BLE001 - even a bug prints no traceback
            # CPython can replace an interruption in an import by an error of its own.
            if MainThread.interruption is not None:
                raise MainThread.interruption from None
            return _report(error, color=_chosen_color(arguments))
    except Interrupted as interruption:
        return interruption.exit_status


def _report(error: Exception, *, color: str | None) -> int:
    """Report an error, or a bug in dlftask, and return its exit status."""
    from dlftask.errors import DlftaskError
    from dlftask.messages import write_error
    from dlftask.streams import Streams

    streams = Streams(color=color)
    if isinstance(error, DlftaskError):
        write_error(error, streams)
        return error.exit_status
    if os.environ.get("DLFTASK_DEBUG", "0").lower() not in ("", "0", "false", "no", "off"):
        import traceback

        from dlftask.output.text import escape_controls

        lines = "".join(traceback.format_exception(error)).splitlines()
        streams.log("\n".join(map(escape_controls, lines)))
    hint = "this is a bug in dlftask: please report it, with the output of DLFTASK_DEBUG=1"
    bug = DlftaskError(f"internal error: {type(error).__name__}: {error}", hint=hint)
    write_error(bug, streams)
    return 70  # EX_SOFTWARE of sysexits: no status with another meaning


def _chosen_color(arguments: list[str]) -> str | None:
    """The value of ``--color``, which applies even if other arguments are wrong."""
    import re

    found = re.search(r"(?:\A|\0)--color[\0=]([^\0]+)", "\0".join(arguments))
    return found[1] if found else None


def _reserve_closed_streams() -> None:
    """Open closed standard streams, so that no socket gets their numbers and their output."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


if __name__ == "__main__":
    run()
