"""Which credentials are accepted: tokens, key pairs; and where temporary key pairs come from."""

import calendar
import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPMessage

from dlftask.simulator.responses import Request

_ALGORITHM = "SDK-HMAC-SHA256"
_LONGEST_SKEW_S = 15 * 60


class Refusal(Exception):
    """Why a request is refused, in the words that the gateway would use."""

    def __str__(self) -> str:
        return f"Incorrect IAM authentication information: {self.args[0]}"


@dataclass(frozen=True, slots=True, repr=False)
class Key:
    """A key pair that the service knows; a temporary one has a token and expires."""

    access_key: str
    secret_key: str
    security_token: str | None = None
    expires_s: float = float("inf")


class Access:
    """The credentials that are valid now; ``now`` gives seconds since the epoch.

    ``temporary`` holds the temporary key pairs by their access keys.

    Thread-safe: each change replaces one value of a dictionary or one attribute.
    """

    def __init__(self, token: str, key: Key, now: Callable[[], float]) -> None:
        self.token = token
        self.key = key
        self._now = now
        self.temporary: dict[str, Key] = {}
        self._metadata_tokens: dict[str, float] = {}

    def issue(self, valid_s: float) -> Key:
        """A new temporary key pair, valid for some seconds from now."""
        key = Key(
            access_key=f"TMP{secrets.token_hex(8).upper()}",
            secret_key=secrets.token_hex(20),
            security_token=secrets.token_urlsafe(96),
            expires_s=self._now() + valid_s,
        )
        self.temporary[key.access_key] = key
        return key

    def metadata_token(self, valid_s: float) -> str:
        """A new token of the metadata service."""
        token = secrets.token_urlsafe(32)
        self._metadata_tokens[token] = self._now() + valid_s
        return token

    def knows_metadata_token(self, token: str) -> bool:
        """Whether the metadata service issued this token and it is still valid."""
        return self._metadata_tokens.get(token, 0.0) > self._now()

    def check(self, request: Request) -> None:
        """Raise ``Refusal`` unless a request has valid credentials."""
        token = request.headers.get("X-Auth-Token")
        authorization = request.headers.get("Authorization")
        if token is not None:
            if not _same(token, self.token):
                raise Refusal("the token is invalid")
        elif authorization is not None:
            self._check_signature(request, authorization)
        else:
            raise Refusal("x-auth-token not found")

    def _check_signature(self, request: Request, authorization: str) -> None:
        # It imports requests, which nothing else in the simulator needs.
        from dlftask.auth.signing import canonical_request, signature

        parts = _read_authorization(authorization)
        headers = _folded(request.headers)
        key = self._key(parts["Access"], headers.get("x-security-token"))
        date, signed = headers.get("x-sdk-date", ""), parts["SignedHeaders"].split(";")
        self._check_date(date)
        # The vendor's SDKs differ in what they sign: only the date is always there.
        if "x-sdk-date" not in signed:
            raise Refusal("x-sdk-date is not signed")
        for name in signed:
            if name not in headers:
                raise Refusal(f"{name} is signed but missing")
        canonical = canonical_request(
            request.method, request.path, request.query, headers, signed, request.body
        )
        if not _same(signature(canonical, date, key.secret_key), parts["Signature"]):
            raise Refusal("verify aksk signature fail")

    def _key(self, access_key: str, security_token: str | None) -> Key:
        key = self.temporary.get(access_key)
        if _same(access_key, self.key.access_key):
            key = self.key
        if key is None:
            raise Refusal("the access key is not found")
        if not _same(security_token or "", key.security_token or ""):
            raise Refusal("verify security token fail")
        if key.expires_s <= self._now():
            raise Refusal("the access key has expired")
        return key

    def _check_date(self, date: str) -> None:
        try:
            signed_s = calendar.timegm(time.strptime(date, "%Y%m%dT%H%M%SZ"))
        except ValueError:
            raise Refusal("x-sdk-date is missing or is no date") from None
        if abs(signed_s - self._now()) > _LONGEST_SKEW_S:
            raise Refusal("the signature has expired")


def _read_authorization(authorization: str) -> dict[str, str]:
    algorithm, _, rest = authorization.strip().partition(" ")
    parts = dict(part.strip().partition("=")[::2] for part in rest.split(","))
    if algorithm != _ALGORITHM or not {"Access", "SignedHeaders", "Signature"} <= parts.keys():
        wanted = f"{_ALGORITHM} Access=…, SignedHeaders=…, Signature=…"
        raise Refusal(f"the Authorization header is not '{wanted}'")
    return parts


def _folded(headers: HTTPMessage) -> dict[str, str]:
    """Headers by lower-case name; a repeated one has all its values, so that none is hidden."""
    folded: dict[str, str] = {}
    for name in headers:
        values = ",".join(headers.get_all(name, []))
        folded[name.lower()] = values.encode("latin-1").decode("utf-8", "surrogateescape")
    return folded


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(
        one.encode("utf-8", "surrogateescape"), other.encode("utf-8", "surrogateescape")
    )
