"""The formats of a result: one registry, for ``--output`` and ``--report``."""

from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

from dlftask.errors import ServiceUnavailable

if TYPE_CHECKING:
    from dlftask.output.query import Query
    from dlftask.waiting.snapshot import Snapshot


class RenderOptions(NamedTuple):
    """How a result is rendered. ``width`` is a terminal's in columns, ``None`` for anything else.

    ``now_ms`` is the wall clock's time, for running tasks on a terminal.
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
    """A format: ``function`` of ``module`` yields it in pieces; the module is imported when needed.

    ``utf8`` is true where it is UTF-8 for any encoding of the stream, ``shows_missing`` where it
    shows a single task that is unavailable.
    """

    module: str
    function: str
    utf8: bool = True
    shows_missing: bool = False


FORMATS: Mapping[str, Format] = {
    "tree": Format("tree", "render_trees", utf8=False),
    "json": Format("data", "render_json"),
    "jsonl": Format("data", "render_jsonl"),
    "tsv": Format("tsv", "render_tsv"),
    "junit": Format("junit", "render_junit", shows_missing=True),
    "markdown": Format("markdown", "render_markdown"),
}


def render(name: str, snapshots: Sequence["Snapshot"], options: RenderOptions) -> Iterator[str]:
    """The result in a format, in pieces; empty for a single task that the format cannot show."""
    chosen = FORMATS[name]
    if len(snapshots) == 1 and snapshots[0].result is None:
        # A task that was seen before an outage ended its wait prints nothing in any format.
        seen, error = snapshots[0].task is not None, snapshots[0].error
        if (seen and isinstance(error, ServiceUnavailable)) or not chosen.shows_missing:
            return
    module = import_module(f"dlftask.output.{chosen.module}")
    yield from getattr(module, chosen.function)(snapshots, options)


def tree_fits(snapshots: "Sequence[Snapshot]", options: RenderOptions, rows: int) -> bool:
    """Whether the tasks' trees together fit into ``rows``, wrapped as on the terminal."""
    from dlftask.output.tree import shown_subtasks

    tasks = [snapshot.result for snapshot in snapshots if snapshot.result is not None]
    if sum(1 + len(shown_subtasks(task, compact=options.compact)[0]) for task in tasks) > rows:
        return False  # Drawing thousands of lines only to count them would take a second.
    return sum(piece.count("\n") for piece in render("tree", snapshots, options)) <= rows
