"""An authorised request, its response, and the error for a response that is not a success."""

import re
import time
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
from dlftask.secrets import Secrets
from dlftask.task import read_json

if TYPE_CHECKING:
    from requests.auth import AuthBase

    from dlftask.auth.credentials import Credentials

NOT_FOUND_CODES = frozenset({"DLF.0810", "DLF.20810"})
NO_PERMISSION_CODE = "DLF.6888"
_LONGEST_RETRY_AFTER_S = 1e9
_REFUSED_HINT = (
    "a token is valid for 24 hours: get a new one; with a key pair, check both halves, the "
    "project and this machine's clock"
)


@dataclass(frozen=True, slots=True)
class Response:
    """One complete response, decompressed. Names in ``headers`` are case-insensitive.

    ``secrets`` are masked in what an error repeats of it.
    """

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    secrets: Secrets = field(default_factory=Secrets, repr=False)

    @property
    def ok(self) -> bool:
        """Whether it is a 2xx."""
        return 200 <= self.status < 300

    @property
    def request_id(self) -> str | None:
        """The ID by which the vendor's support finds the request."""
        return self.header("X-Request-Id")

    def header(self, name: str) -> str | None:
        """A header's value with secrets masked; ``None`` where there is none."""
        value = self.headers.get(name)
        return self.secrets.mask(value) if value else None


class Send(Protocol):
    """Sends one HTTP request.

    Raises ``ServiceUnavailable`` where no response came, and ``InvalidResponse`` where it was not
    HTTP or too large. Redirects are responses like any other. With ``direct`` no proxy is used.
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
        """Send the request once."""


def send_authorised(
    send: Send,
    credentials: "Credentials",
    method: str,
    url: str,
    *,
    project_id: str | None = None,
    headers: Mapping[str, str] = {},
    body: bytes = b"",
) -> Response:
    """Send a request with the credentials; after a 401 send it again, if they can be reloaded.

    Raises what ``send`` and ``credentials.auth`` raise.
    """
    auth = credentials.auth(project_id)
    response = send(method, url, headers=headers, auth=auth, body=body)
    if response.status == 401 and credentials.forget(auth):
        auth = credentials.auth(project_id)
        response = send(method, url, headers=headers, auth=auth, body=body)
    return response


def error_for(
    response: Response, who: str, *, source: str | None = None, is_issuer: bool = False
) -> DlftaskError:
    """The error for a response of ``who``, such as ``IAM``.

    ``source`` is where the credentials of the request came from. With ``is_issuer``, for a service
    that issues or checks credentials, each 4xx is a refusal.
    """
    code, message, request_id = read_error(response)
    status = response.status
    details = ErrorDetails(
        code=code, service_message=message, http_status=status, request_id=request_id
    )
    of_source = f" from {source}" if source else ""
    if status == 401:
        details["hint"] = _REFUSED_HINT
        return AuthenticationError(f"{who} refused the credentials{of_source}", **details)
    if code in NOT_FOUND_CODES and status < 500:
        details["hint"] = (
            "check the ID, the project, and --workspace: a task is found in its own workspace only"
        )
        return TaskNotFound("the task does not exist", **details)
    if status == 403 or (code == NO_PERMISSION_CODE and status < 500):
        details["hint"] = "the credentials are valid, but lack a permission: check project and role"
        return AuthenticationError(
            f"{who} denied permission to the credentials{of_source}", **details
        )
    if status in (408, 429) or status >= 500:
        happened = "is throttling requests" if status == 429 else "failed"
        details["retry_after_s"] = _retry_after(response)
        return ServiceUnavailable(f"{who} {happened}", **details)
    if status in (301, 302, 303, 307, 308):
        details["hint"] = "check --endpoint and --region: redirects are never followed"
        target = response.header("Location")
        to = f" to {target}" if target else ""
        return InvalidResponse(f"{who} responded with a redirect{to}", **details)
    if status >= 400:
        refused = f"{who} refused the request"
        if is_issuer:
            return AuthenticationError(refused, **details)
        details["transient"] = False
        return InvalidResponse(refused, **details)
    details["hint"] = f"check --endpoint and --iam-endpoint: is that {who}?"
    return InvalidResponse(f"{who} gave an invalid response", **details)


def read_error(response: Response) -> tuple[str | None, str | None, str | None]:
    """The error code, message and request ID of a response in any known format, where present."""
    request_id = response.request_id
    try:
        body = read_json(response.body)
    except ValueError:
        body = None
    inner = body.get("error") if isinstance(body, dict) else None
    for shape in (body, inner):
        if not isinstance(shape, dict):
            continue
        code = _first(response, shape, "error_code", "errorCode", "code")
        message = _first(response, shape, "error_msg", "errorMsg", "error_message", "message")
        if code or message:
            return code, message, request_id or _first(response, shape, "request_id", "requestId")
    return None, None, request_id


def _first(response: Response, shape: Mapping[str, object], *keys: str) -> str | None:
    for key in keys:
        value = shape.get(key)
        if isinstance(value, str | int) and not isinstance(value, bool) and value != "":
            return response.secrets.mask(str(value))
    return None


def _retry_after(response: Response) -> float | None:
    """Seconds of ``Retry-After``; a date counts from the response's own, if it has one."""
    text = (response.headers.get("Retry-After") or "").strip()
    if re.fullmatch(r"[0-9]+", text):
        return min(float(text), _LONGEST_RETRY_AFTER_S)
    moment = _http_date(text)
    if moment is None:
        return None
    now = _http_date(response.headers.get("Date") or "")
    return max(0.0, moment - (time.time() if now is None else now))


def _http_date(text: str) -> float | None:
    """Seconds since the epoch; ``None`` where the text is not a date."""
    from email.utils import mktime_tz, parsedate_tz

    moment = parsedate_tz(text)
    try:
        return float(mktime_tz(moment)) if moment else None
    except (ValueError, OverflowError):
        return None
