"""One question to the service: a task, or an error."""

import threading
from collections.abc import Callable, Mapping
from copy import copy

from dlftask.credentials import Credentials
from dlftask.errors import DlftaskError, SenselessAnswer
from dlftask.replies import Reply, Send, error_for
from dlftask.task import Task, read_task


class Service:
    """The service as one user sees it: an endpoint, a project, perhaps a workspace.

    ``find_project`` is called once, when the project ID is first needed. May be used by many
    threads at once.
    """

    def __init__(
        self,
        send: Send,
        *,
        endpoint: str,
        credentials: Credentials,
        find_project: Callable[[], str],
        workspace: str | None = None,
    ) -> None:
        self._send = send
        self._endpoint = endpoint
        self._credentials = credentials
        self._find_project = find_project
        self._project_lock = threading.Lock()
        self._project_id: str | None = None
        self._lookups_failed = 0
        self._lookup_error: DlftaskError | None = None
        self._headers = {} if workspace is None else {"workspace": workspace}

    def ask(self, task_id: str) -> Task:
        """Ask once for a task; a refusal of stale credentials is answered with fresh ones, once.

        Raises the errors of ``dlftask.errors`` that an answer, or the lack of one, stands for.
        """
        reply = self.call("GET", f"system-tasks/{task_id}")
        try:
            return read_task(reply.body)
        except ValueError as error:
            raise _senseless(reply, str(error)) from None

    def call(self, method: str, path: str, *, body: bytes = b"") -> Reply:
        """Call the service below the project's own path. Raises unless the answer is a 2xx."""
        project_id = self._project()
        auth = self._credentials.auth(project_id)
        url = f"{self._endpoint}/v1/{project_id}/{path}"
        headers: Mapping[str, str] = self._headers
        if body:
            headers = {**headers, "Content-Type": "application/json"}
        reply = self._send(method, url, headers=headers, auth=auth, body=body)
        if reply.status == 401 and self._credentials.renew(auth):
            auth = self._credentials.auth(project_id)
            reply = self._send(method, url, headers=headers, auth=auth, body=body)
        if not 200 <= reply.status < 300:
            raise error_for(reply, "the service")
        return reply

    def _project(self) -> str:
        failed_before = self._lookups_failed
        with self._project_lock:
            if self._project_id is None:
                # Whoever waited for a look-up that failed shares its failure: a hundred tasks
                # do not ask a dead IAM one after another.
                if self._lookup_error is not None and self._lookups_failed != failed_before:
                    raise copy(self._lookup_error)
                try:
                    self._project_id = self._find_project()
                except DlftaskError as error:
                    self._lookup_error = error
                    self._lookups_failed += 1
                    raise
            return self._project_id


def _senseless(reply: Reply, reason: str) -> DlftaskError:
    """A 200 that is no task can still be the service's own error."""
    error = error_for(reply, "the service")
    if isinstance(error, SenselessAnswer) and error.code is None:
        return SenselessAnswer(
            f"the service gave an answer that makes no sense: {reason}",
            http_status=reply.status,
            request_id=error.request_id,
            hint="check --endpoint: is that the DataArts Factory service?",
        )
    return error
