"""Which credentials are accepted: tokens, key pairs; and where temporary key pairs come from."""

import calendar
import hmac
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.client import HTTPMessage

_ALGORITHM = "SDK-HMAC-SHA256"
_LONGEST_SKEW_S = 15 * 60


class Refusal(Exception):
    """Why a request is refused, in the words that the gateway would use."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key pair that the service knows; a temporary one has a token and an end."""

    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    security_token: str | None = field(default=None, repr=False)
    expires_s: float | None = None


class Access:
    """The credentials that are valid now; ``now`` gives seconds since the epoch.

    Thread-safe: each change replaces one value of a dictionary or one attribute.
    """

    def __init__(self, token: str, key: Key, now: Callable[[], float]) -> None:
        self.token = token
        self.key = key
        self._now = now
        self._temporary: dict[str, Key] = {}
        self._metadata_tokens: dict[str, float] = {}

    def issue(self, valid_s: float) -> Key:
        """A new temporary key pair, valid for some seconds from now."""
        key = Key(
            access_key=f"TMP{secrets.token_hex(8).upper()}",
            secret_key=secrets.token_hex(20),
            security_token=secrets.token_urlsafe(96),
            expires_s=self._now() + valid_s,
        )
        self._temporary[key.access_key] = key
        return key

    def revoke_temporary(self) -> None:
        """Refuse every temporary key pair issued so far."""
        self._temporary.clear()

    def metadata_token(self, valid_s: float) -> str:
        """A new token of the metadata service."""
        token = secrets.token_urlsafe(32)
        self._metadata_tokens[token] = self._now() + valid_s
        return token

    def knows_metadata_token(self, token: str) -> bool:
        """Whether the metadata service gave out this token and it is still valid."""
        return self._metadata_tokens.get(token, 0.0) > self._now()

    def check(self, method: str, path: str, query: str, headers: HTTPMessage, body: bytes) -> None:
        """Raise ``Refusal`` unless a request proves who sent it; ``path`` and ``query`` as sent."""
        token = headers.get("X-Auth-Token")
        if token is not None:
            if not _same(token, self.token):
                raise Refusal("Incorrect IAM authentication information: the token is invalid")
            return
        authorization = headers.get("Authorization")
        if authorization is None:
            raise Refusal("Incorrect IAM authentication information: x-auth-token not found")
        self._check_signature(authorization, method, path, query, _folded(headers), body)

    def _check_signature(  # noqa: PLR0917 - the six parts of what is signed
        self,
        authorization: str,
        method: str,
        path: str,
        query: str,
        headers: Mapping[str, str],
        body: bytes,
    ) -> None:
        # It brings requests with it, which no other part of the simulator needs.
        from dlftask.auth.signing import canonical_request, signature

        parts = _read_authorization(authorization)
        key = self._key(parts["Access"], headers.get("x-security-token"))
        signed = parts["SignedHeaders"].split(";")
        self._check_date(headers.get("x-sdk-date", ""))
        _check_signed_headers(signed, headers)
        canonical = canonical_request(method, path, query, headers, signed, body)
        expected = signature(canonical, headers["x-sdk-date"], key.secret_key)
        if not _same(expected, parts["Signature"]):
            raise Refusal("Incorrect IAM authentication information: verify aksk signature fail")

    def _key(self, access_key: str, security_token: str | None) -> Key:
        key = self._temporary.get(access_key)
        if _same(access_key, self.key.access_key):
            key = self.key
        if key is None:
            raise Refusal("Incorrect IAM authentication information: the access key is not found")
        if not _same(security_token or "", key.security_token or ""):
            raise Refusal("Incorrect IAM authentication information: verify security token fail")
        if key.expires_s is not None and key.expires_s <= self._now():
            raise Refusal("Incorrect IAM authentication information: the access key has expired")
        return key

    def _check_date(self, date: str) -> None:
        try:
            signed_s = calendar.timegm(time.strptime(date, "%Y%m%dT%H%M%SZ"))
        except ValueError:
            raise Refusal(
                "Incorrect IAM authentication information: x-sdk-date is missing or is no date"
            ) from None
        if abs(signed_s - self._now()) > _LONGEST_SKEW_S:
            raise Refusal("Incorrect IAM authentication information: the signature has expired")


def _read_authorization(authorization: str) -> dict[str, str]:
    algorithm, _, rest = authorization.strip().partition(" ")
    parts = dict(part.strip().partition("=")[::2] for part in rest.split(","))
    if algorithm != _ALGORITHM or not {"Access", "SignedHeaders", "Signature"} <= parts.keys():
        raise Refusal(
            "Incorrect IAM authentication information: the Authorization header is not "
            f"'{_ALGORITHM} Access=…, SignedHeaders=…, Signature=…'"
        )
    return parts


def _check_signed_headers(signed: list[str], headers: Mapping[str, str]) -> None:
    # The vendor's SDKs differ in what they sign: only the date is always there.
    if "x-sdk-date" not in signed:
        raise Refusal("Incorrect IAM authentication information: x-sdk-date is not signed")
    for name in signed:
        if name not in headers:
            raise Refusal(f"Incorrect IAM authentication information: {name} is signed but missing")


def _folded(headers: HTTPMessage) -> dict[str, str]:
    """Headers by their names in lower case; a repeated one has all its values: none can hide."""
    folded: dict[str, str] = {}
    for name, value in headers.items():
        text = value.encode("latin-1").decode("utf-8", "surrogateescape")
        name = name.lower()  # noqa: PLW2901 - the same name, folded
        folded[name] = f"{folded[name]},{text}" if name in folded else text
    return folded


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(
        one.encode("utf-8", "surrogateescape"), other.encode("utf-8", "surrogateescape")
    )
