"""The result of a run on standard output, in the format asked for."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dlftask.output.formats import FORMATS, RenderOptions, render
from dlftask.settings import Settings
from dlftask.streams import Streams
from dlftask.waiting.snapshot import Snapshot

if TYPE_CHECKING:
    from dlftask.output.query import Query


def render_options(settings: Settings, streams: Streams, query: "Query | None") -> RenderOptions:
    """How a result looks on standard output."""
    return RenderOptions(
        query=query,
        utc=settings.utc,
        strict=settings.strict,
        compact=settings.compact,
        unicode=streams.unicode,
        color=streams.color,
        width=streams.size()[0] if streams.out_is_terminal else None,
        now_ms=time.time_ns() // 1_000_000,
    )


def print_result(
    snapshots: Sequence[Snapshot],
    settings: Settings,
    streams: Streams,
    *,
    watched: bool,
    query: "Query | None",
) -> None:
    """Print the result in the format asked for, unless it was printed as it came (``watched``).

    Raises ``OutputFailed`` and ``BrokenOutput``.
    """
    output = settings.output
    printed = watched and (output == "jsonl" or (output == "tree" and not streams.can_redraw))
    if settings.quiet or printed:
        return
    write = streams.write_utf8 if FORMATS[output].utf8 else streams.write
    for piece in render(output, snapshots, render_options(settings, streams, query)):
        write(piece)
