"""Options, environment, profile and the cloud's own variables, read into one ``Settings``.

The order is the contract's: an option, then ``DLFTASK_*``, then the profile, then the cloud's own
variables, then the vendor SDK's credentials file. Credentials are found by ``auth.credentials``.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from dlftask.errors import ConfigurationError
from dlftask.files import expanded, find_home, user_folder
from dlftask.options import OPTIONS, Option, ReportTarget
from dlftask.platforms import CONFIG_FOLDER
from dlftask.profiles import Profile, read_profile, read_sdk_file


# Defining a dataclass of so many fields takes a millisecond of every run, a tuple a sixth of it.
class Settings(NamedTuple):
    """What a run should do. Durations are seconds; ``None`` means no limit, or ``auto``.

    ``origins`` is where each setting that is not a default was found, for error messages.
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
    fail_fast: bool = False
    connect_timeout_s: float = 5.0
    read_timeout_s: float = 10.0
    concurrency: int = 8
    rate: int | None = 20
    ca_bundle: Path | None = None
    insecure: bool = False
    output: str = "tree"
    reports: tuple[ReportTarget, ...] = ()
    progress: str = "auto"
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


class _Sources(NamedTuple):
    """Where settings are looked for."""

    given: Mapping[str, object]
    environ: Mapping[str, str]
    profile: Profile
    home: Path


def load_settings(
    options: Mapping[str, object],
    *,
    environ: Mapping[str, str] = os.environ,
    home: Path | None = None,
    began_s: float | None = None,
) -> Settings:
    """Read settings from the options given (``None``: not given), the environment, the profile.

    ``began_s`` is when the command began (``time.monotonic``): ``--timeout`` bounds the reading of
    files too. Raises ``ConfigurationError`` that names where the bad value is, and ``WaitTimeout``.
    """
    given = {key: value for key, value in options.items() if value is not None}
    home = home or find_home(environ)
    demo = given.get("demo")
    ignored = [
        f"{OPTIONS[key].name} is ignored: --demo has its own service"
        for key in given
        if demo and OPTIONS[key].names_service
    ]
    wanted = [option for option in OPTIONS.values() if not (demo and option.names_service)]
    named = given.pop("profile", None)
    profile = Profile(None, "default", {})
    if not demo:
        # A time limit that only the profile sets cannot bound the reading of the profile.
        limit_s = None
        if given.get("wait") or "timeout" in given:
            sources = _Sources({**given, "wait": True}, environ, profile, home)
            limit_s = _read(sources, [OPTIONS["wait"], OPTIONS["timeout"]]).get("timeout_s")
        until_s = None if began_s is None or limit_s is None else began_s + limit_s
        profile = _find_profile(named, environ, home, until_s)
    values = _read(_Sources(given, environ, profile, home), wanted)
    _settle_output(values, given)
    warnings = (*ignored, *profile.warnings)
    return Settings(profile=profile, environ=environ, home=home, warnings=warnings, **values)


def _read(sources: _Sources, options: Iterable[Option]) -> dict[str, Any]:
    """The fields of ``Settings`` that some options have, and ``origins``."""
    values: dict[str, Any] = {"origins": {}}
    for option in options:
        key = option.key
        if option.waits_only and not values.get("wait"):
            if key in sources.given:
                raise ConfigurationError(f"{option.name} needs --wait", hint="add --wait")
            continue
        # With a project ID IAM is not used: its entry in the file may be broken.
        use_sdk_file = option.in_sdk_file and "project_id" not in values
        for origin, raw in _places(option, sources, use_sdk_file=use_sdk_file):
            try:
                values[option.field or key] = option.read(raw)
            except ConfigurationError as error:
                raise error.with_context(origin) from None
            except ValueError as error:
                raise ConfigurationError(f"{origin}: {error}") from None
            values["origins"][key] = origin
            break
    return values


def _find_profile(
    named: object, environ: Mapping[str, str], home: Path, until_s: float | None
) -> Profile:
    config = environ.get("DLFTASK_CONFIG")
    name = environ.get("DLFTASK_PROFILE") if named is None else str(named)
    path = user_folder(CONFIG_FOLDER, environ, home) / "config.toml"
    if config:
        path = expanded(config, "DLFTASK_CONFIG")
    return read_profile(path, name or None, path_named=bool(config), until_s=until_s)


def _places(
    option: Option, sources: _Sources, *, use_sdk_file: bool
) -> Iterator[tuple[str, object]]:
    """Where a setting was found, in order of precedence, each with its name for messages."""
    key, environ, profile = option.key, sources.environ, sources.profile
    if key in sources.given:
        yield option.name, sources.given[key]
    if option.read_elsewhere:
        return
    if environ.get(option.variable):
        yield option.variable, environ[option.variable]
    if key == "color" and (environ.get("NO_COLOR") or environ.get("FORCE_COLOR")):
        return
    if key == "progress" and environ.get("ACCESSIBLE"):
        yield "ACCESSIBLE", "plain"
    if key in profile.values:
        yield f"{profile.path}: table {profile.name!r}: key {key!r}", profile.values[key]
    yield from ((name, environ[name]) for name in option.cloud if environ.get(name))
    if use_sdk_file:
        found = read_sdk_file(environ, sources.home)
        if found.get(key):
            yield f"the SDK's credentials file: {key}", found[key]


def _settle_output(values: dict[str, Any], given: Mapping[str, object]) -> None:
    """``--query`` implies JSON, and conflicts with another format that was given as an option."""
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
