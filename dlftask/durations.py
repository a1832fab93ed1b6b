"""Durations as people write and read them: ``90``, ``500ms``, ``1m30s``, ``1.5h``."""

import re

_NUMBER = r"[0-9]{1,9}(?:\.[0-9]{1,9})?"
# Not yet compiled: most runs read no duration.
_DURATION = (
    rf"(?:(?P<bare>{_NUMBER})|(?=.)(?:(?P<h>{_NUMBER})h)?(?:(?P<m>{_NUMBER})m(?!s))?"
    rf"(?:(?P<s>{_NUMBER})s)?(?:(?P<ms>{_NUMBER})ms)?)"
)
LONGEST_S = 1_000_000_000.0
"""Thirty years: longer ones are cut to this, because system clocks do not accept every number."""
_SECONDS = {"bare": 1.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


def parse_duration(text: str) -> float:
    """Read the seconds of ``90``, ``90s``, ``500ms``, ``1m30s``, ``2h`` or ``1.5h``, above zero.

    Raises ``ValueError`` for anything else, zero included.
    """
    match = re.fullmatch(_DURATION, text)
    parts = match.groupdict("0") if match else {}
    seconds = sum(float(n) * _SECONDS[unit] for unit, n in parts.items())
    if not seconds > 0:
        raise ValueError(f"{text!r} is not a positive duration, such as 90, 500ms, 1m30s or 2h")
    return min(seconds, LONGEST_S)


def check_seconds(seconds: float) -> float:
    """Check a number of seconds that a program passed. Raises ``ValueError`` unless positive."""
    if not isinstance(seconds, int | float) or not seconds > 0:
        raise ValueError(f"{seconds!r} is not a positive number of seconds")
    return float(min(seconds, LONGEST_S))


def format_duration(seconds: float) -> str:
    """``340ms``, ``15s``, ``1m30s``, ``2h05m``, ``3d04h``: two units at most, rounded down."""
    if seconds < 1:
        return f"{int(seconds * 1000)}ms"
    whole = int(seconds)
    if whole < 60:
        tenths = int(seconds * 10) % 10
        return f"{whole}.{tenths}s" if tenths and whole < 10 else f"{whole}s"
    for unit, size, smaller, part in (("m", 60, "s", 1), ("h", 3600, "m", 60)):
        if whole < size * (60 if unit == "m" else 24):
            return f"{whole // size}{unit}{whole % size // part:02d}{smaller}"
    return f"{whole // 86400}d{whole % 86400 // 3600:02d}h"
