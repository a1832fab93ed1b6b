"""The one table of options.

The commands' options and their help, the settings, the keys of a profile and the list that the
completion scripts are checked against all follow from it.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from dlftask.durations import check_seconds, parse_duration
from dlftask.errors import ConfigurationError
from dlftask.files import expanded
from dlftask.output.formats import FORMATS

OUTPUTS = tuple(FORMATS)
COLORS = ("auto", "always", "never")
PROGRESS = ("auto", "plain", "none")
AUTH_METHODS = ("auto", "token", "aksk", "agency")
SECRET_KEYS = ("token", "ak", "sk", "security_token")
"""Keys of a profile that hold a secret: they have no option."""

GROUPS = ("Task", "Waiting", "Output", "Service", "Credentials")
_TASK, _WAITING, _OUTPUT, _SERVICE, _CREDENTIALS = GROUPS
_ON, _OFF = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


class ReportTarget(NamedTuple):
    """A report to write: ``--report FORMAT:PATH``."""

    format: str
    path: Path


def nearest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The known word that a user may have meant: the only one with the prefix, or a similar one."""
    from difflib import get_close_matches

    word, folded = word.lower(), {one.lower(): one for one in known}
    if len(word) < 2:
        return None
    begun = [one for one in folded if one.startswith(word)]
    found = begun if len(begun) == 1 else get_close_matches(word, folded, n=1, cutoff=cutoff)
    return folded[found[0]] if found else None


def _read_identifier(text: str) -> str:
    if not re.fullmatch("[A-Za-z0-9_-]{1,128}", text):
        raise ValueError(f"{text!r} is not 1 to 128 of A-Z a-z 0-9 _ -")
    return text


def _read_header(text: str) -> str:
    if text != text.strip(" \t") or re.search("[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]", text):
        raise ValueError(f"{text!r} cannot be sent in a header")
    return text


def one_of(words: tuple[str, ...]) -> Callable[[str], str]:
    """A reader of one of ``words``. It raises ``ConfigurationError``, with the nearest as hint."""

    def read(value: str) -> str:
        if value not in words:
            near = nearest(value, words)
            raise ConfigurationError(
                f"{value!r} must be one of {', '.join(words)}",
                hint=f"did you mean {near}?" if near else None,
            )
        return value

    return read


def _read_duration(value: str | float) -> float:
    return parse_duration(value) if isinstance(value, str) else check_seconds(value)


def _or_none(word: str, read: Callable[[Any], Any]) -> Callable[[object], Any]:
    """A reader of a value that returns ``None`` for ``word``."""

    def read_or_none(value: object) -> Any:
        if value == word:
            return None
        try:
            return read(value)
        except ValueError as error:
            raise ValueError(f"{error} or {word!r}") from None

    return read_or_none


def _read_switch(value: object) -> bool:
    word = str(value).lower()
    if word not in _ON + _OFF:
        raise ValueError(f"{value!r} must be one of {' '.join(_ON + _OFF)}")
    return word in _ON


def _read_number(value: object) -> int:
    text = str(value)
    if not re.fullmatch("[0-9]{1,4}", text) or int(text) == 0:
        raise ValueError(f"{text!r} is not a whole number from 1 to 9999")
    return int(text)


def _read_reports(values: list[str]) -> tuple[ReportTarget, ...]:
    targets = []
    for value in values:
        name, _, path = value.partition(":")
        if not (name and path):
            raise ValueError(f"{value!r} is not FORMAT:PATH, such as junit:report.xml")
        one_of(OUTPUTS)(name)
        if path == "-":
            raise ValueError(f"{value!r}: a report needs a file; standard output is for --output")
        targets.append(ReportTarget(name, expanded(path)))
    return tuple(targets)


class Option(NamedTuple):
    """One option. ``key`` is its long name with ``_`` for ``-``, its key in a profile too."""

    key: str
    group: str
    help: str
    metavar: str = ""
    """Empty for a switch."""
    read: Callable[[Any], Any] = str
    short: str = ""
    variable: str = ""
    more_variables: str = ""
    """Variables of other programs that the help names too."""
    cloud: tuple[str, ...] = ()
    """The cloud's own variables, which apply after the profile."""
    in_sdk_file: bool = False
    default: str = ""
    """As the help shows it."""
    field: str = ""
    """Its name in ``Settings``, where that is not ``key``."""
    types: tuple[type, ...] = (str,)
    """The TOML types that it may have in a profile; empty where it is not a key there."""
    waits_only: bool = False
    names_service: bool = False
    read_elsewhere: bool = False
    """Whether its variable is read elsewhere: where the profile or the credentials are found."""
    command: str = ""
    """The one command that shows it; empty for both."""

    @property
    def name(self) -> str:
        """As it is typed on a command line."""
        return "--" + self.key.replace("_", "-")

    @property
    def full_help(self) -> str:
        """Its help with ``[env: …]`` and ``[default: …]``."""
        variables = ", ".join(filter(None, (self.variable, self.more_variables)))
        env = f" [env: {variables}]" if variables else ""
        default = f" [default: {self.default}]" if self.default else ""
        return f"{self.help}{env}{default}"


_switch = partial(Option, read=_read_switch, types=(bool,))
_duration = partial(Option, metavar="DURATION", read=_read_duration, types=(str, int, float))

# ``wait`` is first: it decides whether some of the others apply.
# A paragraph per option is easier to read than a line per argument.
# fmt: off
_TABLE = (
    _switch("wait", _WAITING, "Wait for every task to end.", short="-w", command="get"),
    Option("project_id", _TASK, "Project of the task.", "ID", _read_identifier, short="-p",
           variable="DLFTASK_PROJECT_ID", cloud=("HUAWEICLOUD_SDK_PROJECT_ID", "HW_PROJECT_ID"),
           in_sdk_file=True, default="looked up by region", names_service=True),
    Option("workspace", _TASK, "Workspace of the task.", "ID", _read_header,
           variable="DLFTASK_WORKSPACE", default="none", names_service=True),
    _switch("demo", _TASK,
            "Use an embedded simulator: no account, no network. Without a TASK_ID it starts an "
            "import and waits for it.",
            types=()),
    _duration("timeout", _WAITING, "Time limit for the wait, such as 90s, 30m or 1h30m.",
              read=_or_none("none", _read_duration), variable="DLFTASK_TIMEOUT", default="none",
              field="timeout_s", waits_only=True),
    _duration("interval", _WAITING, "Pause between two polls of a task; auto: 1s, growing to 15s.",
              read=_or_none("auto", _read_duration), variable="DLFTASK_INTERVAL", default="auto",
              field="interval_s", waits_only=True),
    _duration("max_outage", _WAITING, "How long a wait tolerates an outage.",
              variable="DLFTASK_MAX_OUTAGE", default="5m", field="max_outage_s", waits_only=True),
    _switch("fail_fast", _WAITING, "End the wait at the first FAILED task or subtask.",
            variable="DLFTASK_FAIL_FAST", waits_only=True),
    _switch("strict", _WAITING, "Count WARNING as FAILED.", variable="DLFTASK_STRICT"),
    Option("output", _OUTPUT, f"Format of the result: {', '.join(OUTPUTS)}.", "FORMAT",
           one_of(OUTPUTS), short="-o", variable="DLFTASK_OUTPUT", default="tree"),
    Option("report", _OUTPUT, "Write the result to a file as well, in any format; can be repeated.",
           "FORMAT:PATH", _read_reports, field="reports", types=()),
    Option("progress", _OUTPUT,
           "auto; plain: one line per change; none: nothing before the result.", "HOW",
           one_of(PROGRESS), variable="DLFTASK_PROGRESS", more_variables="ACCESSIBLE",
           default="auto"),
    Option("query", _OUTPUT, "Select from the JSON; implies -o json.", "JMESPATH"),
    _switch("compact", _OUTPUT, "Hide SUCCESSFUL subtasks and show their count.",
            variable="DLFTASK_COMPACT"),
    _switch("quiet", _OUTPUT, "Print nothing but errors.", short="-q"),
    Option("color", _OUTPUT, f"When to use colors: {', '.join(COLORS)}.", "WHEN", one_of(COLORS),
           more_variables="NO_COLOR, FORCE_COLOR", default="auto"),
    _switch("utc", _OUTPUT, "Show times in UTC.", variable="DLFTASK_UTC"),
    _switch("debug", _OUTPUT, "Trace requests on standard error, secrets masked.",
            variable="DLFTASK_DEBUG"),
    Option("region", _SERVICE, "Region, which selects the endpoint.", "NAME", short="-r",
           variable="DLFTASK_REGION", cloud=("HW_REGION_NAME",), names_service=True),
    Option("endpoint", _SERVICE, "URL of the service.", "URL", variable="DLFTASK_ENDPOINT",
           default="from the region", names_service=True),
    Option("iam_endpoint", _SERVICE, "URL of IAM, which looks up project IDs.", "URL",
           variable="DLFTASK_IAM_ENDPOINT", cloud=("HUAWEICLOUD_SDK_IAM_ENDPOINT",),
           in_sdk_file=True, default="from the region", names_service=True),
    _duration("connect_timeout", _SERVICE, "Time limit for connecting.",
              variable="DLFTASK_CONNECT_TIMEOUT", default="5s", field="connect_timeout_s"),
    _duration("read_timeout", _SERVICE, "Time limit for a complete response.",
              variable="DLFTASK_READ_TIMEOUT", default="10s", field="read_timeout_s"),
    Option("concurrency", _SERVICE, "Maximum number of simultaneous requests.", "N", _read_number,
           variable="DLFTASK_CONCURRENCY", default="8", types=(int,)),
    Option("rate", _SERVICE, "Maximum number of requests per second, or none.", "N",
           _or_none("none", _read_number), variable="DLFTASK_RATE", default="20",
           types=(int, str)),
    Option("ca_bundle", _SERVICE, "File of CA certificates.", "PATH", expanded,
           variable="DLFTASK_CA_BUNDLE", more_variables="REQUESTS_CA_BUNDLE",
           cloud=("REQUESTS_CA_BUNDLE",), default="the system's or certifi's", names_service=True),
    _switch("insecure", _SERVICE, "Accept any certificate, and plain http beyond loopback."),
    Option("profile", _CREDENTIALS, "Table of dlftask/config.toml.", "NAME",
           variable="DLFTASK_PROFILE", default="default", types=(), names_service=True,
           read_elsewhere=True),
    Option("auth", _CREDENTIALS, f"Kind of credentials: {', '.join(AUTH_METHODS)}.", "METHOD",
           one_of(AUTH_METHODS), variable="DLFTASK_AUTH", default="auto", names_service=True),
    Option("token_file", _CREDENTIALS,
           "File that holds an IAM token, read again when the token is refused. DLFTASK_TOKEN can "
           "hold the token itself.",
           "PATH", expanded, variable="DLFTASK_TOKEN_FILE", names_service=True,
           read_elsewhere=True),
)
# fmt: on
OPTIONS: Mapping[str, Option] = {option.key: option for option in _TABLE}

PROFILE_KEYS: Mapping[str, tuple[type, ...]] = {
    **{key: option.types for key, option in OPTIONS.items() if option.types},
    **dict.fromkeys(SECRET_KEYS, (str,)),
    "token_command": (list,),
}
"""The keys that a table of the configuration file may have, with their TOML types."""


def options_of(command: str) -> list[Option]:
    """The options that a command shows."""
    return [option for option in OPTIONS.values() if option.command in ("", command)]
