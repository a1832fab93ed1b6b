"""Options, environment, profile, the cloud's own variables: one frozen Settings.

The order is the contract's: an option, then ``DLFTASK_*``, then the profile, then the cloud's own
variables, then the vendor SDK's credentials file. Credentials are found by ``credentials.py``.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from dlftask.durations import check_seconds, parse_duration
from dlftask.errors import ConfigurationError
from dlftask.files import expanded, find_home, user_folder
from dlftask.profiles import SECRET_KEYS, Profile, read_profile

OUTPUTS = ("tree", "json", "jsonl", "tsv", "junit")
COLORS = ("auto", "always", "never")
AUTH_METHODS = ("auto", "token", "aksk", "agency")
MAX_CONCURRENCY = 9999

_IDENTIFIER = re.compile(r"[A-Za-z0-9_-]{1,128}")
_SWITCH = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off"), False),
}


# Defining a dataclass of so many fields takes a millisecond of every run, a tuple a sixth of it.
class Settings(NamedTuple):
    """What a run is to do. Durations are seconds; ``None`` is "for ever" or "as ``auto`` does".

    ``origins`` says where each setting that is no default was found, for an error line to name.
    """

    profile: Profile
    environ: Mapping[str, str]
    home: Path
    origins: Mapping[str, str]
    project_id: str | None = None
    workspace: str | None = None
    region: str | None = None
    endpoint: str | None = None
    iam_endpoint: str | None = None
    auth: str = "auto"
    token_file: Path | None = None
    wait: bool = False
    timeout_s: float | None = None
    interval_s: float | None = None
    max_outage_s: float = 300.0
    connect_timeout_s: float = 5.0
    read_timeout_s: float = 10.0
    concurrency: int = 8
    ca_bundle: Path | None = None
    insecure: bool = False
    output: str = "tree"
    query: str | None = None
    strict: bool = False
    compact: bool = False
    quiet: bool = False
    color: str | None = None
    utc: bool = False
    debug: bool = False
    demo: bool = False
    warnings: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Nothing: the environment and the profile hold secrets."""
        return "Settings(…)"


def _text(value: object) -> str:
    return str(value)


def _path(value: object) -> Path:
    return expanded(str(value))


def _identifier(value: object) -> str:
    text = str(value)
    if not _IDENTIFIER.fullmatch(text):
        raise ValueError(f"{text!r} is not 1 to 128 of A-Z a-z 0-9 _ -")
    return text


def _header(value: object) -> str:
    text = str(value)
    if text != text.strip(" \t") or re.search("[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]", text):
        raise ValueError(f"{text!r} cannot be sent in a header")
    return text


def _one_of(*words: str) -> Callable[[object], str]:
    def read(value: object) -> str:
        if value not in words:
            raise ValueError(f"{value!r} is none of {', '.join(words)}")
        return str(value)

    return read


def _duration(value: object) -> float:
    return check_seconds(value) if isinstance(value, int | float) else parse_duration(str(value))


def _duration_or(word: str) -> Callable[[object], float | None]:
    def read(value: object) -> float | None:
        if value == word:
            return None
        try:
            return _duration(value)
        except ValueError as error:
            raise ValueError(f"{error}, nor {word!r}") from None

    return read


def _switch(value: object) -> bool:
    found = _SWITCH.get(str(value).lower())
    if found is None:
        raise ValueError(f"{value!r} is none of {' '.join(_SWITCH)}")
    return found


def _concurrency(value: object) -> int:
    text = str(value)
    if not re.fullmatch("[0-9]{1,4}", text) or not 1 <= int(text) <= MAX_CONCURRENCY:
        raise ValueError(f"{text!r} is no whole number from 1 to {MAX_CONCURRENCY}")
    return int(text)


class _Setting(NamedTuple):
    """How one setting is read, and where it stands beside the option of its name."""

    read: Callable[[object], Any]
    variable: str | None = None
    field: str | None = None
    names_service: bool = False
    waits_only: bool = False
    # Its other places are sources of credentials, each with its own rank: see credentials.py.
    option_only: bool = False
    cloud: tuple[str, ...] = ()
    in_sdk_file: bool = False

    @property
    def types(self) -> tuple[type, ...]:
        """The TOML types that a profile may give it in."""
        if self.read is _switch:
            return (bool,)
        if self.read is _concurrency:
            return (int,)
        if self.read is _duration or self.waits_only:
            return (str, int, float)
        return (str,)


# Keyed by the option's long name with _ for -, which is its key in a profile too.
# ``wait`` comes first: some of the others count in a wait only.
_SETTINGS: dict[str, _Setting] = {
    "wait": _Setting(_switch),
    "project_id": _Setting(
        _identifier,
        "DLFTASK_PROJECT_ID",
        names_service=True,
        cloud=("HUAWEICLOUD_SDK_PROJECT_ID", "HW_PROJECT_ID"),
        in_sdk_file=True,
    ),
    "workspace": _Setting(_header, "DLFTASK_WORKSPACE", names_service=True),
    "region": _Setting(_text, "DLFTASK_REGION", names_service=True, cloud=("HW_REGION_NAME",)),
    "endpoint": _Setting(_text, "DLFTASK_ENDPOINT", names_service=True),
    "iam_endpoint": _Setting(
        _text,
        "DLFTASK_IAM_ENDPOINT",
        names_service=True,
        cloud=("HUAWEICLOUD_SDK_IAM_ENDPOINT",),
        in_sdk_file=True,
    ),
    "auth": _Setting(_one_of(*AUTH_METHODS), "DLFTASK_AUTH", names_service=True),
    "token_file": _Setting(_path, names_service=True, option_only=True),
    "timeout": _Setting(_duration_or("none"), "DLFTASK_TIMEOUT", "timeout_s", waits_only=True),
    "interval": _Setting(_duration_or("auto"), "DLFTASK_INTERVAL", "interval_s", waits_only=True),
    "max_outage": _Setting(_duration, "DLFTASK_MAX_OUTAGE", "max_outage_s", waits_only=True),
    "connect_timeout": _Setting(_duration, "DLFTASK_CONNECT_TIMEOUT", "connect_timeout_s"),
    "read_timeout": _Setting(_duration, "DLFTASK_READ_TIMEOUT", "read_timeout_s"),
    "concurrency": _Setting(_concurrency, "DLFTASK_CONCURRENCY"),
    "ca_bundle": _Setting(
        _path, "DLFTASK_CA_BUNDLE", names_service=True, cloud=("REQUESTS_CA_BUNDLE",)
    ),
    "insecure": _Setting(_switch),
    "output": _Setting(_one_of(*OUTPUTS), "DLFTASK_OUTPUT"),
    "query": _Setting(_text),
    "strict": _Setting(_switch, "DLFTASK_STRICT"),
    "compact": _Setting(_switch, "DLFTASK_COMPACT"),
    "quiet": _Setting(_switch),
    "color": _Setting(_one_of(*COLORS)),
    "utc": _Setting(_switch, "DLFTASK_UTC"),
    "debug": _Setting(_switch, "DLFTASK_DEBUG"),
}
PROFILE_KEYS: Mapping[str, tuple[type, ...]] = {
    **{key: setting.types for key, setting in _SETTINGS.items()},
    **dict.fromkeys(SECRET_KEYS, (str,)),
    "token_command": (list,),
}
"""What a table of the configuration file may hold, with the TOML types that it may have."""


def load_settings(
    options: Mapping[str, object],
    *,
    environ: Mapping[str, str] = os.environ,
    home: Path | None = None,
) -> Settings:
    """Settings of the options given (``None`` is not given), the environment and the profile.

    Raises ``ConfigurationError`` that names where the bad value stands.
    """
    given = {key: value for key, value in options.items() if value is not None}
    home = home or find_home(environ)
    demo = bool(given.pop("demo", False))
    ignored = [key for key in given if _names_service(key)] if demo else []
    for key in ignored:
        del given[key]
    profile = _no_profile() if demo else _find_profile(given.pop("profile", None), environ, home)
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for key, setting in _SETTINGS.items():
        if setting.waits_only and not values.get("wait"):
            if key in given:
                raise ConfigurationError(f"{option_name(key)} is for a wait", hint="add --wait")
            continue
        if demo and setting.names_service:
            continue
        for origin, raw in _places(
            key,
            setting,
            given,
            environ=environ,
            profile=profile,
            home=home,
            # With a project ID nobody asks IAM: what is said of it may be as broken as it likes.
            sdk_file_is_moot="project_id" in values,
        ):
            try:
                values[setting.field or key] = setting.read(raw)
            except ValueError as error:
                raise ConfigurationError(f"{origin}: {error}") from None
            origins[key] = origin
            break
    _settle_output(values, given)
    return Settings(
        **values,
        demo=demo,
        profile=profile,
        environ=environ,
        home=home,
        origins=origins,
        warnings=(
            *(f"{option_name(key)} is ignored: --demo has its own service" for key in ignored),
            *profile.warnings,
        ),
    )


def _names_service(key: str) -> bool:
    return key == "profile" or (key in _SETTINGS and _SETTINGS[key].names_service)


def option_name(key: str) -> str:
    """A setting's key as it is typed on a command line."""
    return "--" + key.replace("_", "-")


def _no_profile() -> Profile:
    return Profile(None, "default", {}, ())


def _find_profile(named: object, environ: Mapping[str, str], home: Path) -> Profile:
    config = environ.get("DLFTASK_CONFIG")
    folder = user_folder("XDG_CONFIG_HOME", ".config", environ, home)
    name = str(named) if named is not None else environ.get("DLFTASK_PROFILE")
    try:
        path = expanded(config) if config else folder / "dlftask" / "config.toml"
    except ValueError as error:
        raise ConfigurationError(f"DLFTASK_CONFIG: {error}") from None
    return read_profile(
        path,
        name or "default",
        keys=PROFILE_KEYS,
        path_named=bool(config),
        name_named=name is not None and name != "",
    )


def _places(
    key: str,
    setting: _Setting,
    given: Mapping[str, object],
    *,
    environ: Mapping[str, str],
    profile: Profile,
    home: Path,
    sdk_file_is_moot: bool,
) -> Iterator[tuple[str, object]]:
    """Where a setting stands, first what counts first, each with its name for an error line."""
    if key in given:
        yield option_name(key), given[key]
    if setting.option_only:
        return
    if key == "color" and (environ.get("NO_COLOR") or environ.get("FORCE_COLOR")):
        return
    if setting.variable and environ.get(setting.variable):
        yield setting.variable, environ[setting.variable]
    if key in profile.values:
        yield f"{profile.path}: table {profile.name!r}: key {key!r}", profile.values[key]
    for variable in setting.cloud:
        if environ.get(variable):
            yield variable, environ[variable]
    if setting.in_sdk_file and not sdk_file_is_moot:
        from dlftask.auth.credentials import read_sdk_file

        found = read_sdk_file(environ, home)
        if found.get(key):
            yield f"the SDK's credentials file: {key}", found[key]


def _settle_output(values: dict[str, Any], given: Mapping[str, object]) -> None:
    """``--query`` implies JSON, and does not go with another format that was asked for by name."""
    if values.get("query") is None:
        return
    output = values.get("output")
    if "output" in given and output not in ("json", "jsonl"):
        if "query" in given:
            raise ConfigurationError(
                f"--query selects from JSON and does not go with --output {output}",
                hint="use --output json or jsonl, or leave one of the two out",
            )
        del values["query"]
    elif output != "jsonl":
        values["output"] = "json"
