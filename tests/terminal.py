"""A real pseudo-terminal, read through a terminal emulator."""

import fcntl
import os
import select
import struct
import termios
import tty
from typing import Self

import pyte

from dlftask.streams import Streams


class Terminal:
    """A terminal of a size: ``streams`` writes to it, ``lines`` is its screen."""

    def __init__(
        self, rows: int = 24, columns: int = 80, *, color: str = "never", encoding: str = "utf-8"
    ) -> None:
        self._master, slave = os.openpty()
        tty.setraw(slave)
        self._slave = os.fdopen(slave, "w", encoding=encoding)
        self.screen = pyte.HistoryScreen(columns, rows, history=10_000, ratio=1)
        self._emulator = pyte.ByteStream(self.screen)
        self.resize(rows, columns)
        self.streams = Streams(
            self._slave, self._slave, color=color, environ={"TERM": "xterm-256color"}
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._slave.close()
        os.close(self._master)

    def resize(self, rows: int, columns: int) -> None:
        size = struct.pack("HHHH", rows, columns, 0, 0)
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, size)
        self.screen.resize(rows, columns)

    def read(self) -> bytes:
        """What was written since the last call, shown on the screen too."""
        data = b""
        while select.select([self._master], [], [], 0)[0]:
            data += os.read(self._master, 65536)
        self._emulator.feed(data)
        return data

    @property
    def lines(self) -> list[str]:
        """The screen's lines down to the last one that is not empty."""
        self.read()
        return "\n".join(line.rstrip() for line in self.screen.display).rstrip("\n").split("\n")

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    @property
    def scrolled_off(self) -> list[str]:
        """The lines of the scroll-back above the screen."""
        self.read()
        return [
            "".join(line[column].data for column in range(self.screen.columns)).rstrip()
            for line in self.screen.history.top
        ]

    @property
    def cursor_hidden(self) -> bool:
        self.read()
        return self.screen.cursor.hidden
