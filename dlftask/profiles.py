"""The user's files: the configuration, whose tables are profiles, and the vendor SDK's."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from os.path import lexists
from pathlib import Path
from typing import Any

from dlftask.errors import ConfigurationError, WaitTimeout
from dlftask.files import expanded, is_regular, others_can_read, read_file
from dlftask.options import PROFILE_KEYS, SECRET_KEYS, nearest

_LARGEST_FILE = 1024 * 1024
_SDK_FILE = "HUAWEICLOUD_SDK_CREDENTIALS_FILE"


@dataclass(frozen=True, slots=True)
class Profile:
    """One table of the configuration file; empty where there is none. ``values`` hold secrets."""

    path: Path | None
    name: str
    values: Mapping[str, object] = field(repr=False)
    warnings: tuple[str, ...] = ()


def read_profile(
    path: Path, name: str | None, *, path_named: bool, until_s: float | None = None
) -> Profile:
    """Read a table, ``default`` where no ``name`` was given.

    A missing file or table is an empty profile, unless the user named it. Raises
    ``ConfigurationError`` that names the file, and the table and key where one is wrong, and
    ``WaitTimeout`` where a pipe is not read to its end by ``until_s`` (``time.monotonic``).
    """
    name_named, name = bool(name), name or "default"
    missing = "no such configuration file" + (f" for profile {name!r}" if name_named else "")
    tables = _read_tables(path, missing if path_named or name_named else None, until_s)
    warning = others_can_read(path) if _holds_secret(tables) else None
    known = [key for key, value in tables.items() if isinstance(value, dict)]
    if name not in tables and name_named:
        raise ConfigurationError(
            f"{path}: no table {name!r}{_nearest(name, known)}",
            hint=f"its tables: {', '.join(map(repr, known))}" if known else "it has no tables",
        )
    stray = next((key for key in tables if key not in known), None)
    if name not in tables and stray is not None:
        # No table was named: the user probably believes that a key above all tables applies.
        raise ConfigurationError(
            f"{path}: key {stray!r} is in no table", hint="put [default] above it"
        )
    table = tables.get(name, {})
    if not isinstance(table, dict):
        raise ConfigurationError(f"{path}: {name!r} is not a table", hint=f"begin it with [{name}]")
    for key, value in table.items():
        _check(f"table {name!r} of {path}", key, value)
    return Profile(path, name, table, (warning,) if warning else ())


def read_table(path: Path, name: str) -> Mapping[str, object]:
    """Read a table again, unchecked, for fresh credentials. Raises ``ConfigurationError``."""
    table = _read_tables(path, "no such configuration file").get(name)
    return table if isinstance(table, dict) else {}


def sdk_file(environ: Mapping[str, str], home: Path) -> Path:
    """Where the vendor SDK keeps credentials."""
    named = environ.get(_SDK_FILE)
    return expanded(named, _SDK_FILE) if named else home / ".huaweicloud" / "credentials"


def read_sdk_file(environ: Mapping[str, str], home: Path) -> Mapping[str, str]:
    """Section ``[basic]`` of the vendor SDK's credentials file; empty where there is none.

    Raises ``ConfigurationError`` for a file that is not valid, or was named but is not there.
    """
    path, named = sdk_file(environ, home), environ.get(_SDK_FILE)
    if not is_regular(path):
        raise ConfigurationError(f"{path}: not a regular file")
    what = f"{_SDK_FILE}: {path}" if named else str(path)
    text = _read_text(path, what, "No such file or directory" if named else None)
    if not text:
        return {}
    import configparser

    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(text)
    except configparser.Error:  # its message repeats the file's lines
        raise ConfigurationError(f"{path}: not a valid INI file") from None
    # The SDK reads the first where a program names it, the second by itself.
    found = [name for name in ("basic", "basiccredentials") if parser.has_section(name)]
    return dict(parser[found[0]]) if found else {}


def _read_text(path: Path, what: str, missing: str | None, until_s: float | None = None) -> str:
    """Read a text file of the user's; ``what`` is its name in errors.

    A missing file is empty where ``missing`` is ``None``, else ``missing`` is the error's reason.
    Raises ``ConfigurationError``, and ``WaitTimeout`` at ``until_s``.
    """
    try:
        # Some editors on Windows write a byte order mark.
        return read_file(path, limit=_LARGEST_FILE, until_s=until_s).decode("utf-8-sig")
    except TimeoutError:
        raise WaitTimeout(f"{what}: not read to its end before --timeout ran out") from None
    except UnicodeDecodeError:
        reason = "not UTF-8 text"
    except (OSError, ValueError) as error:
        absent = isinstance(error, FileNotFoundError | NotADirectoryError)
        # A file in a folder that cannot be entered counts as missing too.
        locked = isinstance(error, PermissionError) and not lexists(path)
        if missing is None and (absent or locked):
            return ""
        reason = missing if missing and absent else getattr(error, "strerror", None) or str(error)
    raise ConfigurationError(f"{what}: {reason}")


def _read_tables(path: Path, missing: str | None, until_s: float | None = None) -> dict[str, Any]:
    text = _read_text(path, str(path), missing, until_s)
    if not text:
        return {}
    import tomllib

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        # Its message can contain text of the file: only the position is repeated.
        place = str(error).rpartition("(")[2].rstrip(")")
        where = f" ({place})" if place.startswith(("at line", "at end")) else ""
        raise ConfigurationError(f"{path}: not valid TOML{where}") from None
    except (RecursionError, ValueError):  # nested too deeply; a number of thousands of digits
        raise ConfigurationError(f"{path}: not valid TOML that can be read") from None


def _holds_secret(tables: Mapping[str, Any]) -> bool:
    tables_and_top = [tables, *(table for table in tables.values() if isinstance(table, dict))]
    return any(not table.keys().isdisjoint(SECRET_KEYS) for table in tables_and_top)


def _check(where: str, key: str, value: object) -> None:
    if key not in PROFILE_KEYS:
        raise ConfigurationError(f"unknown key {key!r} in {where}{_nearest(key, PROFILE_KEYS)}")
    # By the exact type: a bool is an int to Python, but not to TOML.
    if type(value) not in PROFILE_KEYS[key]:
        kinds = " or ".join(_KINDS[kind] for kind in PROFILE_KEYS[key])
        found = _KINDS.get(type(value), "a date or time")
        raise ConfigurationError(f"key {key!r} in {where} is {found}, not {kinds}")


_KINDS: Mapping[type, str] = {
    str: "a string",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    list: "an array",
    dict: "a table",
}


def _nearest(word: str, known: Iterable[str]) -> str:
    for cutoff, text in ((0.6, ": did you mean {!r}?"), (0.0, "; the nearest known is {!r}")):
        if near := nearest(word.replace("-", "_"), known, cutoff):
            return text.format(near)
    return ""
