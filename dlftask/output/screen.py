"""Lines drawn in place on a terminal.

A frame is one write. Between two frames the cursor rests at the top left of the drawing: when the
window is resized, the terminal moves the cursor along with its line, so that the next frame needs
no guess of where the last one began. Nothing is cleared before it is drawn over: no flicker.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress

from rich.cells import cell_len, chop_cells, set_cell_size

from dlftask.errors import DlftaskError
from dlftask.output.terminal_progress import REMOVED, TerminalProgress
from dlftask.output.text import ellipsis, encodable, escape_controls, escape_line_start, one_line
from dlftask.output.view import View, WaitState
from dlftask.platforms import in_foreground
from dlftask.streams import Streams

# Terminals differ in how wide some characters are: a line that comes out too wide must not wrap,
# or the frame would be taller than the cursor goes back up.
_NO_WRAP, _WRAP = "\x1b[?7l", "\x1b[?7h"
_ERASE_LINE, _ERASE_BELOW = "\x1b[K", "\x1b[J"
# A character is written first: tmux takes erasing everything from the very first cell as the user's
# own "clear", and moves the old content into the scroll-back.
_ERASE_ALL = f"\r {_ERASE_BELOW}\r{_ERASE_LINE}"

_SHORTEST_GAP_S = 0.1
"""The pause between two frames, at least: nobody reads faster."""


class InPlaceView(View):
    """A view that draws ``lines`` in place; with ``tab`` the terminal's tab shows progress too."""

    tick_s = 0.2
    on_stderr = False
    """Whether it is drawn on standard error, not on standard output."""

    def __init__(self, state: WaitState, streams: Streams, *, tab: bool = False) -> None:
        super().__init__(state, streams)
        self._write: Callable[[str], object] = streams.log_raw if self.on_stderr else streams.write
        self._encoding = streams.err_encoding if self.on_stderr else streams.out_encoding
        self._tab = TerminalProgress(state, self._write) if tab else None
        self.restore = f"\r{_ERASE_BELOW}{_WRAP}{REMOVED if tab else ''}".encode()
        """What a signal handler writes before the process is stopped or killed."""
        self._drawn: tuple[Sequence[str], tuple[int, int]] | None = None
        self._drawn_s = float("-inf")
        self._closed = False

    def lines(self, width: int, height: int, *, final: bool = False) -> list[str]:
        """A frame, no wider and no taller than given; the ``final`` one has no spinner."""
        raise NotImplementedError

    def tick(self) -> None:
        """Draw a frame, unless the last one was a moment ago or would look the same."""
        if self._closed or self._state.now() - self._drawn_s < _SHORTEST_GAP_S:
            return
        if not in_foreground():
            self.forget()  # the shell writes over it
            return
        self._draw()
        if self._tab is not None:
            self._tab.update()

    def forget(self) -> None:
        """Draw the next frame at the cursor: something else has written to the terminal."""
        self._drawn = None

    def note(self, text: str) -> None:
        """Write a line above the drawing; to standard error if that is not a terminal."""
        line = one_line(f"dlftask: {text}", self._streams.err_encoding)
        if self._drawn is None or self._closed or not self._streams.err_is_terminal:
            self._streams.log(line)
        else:
            self._draw(above=f"{encodable(line, self._encoding)}{_ERASE_LINE}\r\n")

    def close(self, *, keep: bool = False) -> None:
        """Erase the drawing, or ``keep`` a last frame; errors of the terminal are ignored."""
        if self._closed:
            return
        seen = any(snapshot.task for snapshot in self._state.snapshots.values())
        with suppress(DlftaskError):
            if self._drawn is not None and keep and seen:
                lines = self.lines(*self._room(), final=True)
                self._write(f"{_ERASE_ALL}{_NO_WRAP}{_join(lines)}\r\n{_WRAP}")
            elif self._drawn is not None:
                self._write(f"{_ERASE_ALL}{_WRAP}")
        if self._tab is not None:
            self._tab.remove()
        # Last: after an interruption it is called again.
        self._closed = True

    def _draw(self, above: str = "") -> None:
        size = self._streams.size()
        lines = self.lines(*self._room())
        self._drawn_s = self._state.now()
        if self._drawn == (lines, size) and not above:
            return
        # A terminal that wrapped the old frame again has marked its rows as pieces of longer
        # lines, and would join what is written over them.
        erased = self._drawn is not None and (above or size != self._drawn[1])
        start = _ERASE_ALL if erased else "\r"
        up = f"\x1b[{len(lines) - 1}A" if len(lines) > 1 else ""
        self._drawn = lines, size
        self._write(f"{start}{above}{_NO_WRAP}{_join(lines)}{_ERASE_BELOW}{up}\r{_WRAP}")

    def _room(self) -> tuple[int, int]:
        # The last column stays free: a character in it leaves some terminals about to wrap.
        columns, rows = self._streams.size()
        return max(columns - 1, 1), max(rows - 1, 1)

    @property
    def ellipsis(self) -> str:
        """One character where the encoding has it."""
        return ellipsis(self._encoding)

    def spinner(self) -> str:
        """A spinner, one cell wide, that turns five times a second."""
        frames = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏" if len(self.ellipsis) == 1 else "|/-\\"
        return frames[int(self._state.now() * 5) % len(frames)]

    def shorten(self, text: str, cells: int) -> str:
        """The text escaped, in the terminal's encoding and cut to a number of cells."""
        # Before any counting: a character without width may be there a million times.
        text = self.printable(text, 4 * cells + 4)
        if cell_len(text) <= cells:
            return text
        end = self.ellipsis[: max(cells, 0)]
        return set_cell_size(text, max(cells - cell_len(end), 0)) + end

    def shorten_middle(self, text: str, cells: int) -> str:
        """The same, but cut in the middle: names of one kind differ at their ends."""
        most = 2 * cells + 2
        if len(text) > 2 * most:
            text = text[:most] + text[-most:]
        text = self.printable(text, len(text))
        if cell_len(text) <= cells:
            return text
        room = max(cells - cell_len(self.ellipsis), 0)
        end = set_cell_size(text[::-1], room // 2)[::-1]
        return set_cell_size(text, room - room // 2) + self.ellipsis + end

    def printable(self, text: str, most: int) -> str:
        """The text's first characters, escaped, in the terminal's encoding."""
        return encodable(escape_controls(text[:most]), self._encoding)


def wrap(text: str, cells: int) -> list[str]:
    """The text in lines of at most ``cells`` cells, broken between words where possible."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if cell_len(longer) <= cells:
            lines[-1] = longer
        else:
            lines += chop_cells(word, cells)
    return [escape_line_start(line) for line in lines if line]


def _join(lines: Sequence[str]) -> str:
    return f"{_ERASE_LINE}\r\n".join(lines)
