"""Secrets as text: tokens, read from a file, and key pairs."""

from dataclasses import dataclass, field
from pathlib import Path

from dlftask.errors import ConfigurationError
from dlftask.files import read_file

LARGEST_TOKEN = 64 * 1024


@dataclass(frozen=True, slots=True)
class AccessKey:
    """A key pair; a temporary one has a security token, and expires at seconds since the epoch."""

    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    security_token: str | None = field(default=None, repr=False)
    expires_s: float = float("inf")


def read_token_file(path: Path) -> str:
    """The token that a file holds, without white space around it. Raises ``ConfigurationError``."""
    what = f"token file {path}"
    try:
        data = read_file(path, limit=LARGEST_TOKEN)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{what}: {getattr(error, 'strerror', None) or error}") from None
    return read_token(data, what)


def checked(text: str, what: str) -> str:
    """Return the secret. Raises ``ConfigurationError`` that names the source, never the value."""
    if not (text.isascii() and text.isprintable()):
        raise ConfigurationError(
            f"{what}: holds a character that no credential has, such as a line break"
        )
    return text


def read_token(data: bytes, what: str) -> str:
    """The token in a file's or a command's output. Raises ``ConfigurationError``."""
    try:
        text = data.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        raise ConfigurationError(f"{what}: not text") from None
    if not text:
        raise ConfigurationError(f"{what} is empty")
    return checked(text, what)
