"""Standard output and error: what they are, and writing to them without losing anything."""

import os
import select
import sys
from collections.abc import Mapping
from typing import TextIO

from dlftask.errors import BrokenOutput, OutputFailed

_UNICODE_PROBE = "✓✗●├└│"


class Streams:
    """The two output streams of a run, replaced as one in a test.

    ``color`` is ``always``, ``never`` or ``auto``, which is for a terminal that is not dumb;
    ``None``, where nobody has said any, follows ``NO_COLOR`` and ``FORCE_COLOR`` first.
    """

    def __init__(
        self,
        stdout: TextIO | None = None,
        stderr: TextIO | None = None,
        *,
        color: str | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        # Python sets a stream that was closed before the start to None.
        self._out = stdout if stdout is not None else sys.stdout
        self._err = stderr if stderr is not None else sys.stderr
        self._environ = environ
        self._color = color
        self.out_is_terminal = _is_terminal(self._out)
        self.err_is_terminal = _is_terminal(self._err)
        self.out_encoding = _encoding(self._out)
        self.err_encoding = _encoding(self._err)

    @property
    def dumb(self) -> bool:
        """A terminal that cannot move its cursor: treated as a pipe, but for its width."""
        return self._environ.get("TERM", "") in ("dumb", "unknown")

    @property
    def can_redraw(self) -> bool:
        """Whether standard output is a terminal that can be drawn on in place."""
        return self.out_is_terminal and not self.dumb

    @property
    def unicode(self) -> bool:
        """Whether standard output's encoding has the symbols and lines of a tree."""
        return can_encode(_UNICODE_PROBE, self.out_encoding)

    @property
    def color(self) -> bool:
        """Whether standard output gets colours."""
        if self._color is None and self._environ.get("NO_COLOR"):
            return False
        if self._color is None and self._environ.get("FORCE_COLOR"):
            return self._environ["FORCE_COLOR"] not in ("0", "false")
        if self._color in (None, "auto"):
            return self.can_redraw
        return self._color == "always"

    def size(self) -> tuple[int, int]:
        """Columns and rows of the terminal, asked afresh; 80 by 24 where nobody says."""
        for stream in (self._out, self._err):
            try:
                columns, rows = os.get_terminal_size(stream.fileno())
            except (OSError, ValueError, AttributeError):
                continue
            if columns > 0 and rows > 0:
                return columns, rows
        return 80, 24

    def write(self, text: str) -> None:
        r"""Write to standard output and flush, in its own encoding; what it lacks as ``\uXXXX``.

        Raises ``BrokenOutput`` and ``OutputFailed``.
        """
        self._write(text.encode(self.out_encoding, "backslashreplace"))

    def write_utf8(self, text: str) -> None:
        """Write data to standard output and flush, in UTF-8 whatever the locale's encoding.

        Not on a terminal of another encoding: to that, a byte of UTF-8 can be a control character.
        """
        encoding = self.out_encoding if self.out_is_terminal else "utf-8"
        self._write(text.encode(encoding, "backslashreplace"))

    def check_reader(self) -> None:
        """Raise ``BrokenOutput`` where nobody reads standard output any more, nothing written."""
        if self._out is None or self.out_is_terminal:
            return
        poll = select.poll()
        poll.register(self._out.fileno(), 0)
        if any(event & select.POLLERR for _, event in poll.poll(0)):
            raise BrokenOutput("the reader of the output went away")

    def log(self, text: str) -> None:
        """Write one line to standard error. What cannot be said is no reason to fail."""
        self.log_raw(text + "\n")

    def log_raw(self, text: str) -> None:
        """Write to standard error as it is, with no newline added."""
        if self._err is None:
            return
        try:
            self._err.buffer.write(text.encode(self.err_encoding, "backslashreplace"))
            self._err.buffer.flush()
        except (OSError, ValueError):
            return

    def _write(self, data: bytes) -> None:
        if self._out is None:
            raise OutputFailed("the output could not be written: standard output is closed")
        try:
            self._out.buffer.write(data)
            self._out.buffer.flush()
        except BrokenPipeError:
            raise BrokenOutput("the reader of the output went away") from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise OutputFailed(f"the output could not be written: {reason}") from None


def can_encode(text: str, encoding: str) -> bool:
    """Whether an encoding has every character of a text."""
    try:
        text.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _is_terminal(stream: TextIO | None) -> bool:
    try:
        return stream is not None and stream.isatty()
    except ValueError:
        return False


def _encoding(stream: TextIO | None) -> str:
    """The stream's encoding; ASCII where the locale is C, though Python takes it for UTF-8."""
    chosen = os.environ.get("PYTHONIOENCODING") or os.environ.get("PYTHONUTF8")
    if sys.flags.utf8_mode and not chosen:
        import locale

        return locale.getencoding()
    return getattr(stream, "encoding", None) or "ascii"
