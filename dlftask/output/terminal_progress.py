"""Progress in a terminal's tab or task bar (OSC 9;4), where the terminal is known to show it.

The list is that of cargo and nextest: an unknown terminal may take the sequence for a desktop
notification.
"""

import re
from collections.abc import Callable, Mapping
from contextlib import suppress

from dlftask.errors import DlftaskError
from dlftask.output.view import WaitState

_NORMAL, _ERROR, _UNKNOWN = 1, 2, 3
REMOVED = "\x1b]9;4;0;0\x1b\\"
"""Removes the progress."""
_REPEAT_S = 5.0
"""Ghostty removes progress that is not repeated within fifteen seconds."""


def shows_progress(environ: Mapping[str, str]) -> bool:
    """Whether the terminal is known to show progress, and the user has not switched it off."""
    switch = environ.get("DLFTASK_TERMINAL_PROGRESS", "").lower()
    if switch in ("0", "false", "no", "off"):
        return False
    return (
        # In TERM_FEATURES (iTerm2) each feature begins with a capital letter: P is progress.
        re.search("P(?![a-z])", environ.get("TERM_FEATURES", "")) is not None
        or environ.get("TERM_PROGRAM") in ("ghostty", "WezTerm")
        or bool(environ.get("WT_SESSION"))
        or environ.get("ConEmuANSI") == "ON"
        or _number(environ.get("PTYXIS_VERSION")) >= 48
        or _number(environ.get("KONSOLE_VERSION")) >= 250800
    )


def _number(version: str | None) -> int:
    found = re.match("[0-9]{1,9}", version or "")
    return int(found[0]) if found else 0


class TerminalProgress:
    """What share of the subtasks has ended, red once one has failed; ``write`` may raise."""

    def __init__(self, state: WaitState, write: Callable[[str], object]) -> None:
        self._state = state
        self._write = write
        self._shown = ""
        self._shown_s = 0.0

    def update(self) -> None:
        """Show the state, unless it is shown already."""
        done, failed, total = self._state.share()
        kind = _ERROR if failed else _NORMAL if total else _UNKNOWN
        text = f"\x1b]9;4;{kind};{100 * done // total if total else 0}\x1b\\"
        now_s = self._state.now()
        if text != self._shown or now_s - self._shown_s >= _REPEAT_S:
            self._shown, self._shown_s = text, now_s
            self._write(text)

    def remove(self) -> None:
        """Remove it, if it was shown."""
        if self._shown:
            with suppress(DlftaskError):
                self._write(REMOVED)
            self._shown = ""
