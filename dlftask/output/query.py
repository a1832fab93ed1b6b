"""``--query``: what a JMESPath expression selects from the JSON."""

import json
from collections.abc import Iterator
from typing import Any

from dlftask.errors import ConfigurationError
from dlftask.output.text import escape_controls


class Query:
    """What ``--query`` selects: a JMESPath expression, read before any request."""

    def __init__(self, expression: str) -> None:
        """Raise ``ConfigurationError`` for an invalid expression, or for unknown functions."""
        import jmespath
        from jmespath.exceptions import JMESPathError
        from jmespath.functions import Functions

        try:
            self._parsed = jmespath.compile(expression)
        except (JMESPathError, RecursionError) as error:
            raise ConfigurationError(f"--query: {_reason(error)}") from None
        for name in _functions_called(self._parsed.parsed):
            if name not in Functions.FUNCTION_TABLE:
                unknown = escape_controls(name)
                raise ConfigurationError(f"--query: Unknown function: {unknown}()")

    def select(self, value: Any) -> Any:
        """The part of a JSON value; raises ``ConfigurationError`` where its types do not fit."""
        try:
            found = self._parsed.search(value)
        except (ValueError, TypeError, LookupError, ArithmeticError, RecursionError) as error:
            raise ConfigurationError(f"--query: {_reason(error)}") from None
        try:
            json.dumps(found, allow_nan=False)
        except TypeError:
            raise ConfigurationError("--query: selects an expression, not a value") from None
        except (ValueError, RecursionError):
            raise ConfigurationError("--query: selects what JSON cannot hold") from None
        return found


def _reason(error: Exception) -> str:
    # The library draws a second and a third line with a marker below the expression.
    reason = str(error).partition(", for expression")[0].partition("\n")[0]
    return escape_controls(reason.rstrip(": "))


def _functions_called(node: Any) -> Iterator[str]:
    nodes = [node]
    while nodes:
        node = nodes.pop()
        if node["type"] == "function_expression":
            yield node["value"]
        nodes.extend(child for child in node["children"] if isinstance(child, dict))
