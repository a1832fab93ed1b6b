"""A machine's own identity: temporary key pairs from the metadata service, or a pod's.

The pod's comes first where ``HC_CONTAINER_CREDENTIALS_FULL_URI`` is set, as in the vendor's SDK.
Both respond with secrets: they are requested without a proxy, and over plain http only at a
loopback or link-local address.
"""

import ipaddress
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from dlftask.api.endpoints import check_endpoint, is_loopback
from dlftask.api.responses import Response, Send, error_for
from dlftask.auth.tokens import AccessKey, checked, read_token, read_token_file
from dlftask.errors import AuthenticationError, ConfigurationError, DlftaskError, InvalidResponse
from dlftask.task import read_json

_METADATA_ENDPOINT = "http://169.254.169.254"
_POD_URI = "HC_CONTAINER_CREDENTIALS_FULL_URI"
_POD_TOKEN_FILE = "HC_CONTAINER_AUTHORIZATION_TOKEN_FILE"  # noqa: S105 - a variable's name
_Read = TypeVar("_Read")


def find_agency(send: Send, environ: Mapping[str, str]) -> Callable[[], AccessKey]:
    """A function that fetches the machine's or the pod's key pair.

    Raises ``ConfigurationError`` for a bad address; the function raises ``AuthenticationError``,
    ``ServiceUnavailable`` or ``InvalidResponse``.
    """
    if environ.get(_POD_URI):
        return _pod(send, environ)
    variable = "DLFTASK_METADATA_ENDPOINT"
    endpoint = _checked_url(environ.get(variable) or _METADATA_ENDPOINT, variable)

    def fetch() -> AccessKey:
        headers = {"X-Metadata-Token-Ttl-Seconds": "21600"}
        response = _request(send, "PUT", f"{endpoint}/meta-data/latest/api/token", headers)
        headers = {}
        # These mean that the machine's metadata service uses no tokens.
        if response.status not in (404, 405, 503):
            token = _read(response, lambda body: read_token(body, "its token"))
            headers = {"X-Metadata-Token": token}
        response = _request(send, "GET", f"{endpoint}/openstack/latest/securitykey", headers)
        return _read(response, _read_key)

    return fetch


def _pod(send: Send, environ: Mapping[str, str]) -> Callable[[], AccessKey]:
    url, token_file = _checked_url(environ[_POD_URI], _POD_URI), environ.get(_POD_TOKEN_FILE)
    if not token_file:
        raise ConfigurationError(f"{_POD_URI} is set, but {_POD_TOKEN_FILE} is not")
    path = Path(token_file)

    def fetch() -> AccessKey:
        headers = {"Authorization": read_token_file(path), "Content-Type": "application/json"}
        return _read(_request(send, "POST", url, headers, b"{}"), _read_key)

    return fetch


def _checked_url(url: str, what: str) -> str:
    """The URL, checked: secrets are sent in plain text only on the machine's own link."""
    endpoint = check_endpoint(url, what=what, insecure=True)
    host = urlsplit(endpoint).hostname or ""
    if endpoint.startswith("https:") or is_loopback(host):
        return endpoint
    with suppress(ValueError):  # a name is not an address
        if ipaddress.ip_address(host).is_link_local:
            return endpoint
    raise ConfigurationError(
        f"{what}: {url!r} would send credentials in plain text",
        hint="plain http is for loopback and link-local addresses only",
    )


def _request(
    send: Send, method: str, url: str, headers: Mapping[str, str], body: bytes = b""
) -> Response:
    try:
        return send(method, url, headers=headers, body=body, direct=True)
    except DlftaskError as error:
        raise error.with_context(
            "the metadata service",
            hint="--auth agency is for machines and pods of the cloud; else use another --auth",
        ) from None


def _read(response: Response, read: Callable[[bytes], _Read]) -> _Read:
    """Read the content of a good response."""
    if response.status in (401, 403, 404):
        raise AuthenticationError(
            "the metadata service gave no credentials",
            http_status=response.status,
            request_id=response.request_id,
            hint="no agency is bound to this machine or pod: bind one that may read DataArts",
        )
    if not response.ok:
        raise error_for(response, "the metadata service", is_issuer=True)
    try:
        return read(response.body)
    except (ConfigurationError, ValueError) as error:
        raise InvalidResponse(
            f"the metadata service gave an invalid response: {error}",
            http_status=response.status,
            request_id=response.request_id,
        ) from None


def _read_key(body: bytes) -> AccessKey:
    found = read_json(body)
    for name in ("credential", "credentials"):
        if isinstance(found, dict) and isinstance(found.get(name), dict):
            found = found[name]
    if not isinstance(found, dict):
        raise ValueError("no credential")
    end = found.get("expires_at", found.get("expiration"))
    return AccessKey(
        _value(found, "access", "accessKeyId"),
        _value(found, "secret", "secretAccessKey"),
        _value(found, "securitytoken", "securityToken"),
        float("inf") if end is None else _seconds(end),
    )


def _value(found: Mapping[str, Any], *names: str) -> str:
    value = next((found[name] for name in names if found.get(name)), None)
    if not isinstance(value, str):
        raise ValueError(f"no {names[0]!r}")
    return checked(value, f"its {names[0]!r}")


def _seconds(moment: object) -> float:
    from datetime import UTC, datetime

    try:
        parsed = datetime.fromisoformat(str(moment))
        return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()
    except ValueError:
        raise ValueError("its end is not a date") from None
