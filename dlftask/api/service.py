"""The service: its endpoint, and the request for a task."""

import threading
from dataclasses import replace
from typing import TYPE_CHECKING

from dlftask.api.endpoints import check_endpoint, iam_endpoint, service_endpoint
from dlftask.api.projects import look_up_project
from dlftask.api.responses import Response, Send, error_for, send_authorised
from dlftask.errors import AuthenticationError, ConfigurationError, DlftaskError, InvalidResponse
from dlftask.settings import Settings
from dlftask.task import Task, read_task

if TYPE_CHECKING:
    from dlftask.auth.credentials import Credentials


class Service:
    """The service as one user sees it: an endpoint, a project, perhaps a workspace.

    The project ID is looked up when it is first needed, unless the settings name it; then
    ``iam_endpoint`` is empty. May be used by many threads at once. Raises ``ConfigurationError``.
    """

    def __init__(self, settings: Settings, credentials: "Credentials", send: Send) -> None:
        self.endpoint = _service_url(settings)
        self.iam_endpoint = "" if settings.project_id else _iam_url(settings)
        self._credentials = credentials
        self._send = send
        self._region = settings.region or ""
        self._lock = threading.Lock()
        self._project_id = settings.project_id
        self._failure: DlftaskError | None = None
        self._headers: dict[str, str] = {}
        if settings.workspace is not None:
            # The HTTP library sends a header's characters as Latin-1; this makes them UTF-8.
            self._headers["workspace"] = settings.workspace.encode().decode("latin-1")

    def begin_run(self) -> None:
        """Forget a failed lookup of the project ID: a refusal by IAM applies to one run only."""
        self._failure = None

    def fetch(self, task_id: str) -> Task:
        """Fetch a task. Raises the error of ``dlftask.errors`` for any other response."""
        response = self.call("GET", f"system-tasks/{task_id}")
        try:
            task = read_task(response.body)
        except ValueError as error:
            raise self._invalid(response, str(error)) from None
        return replace(task, request_id=response.request_id)

    def call(self, method: str, path: str, *, body: bytes = b"") -> Response:
        """Call the service below the project's own path. Raises unless the response is a 2xx."""
        project_id = self._project()
        headers = dict(self._headers)
        if body:
            headers["Content-Type"] = "application/json"
        response = send_authorised(
            self._send,
            self._credentials,
            method,
            f"{self.endpoint}/v1/{project_id}/{path}",
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
        """The error for a 200 that is not a task: it can still be the service's own error."""
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

        Threads that wait for a lookup share its failure: a hundred tasks do not try a dead IAM one
        after another. A refusal applies to the whole run.
        """
        failure_before = self._failure
        with self._lock:
            if self._project_id is None:
                failure = self._failure
                refused = isinstance(failure, AuthenticationError)
                if failure is not None and (refused or failure is not failure_before):
                    raise failure.with_traceback(None)
                try:
                    self._project_id = look_up_project(
                        self._send, self._credentials, self.iam_endpoint, self._region
                    )
                except DlftaskError as error:
                    self._failure = error
                    raise
            return self._project_id


def _service_url(settings: Settings) -> str:
    if settings.endpoint is not None:
        return _checked(settings.endpoint, "endpoint", settings)
    return service_endpoint(settings.region)


def _iam_url(settings: Settings) -> str:
    """Where the project ID is looked up."""
    if settings.region is None:
        raise ConfigurationError(
            "no project ID, and no region to look it up by",
            hint="set --project-id or DLFTASK_PROJECT_ID, or --region to have it looked up",
        )
    if settings.iam_endpoint is not None:
        return _checked(settings.iam_endpoint, "iam_endpoint", settings)
    return iam_endpoint(settings.region)


def _checked(url: str, key: str, settings: Settings) -> str:
    return check_endpoint(url, what=settings.origins[key], insecure=settings.insecure)
