"""Authentication of a request: a token, or a signature with a key pair.

``SDK-HMAC-SHA256`` signs what is really sent: the prepared request's path, query, body and
headers, byte for byte. Headers that a proxy may change, or that the HTTP library adds by itself,
are not signed: the vendor's SDK signs its ``User-Agent`` too, which proxies are known to rewrite.
"""

import hashlib
import hmac
import time
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from requests import PreparedRequest
from requests.auth import AuthBase

from dlftask.auth.tokens import AccessKey

ALGORITHM = "SDK-HMAC-SHA256"
_CONTENT_HASH = "x-sdk-content-sha256"
_UNSIGNED = frozenset(
    {"accept", "accept-encoding", "authorization", "connection", "content-length", "user-agent"}
)


class TokenAuth(AuthBase):
    """An IAM token, as ``X-Auth-Token``."""

    def __init__(self, token: str) -> None:
        self._token = token
        self.secrets = (token,)

    def __call__(self, r: PreparedRequest) -> PreparedRequest:
        """Add the token to a request that is about to be sent."""
        r.headers["X-Auth-Token"] = self._token
        return r


class AccessKeyAuth(AuthBase):
    """A signature with a key pair; ``now`` gives seconds since the epoch.

    The project's ID, where one is given, is sent and signed as ``X-Project-Id``. Only a body of
    bytes can be signed: any other raises ``TypeError``.
    """

    def __init__(
        self,
        key: AccessKey,
        project_id: str | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._key = key
        self.secrets = (key.secret_key, key.security_token or "")
        self._project_id = project_id
        self._now = now

    def __call__(self, r: PreparedRequest) -> PreparedRequest:
        """Sign a request that is about to be sent."""
        date = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(self._now()))
        r.headers["X-Sdk-Date"] = date
        r.headers["Host"] = _host(r.url or "")
        if self._project_id:
            r.headers["X-Project-Id"] = self._project_id
        if self._key.security_token:
            r.headers["X-Security-Token"] = self._key.security_token
        headers = {name.lower(): _on_the_wire(value) for name, value in r.headers.items()}
        # Gateways drop headers with an underscore in their name, and the SDK does not sign them.
        signed = sorted(name for name in headers if name not in _UNSIGNED and "_" not in name)
        path, _, query = r.path_url.partition("?")
        body = r.body or b""
        if not isinstance(body, bytes):
            raise TypeError("only bytes can be signed")
        canonical = canonical_request(r.method or "", path, query, headers, signed, body)
        r.headers["Authorization"] = (
            f"{ALGORITHM} Access={self._key.access_key}, SignedHeaders={';'.join(signed)}, "
            f"Signature={signature(canonical, date, self._key.secret_key)}"
        )
        return r


def canonical_request(  # noqa: PLR0917 - in the order in which they are joined
    method: str,
    path: str,
    query: str,
    headers: Mapping[str, str],
    signed: Sequence[str],
    body: bytes,
) -> str:
    """The canonical form of a request, which is what gets signed.

    ``path`` and ``query`` are as sent; ``headers`` have names in lower case; ``signed`` lists the
    names to sign, in order (a missing header counts as empty). ``X-Sdk-Content-Sha256``, where it
    is signed, replaces the body's hash, as in the vendor's SDK.
    """
    content_hash = hashlib.sha256(body).hexdigest()
    if body and _CONTENT_HASH in signed:
        content_hash = headers.get(_CONTENT_HASH) or content_hash
    path = quote(unquote(path), safe="/~")
    return "\n".join(
        [
            method.upper(),
            path if path.endswith("/") else f"{path}/",
            "&".join(
                f"{quote(name, safe='~')}={quote(value, safe='~')}"
                for name, value in sorted(parse_qsl(query, keep_blank_values=True))
            ),
            *(f"{name}:{headers.get(name, '').strip()}" for name in signed),
            "",
            ";".join(signed),
            content_hash,
        ]
    )


def signature(canonical: str, date: str, secret_key: str) -> str:
    """The signature in hexadecimal; ``date`` as ``X-Sdk-Date`` has it."""
    digest = hashlib.sha256(canonical.encode("utf-8", "surrogateescape")).hexdigest()
    text = f"{ALGORITHM}\n{date}\n{digest}"
    return hmac.new(secret_key.encode(), text.encode(), hashlib.sha256).hexdigest()


def _host(url: str) -> str:
    """``Host`` as it is sent: with the port unless that is the scheme's default."""
    parts = urlsplit(url)
    return parts.netloc.removesuffix(":443" if parts.scheme == "https" else ":80")


def _on_the_wire(value: str | bytes) -> str:
    """A header's value as the bytes that are sent, read as UTF-8: text is sent as Latin-1."""
    data = value.encode("latin-1") if isinstance(value, str) else value
    return data.decode("utf-8", "surrogateescape")
