"""The result of a run on standard output, in the format asked for."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dlftask.settings import Settings
from dlftask.streams import Streams
from dlftask.waiting.snapshot import Snapshot

if TYPE_CHECKING:
    from dlftask.output.data import Query


def print_result(
    snapshots: Sequence[Snapshot],
    settings: Settings,
    streams: Streams,
    *,
    watched: bool,
    query: "Query | None",
) -> None:
    """Print the result in the format asked for, unless it was printed as it came (``watched``).

    A single task that could not be had prints nothing, but in junit. Raises ``OutputFailed`` and
    ``BrokenOutput``.
    """
    output = settings.output
    if settings.quiet or (watched and output == "jsonl"):
        return
    if output == "junit":
        from dlftask.output.junit import render_junit

        for piece in render_junit(snapshots, strict=settings.strict):
            streams.write_utf8(piece)
        return
    tasks = [snapshot.result for snapshot in snapshots if snapshot.result is not None]
    if len(snapshots) == 1 and not tasks:
        return
    if output == "tree":
        if not watched or streams.can_redraw:
            _print_trees(snapshots, settings, streams)
        return
    from dlftask.output import data

    terminal = streams.out_is_terminal
    if output == "json":
        streams.write_utf8(data.render_json(snapshots, query, terminal=terminal))
    elif output == "jsonl":
        streams.write_utf8(data.render_jsonl(snapshots, query, terminal=terminal))
    else:
        streams.write_utf8(data.render_tsv(snapshots))


def _print_trees(snapshots: Sequence[Snapshot], settings: Settings, streams: Streams) -> None:
    if streams.out_is_terminal or streams.color:
        from dlftask.output.rich_tree import print_trees

        print_trees(snapshots, streams, utc=settings.utc, compact=settings.compact)
        return
    from dlftask.output.tree import tree_lines

    lines = (
        line
        for snapshot in snapshots
        if snapshot.result is not None
        for line in tree_lines(
            snapshot.result,
            utc=settings.utc,
            compact=settings.compact,
            unicode=streams.unicode,
            asked=snapshot.task_id,
        )
    )
    streams.write("".join(f"{line}\n" for line in lines))
