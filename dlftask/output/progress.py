"""``get --wait`` on a terminal: one line in place on standard error."""

from dlftask.output.screen import InPlaceView


class ProgressLine(InPlaceView):
    """What is waited for, and its progress. A failed write is ignored."""

    on_stderr = True

    def lines(self, width: int, height: int, *, final: bool = False) -> list[str]:  # noqa: ARG002
        """The line, cut to the width; there is never a final one."""
        text = f"dlftask: {self.spinner()} {self._state.summary()}  {self._state.elapsed}"
        return [self.shorten(text, width)]

    def close(self, *, keep: bool = False) -> None:  # noqa: ARG002
        """Erase the line: what follows shows more."""
        super().close()
