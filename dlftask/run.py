"""One run of a command: ask or wait, show it, print the result, earn an exit status."""

import gc
import os
import shlex
import signal
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING, NamedTuple

from dlftask.client import Client
from dlftask.complaints import say_error
from dlftask.errors import (
    ConfigurationError,
    ExitStatus,
    Interrupted,
    SenselessAnswer,
    TaskNotFound,
    WaitTimedOut,
)
from dlftask.history import remember
from dlftask.output.text import visible
from dlftask.polling import Patience
from dlftask.settings import Settings
from dlftask.snapshot import Snapshot, overall_status
from dlftask.streams import Streams
from dlftask.task import KNOWN_STATUSES, Status

if TYPE_CHECKING:
    from dlftask.output.data import Query
    from dlftask.output.view import View


class Command(NamedTuple):
    """A command as it was given: ``options`` are its words, ``began_s`` is monotonic time."""

    name: str
    options: Sequence[str]
    task_ids: Sequence[str]
    began_s: float

    @property
    def watches(self) -> bool:
        """Whether the wait itself is what the user wants to see."""
        return self.name == "watch"

    def resumed(self, task_ids: Iterable[str]) -> str:
        """The command line that goes on waiting for some of its tasks."""
        words = ["dlftask", self.name, *self.options]
        ids = list(task_ids)
        if any(task_id.startswith("-") for task_id in ids):
            words.append("--")
        return shlex.join([*words, *ids])


def run(command: Command, settings: Settings, streams: Streams) -> ExitStatus:
    """Run a command to its end and give what its tasks earned.

    Raises ``ConfigurationError``, ``OutputFailed``, ``ReaderGone`` and ``Interrupted``: those are
    about the run. What goes wrong with a task is said here.
    """
    query = None
    if settings.query is not None:
        from dlftask.output.data import compile_query

        query = compile_query(settings.query)
    with _client(settings, streams) as client:
        if not settings.quiet:
            for warning in client.warnings:
                streams.say(f"dlftask: warning: {visible(warning)}")
        task_ids = command.task_ids or _start_demo_import(client)
        if not settings.demo:
            remember(task_ids, environ=settings.environ, home=settings.home)
        command = command._replace(task_ids=task_ids)
        snapshots = _follow(client, command, streams, query)
    settings = client.settings
    _print(snapshots, command, settings, streams, query)
    _say_errors(snapshots, streams)
    if settings.wait and not settings.quiet:
        ended_early = [snapshot for snapshot in snapshots if _ended_early(snapshot)]
        _say_unfinished(ended_early, command, settings, streams)
    return overall_status(snapshots, strict=settings.strict)


@contextmanager
def _client(settings: Settings, streams: Streams) -> Iterator[Client]:
    """A client of the service that is meant; of an embedded one for ``--demo``."""

    def trace(text: str) -> None:
        streams.say("\n".join(visible(line) for line in text.splitlines()))

    if not settings.demo:
        with Client(
            settings=settings, trace=trace if settings.debug and not settings.quiet else None
        ) as client:
            yield client
        return
    from dlftask.simulator import Simulator

    with Simulator() as simulator:
        embedded = settings._replace(
            endpoint=simulator.endpoint,
            iam_endpoint=simulator.iam_endpoint,
            project_id=simulator.project_id,
            origins={"endpoint": "--demo"},
            environ=simulator.environment(),
        )
        with Client(
            settings=embedded, trace=trace if settings.debug and not settings.quiet else None
        ) as client:
            yield client


def _start_demo_import(client: Client) -> list[str]:
    """Start an import as a user would, with the call that a user would make."""
    from dlftask.task import read_json

    body = b'{"path": "obs://demo/jobs.zip"}'
    reply = client.service.call("POST", "jobs/import", body=body)
    return [read_json(reply.body)["taskId"]]


def _follow(
    client: Client, command: Command, streams: Streams, query: "Query | None"
) -> list[Snapshot]:
    settings = client.settings
    patience = Patience(
        wait=settings.wait,
        interval_s=settings.interval_s,
        max_outage_s=settings.max_outage_s,
        timeout_s=settings.timeout_s,
        began_s=command.began_s,
    )
    if settings.wait or len(command.task_ids) > 1:
        # What was imported stays; what each question leaves behind does not.
        gc.freeze()
        gc.enable()
    view: View = _NoView()
    snapshots = {task_id: Snapshot(task_id) for task_id in command.task_ids}
    try:
        view = _view(command, settings, streams, query)
        news = client.follow(command.task_ids, patience, note=view.note, tick_s=view.tick_s)
        view.tick()
        for changed in news:
            if command.watches:
                streams.check_reader()
            snapshots.update((snapshot.task_id, snapshot) for snapshot in changed)
            if changed:
                view.show(changed)
            view.tick()
    except (Interrupted, ConfigurationError):
        view.close()
        if settings.wait and not settings.quiet:
            left = [snapshot for snapshot in snapshots.values() if not snapshot.settled]
            _say_unfinished(left, command, settings, streams)
        raise
    finally:
        view.close()
    return list(snapshots.values())


def _give_terminal_back() -> None:
    # Not through the streams: a signal may come in the middle of one of their writes.
    with suppress(OSError):
        os.write(1, b"\r\x1b[J\x1b[?7h\x1b[?25h")


def _leave(signal_number: int, _frame: FrameType | None) -> None:
    """A signal that ends the run as it would without us, but for the cursor."""
    _give_terminal_back()
    signal.signal(signal_number, signal.SIG_DFL)
    os.kill(os.getpid(), signal_number)


def _suspend(_signal_number: int, _frame: FrameType | None) -> None:
    """Ctrl-Z: the shell that comes back gets its cursor; ``fg`` goes on where the wait was."""
    _give_terminal_back()
    os.kill(os.getpid(), signal.SIGSTOP)
    os.write(1, b"\x1b[?25l")


class _NoView:
    """Nothing is shown: a plain ``get``, and ``--quiet``."""

    tick_s = 60.0

    def show(self, snapshots: Sequence[Snapshot]) -> None: ...

    def tick(self) -> None: ...

    def note(self, text: str) -> None: ...

    def close(self) -> None: ...


def _view(command: Command, settings: Settings, streams: Streams, query: "Query | None") -> "View":
    if settings.quiet or not settings.wait:
        return _NoView()
    ids, utc = command.task_ids, settings.utc
    if command.watches and settings.output == "jsonl":
        from dlftask.output.lines import JsonlView

        return JsonlView(ids, streams, query=query)
    # A trace between the frames would tear them apart: with one, a terminal gets lines too.
    if command.watches and settings.output == "tree" and streams.can_redraw and not settings.debug:
        from dlftask.output.live import LiveView

        signal.signal(signal.SIGTSTP, _suspend)
        for number in (signal.SIGHUP, signal.SIGQUIT):
            if signal.getsignal(number) is signal.SIG_DFL:  # not where nohup has it ignored
                signal.signal(number, _leave)
        return LiveView(ids, streams, compact=settings.compact)
    if command.watches and settings.output == "tree":
        from dlftask.output.lines import ChangesView

        return ChangesView(ids, streams, utc=utc)
    from dlftask.output.progress import Progress

    return Progress(ids, streams, utc=utc)


def _print(
    snapshots: Sequence[Snapshot],
    command: Command,
    settings: Settings,
    streams: Streams,
    query: "Query | None",
) -> None:
    """Print the result, unless it was printed as it came."""
    output = settings.output
    if settings.quiet or (command.watches and output == "jsonl"):
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
        if not command.watches or streams.can_redraw:
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


def _say_errors(snapshots: Iterable[Snapshot], streams: Streams) -> None:
    hints: set[str | None] = {None}
    for snapshot in snapshots:
        error = snapshot.error
        if error is None and snapshot.task and snapshot.task.status not in KNOWN_STATUSES:
            error = SenselessAnswer(
                f'unknown status "{snapshot.task.status}"',
                http_status=200,
                request_id=snapshot.task.request_id,
                hint="a newer dlftask may know it; -o json shows the whole answer",
            )
        if error is not None:
            say_error(error, streams, task_id=snapshot.task_id, hint=error.hint not in hints)
            hints.add(error.hint)


def _ended_early(snapshot: Snapshot) -> bool:
    """Whether a wait ended before its task did, though it may still go on."""
    if isinstance(snapshot.error, WaitTimedOut):
        return True
    return (
        snapshot.error is not None
        and snapshot.task is not None
        and not isinstance(snapshot.error, TaskNotFound)
    )


def _say_unfinished(
    snapshots: Sequence[Snapshot], command: Command, settings: Settings, streams: Streams
) -> None:
    """Say what is known of tasks that were not waited for to their end, and how to go on."""
    for snapshot in snapshots:
        streams.say(f"dlftask: task {snapshot.task_id}: {_last_known(snapshot)}")
    if snapshots and not settings.demo:
        left = (snapshot.task_id for snapshot in snapshots)
        streams.say(f"dlftask: to go on waiting: {command.resumed(left)}")


def _last_known(snapshot: Snapshot) -> str:
    task = snapshot.task
    if task is None:
        return "no answer yet"
    parts = len(task.subtasks)
    done = sum(part.status != Status.RUNNING for part in task.subtasks)
    return (
        f"{visible(task.status)}, {done} of {parts} parts done" if parts else visible(task.status)
    )


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
