"""One authorised request, and the service's call for a task."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from dlftask.api.responses import Response, Send, error_for
from dlftask.errors import AuthenticationError, DlftaskError, InvalidResponse
from dlftask.task import Task, read_task

if TYPE_CHECKING:
    from dlftask.auth.credentials import Credentials


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
    """Send a request with the credentials; after a 401 once more, where they can be read again.

    Raises what ``send`` and ``credentials.auth`` raise.
    """
    auth = credentials.auth(project_id)
    response = send(method, url, headers=headers, auth=auth, body=body)
    if response.status == 401 and credentials.forget(auth):
        auth = credentials.auth(project_id)
        response = send(method, url, headers=headers, auth=auth, body=body)
    return response


class Service:
    """The service as one user sees it: an endpoint, a project, perhaps a workspace.

    ``find_project`` is called when the project ID is first needed, until it gives one. May be used
    by many threads at once.
    """

    def __init__(
        self,
        send: Send,
        *,
        endpoint: str,
        credentials: "Credentials",
        find_project: Callable[[], str],
        workspace: str | None = None,
    ) -> None:
        self._send = send
        self._endpoint = endpoint
        self._credentials = credentials
        self._find_project = find_project
        self._lock = threading.Lock()
        self._project_id: str | None = None
        self._failure: DlftaskError | None = None
        # The HTTP library sends a header's characters as Latin-1; this makes them UTF-8.
        sent = None if workspace is None else workspace.encode().decode("latin-1")
        self._headers = {} if sent is None else {"workspace": sent}

    def begin_run(self) -> None:
        """Ask IAM again though it has refused: a refusal counts for one run."""
        self._failure = None

    def fetch(self, task_id: str) -> Task:
        """Fetch a task. Raises the errors of ``dlftask.errors`` that its response stands for."""
        response = self.call("GET", f"system-tasks/{task_id}")
        try:
            task = read_task(response.body)
        except ValueError as error:
            raise self._invalid(response, str(error)) from None
        return replace(task, request_id=response.request_id)

    def call(self, method: str, path: str, *, body: bytes = b"") -> Response:
        """Call the service below the project's own path. Raises unless the response is a 2xx."""
        project_id = self._project()
        headers: Mapping[str, str] = self._headers
        if body:
            headers = {**headers, "Content-Type": "application/json"}
        response = send_authorised(
            self._send,
            self._credentials,
            method,
            f"{self._endpoint}/v1/{project_id}/{path}",
            project_id=project_id,
            headers=headers,
            body=body,
        )
        if not response.ok:
            raise self._error(response)
        return response

    def _error(self, response: Response) -> DlftaskError:
        error = error_for(response, "the service", source=self._credentials.source)
        if response.status == 400 and not error.hint and not self._headers:
            return error.with_context(
                hint="without a workspace named default, --workspace (DLFTASK_WORKSPACE) is needed"
            )
        return error

    def _invalid(self, response: Response, reason: str) -> DlftaskError:
        """A 200 that is no task can still be the service's own error."""
        error = error_for(response, "the service", source=self._credentials.source)
        if error.code is not None:
            return error
        return InvalidResponse(
            f"{error.message}: {response.secrets.mask(reason)}",
            http_status=response.status,
            request_id=error.request_id,
            hint="check --endpoint: is that the DataArts Factory service?",
        )

    def _project(self) -> str:
        """The project ID; one thread at a time looks it up.

        A failure is shared by the threads that waited for it: a hundred tasks do not try a dead IAM
        one after another. A refusal counts for the whole run.
        """
        failure_before = self._failure
        with self._lock:
            if self._project_id is None:
                failure = self._failure
                refused = isinstance(failure, AuthenticationError)
                if failure is not None and (refused or failure is not failure_before):
                    raise failure.with_traceback(None)
                try:
                    self._project_id = self._find_project()
                except DlftaskError as error:
                    self._failure = error
                    raise
            return self._project_id
