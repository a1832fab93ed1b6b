"""The service for a Python program: ask for a task, wait for it, watch it.

    from dlftask import Client

    with Client(region="cn-north-4") as client:
        task = client.wait("008aae2e675d3bcb01675d3c66f20000", timeout=3600)
        print(task.status, task.message)

Whatever service and credentials are not given come from where the command line takes them:
``DLFTASK_*``, the profile, the cloud's own variables and files. How long to wait does not.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Self

from dlftask.api.endpoints import check_endpoint, iam_endpoint, service_endpoint
from dlftask.api.projects import look_up_project
from dlftask.api.service import Service
from dlftask.api.transport import Transport
from dlftask.auth.credentials import Credentials, find_credentials
from dlftask.durations import check_seconds
from dlftask.errors import AuthenticationError, ConfigurationError
from dlftask.settings import Settings, load_settings
from dlftask.task import Task
from dlftask.task_ids import check_task_id
from dlftask.waiting.policy import WaitPolicy
from dlftask.waiting.scheduler import poll
from dlftask.waiting.snapshot import Snapshot
from dlftask.waiting.workers import WorkerPool


class Client:
    """One project of the service. Close it, or use it as a context manager.

    Options are those of the command line, with its meanings and defaults; durations are seconds.
    ``token`` is an IAM token; ``settings`` that were read already stand for all of these, and
    ``trace`` is as in ``Transport``.

    Raises ``ConfigurationError``; nothing is asked before it is needed.
    """

    def __init__(
        self,
        *,
        project_id: str | None = None,
        workspace: str | None = None,
        region: str | None = None,
        endpoint: str | None = None,
        iam_endpoint: str | None = None,
        profile: str | None = None,
        auth: str | None = None,
        token: str | None = None,
        token_file: str | os.PathLike[str] | None = None,
        connect_timeout: float | None = None,
        read_timeout: float | None = None,
        concurrency: int | None = None,
        ca_bundle: str | os.PathLike[str] | None = None,
        insecure: bool = False,
        settings: Settings | None = None,
        trace: Callable[[str], None] | None = None,
    ) -> None:
        if settings is None:
            options = {
                "project_id": project_id,
                "workspace": workspace,
                "region": region,
                "endpoint": endpoint,
                "iam_endpoint": iam_endpoint,
                "profile": profile,
                "auth": auth,
                "token_file": token_file,
                "connect_timeout": connect_timeout,
                "read_timeout": read_timeout,
                "concurrency": concurrency,
                "ca_bundle": ca_bundle,
                "insecure": insecure or None,
            }
            environ: Mapping[str, str] = os.environ
            if token is not None:
                environ = {**os.environ, "DLFTASK_TOKEN": token}
                options["auth"] = auth or "token"
            settings = load_settings(options, environ=environ)
        self.settings = settings
        service_url = _service_url(settings)
        find_project = _project_finder(settings)
        self._transport = Transport(
            connect_timeout_s=settings.connect_timeout_s,
            read_timeout_s=settings.read_timeout_s,
            connections=settings.concurrency,
            ca_bundle=settings.ca_bundle,
            insecure=settings.insecure,
            trace=trace,
        )
        self._credentials = find_credentials(
            method=settings.auth,
            token_file=settings.token_file,
            environ=settings.environ,
            profile=settings.profile,
            home=settings.home,
            send=self._transport.send,
        )
        self.service = Service(
            self._transport.send,
            endpoint=service_url,
            credentials=self._credentials,
            find_project=lambda: find_project(self._transport, self._credentials),
            workspace=settings.workspace,
            timeout_s=settings.connect_timeout_s + settings.read_timeout_s,
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a user should know of the settings and the credentials."""
        insecure = ("--insecure: nobody checks who answers",) if self.settings.insecure else ()
        return (*self.settings.warnings, *self._credentials.warnings, *insecure)

    def get(self, task_id: str) -> Task:
        """What the service says of a task now.

        Raises ``TaskNotFound``, ``AuthenticationError``, ``ServiceUnavailable`` (after two
        retries), ``InvalidResponse`` or ``ConfigurationError``.
        """
        return self._ask(task_id, WaitPolicy(wait=False))

    def wait(
        self,
        task_id: str,
        *,
        timeout: float | None = None,
        interval: float | None = None,
        max_outage: float = 300.0,
    ) -> Task:
        """Wait until a task has left RUNNING; whether it did well is its ``status``.

        All times are seconds; ``timeout`` and ``interval`` as the options of the command line.
        Raises ``WaitTimeout``, and what ``get`` raises.
        """
        return self._ask(task_id, self._patience(timeout, interval, max_outage))

    def watch(
        self,
        task_ids: Sequence[str],
        *,
        timeout: float | None = None,
        interval: float | None = None,
        max_outage: float = 300.0,
    ) -> Iterator[Snapshot]:
        """Give a snapshot each time one of the tasks changes, until all have left RUNNING.

        What goes wrong with one task is its last snapshot's ``error`` and ends no other's wait.
        Raises ``ConfigurationError`` alone.
        """
        if isinstance(task_ids, str):
            raise ConfigurationError("task_ids is one string, not several", hint="put it in a list")
        policy = self._patience(timeout, interval, max_outage)
        for changed in self.follow(task_ids, policy):
            yield from changed

    def follow(
        self,
        task_ids: Sequence[str],
        policy: WaitPolicy,
        *,
        note: Callable[[str], None] = lambda _: None,
        tick_s: float = 60.0,
    ) -> Iterator[list[Snapshot]]:
        """The tasks that changed, again and again, as ``polling.poll`` gives them."""
        distinct = list(dict.fromkeys(check_task_id(task_id) for task_id in task_ids))
        self.service.begin_run()
        pool = WorkerPool(self.service.ask, size=self.settings.concurrency)
        try:
            yield from poll(distinct, pool, policy, note=note, tick_s=tick_s)
        finally:
            pool.close()

    def close(self) -> None:
        """Close the connections, and end a command that prints a token."""
        self._credentials.close()
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _patience(
        self, timeout: float | None, interval: float | None, max_outage: float
    ) -> WaitPolicy:
        try:
            return WaitPolicy(
                wait=True,
                interval_s=None if interval is None else check_seconds(interval),
                max_outage_s=check_seconds(max_outage),
                timeout_s=None if timeout is None else check_seconds(timeout),
                began_s=time.monotonic(),
            )
        except ValueError as error:
            raise ConfigurationError(str(error)) from None

    def _ask(self, task_id: str, policy: WaitPolicy) -> Task:
        last = Snapshot(task_id)
        for changed in self.follow([task_id], policy):
            last = changed[-1] if changed else last
        if last.error is not None:
            raise last.error
        if last.task is None:
            raise AssertionError("a settled snapshot has a task or an error")
        return last.task


def _service_url(settings: Settings) -> str:
    if settings.endpoint is not None:
        return _checked(settings.endpoint, "endpoint", settings)
    if settings.region is None:
        raise ConfigurationError(
            "no region and no endpoint",
            hint="set --region or DLFTASK_REGION; without an account, try: dlftask watch --demo",
        )
    return service_endpoint(settings.region)


def _checked(url: str, key: str, settings: Settings) -> str:
    return check_endpoint(url, what=settings.origins[key], insecure=settings.insecure)


def _project_finder(settings: Settings) -> Callable[[Transport, Credentials], str]:
    """How to come by the project ID, once one is needed."""
    project_id, region = settings.project_id, settings.region
    if project_id is not None:
        return lambda _transport, _credentials: project_id
    if region is None:
        raise ConfigurationError(
            "no project ID, and no region to look it up by",
            hint="set --project-id or DLFTASK_PROJECT_ID",
        )
    if settings.iam_endpoint is not None:
        iam = _checked(settings.iam_endpoint, "iam_endpoint", settings)
    else:
        iam = iam_endpoint(region)

    def look_up(transport: Transport, credentials: Credentials) -> str:
        auth = credentials.auth(None)
        try:
            return look_up_project(transport.send, iam_endpoint=iam, region=region, auth=auth)
        except AuthenticationError as error:
            if not (error.stale and credentials.refresh(auth)):
                raise
        auth = credentials.auth(None)
        return look_up_project(transport.send, iam_endpoint=iam, region=region, auth=auth)

    return look_up
