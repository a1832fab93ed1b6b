"""Standard input, output and error: their properties, and reading and writing without loss."""

import os
import stat
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import TextIO, TypeGuard

from dlftask.errors import BrokenOutput, ConfigurationError, OutputFailed, WaitTimeout
from dlftask.platforms import PIPE_CHUNK, enable_vt, is_broken_pipe, wait_writable
from dlftask.signals import MainThread

_UNICODE_PROBE = "✓✗●├└│"
_MAX_INPUT = 16 * 1024 * 1024
_LARGE_CHUNK = 1024 * 1024
_CHECK_S = 0.2


class Streams:
    """The two output streams of a run, replaced as one in a test.

    ``color`` is ``always``, ``never`` or ``auto``, which colours a terminal that is not dumb;
    ``None`` (not set) follows ``NO_COLOR`` and ``FORCE_COLOR`` first.
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
        self.out_is_terminal = _is_terminal(self._out)
        self.err_is_terminal = _is_terminal(self._err)
        self.out_encoding = _encoding(self._out)
        self.err_encoding = _encoding(self._err)
        self.can_redraw = self._understands_escapes(self._out)
        """Whether standard output is a terminal that can be drawn on in place."""
        self.err_can_redraw = self._understands_escapes(self._err)
        self.color = self._colored(color, terminal=self.can_redraw)
        """Whether standard output gets colours."""
        self.err_color = self._colored(color, terminal=self.err_can_redraw)

    @property
    def unicode(self) -> bool:
        """Whether standard output's encoding has the symbols and lines of a tree."""
        written = _UNICODE_PROBE.encode(self.out_encoding, "replace")
        return written.decode(self.out_encoding) == _UNICODE_PROBE

    def size(self) -> tuple[int, int]:
        """Columns and rows of the terminal now; 80 by 24 where it is unknown."""
        for stream in (self._out, self._err):
            with suppress(OSError, ValueError, AttributeError):
                columns, rows = os.get_terminal_size(stream.fileno())
                if columns > 0 and rows > 0:
                    return columns, rows
        return 80, 24

    def write(self, text: str, *, utf8: bool = False, until_s: float | None = None) -> None:
        r"""Write to standard output, in its encoding; characters that it lacks as ``\uXXXX``.

        ``utf8`` is for data, which is UTF-8 in every locale. With ``until_s``, a
        moment (monotonic), lines that nobody has read by then are dropped whole.
        Raises ``BrokenOutput`` and ``OutputFailed``.
        """
        if self._out is None:
            raise OutputFailed("the output could not be written: standard output is closed")
        # To a terminal of another encoding, a byte of UTF-8 can be a control character.
        encoding = "utf-8" if utf8 and not self.out_is_terminal else self.out_encoding
        try:
            _put(self._out, text.encode(encoding, "backslashreplace"), until_s)
        except BrokenPipeError:
            raise BrokenOutput("the output was closed early") from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise OutputFailed(f"the output could not be written: {reason}") from None

    def check_reader(self) -> None:
        """Raise ``BrokenOutput`` if the reader of standard output is gone, without writing."""
        if self._out is None or self.out_is_terminal:
            return
        if is_broken_pipe(self._out.fileno()):
            raise BrokenOutput("the output was closed early")

    def log(self, text: str) -> None:
        """Write one line to standard error. A failure to do so is ignored."""
        self.log_raw(text + "\n")

    def log_raw(self, text: str) -> None:
        """Write to standard error as it is, with no newline added."""
        if self._err is not None:
            with suppress(OSError, ValueError):
                _put(self._err, text.encode(self.err_encoding, "backslashreplace"), None)

    def _understands_escapes(self, stream: TextIO | None) -> bool:
        # A dumb terminal cannot move its cursor: it is treated as a pipe, except for its width.
        if not _is_terminal(stream) or self._environ.get("TERM") in ("dumb", "unknown"):
            return False
        return enable_vt(stream.fileno())

    def _colored(self, chosen: str | None, *, terminal: bool) -> bool:
        if chosen is None and self._environ.get("NO_COLOR"):
            return False
        if chosen is None and self._environ.get("FORCE_COLOR"):
            return self._environ["FORCE_COLOR"] not in ("0", "false")
        return terminal if chosen in (None, "auto") else chosen == "always"


def _put(stream: TextIO, data: bytes, until_s: float | None) -> None:
    """Write all of the data, however little the stream takes at a time.

    Python's own buffer loses data where a raw write is short, or the stream is not blocking.
    """
    raw = getattr(stream.buffer, "raw", stream.buffer)
    descriptor, chunk = _ready_by(stream)
    position = 0
    while position < len(data):
        end = position + chunk
        if end < len(data):  # whole lines, where one is short enough
            end = data.rfind(b"\n", position, end) + 1 or end
        MainThread.write = object()
        try:
            while descriptor is not None and not wait_writable(descriptor, _CHECK_S):
                between_lines = position == 0 or data[position - 1 : position] == b"\n"
                if until_s is not None and time.monotonic() >= until_s and between_lines:
                    return
            # None: not blocking, and full.
            written = raw.write(data[position:end])
            if written is None:
                time.sleep(0.01)
            position += written or 0
        finally:
            MainThread.write = None


def _ready_by(stream: TextIO) -> tuple[int | None, int]:
    """The descriptor to wait for before each write, and how much to write at once then."""
    try:
        descriptor = stream.fileno()
    except (AttributeError, ValueError):  # not a file
        return None, _LARGE_CHUNK
    mode = os.fstat(descriptor).st_mode
    # To a terminal in one piece: between two, it would show half a frame.
    in_one_piece = stat.S_ISREG(mode) or stat.S_ISCHR(mode)
    return descriptor, _LARGE_CHUNK if in_one_piece else PIPE_CHUNK


def read_input(until_s: float) -> bytes:
    """Read standard input to its end, until ``until_s`` (monotonic) at the latest.

    Raises ``WaitTimeout``, and ``ConfigurationError`` where it is closed or endless.
    """
    from dlftask.files import read_descriptor

    if sys.stdin is None:
        raise ConfigurationError("standard input is closed", hint="name the task IDs instead")
    try:
        return read_descriptor(sys.stdin.fileno(), limit=_MAX_INPUT, until_s=until_s)
    except TimeoutError:
        raise WaitTimeout("standard input had not ended (--timeout)") from None
    except ValueError:
        raise ConfigurationError("standard input is too long to be a list of task IDs") from None
    except OSError as error:
        raise ConfigurationError(f"standard input: {error.strerror}") from None


def _is_terminal(stream: TextIO | None) -> TypeGuard[TextIO]:
    return stream is not None and stream.isatty()


def _encoding(stream: TextIO | None) -> str:
    """The stream's encoding; ASCII where the locale is C, though Python takes it for UTF-8."""
    chosen = os.environ.get("PYTHONIOENCODING") or os.environ.get("PYTHONUTF8")
    if sys.flags.utf8_mode and not chosen:
        import locale

        return locale.getencoding()
    return getattr(stream, "encoding", None) or "ascii"
