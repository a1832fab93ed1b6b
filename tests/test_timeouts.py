"""The limits of one request and of the whole wait hold on any network."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import termios
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dlftask.api.transport import Transport
from dlftask.errors import DlftaskError, ServiceUnavailable
from dlftask.simulator import Simulator
from dlftask.task import Task, read_task
from dlftask.waiting.workers import FetchResult, WorkerPool
from tests.cli import DLFTASK, configured, environment, run_dlftask, startup_s
from tests.running import Running
from tests.servers import Server, http_response, new_transport, sending
from tests.terminal import Terminal


def silent(connection: socket.socket, _head: bytes) -> None:
    while connection.recv(65536):
        pass


def trickling(data: bytes, pause_s: float = 0.2) -> object:
    def talk(connection: socket.socket, _head: bytes) -> None:
        for at in range(len(data)):
            connection.sendall(data[at : at + 1])
            time.sleep(pause_s)

    return talk


RESPONSE = http_response()
SLOW = {
    "accepts-and-sends-nothing": silent,
    "a-byte-now-and-then-from-the-start": trickling(RESPONSE),
    "a-byte-now-and-then-in-the-headers": lambda c, h: (
        c.sendall(RESPONSE[:30]),
        trickling(RESPONSE[30:])(c, h),  # type: ignore[operator]
    ),
    "a-byte-now-and-then-in-the-body": lambda c, h: (
        c.sendall(RESPONSE[:-50]),
        trickling(RESPONSE[-50:])(c, h),  # type: ignore[operator]
    ),
}

HUNG_RESOLVER = """
import socket, time
resolve = socket.getaddrinfo
def getaddrinfo(host, *args, **kwargs):
    if host == "service.test":
        time.sleep(60)
    return resolve(host, *args, **kwargs)
socket.getaddrinfo = getaddrinfo
"""


@contextlib.contextmanager
def unreachable() -> Iterator[str]:
    """A port whose backlog is full: the kernel accepts no further connection."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(3):
            client = stack.enter_context(socket.socket())
            client.settimeout(0)
            client.connect_ex(listener.getsockname())
        time.sleep(0.05)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def fetch(pool: WorkerPool, task_id: str) -> FetchResult:
    pool.start(task_id)
    (found,) = pool.results(pool.now() + 30)
    return found


def pool_for(url: str, transport: Transport, *, size: int = 1) -> WorkerPool:
    def fetch_once(task_id: str) -> Task:
        return read_task(transport.send("GET", f"{url}/{task_id}").body)

    return WorkerPool(fetch_once, size=size)


@pytest.mark.parametrize("row", SLOW)
def test_the_read_timeout_bounds_the_response_up_to_its_last_byte(row: str) -> None:
    with Server(SLOW[row]) as server:  # type: ignore[arg-type]
        pool = pool_for(server.url, new_transport(read_timeout_s=0.5))
        started = time.monotonic()
        outcome = fetch(pool, "t1").outcome
        took_s = time.monotonic() - started
        pool.close()
    assert isinstance(outcome, ServiceUnavailable)
    assert str(outcome).endswith(": no response within 500ms")
    assert 0.45 < took_s < 1.5


def test_the_connect_timeout_bounds_a_connection_that_hangs() -> None:
    with unreachable() as url:
        pool = pool_for(url, new_transport(connect_timeout_s=0.5))
        started = time.monotonic()
        outcome = fetch(pool, "t1").outcome
        took_s = time.monotonic() - started
        pool.close()
    assert isinstance(outcome, ServiceUnavailable)
    assert str(outcome).endswith(": no connection within 500ms")
    assert 0.45 < took_s < 1.5


def test_the_connect_timeout_bounds_a_tls_handshake_that_hangs() -> None:
    with Server(silent, greet=True) as server:
        url = server.url.replace("http:", "https:")
        pool = pool_for(url, new_transport(connect_timeout_s=0.5, insecure=True))
        started = time.monotonic()
        outcome = fetch(pool, "t1").outcome
        took_s = time.monotonic() - started
        pool.close()
    assert str(outcome).endswith(": no connection within 500ms")
    assert 0.45 < took_s < 1.5


def test_the_connect_timeout_bounds_a_name_lookup_that_hangs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hanging = threading.Event()

    def getaddrinfo(*_args: object, **_options: object) -> list[object]:
        hanging.wait(20)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    pool = pool_for("http://service.test", new_transport(connect_timeout_s=0.5))
    started = time.monotonic()
    outcome = fetch(pool, "t1").outcome
    took_s = time.monotonic() - started
    hanging.set()
    pool.close()
    assert str(outcome).endswith(": no connection within 500ms")
    assert 0.45 < took_s < 1.5


@pytest.mark.parametrize(
    "row", ["silent", "trickle", "unreachable", "resolver", "retry-after", "many"]
)
def test_the_timeout_of_a_wait_is_never_overrun_by_more_than_a_second(
    row: str, tmp_path: Path
) -> None:
    with contextlib.ExitStack() as stack:
        ids, more = ["t1"], {}
        if row == "unreachable":
            url = stack.enter_context(unreachable())
        elif row == "resolver":
            (tmp_path / "sitecustomize.py").write_text(HUNG_RESOLVER)
            url, more = "https://service.test", {"PYTHONPATH": str(tmp_path)}
        else:
            talk = {
                "silent": silent,
                "many": silent,
                "trickle": trickling(RESPONSE, 0.1),
                "retry-after": sending(
                    http_response(
                        status="503 Busy", headers={"Retry-After": "9", "Connection": "close"}
                    )
                ),
            }[row]
            url = stack.enter_context(Server(talk)).url  # type: ignore[arg-type]
        if row == "many":
            ids = [f"t{n}" for n in range(300)]
        run = run_dlftask(
            "get", "--wait", "--timeout", "1s", *ids, env=configured(url, **more), timeout=20
        )
    assert run.returncode == 124, run.stderr
    assert run.seconds < 2 + startup_s()
    errors = [line for line in run.stderr.splitlines() if line.startswith("dlftask: error: ")]
    assert any(f"task {ids[-1]}: " in line and "--timeout" in line for line in errors)


@pytest.mark.parametrize("row", ["silent", "unreachable", "resolver"])
def test_a_plain_get_ends_with_6_after_its_retries(row: str, tmp_path: Path) -> None:
    more = {}
    with contextlib.ExitStack() as stack:
        if row == "unreachable":
            url = stack.enter_context(unreachable())
        elif row == "resolver":
            (tmp_path / "sitecustomize.py").write_text(HUNG_RESOLVER)
            url, more = "https://service.test", {"PYTHONPATH": str(tmp_path)}
        else:
            url = stack.enter_context(Server(silent)).url
        limits = ("--connect-timeout", "200ms", "--read-timeout", "200ms")
        run = run_dlftask("get", *limits, "t1", env=configured(url, **more))
    assert run.returncode == 6
    assert "within 200ms" in run.stderr
    assert run.seconds < 0.6 + 2 + 1


def test_a_slow_task_delays_no_other() -> None:
    def talk(connection: socket.socket, head: bytes) -> None:
        if b"/slow" in head:
            silent(connection, head)
        else:
            connection.sendall(http_response())

    with Server(talk, keep_alive=True) as server:
        pool = pool_for(server.url, new_transport(read_timeout_s=5.0), size=4)
        for task_id in ("slow1", "slow2", "slow3"):
            pool.start(task_id)
        started = time.monotonic()
        for n in range(100):
            pool.start(f"t{n}")
            assert [found.task_id for found in pool.results(pool.now() + 5)] == [f"t{n}"]
        assert time.monotonic() - started < 3
        assert pool.free == 1
        pool.close()


def threads_settle_at(most: int, within_s: float = 5.0) -> bool:
    until = time.monotonic() + within_s
    while threading.active_count() > most and time.monotonic() < until:
        time.sleep(0.01)
    return threading.active_count() <= most


def test_threads_and_connections_do_not_pile_up_over_many_polls() -> None:
    """A third of the requests get a response, a third hang, a third are dropped."""

    def talk(connection: socket.socket, head: bytes) -> None:
        if b"/good" in head:
            connection.sendall(http_response())
        else:
            silent(connection, head)

    with Server(talk, keep_alive=True) as server:
        before = threading.active_count()
        transport = new_transport(read_timeout_s=0.01, concurrency=4)
        pool = pool_for(server.url, transport, size=4)
        for n in range(150):
            assert isinstance(fetch(pool, f"good{n}").outcome, Task | DlftaskError)
            assert isinstance(fetch(pool, f"hung{n}").outcome, ServiceUnavailable)
            pool.start(f"dropped{n}")
            pool.drop(f"dropped{n}")
        assert pool.free == 4
        # For each of at most four connections, one thread here and one of the server.
        assert threads_settle_at(before + 8)
        pool.close()
        transport.close()
        assert threads_settle_at(before)


def test_a_reader_that_does_not_read_delays_no_timeout() -> None:
    with Simulator() as simulator:
        task_id = simulator.start_import("obs://b/subtasks-20000")
        reading, writing = os.pipe()
        with os.fdopen(reading), os.fdopen(writing, "wb") as out:
            began = time.monotonic()
            args = ["watch", "--timeout", "2s", task_id]
            run = run_dlftask(*args, env=simulator.environment(), stdout=out)
        assert run.returncode == 124
        assert time.monotonic() - began < 3.0


def test_a_stop_past_the_deadline_loses_neither_the_last_state_nor_the_command_to_resume() -> None:
    with Simulator() as simulator:
        task_id = simulator.start_import("obs://b/subtasks-1000")
        args = ["watch", "--timeout", "6s", "--interval", "200ms", task_id]
        with Running(*args, env=simulator.environment()) as run:
            run.until(lambda: "RUNNING" in run.stdout)
            run.process.send_signal(signal.SIGSTOP)
            time.sleep(8.0)  # past the deadline and the forced end after it
            run.process.send_signal(signal.SIGCONT)
            assert run.process.wait(20) == 124
            assert f"dlftask: task {task_id}: RUNNING" in run.stderr
            assert " ".join(["dlftask", *args]) in run.stderr


def test_a_terminal_that_is_held_ends_with_124() -> None:
    with Simulator() as simulator, Terminal() as terminal:
        slave = terminal._slave.fileno()
        args = ["watch", "--timeout", "3s", simulator.start_import("obs://b/subtasks-1000")]
        began = time.monotonic()
        with Running(*args, env=simulator.environment(), stdout=slave) as run:
            run.until(lambda: "elapsed" in terminal.text)
            termios.tcflow(slave, termios.TCOOFF)
            assert run.process.wait(20) == 124
            assert time.monotonic() - began < 3 + 1 + 2  # the start of a process included
            termios.tcflow(slave, termios.TCOON)


def test_a_result_that_is_read_slowly_is_printed_whole_after_the_timeout(tmp_path: Path) -> None:
    with Simulator() as simulator:
        task_id = simulator.start_import("obs://b/subtasks-5000")
        reading, writing = os.pipe()
        process = subprocess.Popen(
            [*DLFTASK, "watch", "-o", "json", "--timeout", "8s", task_id],
            env=environment(tmp_path, simulator.environment()),
            stdout=writing,
            stderr=subprocess.DEVNULL,
        )
        os.close(writing)
        data = b""
        with open(reading, "rb") as source:  # noqa: PTH123
            time.sleep(10.5)
            data = source.read()
        assert process.wait(20) == 124
        assert json.loads(data)["id"] == task_id
