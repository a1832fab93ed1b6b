"""Folders and files of the user's."""

import os
from collections.abc import Mapping
from pathlib import Path


def expanded(text: str) -> Path:
    """A path, with ``~`` for a user's home. Raises ``ValueError`` where that user has none."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise ValueError(f"{text!r} is in the home of a user who has none") from None


def find_home(environ: Mapping[str, str]) -> Path:
    """The user's home folder; where there is none, a path below which nothing can be."""
    if environ.get("HOME"):
        return Path(environ["HOME"])
    try:
        return Path.home()
    except RuntimeError:
        return Path(os.devnull)


def user_folder(variable: str, below_home: str, environ: Mapping[str, str], home: Path) -> Path:
    """A folder by the XDG base directory rules: a relative path in the variable does not count."""
    named = Path(environ.get(variable) or "")
    return named if named.is_absolute() else home / below_home
