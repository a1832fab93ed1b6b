"""Secret values, to mask them wherever a text repeats one."""

from base64 import b64encode
from urllib.parse import quote, unquote

_SHORTEST = 4
"""Characters: to mask a shorter value would garble other text, and would protect nothing."""


class Secrets:
    """The secret values of a client. May be used by many threads at once."""

    def __init__(self) -> None:
        self._values: set[str] = set()

    def add(self, *values: str) -> None:
        """Mask these values from now on, also where they are percent-encoded."""
        for value in values:
            if len(value) >= _SHORTEST and value not in self._values:
                self._values |= {value, quote(value), quote(value, safe="")}

    def of_request(self, *values: str) -> "Secrets":
        """These and the secrets of one request, such as its signature."""
        if self._values.issuperset(values):  # a token is the same each time
            return self
        more = Secrets()
        more._values = set(self._values)
        more.add(*values)
        return more

    def add_userinfo(self, userinfo: str) -> None:
        """Mask the password of a proxy, given as ``user:password`` as its URL has it."""
        user, _, password = userinfo.partition(":")
        plain = f"{unquote(user)}:{unquote(password)}"
        self.add(password, unquote(password), b64encode(plain.encode()).decode())

    def mask(self, text: str) -> str:
        """The text with ``***`` in place of each secret."""
        # The longest first: one secret can be part of another.
        for value in sorted(self._values, key=len, reverse=True):
            text = text.replace(value, "***")
        return text
