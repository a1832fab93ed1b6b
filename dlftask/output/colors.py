"""Colours for lines that are written without rich."""

_CODES = {"bold": 1, "dim": 2, "red": 31, "green": 32, "yellow": 33, "blue": 34, "magenta": 35}
"""The eight colours of the terminal's own theme: its user chose them to be readable."""


def paint(text: str, style: str) -> str:
    """The text in a style, which may be empty; what the text holds must be escaped already."""
    return f"\x1b[{_CODES[style]}m{text}\x1b[0m" if style and text else text
