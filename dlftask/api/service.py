"""One question to the service: a task, or an error."""

from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import replace

from dlftask.api.responses import Response, Send, error_for
from dlftask.api.single_flight import SingleFlight
from dlftask.auth.credentials import Credentials
from dlftask.errors import AuthenticationError, DlftaskError, InvalidResponse
from dlftask.task import Task, read_task


class Service:
    """The service as one user sees it: an endpoint, a project, perhaps a workspace.

    ``find_project`` is called once, when the project ID is first needed; a thread waits
    ``timeout_s`` seconds at most for another that calls it. May be used by many threads at once.
    """

    def __init__(
        self,
        send: Send,
        *,
        endpoint: str,
        credentials: Credentials,
        find_project: Callable[[], str],
        workspace: str | None = None,
        timeout_s: float = 15.0,
    ) -> None:
        self._send = send
        self._endpoint = endpoint
        self._credentials = credentials
        self._find_project = find_project
        self._project = SingleFlight(self._look_up, what="the project ID", timeout_s=timeout_s)
        self._project_id: str | None = None
        self._refusal: AuthenticationError | None = None
        self._headers = {} if workspace is None else {"workspace": _as_utf8(workspace)}

    def begin_run(self) -> None:
        """Ask IAM again though it has refused: a refusal counts for one run."""
        self._refusal = None

    def ask(self, task_id: str) -> Task:
        """Ask once for a task; a refusal of stale credentials is answered with fresh ones, once.

        Raises the errors of ``dlftask.errors`` that an answer, or the lack of one, stands for.
        """
        reply = self.call("GET", f"system-tasks/{task_id}")
        try:
            task = read_task(reply.body)
        except ValueError as error:
            raise _invalid(reply, str(error)) from None
        return replace(task, request_id=reply.headers.get("X-Request-Id"))

    def call(self, method: str, path: str, *, body: bytes = b"") -> Response:
        """Call the service below the project's own path. Raises unless the answer is a 2xx."""
        project_id = self._project()
        auth = self._credentials.auth(project_id)
        url = f"{self._endpoint}/v1/{project_id}/{path}"
        headers: Mapping[str, str] = self._headers
        if body:
            headers = {**headers, "Content-Type": "application/json"}
        reply = self._send(method, url, headers=headers, auth=auth, body=body)
        if reply.status == 401 and self._credentials.refresh(auth):
            auth = self._credentials.auth(project_id)
            reply = self._send(method, url, headers=headers, auth=auth, body=body)
        if not 200 <= reply.status < 300:
            raise error_for(reply, "the service")
        return reply

    def _look_up(self) -> str:
        if self._refusal is not None:
            raise copy(self._refusal)
        if self._project_id is None:
            try:
                self._project_id = self._find_project()
            except AuthenticationError as error:
                self._refusal = copy(error)
                raise
        return self._project_id


def _as_utf8(text: str) -> str:
    """Text that goes out as UTF-8: the HTTP library sends a header's characters as Latin-1."""
    return text.encode().decode("latin-1")


def _invalid(reply: Response, reason: str) -> DlftaskError:
    """A 200 that is no task can still be the service's own error."""
    error = error_for(reply, "the service")
    if isinstance(error, InvalidResponse) and error.code is None:
        return InvalidResponse(
            f"the service gave an answer that makes no sense: {reason}",
            http_status=reply.status,
            request_id=error.request_id,
            hint="check --endpoint: is that the DataArts Factory service?",
        )
    return error
