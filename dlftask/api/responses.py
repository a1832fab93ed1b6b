"""An answer of HTTP, and what it means where it is not the one that was hoped for."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from dlftask.errors import (
    AuthenticationError,
    DlftaskError,
    ErrorDetails,
    InvalidResponse,
    ServiceUnavailable,
    TaskNotFound,
)
from dlftask.task import read_json

if TYPE_CHECKING:
    from requests.auth import AuthBase

NOT_FOUND_CODES = frozenset({"DLF.0810", "DLF.20810"})
NO_PERMISSION_CODE = "DLF.6888"
_LONGEST_RETRY_AFTER_S = 1e9


@dataclass(frozen=True, slots=True)
class Response:
    """One answer, whole and unpacked. ``headers`` are looked up whatever their case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


class Send(Protocol):
    """One question over HTTP.

    Raises ``ServiceUnavailable`` where no answer came, and ``InvalidResponse`` where it was not
    HTTP or too large. Redirects are answers like any other. With ``direct`` no proxy is used.
    """

    def __call__(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] = {},
        auth: "AuthBase | None" = None,
        body: bytes = b"",
        direct: bool = False,
    ) -> Response:
        """Ask once."""


def error_for(reply: Response, who: str) -> DlftaskError:
    """The error that an answer stands for; ``who`` gave it (such as ``IAM``): its line's start."""
    code, message, request_id = read_error(reply)
    said = ErrorDetails(
        code=code,
        service_message=message,
        http_status=reply.status,
        request_id=request_id,
    )
    status = reply.status
    if status == 401:
        said["hint"] = (
            "a token lives for 24 hours: get a fresh one; with a key pair, check both halves, "
            "the project and this machine's clock"
        )
        return AuthenticationError(f"{who} refused the credentials", stale=True, **said)
    if code in NOT_FOUND_CODES and status < 500:
        said["hint"] = (
            "check the ID, the project, and --workspace: a task is found in its own workspace only"
        )
        return TaskNotFound("the task does not exist", **said)
    if status == 403 or (code == NO_PERMISSION_CODE and status < 500):
        said["hint"] = "the credentials are valid, but lack the permission: check project and roles"
        return AuthenticationError(f"{who} denied permission", **said)
    if status in (408, 429) or status >= 500:
        happened = "is asked too often" if status == 429 else "did not work"
        return ServiceUnavailable(f"{who} {happened}", retry_after_s=_retry_after(reply), **said)
    if status in (301, 302, 303, 307, 308):
        said["hint"] = "check --endpoint and --region: redirects are never followed"
        target = reply.headers.get("Location")
        to = f" to {target}" if target else ""
        return InvalidResponse(f"{who} answered with a redirect{to}", **said)
    if status >= 400:
        return InvalidResponse(f"{who} refused the request", transient=False, **said)
    return InvalidResponse(f"{who} gave an answer that makes no sense", **said)


def refusal_or_error(reply: Response, who: str) -> DlftaskError:
    """The same for those who give or know credentials: whatever they refuse is a refusal."""
    error = error_for(reply, who)
    if isinstance(error, InvalidResponse) and 400 <= reply.status < 500:
        said = ErrorDetails(
            code=error.code,
            service_message=error.service_message,
            http_status=error.http_status,
            request_id=error.request_id,
            hint=error.hint,
        )
        return AuthenticationError(error.message, **said)
    return error


def read_error(reply: Response) -> tuple[str | None, str | None, str | None]:
    """Error code, message and request ID, as far as an answer has them, in any shape of theirs."""
    request_id = reply.headers.get("X-Request-Id")
    try:
        body = read_json(reply.body)
    except ValueError:
        body = None
    inner = body.get("error") if isinstance(body, dict) else None
    for shape in (body, inner):
        if not isinstance(shape, dict):
            continue
        code = _first(shape, "error_code", "errorCode", "code")
        message = _first(shape, "error_msg", "errorMsg", "error_message", "message")
        if code or message:
            return code, message, request_id or _first(shape, "request_id", "requestId")
    return None, None, request_id


def _first(shape: Mapping[str, object], *keys: str) -> str | None:
    for key in keys:
        value = shape.get(key)
        if isinstance(value, str | int) and not isinstance(value, bool) and value != "":
            return str(value)
    return None


def _retry_after(reply: Response) -> float | None:
    """Seconds of ``Retry-After``, given as such or as a date; ``None`` where it says neither."""
    text = (reply.headers.get("Retry-After") or "").strip()
    if re.fullmatch(r"[0-9]+", text):
        return min(float(text), _LONGEST_RETRY_AFTER_S)
    if not text:
        return None
    import time
    from email.utils import mktime_tz, parsedate_tz

    moment = parsedate_tz(text)
    try:
        return max(0.0, mktime_tz(moment) - time.time()) if moment else None
    except (ValueError, OverflowError):
        return None
