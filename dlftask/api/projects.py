"""The project's ID, looked up by its region's name."""

import re
from typing import TYPE_CHECKING
from urllib.parse import quote

from dlftask.api.responses import Send, error_for, send_authorised
from dlftask.errors import ConfigurationError, DlftaskError
from dlftask.task import read_json

if TYPE_CHECKING:
    from dlftask.auth.credentials import Credentials

_HINT = "set --project-id or DLFTASK_PROJECT_ID"


def look_up_project(send: Send, credentials: "Credentials", iam_endpoint: str, region: str) -> str:
    """Look up, in IAM, the ID of the project that has the region's name.

    Raises ``ConfigurationError`` where there is none or more than one; ``AuthenticationError``,
    ``ServiceUnavailable`` and ``InvalidResponse`` are IAM's. Each has a hint on what to set.
    """
    failed = f"could not look up the project ID for region {region!r}"
    url = f"{iam_endpoint}/v3/projects?name={quote(region, safe='')}"
    try:
        response = send_authorised(send, credentials, "GET", url)
        ids = _read_ids(response.body) if response.ok else None
        if ids is None:
            raise error_for(response, "IAM", source=credentials.source, is_issuer=True)
    except DlftaskError as error:
        hint = f"{_HINT} to do without IAM"
        hint = f"{hint}; or {error.hint}" if error.hint else hint
        raise error.with_context(failed, hint=hint) from None
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
    """The projects' IDs, each once; ``None`` for an invalid response.

    An ID becomes a part of the path of the next request: it must not lead elsewhere.
    """
    try:
        projects = read_json(body)["projects"]
        ids = [project["id"] for project in projects]
    except (ValueError, TypeError, KeyError):
        return None
    valid = all(isinstance(one, str) and re.fullmatch("[A-Za-z0-9_-]{1,128}", one) for one in ids)
    return list(dict.fromkeys(ids)) if valid and isinstance(projects, list) else None
