"""A machine's own identity: temporary key pairs from the metadata service, or a pod's.

The pod's comes first where ``HC_CONTAINER_CREDENTIALS_FULL_URI`` is set, as in the vendor's SDK.
Both respond with secrets, so that both are requested without a proxy, and over plain http only at
a loopback or link-local address.
"""

import ipaddress
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from dlftask.api.endpoints import check_endpoint, is_loopback
from dlftask.api.responses import Response, Send, error_for
from dlftask.auth.tokens import read_token_file
from dlftask.errors import AuthenticationError, ConfigurationError, DlftaskError, InvalidResponse
from dlftask.task import read_json

if TYPE_CHECKING:
    from dlftask.auth.signing import AccessKey

_METADATA_ENDPOINT = "http://169.254.169.254"
_POD_URI = "HC_CONTAINER_CREDENTIALS_FULL_URI"
_POD_TOKEN_FILE = "HC_CONTAINER_AUTHORIZATION_TOKEN_FILE"  # noqa: S105 - a variable's name

Fetch = Callable[[], "tuple[AccessKey, float]"]
"""Gives the key pair and when it expires, in seconds since the epoch.

Raises ``AuthenticationError``, ``ServiceUnavailable`` or ``InvalidResponse``.
"""


def find_agency(send: Send, environ: Mapping[str, str]) -> Fetch:
    """How to fetch the machine's or the pod's key pair.

    Raises ``ConfigurationError`` for a bad address.
    """
    return _pod(send, environ) or _metadata(send, environ)


def _metadata(send: Send, environ: Mapping[str, str]) -> Fetch:
    variable = "DLFTASK_METADATA_ENDPOINT"
    endpoint = _near(environ.get(variable) or _METADATA_ENDPOINT, variable)

    def fetch() -> "tuple[AccessKey, float]":
        token = _ask(
            send,
            "PUT",
            f"{endpoint}/meta-data/latest/api/token",
            {"X-Metadata-Token-Ttl-Seconds": "21600"},
        )
        headers = {}
        # These say that the machine's metadata service uses no tokens.
        if token.status not in (404, 405, 503):
            _check(token)
            headers = {"X-Metadata-Token": _text(token)}
        response = _ask(send, "GET", f"{endpoint}/openstack/latest/securitykey", headers)
        return _read_key(response)

    return fetch


def _pod(send: Send, environ: Mapping[str, str]) -> Fetch | None:
    uri, token_file = environ.get(_POD_URI), environ.get(_POD_TOKEN_FILE)
    if not uri:
        return None
    if not token_file:
        raise ConfigurationError(f"{_POD_URI} is set, but {_POD_TOKEN_FILE} is not")
    url = _near(uri, _POD_URI)
    path = Path(token_file)

    def fetch() -> "tuple[AccessKey, float]":
        headers = {"Authorization": read_token_file(path), "Content-Type": "application/json"}
        return _read_key(_ask(send, "POST", url, headers, b"{}"))

    return fetch


def _near(url: str, what: str) -> str:
    """The URL, checked: secrets are sent in plain text only on the machine's own link."""
    checked = check_endpoint(url, what=what, insecure=True)
    host = urlsplit(checked).hostname or ""
    if checked.startswith("https:") or is_loopback(host):
        return checked
    try:
        near = ipaddress.ip_address(host).is_link_local
    except ValueError:
        near = False
    if not near:
        raise ConfigurationError(
            f"{what}: {url!r} would answer with credentials in plain text",
            hint="plain http is for loopback and link-local addresses only",
        )
    return checked


def _ask(
    send: Send, method: str, url: str, headers: Mapping[str, str], body: bytes = b""
) -> Response:
    try:
        return send(method, url, headers=headers, body=body, direct=True)
    except DlftaskError as error:
        raise error.with_context(
            "the metadata service",
            hint="--auth agency is for machines and pods of the cloud; else use another --auth",
        ) from None


def _check(response: Response) -> None:
    if response.status in (401, 403, 404):
        raise AuthenticationError(
            "the metadata service gave no credentials",
            http_status=response.status,
            request_id=response.request_id,
            hint="no agency is bound to this machine or pod: bind one that may read DataArts",
        )
    if not response.ok:
        raise error_for(response, "the metadata service", is_issuer=True)


def _text(response: Response) -> str:
    try:
        text = response.body.decode("ascii").strip()
    except UnicodeDecodeError:
        text = ""
    if not text or not text.isprintable():
        raise _invalid(response, "its token cannot be sent in a header")
    return text


def _read_key(response: Response) -> "tuple[AccessKey, float]":
    """The key pair and its end in seconds since the epoch: infinite where none is said."""
    from dlftask.auth.signing import AccessKey

    _check(response)
    try:
        answer = read_json(response.body)
    except ValueError:
        raise _invalid(response, "not JSON") from None
    for name in ("credential", "credentials"):
        if isinstance(answer, dict) and isinstance(answer.get(name), dict):
            answer = answer[name]
    if not isinstance(answer, dict):
        raise _invalid(response, "no credential")
    key = AccessKey(
        _value(response, answer, "access", "accessKeyId"),
        _value(response, answer, "secret", "secretAccessKey"),
        _value(response, answer, "securitytoken", "securityToken"),
    )
    end = answer.get("expires_at", answer.get("expiration"))
    return key, float("inf") if end is None else _seconds(response, end)


def _value(response: Response, answer: Mapping[str, Any], *names: str) -> str:
    found = next((answer[name] for name in names if answer.get(name)), None)
    if not isinstance(found, str) or not (found.isascii() and found.isprintable()):
        raise _invalid(response, f"no {names[0]!r}")
    return found


def _seconds(response: Response, moment: object) -> float:
    from datetime import UTC, datetime

    try:
        parsed = datetime.fromisoformat(str(moment))
        return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise _invalid(response, "its end is not a date") from None


def _invalid(response: Response, reason: str) -> InvalidResponse:
    return InvalidResponse(
        f"the metadata service gave an invalid response: {reason}",
        http_status=response.status,
        request_id=response.request_id,
    )
