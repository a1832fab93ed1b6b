"""The project's ID, looked up by its region's name."""

import re
from typing import TYPE_CHECKING
from urllib.parse import quote

from dlftask.api.responses import Send, refusal_or_error
from dlftask.errors import ConfigurationError, DlftaskError, InvalidResponse
from dlftask.task import read_json

if TYPE_CHECKING:
    from requests.auth import AuthBase

_HINT = "set --project-id or DLFTASK_PROJECT_ID"


def look_up_project(send: Send, *, iam_endpoint: str, region: str, auth: "AuthBase") -> str:
    """Ask IAM for the ID of the project that has the region's name.

    Raises ``ConfigurationError`` where there is none or more than one; ``AuthenticationError``,
    ``ServiceUnavailable`` and ``InvalidResponse`` are IAM's. Each says what to set instead.
    """
    try:
        reply = send("GET", f"{iam_endpoint}/v3/projects?name={quote(region, safe='')}", auth=auth)
        if not 200 <= reply.status < 300:
            raise refusal_or_error(reply, "IAM")
    except DlftaskError as error:
        hint = f"{_HINT}, and IAM is not asked"
        error.message = f"the project ID of region {region!r} was not found out: {error.message}"
        error.hint = f"{hint}; or {error.hint}" if error.hint else hint
        raise
    ids = _read_ids(reply.body)
    if ids is None:
        raise InvalidResponse(
            f"the project ID of region {region!r} was not found out: "
            "IAM gave an answer that makes no sense",
            http_status=reply.status,
            request_id=reply.headers.get("X-Request-Id"),
            hint=f"check --iam-endpoint, or {_HINT}",
        )
    if not ids:
        raise ConfigurationError(
            f"IAM knows no project for region {region!r} that these credentials may see",
            hint=f"check --region, or {_HINT}",
        )
    if len(ids) > 1:
        shown = ", ".join(ids[:5]) + (", …" if len(ids) > 5 else "")
        raise ConfigurationError(
            f"IAM knows {len(ids)} projects for region {region!r}: {shown}",
            hint=f"choose one: {_HINT}",
        )
    return ids[0]


def _read_ids(body: bytes) -> list[str] | None:
    """The projects' IDs, each once; ``None`` where the answer makes no sense.

    An ID becomes a part of the path that is asked next: it must not lead elsewhere.
    """
    try:
        answer = read_json(body)
    except ValueError:
        return None
    projects = answer.get("projects") if isinstance(answer, dict) else None
    if not isinstance(projects, list):
        return None
    ids = [project.get("id") if isinstance(project, dict) else None for project in projects]
    if not all(
        isinstance(found, str) and re.fullmatch("[A-Za-z0-9_-]{1,128}", found) for found in ids
    ):
        return None
    return list(dict.fromkeys(str(found) for found in ids))
