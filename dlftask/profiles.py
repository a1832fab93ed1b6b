"""Profiles: the tables of the configuration file."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dlftask.errors import ConfigurationError, WaitTimeout
from dlftask.files import can_exist, others_can_read, read_file
from dlftask.options import SECRET_KEYS

_LARGEST_FILE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Profile:
    """One table of the configuration file; empty where there is none. ``values`` hold secrets."""

    path: Path | None
    name: str
    values: Mapping[str, object] = field(repr=False)
    warnings: tuple[str, ...] = ()


def read_profile(
    path: Path,
    name: str,
    *,
    keys: Mapping[str, type | tuple[type, ...]],
    path_named: bool,
    name_named: bool,
    until_s: float | None = None,
) -> Profile:
    """Read a table; ``keys`` are what it may hold, with the types of TOML that each may have.

    No file and no table are an empty profile, unless the user named them. Raises
    ``ConfigurationError`` that names the file, and the table and key where one is wrong, and
    ``WaitTimeout`` where a pipe is not read to its end by ``until_s`` (``time.monotonic``).
    """
    profile = f" for profile {name!r}" if name_named else ""
    tables, warnings = _read_file(
        path, named=path_named or name_named, profile=profile, until_s=until_s
    )
    if name not in tables:
        if name_named:
            known = [key for key, value in tables.items() if isinstance(value, dict)]
            raise ConfigurationError(
                f"{path}: no table {name!r}{_nearest(name, known)}",
                hint=f"its tables: {', '.join(map(repr, known))}" if known else "it has no tables",
            )
        _check_stray_keys(path, tables)
        return Profile(path, name, {}, warnings)
    table = tables[name]
    if not isinstance(table, dict):
        raise ConfigurationError(f"{path}: {name!r} is not a table", hint=f"begin it with [{name}]")
    for key, value in table.items():
        _check(f"table {name!r} of {path}", key, value, keys)
    return Profile(path, name, table, warnings)


def read_table(path: Path, name: str) -> Mapping[str, object]:
    """Read a table again, unchecked, for fresh credentials. Raises ``ConfigurationError``."""
    table = _read_file(path, named=True)[0].get(name)
    return table if isinstance(table, dict) else {}


def _read_file(
    path: Path, *, named: bool, profile: str = "", until_s: float | None = None
) -> tuple[dict[str, Any], tuple[str, ...]]:
    try:
        data = read_file(path, limit=_LARGEST_FILE, until_s=until_s)
    except TimeoutError:
        raise WaitTimeout(f"{path}: not read to its end before --timeout ran out") from None
    except (FileNotFoundError, NotADirectoryError):
        if named:
            raise ConfigurationError(f"{path}: no such configuration file{profile}") from None
        return {}, ()
    except (OSError, ValueError) as error:
        if not named and not can_exist(path):
            return {}, ()
        raise ConfigurationError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    import tomllib

    try:
        # A byte order mark and \r\n are what editors on Windows leave behind.
        tables = tomllib.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path}: not a text in UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        # Its message can hold a piece of the file: of it, only the place is repeated.
        place = str(error).rpartition("(")[2].rstrip(")")
        where = f" ({place})" if place.startswith(("at line", "at end")) else ""
        raise ConfigurationError(f"{path}: not valid TOML{where}") from None
    except (RecursionError, ValueError):  # nested too deeply; a number of thousands of digits
        raise ConfigurationError(f"{path}: not valid TOML that can be read") from None
    warning = others_can_read(path) if _holds_secret(tables) else None
    return tables, (warning,) if warning else ()


def _holds_secret(tables: Mapping[str, Any]) -> bool:
    return any(
        key in SECRET_KEYS
        for table in [tables, *tables.values()]
        if isinstance(table, dict)
        for key in table
    )


def _check_stray_keys(path: Path, tables: Mapping[str, Any]) -> None:
    """Without a chosen table, a key above all tables is one that its user believes to count."""
    for key, value in tables.items():
        if not isinstance(value, dict):
            raise ConfigurationError(
                f"{path}: key {key!r} is in no table", hint="put [default] above it"
            )


def _check(
    where: str, key: str, value: object, keys: Mapping[str, type | tuple[type, ...]]
) -> None:
    if key not in keys:
        raise ConfigurationError(f"unknown key {key!r} in {where}{_nearest(key, keys)}")
    kind = keys[key]
    accepted = kind if isinstance(kind, tuple) else (kind,)
    # By the exact type: a bool is an int to Python, but not to TOML.
    if type(value) not in accepted:
        kinds = " or ".join(_KINDS.get(one, one.__name__) for one in accepted)
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
    from difflib import get_close_matches

    word, known = word.lower().replace("-", "_"), list(known)
    for cutoff, text in ((0.6, ": did you mean {!r}?"), (0.0, "; the nearest known is {!r}")):
        found = get_close_matches(word, known, n=1, cutoff=cutoff)
        if found:
            return text.format(found[0])
    return ""
