"""One run of a command: ask or wait, show it, print the result, earn an exit status."""

import gc
import os
import shlex
import signal
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from typing import TYPE_CHECKING, NamedTuple

from dlftask.api.client import Client
from dlftask.errors import (
    ConfigurationError,
    ExitStatus,
    Interrupted,
    OutputFailed,
    TaskNotFound,
    WaitTimeout,
)
from dlftask.history import remember
from dlftask.messages import write_errors
from dlftask.output.result import print_result
from dlftask.output.subtasks import known_state
from dlftask.output.text import escape_controls
from dlftask.settings import Settings
from dlftask.signals import handed_back_on_signals
from dlftask.streams import Streams
from dlftask.waiting.policy import WaitPolicy
from dlftask.waiting.snapshot import Snapshot, overall_status

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

    Raises ``ConfigurationError``, ``OutputFailed``, ``BrokenOutput`` and ``Interrupted``: those are
    about the run. What goes wrong with a task is said here.
    """
    query = None
    if settings.query is not None:
        from dlftask.output.data import compile_query

        query = compile_query(settings.query)
    with _client(settings, streams) as client:
        if not settings.quiet:
            for warning in client.warnings:
                streams.log(f"dlftask: warning: {escape_controls(warning)}")
        task_ids = command.task_ids or _start_demo_import(client)
        if not settings.demo:
            remember(task_ids, environ=settings.environ, home=settings.home)
        command = command._replace(task_ids=task_ids)
        drawn = _draws(command, settings, streams)
        with handed_back_on_signals() if drawn else nullcontext():
            snapshots = _follow(client, command, streams, query)
    settings = client.settings
    print_result(snapshots, settings, streams, watched=command.watches, query=query)
    write_errors(snapshots, streams)
    if settings.wait and not settings.quiet:
        ended_early = [snapshot for snapshot in snapshots if _ended_early(snapshot)]
        _say_unfinished(ended_early, command, settings, streams)
    return overall_status(snapshots, strict=settings.strict)


@contextmanager
def _client(settings: Settings, streams: Streams) -> Iterator[Client]:
    """A client of the service that is meant; of an embedded one for ``--demo``."""

    def say_each_line(text: str) -> None:
        streams.log("\n".join(escape_controls(line) for line in text.splitlines()))

    trace = say_each_line if settings.debug and not settings.quiet else None
    with ExitStack() as stack:
        if settings.demo:
            from dlftask.simulator import Simulator

            simulator = stack.enter_context(Simulator())
            settings = settings._replace(
                endpoint=simulator.endpoint,
                iam_endpoint=simulator.iam_endpoint,
                project_id=simulator.project_id,
                origins={"endpoint": "--demo"},
                environ=simulator.environment(),
            )
        yield stack.enter_context(Client(settings=settings, trace=trace))


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
    policy = WaitPolicy(
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
    if settings.timeout_s is not None:
        # A stream that nobody reads holds up whoever writes to it, and would hold up the time-out.
        signal.signal(signal.SIGALRM, lambda *_: os._exit(ExitStatus.TIMEOUT))
        signal.setitimer(signal.ITIMER_REAL, max(0.0, policy.until_s - time.monotonic()) + 0.9)
    view: View = _NoView()
    snapshots = {task_id: Snapshot(task_id) for task_id in command.task_ids}
    try:
        view = _view(command, settings, streams, query)
        news = client.follow(command.task_ids, policy, note=view.note, tick_s=view.tick_s)
        view.tick()
        for changed in news:
            if command.watches:
                streams.check_reader()
            snapshots.update((snapshot.task_id, snapshot) for snapshot in changed)
            if changed:
                view.show(changed)
            view.tick()
    except (Interrupted, ConfigurationError, OutputFailed) as end:
        view.close()
        if settings.wait and not settings.quiet:
            left = [snapshot for snapshot in snapshots.values() if not snapshot.settled]
            if not isinstance(end, Interrupted):  # else it may never have begun
                left = [snapshot for snapshot in left if snapshot.task is not None]
            _say_unfinished(left, command, settings, streams)
        raise
    finally:
        view.close()
    signal.setitimer(signal.ITIMER_REAL, 0.0)
    return list(snapshots.values())


class _NoView:
    """Nothing is shown: a plain ``get``, and ``--quiet``."""

    tick_s = 60.0

    def show(self, snapshots: Sequence[Snapshot]) -> None: ...

    def tick(self) -> None: ...

    def note(self, text: str) -> None: ...

    def close(self) -> None: ...


def _draws(command: Command, settings: Settings, streams: Streams) -> bool:
    """Whether the wait is drawn in place."""
    # A trace between the frames would tear them apart: with one, a terminal gets lines too.
    drawn = command.watches and settings.output == "tree" and streams.can_redraw
    return drawn and not (settings.debug or settings.quiet)


def _view(command: Command, settings: Settings, streams: Streams, query: "Query | None") -> "View":
    if settings.quiet or not settings.wait:
        return _NoView()
    ids, utc = command.task_ids, settings.utc
    if command.watches and settings.output == "jsonl":
        from dlftask.output.log import JsonlView

        return JsonlView(ids, streams, query=query)
    if _draws(command, settings, streams):
        from dlftask.output.live import LiveView

        return LiveView(ids, streams, compact=settings.compact)
    if command.watches and settings.output == "tree":
        from dlftask.output.log import ChangesView

        return ChangesView(ids, streams, utc=utc)
    from dlftask.output.progress import Progress

    return Progress(ids, streams, utc=utc)


def _ended_early(snapshot: Snapshot) -> bool:
    """Whether a wait ended before its task did, though it may still go on."""
    if isinstance(snapshot.error, WaitTimeout):
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
        streams.log(f"dlftask: task {snapshot.task_id}: {known_state(snapshot.task)}")
    if snapshots and not settings.demo:
        left = (snapshot.task_id for snapshot in snapshots)
        streams.log(f"dlftask: to go on waiting: {command.resumed(left)}")
