"""The simulator: the service, IAM's project lookup and the metadata service on one HTTP server.

It checks in the order of the real gateway: the path (404), the credentials (401), the project
(403), then the request itself (400).
"""

import json
import re
import secrets
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from threading import Event, Lock, Thread
from typing import Self
from urllib.parse import parse_qsl, unquote

from dlftask.simulator.access import Access, Key, Refusal
from dlftask.simulator.faults import Fault, FaultPlan
from dlftask.simulator.handler import Server
from dlftask.simulator.responses import (
    THROTTLED,
    Request,
    Response,
    error,
    gateway_error,
    iam_error,
    json_response,
    plain,
)
from dlftask.simulator.tasks import DOCUMENTED, PROJECT_ID, ScriptedTask

REMEMBERED = 10_000
"""Maximum number of requests in ``Simulator.requests``: the last ones."""

_SYSTEM_TASK = re.compile(r"/v1/([^/]+)/(?:system-tasks|systemTasks)/([^/]+)")
_IMPORT = re.compile(r"/v1/([^/]+)/(?:jobs|connections)/import")
_POD_IDENTITY = "/pod-identity/credentials"


class Simulator:
    """The service on loopback: a context manager, or ``start()`` and ``stop()``.

    Secrets that are not given are random. ``speed`` is how many times as fast as in reality imports
    run. ``projects`` is IAM's response by a region's name: project IDs (none, or several), or
    ``None`` for a refusal; for any other name it is ``project_id``. Temporary key pairs are valid
    for ``temporary_s`` seconds; with ``metadata_token`` the metadata service requires its own token
    first. ``clock`` gives seconds since the epoch, for imports, the faults' time windows and the
    validity of credentials. Beyond ``rate_limit`` requests in a second the service responds with
    HTTP 429.

    If it is stopped and started again, it listens on the same port, and the tasks' time has gone
    on. Raises ``OSError`` where it cannot listen.
    """

    project_id = PROJECT_ID

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        token: str | None = None,
        access_key: str | None = None,
        secret_key: str | None = None,
        speed: float = 1.0,
        faults: Iterable[Fault] = (),
        seed: int | None = None,
        rate_limit: int | None = None,
        projects: Mapping[str, Sequence[str] | None] | None = None,
        temporary_s: float = 24 * 3600.0,
        metadata_token: bool = True,
        pod_authorization: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.speed = speed
        self.temporary_s = temporary_s
        self.pod_authorization = pod_authorization or secrets.token_urlsafe(32)
        self.clock = clock
        self.access = Access(
            token or f"SIMULATED{secrets.token_urlsafe(48)}",
            Key(
                access_key or f"SIM{secrets.token_hex(8).upper()}",
                secret_key or secrets.token_hex(20),
            ),
            clock,
        )
        self.stopping = Event()
        self._host = host
        self.port = port
        self._projects = projects or {}
        self._metadata_token = metadata_token
        self._plan = FaultPlan(faults, seed)
        self._seed = seed
        self._rate_limit = rate_limit
        self._passed: deque[float] = deque(maxlen=rate_limit)
        self._lock = Lock()
        self._started_s = clock()
        self._tasks: dict[str, ScriptedTask] = {}
        self._requests: deque[Request] = deque(maxlen=REMEMBERED)
        self._server: Server | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # Running

    def start(self) -> None:
        """Listen and respond, in threads of its own."""
        self.stopping = Event()
        self._server = Server((self._host, self.port), self)
        self.port = self._server.server_address[1]
        Thread(
            target=self._server.serve_forever, args=(0.05,), name="simulator", daemon=True
        ).start()

    def stop(self) -> None:
        """Close the port and every connection; requests in flight get no response."""
        server, self._server = self._server, None
        if server is None:
            return
        self.stopping.set()
        server.shutdown()
        server.server_close()
        server.close_connections()

    # For users

    @property
    def endpoint(self) -> str:
        """The URL of the service, of IAM and of the metadata service."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self._host, self._host)  # noqa: S104
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    @property
    def pod_identity_uri(self) -> str:
        """Where a pod gets its credentials, with ``pod_authorization``."""
        return f"{self.endpoint}{_POD_IDENTITY}"

    @property
    def token(self) -> str:
        """The token that is valid now."""
        return self.access.token

    @property
    def access_key(self) -> str:
        """The access key that is valid now."""
        return self.access.key.access_key

    @property
    def secret_key(self) -> str:
        """The secret key that is valid now."""
        return self.access.key.secret_key

    @property
    def requests(self) -> tuple[Request, ...]:
        """The requests received, faults included, oldest first."""
        return tuple(self._requests)

    def environment(self) -> dict[str, str]:
        """The variables that make dlftask, and other programs that read them, use it."""
        return {
            "DLFTASK_ENDPOINT": self.endpoint,
            "DLFTASK_IAM_ENDPOINT": self.endpoint,
            "DLFTASK_PROJECT_ID": self.project_id,
            "DLFTASK_TOKEN": self.token,
            "HUAWEICLOUD_SDK_AK": self.access_key,
            "HUAWEICLOUD_SDK_SK": self.secret_key,
        }

    # For tests

    def start_import(self, path: str = "obs://aaaaa/jobs.zip", workspace: str | None = None) -> str:
        """Start an import as a POST does, and return the task's ID."""
        started_ms = int(self.clock() * 1000)
        task = ScriptedTask(path, workspace, started_ms, self.speed)
        self._tasks[task.id] = task
        return task.id

    def expire_token(self, new: str) -> None:
        """Refuse the token from now on, and accept another one."""
        self.access.token = new

    def expire_access_key(self, access_key: str, secret_key: str) -> None:
        """Refuse the key pair from now on, and accept another one."""
        self.access.key = Key(access_key, secret_key)

    def expire_temporary_keys(self) -> None:
        """Refuse every temporary key pair that the metadata service has issued so far."""
        self.access.temporary.clear()

    def set_faults(self, *faults: Fault) -> None:
        """Apply these faults from now on, and no others; requests are counted from here."""
        self._plan = FaultPlan(faults, self._seed)

    # Responding

    def record(self, request: Request) -> Fault | None:
        """Record a request and return the fault that applies to it."""
        self._requests.append(request)
        return self._plan.next(unquote(request.path), request.moment - self._started_s)

    def respond(self, request: Request) -> Response:
        """The response to a request without a fault."""
        path = unquote(request.path)
        if path.startswith(("/meta-data/", "/openstack/", "/pod-identity/")):
            return self._metadata_response(request)
        if request.path == "/v3/projects" and request.method == "GET":
            return self._projects_response(request)
        if (match := _SYSTEM_TASK.fullmatch(request.path)) and request.method == "GET":
            return self._refused(request, match[1]) or self._task_response(
                unquote(match[2]), _workspace(request)
            )
        if (match := _IMPORT.fullmatch(request.path)) and request.method == "POST":
            return self._refused(request, match[1]) or self._import_response(request)
        return gateway_error(404)

    def _refused(self, request: Request, project_id: str) -> Response | None:
        try:
            self.access.check(request)
        except Refusal as refusal:
            return gateway_error(401, str(refusal))
        claimed = request.headers.get("X-Project-Id", project_id)
        if unquote(project_id) != self.project_id or claimed != self.project_id:
            return gateway_error(403)
        if self._rate_limit and self._throttled(request.moment):
            return gateway_error(429, THROTTLED.format(self._rate_limit))
        return None

    def _throttled(self, moment: float) -> bool:
        """Whether the second before ``moment`` already has as many requests as are allowed."""
        with self._lock:
            if len(self._passed) == self._rate_limit and moment - self._passed[0] < 1:
                return True
            self._passed.append(moment)
            return False

    def _task_response(self, task_id: str, workspace: str | None) -> Response:
        if workspace is None and task_id in DOCUMENTED:
            return json_response(DOCUMENTED[task_id])
        task = self._tasks.get(task_id)
        if task is None or task.workspace != workspace:
            return error(400, "DLF.0810", "Task does not exist")
        return json_response(task.at(int(self.clock() * 1000)))

    def _import_response(self, request: Request) -> Response:
        try:
            body = json.loads(request.body)
        except (ValueError, RecursionError):
            return error(400, "DLF.3051", "The request body is not valid JSON")
        path = body.get("path") if isinstance(body, dict) else None
        if not isinstance(path, str) or not path.strip():
            return error(400, "DLF.3051", "The parameter path is missing or not a string")
        return json_response({"taskId": self.start_import(path, _workspace(request))})

    def _projects_response(self, request: Request) -> Response:
        try:
            self.access.check(request)
        except Refusal as refusal:
            return iam_error(401, "Unauthorized", str(refusal))
        name = dict(parse_qsl(request.query)).get("name")
        ids = self._projects.get(name or "", (self.project_id,))
        if ids is None:
            return iam_error(403, "Forbidden", "You are not authorized to perform the action.")
        projects = [{"id": project_id, "name": name or "simulator"} for project_id in ids]
        return json_response({"links": {}, "projects": projects})

    def _metadata_response(self, request: Request) -> Response:
        target = (request.method, request.path)
        if target == ("PUT", "/meta-data/latest/api/token") and self._metadata_token:
            return self._metadata_token_response(request)
        if target == ("GET", "/openstack/latest/securitykey"):
            token = request.headers.get("X-Metadata-Token", "")
            if self._metadata_token and not self.access.knows_metadata_token(token):
                return plain(401, "Unauthorized: the metadata token is missing or invalid")
            return self._issue("credential", "access", "secret", "securitytoken", "expires_at")
        if target == ("POST", _POD_IDENTITY):
            sent = request.headers.get("Authorization", "").encode("latin-1")
            if not secrets.compare_digest(sent, self.pod_authorization.encode()):
                return plain(401, "Unauthorized")
            return self._issue(
                "credentials", "accessKeyId", "secretAccessKey", "securityToken", "expiration"
            )
        return plain(404, "Not Found")

    def _metadata_token_response(self, request: Request) -> Response:
        valid = request.headers.get("X-Metadata-Token-Ttl-Seconds", "")
        if not re.fullmatch("[1-9][0-9]{0,5}", valid):
            return plain(400, "X-Metadata-Token-Ttl-Seconds is missing or invalid")
        return plain(200, self.access.metadata_token(float(valid)))

    def _issue(self, whole: str, access: str, secret: str, token: str, end: str) -> Response:
        key = self.access.issue(self.temporary_s)
        expires = datetime.fromtimestamp(key.expires_s, UTC)
        issued = {
            access: key.access_key,
            secret: key.secret_key,
            token: key.security_token,
            end: expires.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        }
        return json_response({whole: issued})


def _workspace(request: Request) -> str | None:
    return request.headers.get("workspace") or None
