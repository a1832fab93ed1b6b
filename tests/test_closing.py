"""A client from Python: what is left once it is closed, and what it refuses."""

import contextlib
import gc
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dlftask import Client, ConfigurationError, DlftaskError
from dlftask.waiting.workers import WorkerPool
from tests.servers import TASK, Server, Talk, http_response, new_transport, request_path, sending

RUNNING = http_response(TASK.replace(b"SUCCESSFUL", b"RUNNING"))
pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="Linux counts them")


def client_of(server: Server, **options: Any) -> Client:
    return Client(endpoint=server.url, project_id="p", token="a-token", **options)


def sockets_to(port: int) -> int:
    """How many sockets of this process are connected to a port of loopback."""
    inodes = set()
    for fd in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            inodes.add(str(fd.readlink()))
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[2] == f"0100007F:{port:04X}" and f"socket:[{row[9]}]" in inodes for row in rows)


@contextlib.contextmanager
def nothing_left(server: Server) -> Iterator[None]:
    """Check that the block leaves no thread and no socket of a client."""
    before = set(threading.enumerate())

    def left() -> list[str]:
        mine = [t for t in threading.enumerate() if t not in before]
        return [t.name for t in mine if "_serve" not in t.name]

    yield
    limit_s = time.monotonic() + 10.0
    while (left() or sockets_to(server.port)) and time.monotonic() < limit_s:
        time.sleep(0.02)
    assert (left(), sockets_to(server.port)) == ([], 0)


def silent(connection: socket.socket, _head: bytes) -> None:
    while connection.recv(65536):
        pass


def trickling(connection: socket.socket, _head: bytes) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    while True:
        connection.sendall(b" ")
        time.sleep(0.02)


@pytest.mark.parametrize("talk", [silent, trickling])
def test_closing_ends_a_request_in_flight(talk: Talk) -> None:
    errors: list[BaseException] = []

    def wait(client: Client) -> None:
        try:
            client.wait("t1", max_outage=60.0)
        except DlftaskError as error:
            errors.append(error)

    with Server(talk) as server, nothing_left(server):
        client = client_of(server, read_timeout=600.0)
        thread = threading.Thread(target=wait, args=(client,), daemon=True)
        thread.start()
        while not server.heads:
            time.sleep(0.01)
        client.close()
        thread.join(10.0)
        assert not thread.is_alive()
    assert len(errors) == 1


def test_closing_closes_idle_connections_even_if_an_error_of_another_is_kept() -> None:
    errors: list[DlftaskError] = []

    def talk(connection: socket.socket, head: bytes) -> None:
        if request_path(head) == "/idle":
            connection.sendall(http_response())
        else:
            silent(connection, head)

    def send() -> None:
        try:
            transport.send("GET", f"{server.url}/in-flight")
        except DlftaskError as error:
            errors.append(error)  # and with it the frames of its traceback

    with Server(talk, keep_alive=True) as server, nothing_left(server):
        transport = new_transport(read_timeout_s=600.0)
        thread = threading.Thread(target=send, daemon=True)
        thread.start()
        while not server.heads:
            time.sleep(0.01)
        transport.send("GET", f"{server.url}/idle")
        transport.close()
        thread.join(10.0)
    assert len(errors) == 1


def test_a_watch_that_is_stopped_early_leaves_nothing_behind() -> None:
    server = Server(sending(RUNNING), keep_alive=True)
    with server, nothing_left(server), client_of(server) as client:
        for snapshot in client.watch(["t1", "t2", "t3"], interval=0.05):
            if snapshot.task is not None:
                break


def test_a_closed_client_leaves_nothing_behind_used_or_not() -> None:
    with Server(sending(http_response()), keep_alive=True) as server, nothing_left(server):
        client_of(server).close()
        with client_of(server) as client:
            client.get("t1")
            list(client.watch([f"t{n}" for n in range(20)]))
            assert sockets_to(server.port) > 0
        client.close()


def test_the_threads_of_a_program_share_the_limit_of_simultaneous_requests() -> None:
    counting = threading.Lock()
    now = most = 0

    def talk(connection: socket.socket, _head: bytes) -> None:
        nonlocal now, most
        with counting:
            now += 1
            most = max(most, now)
        time.sleep(0.2)
        with counting:
            now -= 1
        connection.sendall(http_response())

    with Server(talk, keep_alive=True) as server:
        with client_of(server, concurrency=3, rate="none") as client:
            threads = [threading.Thread(target=client.get, args=("t1",)) for _ in range(12)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert len(server.heads) == 12
        assert max(most, server.connections) <= 3


def test_a_program_connects_only_for_its_requests() -> None:
    with (
        Server(sending(http_response())) as server,
        nothing_left(server),
        client_of(server) as client,
    ):
        assert list(client.watch([])) == []
        assert server.connections == 0


def test_closing_while_a_call_starts_leaves_nothing_behind() -> None:
    def get(client: Client) -> None:
        with contextlib.suppress(DlftaskError):
            client.get("t1")

    with Server(sending(http_response()), keep_alive=True) as server, nothing_left(server):
        for pause_us in range(100):
            client = client_of(server)
            thread = threading.Thread(target=get, args=(client,), daemon=True)
            thread.start()
            time.sleep(pause_us * 1e-5)
            client.close()
            left = [one for one in threading.enumerate() if "_work" in one.name]
            assert left == []
            thread.join()


def test_a_client_keeps_nothing_of_a_finished_call() -> None:
    def pools() -> int:
        gc.collect()
        return sum(isinstance(one, WorkerPool) for one in gc.get_objects())

    with Server(sending(http_response()), keep_alive=True) as server, client_of(server) as client:
        before = pools()
        for _ in range(20):
            client.get("t1")
        limit_s = time.monotonic() + 10.0
        while pools() > before and time.monotonic() < limit_s:
            time.sleep(0.02)
        assert pools() == before


def test_idle_connections_that_the_server_closed_are_closed_too() -> None:
    server = Server(sending(http_response()))
    with server, nothing_left(server), client_of(server) as client:
        for _ in range(5):
            list(client.watch([f"t{n}" for n in range(8)]))


def test_a_closed_client_raises_at_once() -> None:
    with Server(sending(http_response())) as server:
        with client_of(server) as client:
            pass
        with pytest.raises(ConfigurationError, match="closed"):
            client.get("t1")
        assert server.connections == 0


@pytest.mark.parametrize("task_id", [None, 5, b"abc", ["t1"], True])
def test_a_task_id_of_a_wrong_type_is_named_and_sends_no_request(task_id: Any) -> None:
    with Server(sending(http_response())) as server, client_of(server) as client:
        calls: list[Callable[[], object]] = [
            lambda: client.get(task_id),
            lambda: client.wait(task_id),
            lambda: list(client.watch([task_id])),
        ]
        for call in calls:
            with pytest.raises((TypeError, ConfigurationError), match="task_id"):
                call()
        assert server.connections == 0


@pytest.mark.parametrize("task_ids", [None, 5, b"abc", "t1"])
def test_tasks_of_a_wrong_type_are_named(task_ids: Any) -> None:
    with (
        Server(sending(http_response())) as server,
        client_of(server) as client,
        pytest.raises((TypeError, ConfigurationError), match="task_ids"),
    ):
        list(client.watch(task_ids))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("concurrency", "x"),
        ("concurrency", 0),
        ("concurrency", -1),
        ("concurrency", 1.5),
        ("concurrency", True),
        ("read_timeout", "5"),
        ("read_timeout", -1),
        ("read_timeout", True),
        ("read_timeout", float("nan")),
        ("connect_timeout", "5s"),
        ("token", 5),
        ("token", b"abc"),
        ("rate", -1),
        ("rate", 0),
        ("rate", True),
        ("rate", 1.5),
        ("rate", "x"),
        ("region", 5),
        ("token_file", 5),
        ("ca_bundle", 5),
        ("insecure", 1),
        ("endpoint", b"http://127.0.0.1"),
        ("auth", 5),
        ("workspace", 5),
        ("project_id", 5),
        ("profile", 5),
    ],
)
def test_an_option_of_a_wrong_type_or_value_is_named(name: str, value: Any) -> None:
    given = {"endpoint": "http://127.0.0.1:1", "project_id": "p", "token": "t", name: value}
    with pytest.raises((TypeError, ConfigurationError)) as caught:
        Client(**given)
    assert name in str(caught.value).replace("-", "_")


@pytest.mark.parametrize(("rate", "expected"), [("none", None), (7, 7), (None, 20)])
def test_a_rate_is_a_number_or_none(rate: Any, expected: int | None) -> None:
    with Client(endpoint="http://127.0.0.1:1", project_id="p", token="t", rate=rate) as client:
        assert client.settings.rate == expected


@pytest.mark.parametrize("name", ["timeout", "interval", "max_outage"])
@pytest.mark.parametrize("seconds", ["5", True, -1, [], b"5"])
def test_a_time_of_a_wrong_type_is_named(name: str, seconds: Any) -> None:
    with (
        Server(sending(http_response())) as server,
        client_of(server) as client,
        pytest.raises((TypeError, ConfigurationError), match=name),
    ):
        client.wait("t1", **{name: seconds})


@pytest.mark.parametrize("fail_fast", ["no", 0, None, []])
def test_fail_fast_of_a_wrong_type_is_named(fail_fast: Any) -> None:
    with Server(sending(http_response())) as server, client_of(server) as client:
        with pytest.raises(TypeError, match="fail_fast"):
            client.wait("t1", fail_fast=fail_fast)
        assert not server.heads


def test_closing_waits_for_a_connection_that_is_being_made(unresponsive: str) -> None:
    before = set(threading.enumerate())
    client = Client(endpoint=unresponsive, project_id="p", token="a-token", connect_timeout=1.0)
    watching = client.watch(["t1", "t2"], timeout=0.3)
    assert [snapshot.settled for snapshot in watching] == [True, True]
    client.close()
    assert set(threading.enumerate()) - before == set()
