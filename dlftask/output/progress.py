"""``get --wait`` on a terminal: one line in place on standard error."""

from collections.abc import Callable

from dlftask.output.screen import InPlaceView
from dlftask.output.terminal_progress import TerminalProgress
from dlftask.output.view import WaitState
from dlftask.streams import Streams


class ProgressLine(InPlaceView):
    """What is waited for and how far it is. What cannot be written is dropped."""

    def __init__(
        self,
        state: WaitState,
        streams: Streams,
        *,
        tab: TerminalProgress | None = None,
        may_draw: Callable[[], bool] = lambda: True,
    ) -> None:
        super().__init__(
            state,
            streams,
            streams.log_raw,
            encoding=streams.err_encoding,
            tab=tab,
            may_draw=may_draw,
        )

    def lines(self, width: int, height: int, *, final: bool = False) -> list[str]:  # noqa: ARG002
        """The line, cut to the width."""
        sign = "" if final else f"{self.spinner()} "
        text = f"dlftask: {sign}{self._state.summary()}  {self._state.elapsed}"
        return [self.shorten(text, width)]

    def close(self, *, keep: bool = False) -> None:  # noqa: ARG002
        """Erase the line: what follows says more."""
        super().close()
