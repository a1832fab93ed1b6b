"""Secrets as text: from a file, and fit for a header."""

from pathlib import Path

from dlftask.errors import ConfigurationError

_LARGEST_FILE = 64 * 1024


def read_token_file(path: Path) -> str:
    """The token that a file holds, without white space around it. Raises ``ConfigurationError``."""
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST_FILE + 1)
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"token file {path}: {getattr(error, 'strerror', None) or error}"
        ) from None
    if len(data) > _LARGEST_FILE:
        raise ConfigurationError(f"token file {path}: larger than 64 KiB, which no token is")
    try:
        text = data.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        raise ConfigurationError(f"token file {path}: not a text") from None
    if not text:
        raise ConfigurationError(f"token file {path}: empty")
    return checked(text, f"token file {path}")


def checked(text: str, what: str) -> str:
    """The secret itself. Raises ``ConfigurationError`` that names the source, never the value."""
    if not (text.isascii() and text.isprintable()):
        raise ConfigurationError(
            f"{what}: holds a character that no credential has, such as a line break"
        )
    return text
