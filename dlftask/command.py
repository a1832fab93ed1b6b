"""One run of a command: poll or wait, show it, print the result, return an exit status."""

import os
import re
import shlex
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
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
from dlftask.output.log import ChangeLog, JsonLog, TaskLog
from dlftask.output.text import escape_controls, one_line, paint, style
from dlftask.output.view import View, WaitState
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
"""How long a write may hang after ``--timeout`` before it is checked."""

_SERVICE_OPTIONS = {
    key for key, option in OPTIONS.items() if option.group in ("Task", "Service", "Credentials")
}
"""The options that another command needs to use the same service."""

_MAX_IDS = 5
"""Maximum number of task IDs in the hint on how to see all."""


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
    """Run a command to its end and return its exit status.

    Raises ``Interrupted`` and the errors that concern the whole run: ``ConfigurationError``,
    ``OutputFailed``, ``BrokenOutput``. Errors of one task are written here.
    """
    query = None
    policy = WaitPolicy(
        wait=settings.wait,
        interval_s=settings.interval_s,
        max_outage_s=settings.max_outage_s,
        timeout_s=settings.timeout_s,
        began_s=command.began_s,
        fail_fast=settings.fail_fast,
        strict=settings.strict,
    )
    _end_stuck_writes(policy)
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
            task_ids = read_task_ids(task_ids, lambda: read_input(policy.until_s))
        except (WaitTimeout, Interrupted) as error:
            early_end = error  # the "-" stays among the IDs
        else:
            if not settings.demo:
                remember(task_ids, environ=settings.environ, home=settings.home)
        command = command._replace(task_ids=task_ids)
        return _Run(command, policy, client, streams, query).run(early_end)


def _end_stuck_writes(policy: WaitPolicy, status: ExitStatus = ExitStatus.TIMEOUT) -> None:
    """After ``--timeout``, end the process even if it hangs on a stream that nobody reads."""
    if policy.timeout_s is not None:
        end_stuck_process(policy.until_s + _LATE_S, status, writing_only=True)


@contextmanager
def _client(settings: Settings, streams: Streams) -> Iterator[Client]:
    """A client of the service, or of an embedded simulator for ``--demo``."""

    def log_lines(text: str) -> None:
        streams.log("\n".join(escape_controls(line) for line in text.splitlines()))

    trace = log_lines if settings.debug and not settings.quiet else None
    with ExitStack() as stack:
        if settings.demo:
            from dlftask.simulator import Simulator

            simulator = stack.enter_context(Simulator())
            settings = settings._replace(
                endpoint=simulator.endpoint,
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
    """Start an import with the request that a user would send."""
    body = b'{"path": "obs://demo/jobs.zip"}'
    response = client.service.call("POST", "jobs/import", body=body)
    return [read_json(response.body)["taskId"]]


class _Run:
    """A command whose client and task IDs are known."""

    def __init__(
        self,
        command: Command,
        policy: WaitPolicy,
        client: Client,
        streams: Streams,
        query: "Query | None",
    ) -> None:
        self._command = command
        self._policy = policy
        self._client = client
        self._streams = streams
        self._settings = settings = client.settings
        self._state = WaitState(command.task_ids, strict=settings.strict, began_s=command.began_s)
        self._options = RenderOptions(
            query=query,
            utc=settings.utc,
            strict=settings.strict,
            compact=settings.compact,
            unicode=streams.unicode,
            color=streams.color,
            width=streams.size()[0] if streams.out_is_terminal else None,
        )
        self._tall = False

    @property
    def _snapshots(self) -> list[Snapshot]:
        return list(self._state.snapshots.values())

    def run(self, early_end: WaitTimeout | Interrupted | None = None) -> ExitStatus:
        """Wait, print the result, write the reports and the messages.

        With ``early_end``, which came before the task IDs were known, no request is sent.
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
        if not isinstance(end, Interrupted):  # it has its own limit
            _end_stuck_writes(self._policy, status if end is None else end.exit_status)
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
        """Import what the end needs: hours later another version may be installed."""
        example = Task("0", Status.FAILED, subtasks=(Subtask("0", None, Status.FAILED),))
        for name in {self._settings.output, *(one.format for one in self._settings.reports)}:
            list(render(name, [Snapshot("0", example)], self._options._replace(query=None)))
        import dlftask.output.summary  # noqa: F401

    def _follow(self, early_end: WaitTimeout | Interrupted | None) -> None:
        """Poll and show, then print the result; without a result the last frame stays."""
        settings, state, policy = self._settings, self._state, self._policy
        task_ids = state.snapshots
        with ExitStack() as stack:
            view = self._view(policy.until_s, stack)
            changes = self._client.follow(task_ids, policy, note=view.note, tick_s=view.tick_s)
            if early_end is not None:
                changes = _ended(task_ids, early_end)
            view.tick()
            for changed in changes:
                if self._command.watches:
                    self._streams.check_reader()
                state.update(changed)
                view.show(changed)
                view.tick()
            # Before the drawing is erased: rendering a large tree takes time.
            result = self._result(view)
            view.close(keep=not any(result))
        cancel_end()  # the printing of a result is never cut short
        for piece in result:
            self._streams.write(piece, utf8=FORMATS[settings.output].utf8)

    def _view(self, until_s: float, stack: ExitStack) -> View:
        """Choose the view of the wait.

        A line of the result that nobody reads by ``until_s`` (monotonic) is dropped.
        """
        settings, streams, state = self._settings, self._streams, self._state
        output = settings.output if self._command.watches else None
        # A trace would be printed into the frames.
        in_place = settings.progress == "auto" and not settings.debug
        silent = settings.progress == "none" and output != "jsonl"
        if settings.quiet or silent or not settings.wait:
            return View(state, streams, notes=not settings.quiet)
        if output == "jsonl":
            write = partial(streams.write, utf8=True, until_s=until_s)
            heartbeat = settings.progress != "none"
            return JsonLog(state, streams, write, self._options, heartbeat=heartbeat)
        if output == "tree" and in_place and streams.can_redraw:
            from dlftask.output.live import LiveView

            return self._drawn(partial(LiveView, compact=settings.compact), 1, stack)
        if output == "tree":
            return ChangeLog(state, streams, partial(streams.write, until_s=until_s), self._options)
        if in_place and streams.err_can_redraw:
            from dlftask.output.progress import ProgressLine

            return self._drawn(ProgressLine, 2, stack)
        return TaskLog(state, streams, streams.log_raw, self._options)

    def _drawn(
        self, view_type: "Callable[..., InPlaceView]", descriptor: int, stack: ExitStack
    ) -> View:
        """A view drawn in place, which leaves its last frame unless it was closed before."""
        from dlftask.output.terminal_progress import shows_progress

        view = view_type(self._state, self._streams, tab=shows_progress(os.environ))
        stack.callback(view.close, keep=True)
        stack.enter_context(terminal_restored(view.restore, view.forget, descriptor=descriptor))
        return view

    def _result(self, view: View) -> list[str]:
        """The text of the result, in pieces; for ``watch`` only what was not printed before."""
        settings, streams = self._settings, self._streams
        snapshots = self._snapshots
        if settings.quiet or isinstance(view, JsonLog):
            return []
        if isinstance(view, ChangeLog) and not (settings.debug and streams.can_redraw):
            return []
        options = self._options._replace(now_ms=time.time_ns() // 1_000_000)
        if settings.output == "tree" and streams.out_is_terminal and not settings.compact:
            # Leave room for the last line and the next prompt.
            self._tall = not tree_fits(snapshots, options, streams.size()[1] - 2)
        if self._tall and self._command.watches:
            options = options._replace(compact=True)
        return list(render(settings.output, snapshots, options))

    def _write_reports(self, end: DlftaskError | Interrupted | None) -> bool:
        """Write the reports with the last known states; return whether one was not written."""
        if not self._settings.reports:
            return False
        from dlftask.output.reports import write_reports

        if isinstance(end, Interrupted):
            status = end.exit_status
            end = DlftaskError("no response before the run was interrupted", exit_status=status)
        reports, snapshots = self._settings.reports, self._snapshots
        errors = write_reports(reports, snapshots, self._options, unseen=end)
        for error in errors:
            write_error(error, self._streams)
        return bool(errors)

    def _summarize(self) -> None:
        """On a terminal, write a summary line where the tree does not show everything."""
        settings, snapshots = self._settings, self._snapshots
        watches, several = self._command.watches, self._state.several
        if settings.quiet or settings.output != "tree" or not self._streams.out_is_terminal:
            return
        is_unavailable = not several and snapshots[0].result is None
        if is_unavailable or not (watches or several or self._tall):
            return
        from dlftask.output.summary import summary

        text, status = summary(snapshots, strict=settings.strict)
        line = one_line(f"dlftask: {text}", self._streams.err_encoding)
        if self._streams.err_color and status is not None:
            line = paint(line, style(status))
        if watches and self._tall and not settings.demo:
            ids = list(self._state.snapshots)
            more = " ..." if len(ids) > _MAX_IDS else ""
            command = self._command_line("get", _SERVICE_OPTIONS, ids[:_MAX_IDS])
            line += f" (to see all: {command}{more})"
        self._streams.log(line)

    def _write_unfinished(self, end: DlftaskError | Interrupted | None) -> None:
        """Write the last state of tasks that have not ended, and how to resume the wait."""
        settings, keys, prefix = self._settings, set(OPTIONS), ""
        left = [snapshot for snapshot in self._snapshots if _is_unfinished(snapshot, end)]
        for snapshot in left:
            self._streams.log(
                f"dlftask: task {snapshot.task_id}: {self._state.state_text(snapshot, ', ')}"
            )
        if not left or settings.demo:
            return
        if any(snapshot.failed_fast for snapshot in left):
            keys.remove("fail_fast")
            switched_on = settings.environ.get("DLFTASK_FAIL_FAST")
            if switched_on or "fail_fast" in settings.profile.values:
                prefix = "DLFTASK_FAIL_FAST=0 "
        ids = [snapshot.task_id for snapshot in left]
        command = self._command_line(self._command.name, keys, ids)
        self._streams.log(f"dlftask: to resume: {prefix}{command}")

    def _command_line(self, name: str, keys: Collection[str], task_ids: Sequence[str]) -> str:
        """A command for some tasks, with the options among ``keys`` as they were given."""
        words = ["dlftask", name]
        for key, value in self._command.options.items():
            if key not in keys or value is None:
                continue
            for one in value if isinstance(value, list) else [value]:
                words.append(OPTIONS[key].name)
                if one is not True:
                    words.append(str(one))
        if any(re.match("-.", task_id) for task_id in task_ids):
            words.append("--")
        return shlex.join([*words, *task_ids])


def _ended(task_ids: Iterable[str], end: WaitTimeout | Interrupted) -> Iterator[list[Snapshot]]:
    """What ``Client.follow`` yields where the wait has ended before it began."""
    if isinstance(end, Interrupted):
        raise end
    yield [Snapshot(task_id, error=end, settled=True) for task_id in task_ids]


def _is_unfinished(snapshot: Snapshot, end: DlftaskError | Interrupted | None) -> bool:
    """Whether the wait for a task ended while the task may still be running."""
    if snapshot.task is not None:
        return snapshot.task.running and not isinstance(snapshot.error, TaskNotFound)
    # After an error of the run, the wait may never have begun.
    interrupted = isinstance(end, Interrupted) and not snapshot.settled
    return interrupted or isinstance(snapshot.error, WaitTimeout)
