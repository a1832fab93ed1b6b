"""The formats of a result: one registry, for ``--output`` and ``--report`` alike."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from dlftask.output.query import Query
    from dlftask.waiting.snapshot import Snapshot


class RenderOptions(NamedTuple):
    """How a result is to look. ``width`` is a terminal's in columns, ``None`` for anything else.

    ``now_ms`` is the wall clock's time, for what still runs on a terminal.
    """

    query: "Query | None" = None
    utc: bool = False
    strict: bool = False
    compact: bool = False
    unicode: bool = True
    color: bool = False
    width: int | None = None
    now_ms: int = 0


class Format(NamedTuple):
    """A format: ``utf8`` whatever the stream's encoding; ``shows_missing`` even of a single task.

    ``pieces`` imports its renderer when it is called.
    """

    pieces: Callable[[Sequence["Snapshot"], RenderOptions], Iterable[str]]
    utf8: bool = True
    shows_missing: bool = False


def _tree(snapshots: Sequence["Snapshot"], options: RenderOptions) -> Iterable[str]:
    if options.width is not None or options.color:
        from dlftask.output.rich_tree import render_rich_trees

        return [render_rich_trees(snapshots, options)]
    from dlftask.output.tree import render_trees

    return render_trees(snapshots, options)


def _json(snapshots: Sequence["Snapshot"], options: RenderOptions) -> Iterable[str]:
    from dlftask.output.data import render_json

    return [render_json(snapshots, options.query, terminal=options.width is not None)]


def _jsonl(snapshots: Sequence["Snapshot"], options: RenderOptions) -> Iterable[str]:
    from dlftask.output.data import render_jsonl

    return [render_jsonl(snapshots, options.query, terminal=options.width is not None)]


def _tsv(snapshots: Sequence["Snapshot"], _: RenderOptions) -> Iterable[str]:
    from dlftask.output.tsv import render_tsv

    return render_tsv(snapshots)


def _junit(snapshots: Sequence["Snapshot"], options: RenderOptions) -> Iterable[str]:
    from dlftask.output.junit import render_junit

    return render_junit(snapshots, strict=options.strict)


def _markdown(snapshots: Sequence["Snapshot"], options: RenderOptions) -> Iterable[str]:
    from dlftask.output.markdown import render_markdown

    return [render_markdown(snapshots, utc=options.utc)]


FORMATS: Mapping[str, Format] = {
    "tree": Format(_tree, utf8=False),
    "json": Format(_json),
    "jsonl": Format(_jsonl),
    "tsv": Format(_tsv),
    "junit": Format(_junit, shows_missing=True),
    "markdown": Format(_markdown),
}


def render(name: str, snapshots: Sequence["Snapshot"], options: RenderOptions) -> Iterator[str]:
    """The result in a format, in pieces; nothing for a single task that has none to show there."""
    if len(snapshots) == 1 and snapshots[0].result is None:
        # One that was seen, and that an outage then ended, prints nothing in any format.
        lost = snapshots[0].task is not None and _unavailable(snapshots[0])
        if lost or not FORMATS[name].shows_missing:
            return
    yield from FORMATS[name].pieces(snapshots, options)


def tree_fits(snapshots: "Sequence[Snapshot]", options: RenderOptions, rows: int) -> bool:
    """Whether the tasks' trees together take at most so many rows, wrapped as on the terminal."""
    from dlftask.output.tree import shown_subtasks

    tasks = [snapshot.result for snapshot in snapshots if snapshot.result is not None]
    if sum(1 + len(shown_subtasks(task, compact=options.compact)[0]) for task in tasks) > rows:
        return False  # Drawing thousands of lines only to count them would take a second.
    return sum(piece.count("\n") for piece in render("tree", snapshots, options)) <= rows


def _unavailable(snapshot: "Snapshot") -> bool:
    from dlftask.errors import ServiceUnavailable

    return isinstance(snapshot.error, ServiceUnavailable)
