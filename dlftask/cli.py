"""The two commands. The only room that knows Typer."""

import inspect
from collections.abc import Callable
from typing import Annotated, Any, NoReturn, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup

from dlftask import __version__
from dlftask.errors import ConfigurationError, ExitStatus
from dlftask.settings import AUTH_METHODS, COLORS, OUTPUTS, option_name

# Typer hands this class on, by way of click or of its own copy of it, but does not name it.
_UsageError: type[Exception] = typer.BadParameter.__mro__[1]

_Command = TypeVar("_Command", bound=Callable[..., None])

_GET_EXAMPLES = """\
  dlftask get 008aae2e675d3bcb01675d3c66f20000     what became of this task?
  dlftask get --wait --timeout 2h -o json ID       wait for its end, in a script
  dlftask get --demo 008aae2e675d3bcb01675d3e6b960004   try it, without an account
"""
_WATCH_EXAMPLES = """\
  dlftask watch 008aae2e675d3bcb01675d3c66f20000   see it run, until it has ended
  curl ... /jobs/import | dlftask watch --strict -   follow what was just started
  dlftask watch --demo                             try it: no account needed
"""
_TASK_IDS = (
    "1 to 128 of A-Z a-z 0-9 _ - each; - reads IDs from standard input: split by white space, or "
    "JSON such as the import call answers"
)
_EXAMPLES = """\
  dlftask get ID             what became of this task?
  dlftask get --wait ID      wait for its end, then say
  dlftask watch --demo       see an import run: no account needed
"""
_STATUSES = """\
   0  every task is SUCCESSFUL (or WARNING, without --strict)
   1  a task is FAILED (or WARNING, with --strict)
   2  usage or configuration: bad option, no project ID, no credentials
   3  a task is still RUNNING (get without --wait)
   4  a task does not exist
   5  credentials refused
   6  the service could not be reached or did not work
   7  an answer that makes no sense, or an unknown status
   8  the output could not be written
 124  --timeout ran out
 130  interrupted (SIGINT); 143 terminated (SIGTERM); 141 the reader went away
Of several tasks the first of 5, 6, 7, 4, 1, 124, 3, 0 that any of them earned.
"""


def _write_help(command: Any, ctx: Any, formatter: Any, examples: str) -> None:
    """Help that leads with examples, groups the options and ends with the exit statuses."""
    formatter.write(f"{command.help}\n\nExamples:\n{examples}\n")
    command.format_usage(ctx, formatter)
    _write_arguments(command, formatter)
    _write_options(command, ctx, formatter)
    formatter.write(f"\nExit status:\n{_STATUSES}")


def _write_arguments(command: Any, formatter: Any) -> None:
    if isinstance(command, TyperGroup):
        formatter.write("\nCommands:\n")
        rows = [(name, found.help) for name, found in command.commands.items()]
        formatter.write("".join(f"  {name:<6} {text}\n" for name, text in rows))
    else:
        with formatter.section("Tasks"):
            formatter.write_dl([("TASK_ID...", _TASK_IDS)])


def _write_options(command: Any, ctx: Any, formatter: Any) -> None:
    groups: dict[str, list[tuple[str, str]]] = {}
    for param in command.get_params(ctx):
        record = param.get_help_record(ctx)
        if record is not None and param.param_type_name == "option":
            groups.setdefault(getattr(param, "rich_help_panel", None) or "Help", []).append(record)
    for title in _GROUPS:
        if title in groups:
            with formatter.section(title):
                formatter.write_dl(groups[title])


class _Helpful:
    """Help by our own stream: what Typer prints with ends badly where nothing can be printed."""

    examples: str

    def format_help(self, ctx: Any, formatter: Any) -> None:
        _write_help(self, ctx, formatter, self.examples)

    def get_help(self, ctx: Any) -> NoReturn:
        _print_help(ctx)
        raise typer.Exit


class _Get(_Helpful, TyperCommand):
    examples = _GET_EXAMPLES


class _Watch(_Helpful, TyperCommand):
    examples = _WATCH_EXAMPLES


class _Group(_Helpful, TyperGroup):
    examples = _EXAMPLES


def _print_help(ctx: Any) -> None:
    from dlftask.streams import Streams

    formatter = ctx.make_formatter()
    ctx.command.format_help(ctx, formatter)
    Streams().write(formatter.getvalue())


def _option(*names: str, group: str, text: str, metavar: str | None = None) -> Any:
    return typer.Option(*names, help=text, metavar=metavar, rich_help_panel=group)


_TASK, _SERVICE, _ACCESS = "Which task", "Which service", "Credentials"
_WAITING, _OUTPUT = "Waiting", "Output"
_GROUPS = (_TASK, _WAITING, _OUTPUT, _SERVICE, _ACCESS, "Help")


def _shared(
    *,
    project_id: Annotated[
        str | None,
        _option(
            "-p",
            "--project-id",
            group=_TASK,
            metavar="ID",
            text="Project of the task; else looked up by region. [DLFTASK_PROJECT_ID]",
        ),
    ] = None,
    workspace: Annotated[
        str | None,
        _option(
            "--workspace",
            group=_TASK,
            metavar="ID",
            text="Workspace of the task; else the default one. [DLFTASK_WORKSPACE]",
        ),
    ] = None,
    demo: Annotated[
        bool | None,
        _option(
            "--demo",
            group=_TASK,
            text="Ask an embedded simulator: no account, no network. Without a TASK_ID it starts "
            "an import and waits for it.",
        ),
    ] = None,
    region: Annotated[
        str | None,
        _option(
            "-r",
            "--region",
            group=_SERVICE,
            metavar="NAME",
            text="Region, which selects the endpoint. [DLFTASK_REGION]",
        ),
    ] = None,
    endpoint: Annotated[
        str | None,
        _option(
            "--endpoint",
            group=_SERVICE,
            metavar="URL",
            text="The service itself. [DLFTASK_ENDPOINT]",
        ),
    ] = None,
    iam_endpoint: Annotated[
        str | None,
        _option(
            "--iam-endpoint",
            group=_SERVICE,
            metavar="URL",
            text="Where a project ID is looked up. [DLFTASK_IAM_ENDPOINT]",
        ),
    ] = None,
    connect_timeout: Annotated[
        str | None,
        _option(
            "--connect-timeout",
            group=_SERVICE,
            metavar="DURATION",
            text="Longest way to a connection; 5s. [DLFTASK_CONNECT_TIMEOUT]",
        ),
    ] = None,
    read_timeout: Annotated[
        str | None,
        _option(
            "--read-timeout",
            group=_SERVICE,
            metavar="DURATION",
            text="Longest time to an answer's last byte; 10s. [DLFTASK_READ_TIMEOUT]",
        ),
    ] = None,
    concurrency: Annotated[
        str | None,
        _option(
            "--concurrency",
            group=_SERVICE,
            metavar="N",
            text="Requests under way at once; 8. [DLFTASK_CONCURRENCY]",
        ),
    ] = None,
    ca_bundle: Annotated[
        str | None,
        _option(
            "--ca-bundle",
            group=_SERVICE,
            metavar="PATH",
            text="CA certificates. [DLFTASK_CA_BUNDLE, REQUESTS_CA_BUNDLE]",
        ),
    ] = None,
    insecure: Annotated[
        bool | None,
        _option(
            "--insecure",
            group=_SERVICE,
            text="Accept any certificate, and plain http beyond loopback.",
        ),
    ] = None,
    profile: Annotated[
        str | None,
        _option(
            "--profile",
            group=_ACCESS,
            metavar="NAME",
            text="Table of dlftask/config.toml; default. [DLFTASK_PROFILE]",
        ),
    ] = None,
    auth: Annotated[
        str | None,
        _option(
            "--auth",
            group=_ACCESS,
            metavar="METHOD",
            text=f"One of {', '.join(AUTH_METHODS)}. [DLFTASK_AUTH]",
        ),
    ] = None,
    token_file: Annotated[
        str | None,
        _option(
            "--token-file",
            group=_ACCESS,
            metavar="PATH",
            text="File that holds an IAM token, read again when it is refused. "
            "[DLFTASK_TOKEN_FILE; the token itself: DLFTASK_TOKEN]",
        ),
    ] = None,
    timeout: Annotated[
        str | None,
        _option(
            "--timeout",
            group=_WAITING,
            metavar="DURATION",
            text="Longest wait, such as 90s, 30m or 1h30m; none. [DLFTASK_TIMEOUT]",
        ),
    ] = None,
    interval: Annotated[
        str | None,
        _option(
            "--interval",
            group=_WAITING,
            metavar="DURATION",
            text="Pause between two polls of a task; auto: a twentieth of the time waited, "
            "1s to 15s. [DLFTASK_INTERVAL]",
        ),
    ] = None,
    max_outage: Annotated[
        str | None,
        _option(
            "--max-outage",
            group=_WAITING,
            metavar="DURATION",
            text="Longest outage that a wait sits out; 5m. [DLFTASK_MAX_OUTAGE]",
        ),
    ] = None,
    strict: Annotated[
        bool | None,
        _option("--strict", group=_WAITING, text="WARNING counts as FAILED. [DLFTASK_STRICT]"),
    ] = None,
    output: Annotated[
        str | None,
        _option(
            "-o",
            "--output",
            group=_OUTPUT,
            metavar="FORMAT",
            text=f"One of {', '.join(OUTPUTS)}. [DLFTASK_OUTPUT]",
        ),
    ] = None,
    query: Annotated[
        str | None,
        _option(
            "--query",
            group=_OUTPUT,
            metavar="JMESPATH",
            text="Select from the JSON; implies -o json.",
        ),
    ] = None,
    compact: Annotated[
        bool | None,
        _option(
            "--compact",
            group=_OUTPUT,
            text="A tree of what is not SUCCESSFUL only. [DLFTASK_COMPACT]",
        ),
    ] = None,
    quiet: Annotated[
        bool | None,
        _option("-q", "--quiet", group=_OUTPUT, text="Print nothing but errors."),
    ] = None,
    color: Annotated[
        str | None,
        _option(
            "--color",
            group=_OUTPUT,
            metavar="WHEN",
            text=f"One of {', '.join(COLORS)}. [NO_COLOR, FORCE_COLOR]",
        ),
    ] = None,
    utc: Annotated[
        bool | None,
        _option("--utc", group=_OUTPUT, text="Times in UTC, not local. [DLFTASK_UTC]"),
    ] = None,
    debug: Annotated[
        bool | None,
        _option(
            "--debug",
            group=_OUTPUT,
            text="Trace requests on standard error, secrets masked. [DLFTASK_DEBUG]",
        ),
    ] = None,
) -> None:
    """The options of both commands; never called."""


_TaskIds = Annotated[list[str] | None, typer.Argument(metavar="TASK_ID...", show_default=False)]
_Wait = Annotated[
    bool | None,
    _option("-w", "--wait", group=_WAITING, text="Poll until every task has left RUNNING."),
]


def _with_shared_options(command: _Command) -> _Command:
    """Give a command the options of both in place of its ``**options``, for Typer to read."""
    own = inspect.signature(command)
    shared = inspect.signature(_shared).parameters
    kept = [p for p in own.parameters.values() if p.kind is not p.VAR_KEYWORD]
    command.__signature__ = own.replace(parameters=[*kept, *shared.values()])  # type: ignore[attr-defined]
    command.__annotations__ |= {name: p.annotation for name, p in shared.items()}
    return command


app = typer.Typer(
    cls=_Group,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _say_version(wanted: bool) -> None:  # noqa: FBT001 - Typer calls it so
    if wanted:
        from dlftask.streams import Streams

        Streams().write(f"dlftask {__version__}\n")
        raise typer.Exit


@app.callback(help="What became of a system task of DataArts Factory (DLF)?")
def _dlftask(
    ctx: typer.Context,
    *,
    version: Annotated[  # noqa: ARG001 - its callback does it
        bool,
        typer.Option(
            "--version",
            callback=_say_version,
            is_eager=True,
            help="Say the version.",
            rich_help_panel="Help",
        ),
    ] = False,
) -> None:
    if ctx.invoked_subcommand is None:
        _print_help(ctx)
        raise typer.Exit(ExitStatus.USAGE)


@app.command(cls=_Get, help="Ask once for each task and say what became of it; or wait for it.")
@_with_shared_options
def get(
    ctx: typer.Context, task_ids: _TaskIds = None, *, wait: _Wait = None, **options: Any
) -> None:
    """Ask once for each task, or with ``--wait`` until it has ended."""
    _run(ctx, task_ids or [], {"wait": wait, **options})


@app.command(cls=_Watch, help="Watch tasks while they run, until each has left RUNNING.")
@_with_shared_options
def watch(ctx: typer.Context, task_ids: _TaskIds = None, **options: Any) -> None:
    """Wait for each task and show it while it runs."""
    _run(ctx, task_ids or [], options)


def run_command_line(arguments: list[str], *, began_s: float) -> int:
    """Run ``dlftask ARGUMENTS``; the exit status.

    Raises the errors of ``dlftask.errors``; whatever Typer has to say of bad usage is one.
    """
    command = typer.main.get_command(app)
    try:
        return command(arguments, prog_name="dlftask", standalone_mode=False, obj=began_s) or 0
    except _UsageError as error:
        text = " ".join(str(error.format_message()).split())  # type: ignore[attr-defined]
        text = (text[:1].lower() + text[1:]).removesuffix(".")
        ctx = getattr(error, "ctx", None)
        # A missing value of an option is said without a context.
        words = ["dlftask", *(word for word in arguments[:1] if word in ("get", "watch"))]
        path = ctx.command_path if ctx else " ".join(words)
        raise ConfigurationError(text, hint=f"see {path} --help") from None


def _run(ctx: typer.Context, arguments: list[str], options: dict[str, Any]) -> None:
    """From the words of a command to its exit status."""
    from dlftask.settings import load_settings
    from dlftask.streams import read_input
    from dlftask.task_ids import read_task_ids

    name, began_s = str(ctx.info_name), float(ctx.obj)
    words = [word for key, value in options.items() for word in _words(key, value)]
    if not arguments and not options["demo"]:
        raise ConfigurationError("no task ID", hint=f"see dlftask {name} --help")
    if name == "watch" or not arguments:
        options["wait"] = True
    settings = load_settings(options)
    until_s = float("inf") if settings.timeout_s is None else began_s + settings.timeout_s
    task_ids = read_task_ids(arguments, lambda: read_input(until_s))

    from dlftask.command import Command, run
    from dlftask.streams import Streams

    command = Command(name=name, options=words, task_ids=task_ids, began_s=began_s)
    raise typer.Exit(run(command, settings, Streams(color=settings.color)))


def _words(key: str, value: object) -> list[str]:
    """An option as it would be typed."""
    if value is None or value is False:
        return []
    option = option_name(key)
    return [option] if value is True else [option, str(value)]
