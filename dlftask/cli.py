"""The commands and their help. The only module that knows Typer."""

import inspect
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

from dlftask import __version__
from dlftask.errors import BrokenOutput, ConfigurationError, DlftaskError, ExitStatus
from dlftask.options import (
    GROUPS,
    OPTIONS,
    OUTPUTS,
    Option,
    nearest,
    one_of,
    options_of,
)

# The class is click's, or that of Typer's own copy of click; Typer does not export it.
_UsageError: type[Exception] = typer.BadParameter.__mro__[1]

_ABOUT = "Show, or wait for, a system task of DataArts Factory (DLF)."
_COMMANDS = {
    "get": "Show the status of tasks; with --wait, wait for them to end.",
    "watch": "Watch tasks until they end.",
    "help": "Show the help of a command.",
}
_EXAMPLES = {
    "": {
        "dlftask get ID": "show the status of a task",
        "dlftask get --wait ID": "wait for it to end, in a script",
        "dlftask watch ID": "watch it until it ends",
        "dlftask watch --demo": "try it: no account needed",
    },
    "get": {
        "dlftask get 008aae2e675d3bcb01675d3c66f20000": "show the status of a task",
        "dlftask get --wait --timeout 2h -o json ID": "wait for it to end",
        "dlftask get --wait --report junit:report.xml ID": "write a report for CI too",
        "dlftask get --demo 008aae2e675d3bcb01675d3e6b960004": "try it: no account needed",
    },
    "watch": {
        "dlftask watch 008aae2e675d3bcb01675d3c66f20000": "watch a task until it ends",
        "curl ... /jobs/import | dlftask watch -": "watch an import",
        "dlftask watch --demo": "try it: no account needed",
    },
}
_TASK_IDS = (
    "IDs of tasks: 1 to 128 of A-Z a-z 0-9 _ -. With -, IDs are read from standard input: "
    "separated by white space, or JSON such as the response of the import call."
)
_EXIT_STATUSES = {
    "  0": "every task is SUCCESSFUL (or WARNING, without --strict)",
    "  1": "a task is FAILED (or WARNING, with --strict)",
    "  2": "usage or configuration: bad option, no project ID, no credentials",
    "  3": "a task is still RUNNING (get without --wait)",
    "  4": "a task does not exist",
    "  5": "credentials refused",
    "  6": "the service could not be reached, or failed",
    "  7": "an invalid response, or an unknown status",
    "  8": "the output or a report could not be written",
    " 70": "an internal error",
    "124": "--timeout ran out",
    "130": "interrupted (SIGINT); 143 terminated (SIGTERM)",
    "141": "the output was closed early",
}
_SEVERAL_TASKS = (
    "With several tasks: the first of 5, 6, 7, 4, 1, 124, 3, 0 that applies to any of them."
)
_HELP_ROW = ("-h, --help", "Show this help.")
_SHELLS = {"bash": "dlftask.bash", "zsh": "_dlftask", "fish": "dlftask.fish"}
_INSTEAD = {
    **{name: f"use --output {name}" for name in OUTPUTS},
    "format": "use --output FORMAT, or -o FORMAT",
    "no-color": "use --color never",
    "token": "a secret does not belong on a command line: set DLFTASK_TOKEN, or use --token-file",
    **dict.fromkeys(
        ("ak", "sk", "access-key", "secret-key"),
        "a secret does not belong on a command line: set HUAWEICLOUD_SDK_AK and HUAWEICLOUD_SDK_SK",
    ),
}
"""What to use in place of options that other programs have."""


def _help_text(command: str, *, width: int, color: bool) -> str:
    """The help of a command, or of dlftask itself for an empty name: examples first."""

    def section(title: str, rows: Iterable[tuple[str, str]], column: int) -> str:
        return f"\n{heading(title)}\n" + "".join(_row(*row, column, width) for row in rows)

    def heading(title: str) -> str:
        return f"\x1b[1;32m{title}:\x1b[0m" if color else f"{title}:"

    examples = _EXAMPLES[command]
    column = max(map(len, examples)) + 4
    text = _fill(_COMMANDS.get(command, _ABOUT), width)
    text += section("Examples", examples.items(), column if column + 25 <= width else 6)
    text += f"\n{heading('Usage')} dlftask {command or 'COMMAND'} [OPTIONS] TASK_ID...\n"
    if not command:
        rows = [
            ("    --show-completion SHELL", "Print the completion script of bash, zsh or fish."),
            ("    --version", "Show the version."),
            _HELP_ROW,
        ]
        column = 31 if width >= 72 else 10
        return text + section("Commands", _COMMANDS.items(), 9) + section("Options", rows, column)
    column = 34 if width >= 72 else 10
    for group in GROUPS:
        own = [("TASK_ID...", _TASK_IDS)] if group == GROUPS[0] else []
        rows = [_option_row(option) for option in options_of(command) if option.group == group]
        text += section(group, own + rows, column)
    text += section("Help", [_HELP_ROW], column)
    return text + section("Exit status", _EXIT_STATUSES.items(), 7) + _fill(_SEVERAL_TASKS, width)


def _option_row(option: Option) -> tuple[str, str]:
    short = f"{option.short}, " if option.short else "    "
    return f"{short}{option.name} {option.metavar}".rstrip(), option.full_help


def _row(name: str, text: str, column: int, width: int) -> str:
    first, margin = f"  {name}", " " * column
    lines = margin + _fill(text, max(width - column, 20)).rstrip().replace("\n", f"\n{margin}")
    return f"{first}\n{lines}\n" if len(first) > column - 2 else f"{first}{lines[len(first) :]}\n"


def _fill(text: str, width: int) -> str:
    import textwrap

    # Text in brackets is not broken across lines.
    text = re.sub(r"\[.*?\]", lambda found: found[0].replace(" ", "\xa0"), text)
    filled = textwrap.fill(text, width, break_on_hyphens=False, break_long_words=False)
    return filled.replace("\xa0", " ") + "\n"


def _print_help(command: str | None) -> None:
    from shutil import get_terminal_size

    from dlftask.streams import Streams

    streams = Streams()
    width = min(get_terminal_size().columns, 100) if streams.out_is_terminal else 80
    own = command if command in ("get", "watch") else ""
    streams.write(_help_text(own, width=width, color=streams.color))


class _Command(TyperCommand):
    """A command that prints its help through ``Streams``: Typer fails badly on a closed output."""

    def get_help(self, ctx: Any) -> NoReturn:
        _print_help(ctx.info_name)
        raise typer.Exit


class _Group(TyperGroup):
    """The same for dlftask itself, with hints for misspelt commands."""

    get_help = _Command.get_help

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        _check_command(args[0])
        return super().resolve_command(ctx, args)


def _check_command(word: str) -> None:
    """Raise ``ConfigurationError`` for an unknown command, with the one that was probably meant."""
    if word in _COMMANDS:
        return
    near, shown = nearest(word, _COMMANDS), word if len(word) <= 128 else word[:128] + "…"
    hint = "see dlftask --help"
    if near:
        hint = f"did you mean: dlftask {near}?"
    elif word == "-" or (re.fullmatch("[A-Za-z0-9_-]{1,128}", word) and re.search("[0-9]", word)):
        hint = f"did you mean: dlftask get {word}?"
    raise ConfigurationError(f"no such command: {shown!r}", hint=hint)


app = typer.Typer(
    cls=_Group,
    add_completion=False,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:  # noqa: FBT001 - how Typer calls it
    if wanted:
        from dlftask.streams import Streams

        Streams().write(f"dlftask {__version__}\n")
        raise typer.Exit


def _print_completion(shell: str | None) -> None:
    if shell is None:
        return
    from dlftask.streams import Streams

    try:
        name = _SHELLS[one_of(tuple(_SHELLS))(shell)]
    except ConfigurationError as error:
        raise error.with_context("--show-completion") from None
    package = Path(__file__).parent
    # The wheel contains the scripts; in a checkout their folder is beside the package.
    folders = (package / "completions", package.parent / "completions")
    script = next(folder / name for folder in folders if (folder / name).is_file())
    Streams().write(script.read_text(encoding="utf-8"))
    raise typer.Exit


@app.callback()
def _dlftask(
    ctx: typer.Context,
    *,
    show_completion: Annotated[  # noqa: ARG001 - its callback does it
        str | None, typer.Option(callback=_print_completion, is_eager=True)
    ] = None,
    version: Annotated[  # noqa: ARG001 - its callback does it
        bool, typer.Option("--version", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    if ctx.invoked_subcommand is None:
        _print_help(None)
        raise typer.Exit(ExitStatus.USAGE)


def _add_command(name: str) -> None:
    """Add a command with the options of the table, in the signature that Typer reads."""

    def command(ctx: typer.Context, task_ids: list[str] | None, **options: Any) -> None:
        _run(ctx, task_ids or [], options)

    annotations: dict[str, Any] = {
        "ctx": typer.Context,
        "task_ids": Annotated[list[str] | None, typer.Argument()],
    }
    # Each command has all of them: ``watch --wait`` waits anyway.
    for option in OPTIONS.values():
        names = filter(None, (option.short, option.name))
        kind: Any = list[str] if option.key == "report" else str if option.metavar else bool
        annotations[option.key] = Annotated[kind | None, typer.Option(*names)]
    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = [
        inspect.Parameter(key, keyword, default=None, annotation=annotation)
        for key, annotation in annotations.items()
    ]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    app.command(name, cls=_Command)(command)


@app.command("help", cls=_Command)
def _help(command: Annotated[str | None, typer.Argument()] = None) -> None:
    if command is not None:
        _check_command(command)
    _print_help(command)


def run_command_line(arguments: list[str], *, began_s: float) -> int:
    """Run ``dlftask ARGUMENTS`` and return its exit status.

    Raises the errors of ``dlftask.errors``, also for Typer's usage errors.
    """
    # Building a command takes time: only those that were named are built.
    for name in {"get", "watch"}.intersection(arguments):
        _add_command(name)
    run: Callable[..., Any] = typer.main.get_command(app)
    try:
        return run(arguments, prog_name="dlftask", standalone_mode=False, obj=began_s) or 0
    except _UsageError as error:
        # The error's own context is missing where an option lacks its value.
        command = [word for word in arguments[:1] if word in _COMMANDS]
        raise _usage_error(error, " ".join(["dlftask", *command])) from None


def _usage_error(error: Any, path: str) -> ConfigurationError:
    """Translate a usage error of Typer; the value of an unknown option is never repeated."""
    # Only an unknown option has possibilities.
    if not hasattr(error, "possibilities"):
        text = " ".join(error.format_message().split())
        text = (text[:1].lower() + text[1:]).removesuffix(".")
        return ConfigurationError(text, hint=f"see {path} --help")
    # The dashes, which all have, would make short names look similar.
    options = [one.name[2:] for one in OPTIONS.values()]
    top = ["version", "show-completion", "help"]
    here = top if path == "dlftask" else [*options, "help"]
    # An option that is valid here takes precedence over one that is valid elsewhere.
    hints = {one: f"options come after the command: dlftask get --{one} …" for one in options}
    hints |= {one: f"did you mean: dlftask --{one}?" for one in top}
    hints |= {one: f"did you mean --{one}?" for one in here}
    hints |= _INSTEAD
    near = nearest(error.option_name.lstrip("-").replace("_", "-"), hints)
    hint = hints[near] if near else f"see {path} --help"
    return ConfigurationError(f"no such option: {error.option_name}", hint=hint)


def _run(ctx: typer.Context, arguments: list[str], options: dict[str, Any]) -> None:
    """Run a command with its arguments and options; exit with its status."""
    from dlftask.settings import load_settings
    from dlftask.streams import Streams
    from dlftask.task_ids import check_task_id

    name, began_s = str(ctx.info_name), float(ctx.obj)
    if name == "watch":
        del options["wait"]
    given = dict(options)
    if not arguments and not options["demo"]:
        raise ConfigurationError("no task ID", hint=f"see dlftask {name} --help")
    if name == "watch" or not arguments:
        options["wait"] = True
    settings = load_settings(options, began_s=began_s)
    for argument in arguments:
        check_task_id(argument)

    from dlftask.command import Command, run
    from dlftask.messages import write_error

    command = Command(name=name, options=given, task_ids=arguments, began_s=began_s)
    streams = Streams(color=settings.color)
    try:
        status = run(command, settings, streams)
    except BrokenOutput:
        raise
    except DlftaskError as error:
        write_error(error, streams)
        status = error.exit_status
    raise typer.Exit(status)
