"""One run of a command: ask or wait, show it, print the result, return an exit status."""

import os
import re
import shlex
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from dlftask.api.client import Client
from dlftask.errors import (
    BrokenOutput,
    DlftaskError,
    ExitStatus,
    Interrupted,
    TaskNotFound,
    WaitTimeout,
)
from dlftask.history import remember
from dlftask.messages import write_error, write_errors, write_warning
from dlftask.options import OPTIONS
from dlftask.output.formats import FORMATS, RenderOptions, render, tree_fits
from dlftask.output.subtasks import known_state
from dlftask.output.text import escape_controls, one_line, paint, style
from dlftask.output.view import View, WaitState
from dlftask.platforms import in_foreground
from dlftask.settings import Settings
from dlftask.signals import cancel_end, end_stuck_process, terminal_restored
from dlftask.streams import Streams, read_input
from dlftask.task import Status, Subtask, Task, read_json
from dlftask.task_ids import read_task_ids
from dlftask.waiting.policy import WaitPolicy
from dlftask.waiting.snapshot import Snapshot, overall_status

if TYPE_CHECKING:
    from dlftask.output.query import Query
    from dlftask.output.screen import InPlaceView


_LATE_S = 0.3
"""After ``--timeout``, how long a write may hang before it is looked at."""

_SERVICE_OPTIONS = {
    key for key, option in OPTIONS.items() if option.group in ("Task", "Service", "Credentials")
}
"""The options without which another command would ask another service."""

_MOST_IDS = 5
"""How many task IDs the hint on how to see all repeats, at most."""


class Command(NamedTuple):
    """A command as it was given: ``options`` by key, ``began_s`` in monotonic time."""

    name: str
    options: Mapping[str, object]
    task_ids: Sequence[str]
    began_s: float

    @property
    def watches(self) -> bool:
        """Whether the wait itself is what the user wants to see."""
        return self.name == "watch"


def run(command: Command, settings: Settings, streams: Streams) -> ExitStatus:
    """Run a command to its end; its exit status.

    Raises ``Interrupted`` and the errors that concern the whole run: ``ConfigurationError``,
    ``OutputFailed``, ``BrokenOutput``. Errors of one task are written here.
    """
    query = None
    _end_stuck_writes(command, settings)
    if settings.query is not None:
        from dlftask.output.query import Query

        query = Query(settings.query)
    if settings.reports:
        from dlftask.output.reports import check_report_paths

        check_report_paths(settings.reports)
    with _client(settings, streams) as client:
        if not settings.quiet:
            for warning in client.warnings:
                write_warning(warning, streams)
        task_ids = command.task_ids or _start_demo_import(client)
        early_end = None
        try:
            task_ids = read_task_ids(task_ids, lambda: read_input(_until_s(command, settings)))
        except (WaitTimeout, Interrupted) as error:
            early_end = error  # and the "-" stays among the IDs
        else:
            if not settings.demo:
                remember(task_ids, environ=settings.environ, home=settings.home)
        return _Run(command._replace(task_ids=task_ids), client, streams, query).run(early_end)


def _until_s(command: Command, settings: Settings) -> float:
    """When ``--timeout`` runs out, in monotonic time."""
    return float("inf") if settings.timeout_s is None else command.began_s + settings.timeout_s


def _end_stuck_writes(
    command: Command, settings: Settings, status: ExitStatus = ExitStatus.TIMEOUT
) -> None:
    """Let a stream that nobody reads hold up the end for a moment at most."""
    if settings.timeout_s is not None:
        until_s = _until_s(command, settings)
        end_stuck_process(until_s + _LATE_S, status, writing_only=True)


@contextmanager
def _client(settings: Settings, streams: Streams) -> Iterator[Client]:
    """A client of the service; of an embedded one for ``--demo``."""

    def log_lines(text: str) -> None:
        streams.log("\n".join(escape_controls(line) for line in text.splitlines()))

    trace = log_lines if settings.debug and not settings.quiet else None
    with ExitStack() as stack:
        if settings.demo:
            from dlftask.simulator import Simulator

            simulator = stack.enter_context(Simulator())
            settings = settings._replace(
                endpoint=simulator.endpoint,
                iam_endpoint=simulator.endpoint,
                project_id=simulator.project_id,
                origins={"endpoint": "--demo"},
                environ=simulator.environment(),
            )
        client = Client(settings=settings, trace=trace, connects_early=True)
        stack.callback(client.close, wait=False)  # the process ends, and its threads with it
        if trace is not None:
            trace(client.description)
        yield client


def _start_demo_import(client: Client) -> list[str]:
    """Start an import as a user would, with the call that a user would make."""
    body = b'{"path": "obs://demo/jobs.zip"}'
    response = client.service.call("POST", "jobs/import", body=body)
    return [read_json(response.body)["taskId"]]


class _Run:
    """A command whose client and task IDs are known."""

    def __init__(
        self, command: Command, client: Client, streams: Streams, query: "Query | None"
    ) -> None:
        self._command = command
        self._client = client
        self._streams = streams
        self._settings = settings = client.settings
        self._state = WaitState(command.task_ids, began_s=command.began_s)
        self._options = RenderOptions(
            query=query,
            utc=settings.utc,
            strict=settings.strict,
            compact=settings.compact,
            unicode=streams.unicode,
            color=streams.color,
            width=streams.size()[0] if streams.out_is_terminal else None,
        )
        self._shows = self._shown_while_waiting()
        self._tall = False

    def _shown_while_waiting(self) -> str:
        """What shows the wait: the one place that decides.

        On standard output ``tree`` in place, or lines: ``changes`` or ``jsonl``; on standard error
        ``line`` in place, or ``lines``; or ``nothing``.
        """
        settings, streams = self._settings, self._streams
        output = settings.output if self._command.watches else None
        # A trace between the frames would tear them apart.
        in_place = settings.progress == "auto" and not settings.debug
        if settings.quiet or not settings.wait:
            return "nothing"
        if output == "jsonl":
            return "jsonl"
        if output == "tree" and in_place and streams.can_redraw:
            return "tree"
        if settings.progress == "none":
            return "nothing"
        if output == "tree":
            return "changes"
        return "line" if in_place and streams.err_can_redraw else "lines"

    @property
    def _snapshots(self) -> list[Snapshot]:
        return list(self._state.snapshots.values())

    def run(self, early_end: WaitTimeout | Interrupted | None = None) -> ExitStatus:
        """Wait, print the result, write the reports and the messages.

        With ``early_end``, which came before the task IDs were known, nothing is asked.
        """
        settings = self._settings
        if settings.wait:
            self._preload()
        end: DlftaskError | Interrupted | None = None
        try:
            self._follow(early_end)
        except (DlftaskError, Interrupted) as error:
            end = error
        status = overall_status(self._snapshots, strict=settings.strict)
        if not isinstance(end, Interrupted):  # that one has its own limit
            _end_stuck_writes(self._command, settings, status if end is None else end.exit_status)
        unwritten = self._write_reports(end)
        if end is None or isinstance(end, Interrupted):
            write_errors(self._snapshots, self._streams)
        if end is None:
            self._summarize()
        if settings.wait and not settings.quiet and not isinstance(end, BrokenOutput):
            self._write_unfinished(end)
        if end is not None:
            raise end
        return ExitStatus.OUTPUT_FAILED if unwritten and status == 0 else status

    def _preload(self) -> None:
        """Load what the end needs: hours later the installation may be another one."""
        example = Task("0", Status.FAILED, subtasks=(Subtask("0", None, Status.FAILED),))
        for name in {self._settings.output, *(one.format for one in self._settings.reports)}:
            list(render(name, [Snapshot("0", example)], self._options._replace(query=None)))
        import dlftask.output.summary  # noqa: F401

    def _follow(self, early_end: WaitTimeout | Interrupted | None) -> None:
        """Poll and show, then print the result; the last frame stays where there is no result."""
        settings, state = self._settings, self._state
        policy = WaitPolicy(
            wait=settings.wait,
            interval_s=settings.interval_s,
            max_outage_s=settings.max_outage_s,
            timeout_s=settings.timeout_s,
            began_s=self._command.began_s,
            fail_fast=settings.fail_fast,
            strict=settings.strict,
        )
        with self._view(policy.until_s) as view:
            task_ids = self._command.task_ids
            changes = self._client.follow(task_ids, policy, note=view.note, tick_s=view.tick_s)
            if early_end is not None:
                changes = _ended(task_ids, early_end)
            view.tick()
            for changed in changes:
                if self._command.watches:
                    self._streams.check_reader()
                state.update(changed)
                if changed:
                    view.show(changed)
                view.tick()
            # Before the drawing is wiped: a large tree takes its time.
            result = self._result()
            view.close(keep=not result)
        cancel_end()  # the printing of a result is never cut short
        for piece in result:
            self._streams.write(piece, utf8=FORMATS[settings.output].utf8)

    @contextmanager
    def _view(self, until_s: float) -> Iterator[View]:
        """What shows the wait; closed with its last frame where no result follows."""
        if self._shows not in ("tree", "line"):
            yield self._lines_view(until_s)
            return
        view = self._in_place_view()
        descriptor = 1 if self._shows == "tree" else 2
        try:
            with terminal_restored(view.restore, view.forget, descriptor=descriptor):
                yield view
        finally:
            view.close(keep=True)

    def _in_place_view(self) -> "InPlaceView":
        from dlftask.output.terminal_progress import TerminalProgress, shows_progress

        state, streams = self._state, self._streams
        write = streams.write if self._shows == "tree" else streams.log_raw
        tab = TerminalProgress(state, write) if shows_progress(os.environ) else None
        if self._shows == "tree":
            from dlftask.output.live import LiveView

            compact = self._settings.compact
            return LiveView(state, streams, compact=compact, tab=tab, may_draw=in_foreground)
        from dlftask.output.progress import ProgressLine

        return ProgressLine(state, streams, tab=tab, may_draw=in_foreground)

    def _lines_view(self, until_s: float) -> View:
        from dlftask.output import log

        settings, streams, state = self._settings, self._streams, self._state
        write: Callable[[str], object]
        if self._shows == "nothing":
            return log.Silent(streams, notes=not settings.quiet)
        if self._shows == "jsonl":
            write = partial(streams.write, utf8=True, until_s=until_s)
            heartbeat = settings.progress != "none"
            return log.JsonLog(state, streams, write, self._options, heartbeat=heartbeat)
        if self._shows == "changes":
            write = partial(streams.write, until_s=until_s)
            return log.ChangeLog(state, streams, write, self._options)
        return log.TaskLog(state, streams, streams.log_raw, self._options)

    def _result(self) -> list[str]:
        """The text of the result, in pieces; of ``watch`` only what was not printed as it came."""
        settings, streams = self._settings, self._streams
        snapshots = self._snapshots
        if settings.quiet or self._shows == "jsonl":
            return []
        if self._shows == "changes" and not (settings.debug and streams.can_redraw):
            return []
        options = self._options._replace(now_ms=time.time_ns() // 1_000_000)
        if settings.output == "tree" and streams.out_is_terminal and not settings.compact:
            # With the last line and the next prompt.
            self._tall = not tree_fits(snapshots, options, streams.size()[1] - 2)
        if self._tall and self._command.watches:
            options = options._replace(compact=True)
        return list(render(settings.output, snapshots, options))

    def _write_reports(self, end: DlftaskError | Interrupted | None) -> bool:
        """Write the reports with the last known states; whether one could not be written."""
        if not self._settings.reports:
            return False
        from dlftask.output.reports import write_reports

        snapshots = self._snapshots
        if end is not None:
            # A task that was never seen has an error.
            error = NoResponse(end) if isinstance(end, Interrupted) else end
            snapshots = [
                snapshot if snapshot.task or snapshot.error else replace(snapshot, error=error)
                for snapshot in snapshots
            ]
        errors = write_reports(self._settings.reports, snapshots, self._options)
        for error in errors:
            write_error(error, self._streams)
        return bool(errors)

    def _summarize(self) -> None:
        """On a terminal, end with a line on how it ended, where the tree does not show it all."""
        settings, snapshots = self._settings, self._snapshots
        watches, several = self._command.watches, self._state.several
        if settings.quiet or settings.output != "tree" or not self._streams.out_is_terminal:
            return
        is_lost = not several and snapshots[0].result is None
        if is_lost or not (watches or several or self._tall):
            return
        from dlftask.output.summary import summary

        text, status = summary(snapshots, strict=settings.strict)
        line = one_line(f"dlftask: {text}", self._streams.err_encoding)
        if self._streams.err_color and status is not None:
            line = paint(line, style(status))
        if watches and self._tall and not settings.demo:
            ids = list(self._state.snapshots)
            more = " ..." if len(ids) > _MOST_IDS else ""
            command = self._command_line("get", _SERVICE_OPTIONS, ids[:_MOST_IDS])
            line += f" (to see all: {command}{more})"
        self._streams.log(line)

    def _write_unfinished(self, end: DlftaskError | Interrupted | None) -> None:
        """Write what is known of tasks whose wait ended before they did, and how to resume."""
        left = [snapshot for snapshot in self._snapshots if _is_unfinished(snapshot, end)]
        for snapshot in left:
            self._streams.log(f"dlftask: task {snapshot.task_id}: {known_state(snapshot.task)}")
        if left and not self._settings.demo:
            self._streams.log(f"dlftask: to resume: {self._command_to_resume(left)}")

    def _command_to_resume(self, left: list[Snapshot]) -> str:
        """The command line that waits for some of the tasks again, but not to fail fast again."""
        keys, prefix = set(OPTIONS), ""
        if any(snapshot.failed_fast for snapshot in left):
            keys.remove("fail_fast")
            switched_on = self._settings.environ.get("DLFTASK_FAIL_FAST")
            if switched_on or "fail_fast" in self._settings.profile.values:
                prefix = "DLFTASK_FAIL_FAST=0 "
        ids = [snapshot.task_id for snapshot in left]
        return prefix + self._command_line(self._command.name, keys, ids)

    def _command_line(self, name: str, keys: Collection[str], task_ids: Sequence[str]) -> str:
        """A command for some tasks, with the options among ``keys`` as they were given."""
        options = [
            word
            for key, value in self._command.options.items()
            if key in keys
            for word in _words(OPTIONS[key].name, value)
        ]
        end = ["--"] if any(re.match("-.", task_id) for task_id in task_ids) else []
        return shlex.join(["dlftask", name, *options, *end, *task_ids])


def _words(name: str, value: object) -> list[str]:
    """An option as it would be typed."""
    if value is None or value is False:
        return []
    if value is True:
        return [name]
    values = value if isinstance(value, list) else [value]
    return [word for one in values for word in (name, str(one))]


def _ended(task_ids: Sequence[str], end: WaitTimeout | Interrupted) -> Iterator[list[Snapshot]]:
    """What ``Client.follow`` gives where the wait has ended before it began."""
    if isinstance(end, Interrupted):
        raise end
    yield [Snapshot(task_id, error=end, settled=True) for task_id in task_ids]


class NoResponse(DlftaskError):
    """In a report: a signal ended the run before the task was seen."""

    def __init__(self, end: Interrupted) -> None:
        super().__init__("no response before the run was interrupted")
        self.exit_status = end.exit_status


def _is_unfinished(snapshot: Snapshot, end: DlftaskError | Interrupted | None) -> bool:
    """Whether a wait ended before its task did, though it may still go on."""
    if end is not None:
        # After an error, the wait may never have begun.
        has_begun = snapshot.task is not None or isinstance(end, Interrupted)
        return has_begun and not snapshot.settled
    if isinstance(snapshot.error, WaitTimeout):
        return True
    if snapshot.task is None:
        return False
    if snapshot.failed_fast:
        return snapshot.task.running
    return snapshot.error is not None and not isinstance(snapshot.error, TaskNotFound)
