"""The service for a Python program: get a task, wait for it, watch it.

    from dlftask import Client

    with Client(region="cn-north-4") as client:
        task = client.wait("008aae2e675d3bcb01675d3c66f20000", timeout=3600)
        print(task.status, task.message)

Service, credentials and limits that are not given are read from the same places as for the command
line: ``DLFTASK_*``, the profile, the cloud's own variables and files. The limits of a wait are not.
"""

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Self
from weakref import WeakSet

from dlftask.api.responses import Response
from dlftask.api.service import Service
from dlftask.api.sockets import begin_to_connect
from dlftask.auth.credentials import find_credentials
from dlftask.durations import check_seconds
from dlftask.errors import ConfigurationError
from dlftask.options import OPTIONS
from dlftask.settings import Settings, load_settings
from dlftask.task import Task
from dlftask.task_ids import check_task_id
from dlftask.waiting.policy import WaitPolicy
from dlftask.waiting.scheduler import poll
from dlftask.waiting.snapshot import Snapshot
from dlftask.waiting.workers import WorkerPool

if TYPE_CHECKING:
    from dlftask.api.transport import Transport

_CLOSE_S = 0.5
"""How long a response in flight takes to end once the client is closed."""
_TYPES: Mapping[str, tuple[type, ...]] = {
    "token_file": (str, os.PathLike),
    "ca_bundle": (str, os.PathLike),
    "connect_timeout": (int, float),
    "read_timeout": (int, float),
    "concurrency": (int,),
    "rate": (int, str),
    "insecure": (bool,),
}
"""The types of the parameters that are not strings."""


class Client:
    """One project of the service. Close it, or use it as a context manager.

    Parameters are the options of the command line, with their meanings and defaults; durations are
    seconds, and a ``rate`` of ``"none"`` means no limit. ``token`` is an IAM token. ``settings``
    that are loaded already replace all of these; ``trace`` is as in ``Transport``. With
    ``connects_early`` the first request connects while requests is being imported: only for a
    process that has one client and ends with it.

    Raises ``ConfigurationError``, and ``TypeError`` for a parameter of a wrong type; no request is
    sent before it is needed.
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
        rate: int | str | None = None,
        ca_bundle: str | os.PathLike[str] | None = None,
        insecure: bool | None = None,
        settings: Settings | None = None,
        trace: Callable[[str], None] | None = None,
        connects_early: bool = False,
    ) -> None:
        settings = settings or _load_settings(locals())
        self.settings = settings
        # A pool's threads keep it alive while one of them has a request in flight.
        self._pools = WeakSet[WorkerPool]()
        _check_ca_bundle(settings)
        self._credentials = find_credentials(settings, self._send)
        self.service = Service(settings, self._credentials, self._send)
        self._trace = trace
        self._connects_early = connects_early
        self._lock = threading.Lock()
        self._transport: Transport | None = None
        self._closed = False

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a user should know about the settings and the credentials."""
        # The file of the profile may be the file of the credentials too.
        files = dict.fromkeys((*self.settings.warnings, *self._credentials.warnings))
        insecure = ("--insecure: the service's identity is not checked",)
        return (*files, *(insecure if self.settings.insecure else ()))

    @property
    def description(self) -> str:
        """Which service and project are used, and with whose credentials; no secret."""
        settings, credentials, service = self.settings, self._credentials, self.service
        return (
            f"* endpoint: {service.endpoint}\n"
            f"* project: {settings.project_id or f'looked up at {service.iam_endpoint}'}\n"
            f"* workspace: {settings.workspace or 'none (the default one)'}\n"
            f"* credential: {credentials.kind} from {credentials.source}"
        )

    def get(self, task_id: str) -> Task:
        """Get the current state of a task.

        Raises ``TaskNotFound``, ``AuthenticationError``, ``ServiceUnavailable`` (after two
        retries), ``InvalidResponse`` or ``ConfigurationError``.
        """
        return self._last_state(task_id, WaitPolicy(wait=False))

    def wait(
        self,
        task_id: str,
        *,
        timeout: float | None = None,
        interval: float | None = None,
        max_outage: float = 300.0,
        fail_fast: bool = False,
    ) -> Task:
        """Wait for a task to end, and return it; its ``status`` shows how it ended.

        Times are seconds. With ``fail_fast`` it returns at the first FAILED subtask. Raises
        ``WaitTimeout``, and what ``get`` raises.
        """
        policy = _wait_policy(timeout, interval, max_outage, fail_fast=fail_fast)
        return self._last_state(task_id, policy)

    def watch(
        self,
        task_ids: Iterable[str],
        *,
        timeout: float | None = None,
        interval: float | None = None,
        max_outage: float = 300.0,
        fail_fast: bool = False,
    ) -> Iterator[Snapshot]:
        """Yield a snapshot each time one of the tasks changes, until all have ended.

        An error that ends the wait for one task is its last snapshot's ``error``; the other waits
        continue. Raises only ``ConfigurationError``.
        """
        if isinstance(task_ids, str):
            raise ConfigurationError("task_ids is one string, not several", hint="put it in a list")
        if not isinstance(task_ids, Iterable) or isinstance(task_ids, bytes):
            raise TypeError(f"task_ids is a {type(task_ids).__name__}, not a list of str")
        policy = _wait_policy(timeout, interval, max_outage, fail_fast=fail_fast)
        for changed in self.follow(task_ids, policy):
            yield from changed

    def follow(
        self,
        task_ids: Iterable[str],
        policy: WaitPolicy,
        *,
        note: Callable[[str], None] = lambda _: None,
        tick_s: float = 60.0,
    ) -> Iterator[list[Snapshot]]:
        """Yield the tasks that changed, as ``scheduler.poll`` does."""
        distinct = list(dict.fromkeys(_checked_id(task_id) for task_id in task_ids))
        self.service.begin_run()
        pool = WorkerPool(self.service.fetch, size=self.settings.concurrency)
        with self._lock:
            self._open()  # before the first worker needs it
            self._pools.add(pool)
        try:
            yield from poll(distinct, pool, policy, note=note, tick_s=tick_s)
        finally:
            pool.close()

    def close(self, *, wait: bool = True) -> None:
        """Close the connections, and end requests in flight.

        A connection that is still being made cannot be ended: with ``wait`` this returns when it
        is made or has timed out, and no thread is left.
        """
        self._credentials.close()
        with self._lock:
            self._closed = True
            pools = list(self._pools)
        if self._transport is not None:
            self._transport.close()
        limit_s = self.settings.connect_timeout_s + _CLOSE_S if wait else 0.0
        until_s = time.monotonic() + limit_s
        for pool in pools:
            pool.close(until_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self) -> "Transport":
        """The transport, made for the first request: importing requests takes time."""
        if self._closed:
            raise ConfigurationError("the client was closed")
        if self._transport is None:
            if self._connects_early and self._credentials.at_hand:
                first = self.service.iam_endpoint or self.service.endpoint
                begin_to_connect(first, self.settings.connect_timeout_s)
            from dlftask.api.transport import Transport

            self._transport = Transport(self.settings, self._trace)
        return self._transport

    def _send(self, *args: Any, **options: Any) -> Response:
        transport = self._transport
        if transport is None:
            with self._lock:
                transport = self._open()
        return transport.send(*args, **options)

    def _last_state(self, task_id: str, policy: WaitPolicy) -> Task:
        last = Snapshot(task_id)
        for changed in self.follow([task_id], policy):
            last = changed[-1] if changed else last
        if last.error is not None:
            raise last.error
        if last.task is None:
            raise AssertionError("a settled snapshot has a task or an error")
        return last.task


def _checked_id(task_id: object) -> str:
    if not isinstance(task_id, str):
        raise TypeError(f"task_id is a {type(task_id).__name__}, not a str")
    return check_task_id(task_id)


def _load_settings(parameters: Mapping[str, object]) -> Settings:
    """Load the settings for the given parameters. Raises ``TypeError`` that names a wrong one."""
    names = [name for name in (*OPTIONS, "token") if parameters.get(name) is not None]
    given = {name: parameters[name] for name in names}
    for name, value in given.items():
        types = _TYPES.get(name, (str,))
        # A bool is an int to Python, but not a number of seconds.
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            wanted = " or ".join(one.__name__ for one in types)
            raise TypeError(f"{name} is a {type(value).__name__}, not a {wanted}")
    environ: Mapping[str, str] = os.environ
    token = given.pop("token", None)
    if token is not None:
        environ = {**os.environ, "DLFTASK_TOKEN": str(token)}
        given.setdefault("auth", "token")
    return load_settings(given, environ=environ)


def _check_ca_bundle(settings: Settings) -> None:
    if settings.ca_bundle is None or settings.insecure:
        return
    try:
        settings.ca_bundle.stat()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigurationError(f"CA bundle {settings.ca_bundle}: {reason}") from None


def _wait_policy(
    timeout: float | None, interval: float | None, max_outage: float, *, fail_fast: bool
) -> WaitPolicy:
    if not isinstance(fail_fast, bool):
        raise TypeError(f"fail_fast is a {type(fail_fast).__name__}, not a bool")

    def seconds(name: str, value: float) -> float:
        if isinstance(value, bool):
            raise TypeError(f"{name} is a bool, not a number of seconds")
        try:
            return check_seconds(value)
        except ValueError as error:
            raise ConfigurationError(f"{name}: {error}") from None

    return WaitPolicy(
        wait=True,
        interval_s=None if interval is None else seconds("interval", interval),
        max_outage_s=seconds("max_outage", max_outage),
        timeout_s=None if timeout is None else seconds("timeout", timeout),
        began_s=time.monotonic(),
        fail_fast=fail_fast,
    )
