"""Requests and responses of the simulator, and the formats of its errors."""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from http.client import HTTPMessage

THROTTLED = (
    "The throttling threshold has been reached: policy user over ratelimit,limit:{},time:1 second"
)
# The gateway's own codes; DataArts Factory's begin with DLF.
_GATEWAY_ERRORS = {
    400: ("APIGW.0201", "Bad request"),
    401: ("APIGW.0301", "Incorrect IAM authentication information"),
    403: ("APIGW.0302", "The IAM user is not allowed to access the API"),
    404: ("APIGW.0101", "The API does not exist or has not been published in the environment"),
    413: ("APIGW.0201", "Request entity too large"),
    429: ("APIG.0308", THROTTLED.format(30)),
    502: ("APIGW.0202", "Backend unavailable"),
    504: ("APIGW.0203", "Backend timeout"),
}


@dataclass(frozen=True, slots=True)
class Request:
    """A request as received. ``path`` and ``query`` are as sent, header names case-insensitive.

    ``moment`` is in seconds since the epoch.
    """

    method: str
    path: str
    query: str
    headers: HTTPMessage
    body: bytes = field(repr=False)
    moment: float


@dataclass(frozen=True, slots=True)
class Response:
    """A response to send."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json;charset=UTF-8"


def gateway_error(status: int, message: str | None = None) -> Response:
    """A refusal in the gateway's own format, with its code for the status."""
    default = ("APIGW.9999", "Internal server error") if status >= 500 else _GATEWAY_ERRORS[400]
    code, usual = _GATEWAY_ERRORS.get(status, default)
    request_id = secrets.token_hex(16)
    body = {"error_code": code, "error_msg": message or usual, "request_id": request_id}
    return replace(json_response(body, status), headers={"X-Request-Id": request_id})


def json_response(value: object, status: int = 200) -> Response:
    """A response with a JSON body."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return Response(status, text.encode("utf-8", "surrogatepass"))


def error(status: int, code: str, message: str) -> Response:
    """DataArts Factory's own error."""
    return json_response({"error_code": code, "error_msg": message}, status)


def iam_error(status: int, title: str, message: str) -> Response:
    """An error in IAM's format."""
    return json_response({"error": {"code": status, "message": message, "title": title}}, status)


def plain(status: int, text: str) -> Response:
    """A response of plain text."""
    return Response(status, text.encode(), content_type="text/plain")
