"""What the transport does on the wire, over real sockets."""

import contextlib
import gzip
import itertools
import os
import signal
import socket
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from email.utils import formatdate

import pytest
import trustme

from dlftask.api.transport import Transport
from dlftask.errors import DlftaskError, ServiceUnavailable
from tests.cli import configured, run_dlftask
from tests.running import Running, black_hole
from tests.servers import TASK, Server, Talk, http_response, new_transport, request_path, sending
from tests.test_tls import served_with

MIB = 1024 * 1024


@pytest.fixture
def transport() -> Iterator[Transport]:
    with contextlib.closing(new_transport()) as made:
        yield made


def echo(connection: socket.socket, head: bytes, *, before: bytes = b"") -> None:
    """Respond with the path of the request."""
    connection.sendall(before + http_response(request_path(head).encode()))


def paths(transport: Transport, url: str, count: int, name: str = "") -> list[bytes]:
    """The bodies of ``count`` responses, one after another."""
    return [transport.send("GET", f"{url}/{name}{n}").body for n in range(count)]


def expected(count: int, name: str = "") -> list[bytes]:
    return [f"/{name}{n}".encode() for n in range(count)]


def in_threads(work: Callable[[str], object], names: str) -> None:
    """Do the work once for each name, all at the same time."""
    threads = [threading.Thread(target=work, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


INTERIM = {
    "102": b"HTTP/1.1 102 Processing\r\n\r\n",
    "103": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nLink: </b>\r\n\r\n",
    "many": b"HTTP/1.1 100 Continue\r\n\r\n" * 9 + b"HTTP/1.1 150 x\r\nA: b\r\n\r\n" * 40,
}


@pytest.mark.parametrize("interim", INTERIM)
def test_interim_responses_are_skipped(transport: Transport, interim: str) -> None:
    with Server(lambda c, h: echo(c, h, before=INTERIM[interim]), keep_alive=True) as server:
        assert paths(transport, server.url, 5) == expected(5)
    assert server.connections == 1


def test_a_task_never_gets_the_response_of_the_one_before() -> None:
    def talk(connection: socket.socket, head: bytes) -> None:
        task = b'{"id": "%s", "status": "SUCCESSFUL"}' % request_path(head)[-2:].encode()
        connection.sendall(INTERIM["103"])
        time.sleep(0.02)  # what is sent late would reach the next request
        connection.sendall(http_response(task))

    ids = [f"t{n}" for n in range(6)]
    with Server(talk, keep_alive=True) as server:
        run = run_dlftask(
            *("get", "-o", "tsv", "--concurrency", "1", *ids), env=configured(server.url)
        )
    assert run.returncode == 0
    assert [line.split("\t")[1:3] for line in run.stdout.splitlines()] == [[i, i] for i in ids]
    assert server.connections == 1


def test_another_protocol_is_not_an_interim_response(transport: Transport) -> None:
    with Server(sending(b"HTTP/1.1 101 Switching Protocols\r\n\r\n", http_response())) as server:
        assert transport.send("GET", server.url).status == 101


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_forked_processes_each_get_their_own_responses(scheme: str) -> None:
    tls = served_with(trustme.CA().issue_cert("127.0.0.1")) if scheme == "https" else None
    transport = new_transport(insecure=True)
    with Server(echo, keep_alive=True, tls=tls) as server, contextlib.closing(transport):
        assert paths(transport, server.url, 1) == expected(1)
        children = []
        for name in ("a", "b"):
            child = os.fork()
            if not child:
                status = 1
                with contextlib.suppress(BaseException):
                    status = int(paths(transport, server.url, 200, name) != expected(200, name))
                    transport.close()
                os._exit(status)
            children.append(child)
        assert paths(transport, server.url, 200) == expected(200)
        assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
        assert paths(transport, server.url, 1) == expected(1)
        assert server.connections == 3


def numbered(*talks: Talk) -> Talk:
    """Handle the requests with ``talks`` in turn, and all further ones with the last."""
    numbers = itertools.count()

    def talk(connection: socket.socket, head: bytes) -> object:
        return talks[min(next(numbers), len(talks) - 1)](connection, head)

    return talk


def close(_connection: socket.socket, _head: bytes) -> str:
    return "close without a byte"


def reset(connection: socket.socket, _head: bytes) -> str:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return "close with a reset"


def echo_and_close(connection: socket.socket, head: bytes) -> str:
    echo(connection, head)
    return "close after the response"


@pytest.mark.parametrize("fault", [close, reset])
def test_a_kept_connection_that_was_closed_is_not_a_fault(
    transport: Transport, fault: Talk
) -> None:
    with Server(numbered(echo, fault, echo), keep_alive=True) as server:
        assert paths(transport, server.url, 3) == expected(3)
    assert (len(server.heads), server.connections) == (4, 2)


def test_a_server_that_closes_after_each_response_is_fine(transport: Transport) -> None:
    with Server(echo_and_close) as server:
        assert paths(transport, server.url, 20) == expected(20)
    assert (len(server.heads), server.connections) == (20, 20)


@pytest.mark.parametrize("fault", [close, reset])
def test_a_fresh_connection_that_is_closed_is_a_fault(transport: Transport, fault: Talk) -> None:
    with Server(fault, keep_alive=True) as server:
        with pytest.raises(ServiceUnavailable):
            transport.send("GET", server.url)
        assert len(server.heads) == 1
    with Server(numbered(echo, fault), keep_alive=True) as server:
        transport.send("GET", server.url)
        with pytest.raises(ServiceUnavailable):
            transport.send("GET", server.url)
        assert len(server.heads) == 3


@pytest.mark.parametrize("first", [b"HTT", INTERIM["103"]])
def test_after_a_byte_of_the_response_it_is_not_sent_again(
    transport: Transport, first: bytes
) -> None:
    def cut_off(connection: socket.socket, _head: bytes) -> str:
        connection.sendall(first)
        return "cut off"

    with Server(numbered(echo, cut_off, echo), keep_alive=True) as server:
        transport.send("GET", server.url)
        with pytest.raises(DlftaskError):
            transport.send("GET", server.url)
        assert len(server.heads) == 2


def test_many_threads_whose_kept_connections_die_lose_nothing(transport: Transport) -> None:
    used: dict[object, int] = {}
    found: list[bytes] = []

    def talk(connection: socket.socket, head: bytes) -> object:
        peer = connection.getpeername()
        used[peer] = used.get(peer, 0) + 1
        if used[peer] > 3:
            return close(connection, head)
        echo(connection, head)
        return None

    def work(name: str) -> None:
        found.extend(paths(transport, server.url, 40, name))

    with Server(talk, keep_alive=True) as server:
        in_threads(work, "abcdefgh")
    assert sorted(found) == sorted(path for name in "abcdefgh" for path in expected(40, name))


def test_a_wait_notes_no_outage_where_the_server_closes_between_the_polls() -> None:
    running = http_response(TASK.replace(b"SUCCESSFUL", b"RUNNING"))
    polls = (sending(running), close) * 3
    with Server(numbered(*polls, sending(http_response())), keep_alive=True) as server:
        run = run_dlftask(
            *("get", "--wait", "--interval", "50ms", "-o", "json", "t1"),
            env=configured(server.url),
        )
    assert run.returncode == 0
    assert "warning" not in run.stderr
    assert "back" not in run.stderr
    assert len(server.heads) == 7


def test_a_dead_address_does_not_use_up_the_time_of_a_live_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lookups = 0
    with black_hole() as dead, Server(sending(http_response()), host="127.0.0.2") as server:
        addresses = [("127.0.0.1", int(dead.rpartition(":")[2])), ("127.0.0.2", server.port)]

        def getaddrinfo(*_args: object, **_options: object) -> list[object]:
            nonlocal lookups
            lookups += 1
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", found) for found in addresses]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        with contextlib.closing(new_transport(connect_timeout_s=4.0)) as transport:
            assert transport.send("GET", "http://two.test").status == 200
            began_s = time.monotonic()
            assert transport.send("GET", "http://two.test").status == 200
            # The dead one is tried for a half of the limit: not again.
            assert time.monotonic() - began_s < 2.0
    assert lookups == 2


def test_a_retry_after_date_counts_from_the_servers_own_date() -> None:
    hour_ago_s = time.time() - 3600
    busy = http_response(
        b"{}",
        status="503 Service Unavailable",
        headers={
            "Date": formatdate(hour_ago_s, usegmt=True),
            "Retry-After": formatdate(hour_ago_s + 2, usegmt=True),
        },
    )
    times: list[float] = []

    def talk(connection: socket.socket, _head: bytes) -> None:
        times.append(time.monotonic())
        connection.sendall(busy if len(times) == 1 else http_response())

    with Server(talk) as server:
        run = run_dlftask("get", "t1", env=configured(server.url))
    assert run.returncode == 0
    assert times[1] - times[0] >= 1.9


def test_requests_of_all_threads_are_spread_over_time() -> None:
    times: list[float] = []

    def talk(connection: socket.socket, _head: bytes) -> None:
        times.append(time.monotonic())
        connection.sendall(http_response())

    transport = new_transport(rate=10)
    began_s = time.monotonic()
    with Server(talk, keep_alive=True) as server, contextlib.closing(transport):
        in_threads(lambda name: paths(transport, server.url, 4, name), "abcd")
    assert len(times) == 16
    assert time.monotonic() - began_s >= 1.5
    # No burst: eleven in a row take a second, minus the delay of the first on a busy machine.
    assert all(after - before > 0.5 for before, after in itertools.pairwise(times[::10]))


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="no SIGSTOP here")
def test_a_stop_in_the_middle_of_a_request_is_not_a_timeout() -> None:
    begun, go_on = threading.Event(), threading.Event()
    running = http_response(TASK.replace(b"SUCCESSFUL", b"RUNNING"))

    def talk(connection: socket.socket, _head: bytes) -> None:
        if not begun.is_set() and len(server.heads) == 1:
            connection.sendall(running)
            return
        begun.set()
        go_on.wait(20)
        connection.sendall(http_response(TASK + b" " * 100_000))  # more than one read takes

    with (
        Server(talk, keep_alive=True) as server,
        Running(
            *("get", "--wait", "--interval", "100ms", "--read-timeout", "1s"),
            *("--max-outage", "1s", "-o", "json", "t1"),
            env=configured(server.url),
        ) as run,
    ):
        run.until(begun.is_set)
        run.process.send_signal(signal.SIGSTOP)
        go_on.set()
        time.sleep(2.5)
        run.process.send_signal(signal.SIGCONT)
        assert run.process.wait(20) == 0
        assert len(server.heads) == 2
        assert '"SUCCESSFUL"' in run.stdout


def bomb(levels: int) -> bytes:
    """Half a gibibyte of zeros, packed once or twice."""
    packer = zlib.compressobj(1, wbits=16 + zlib.MAX_WBITS)
    body = b"".join(packer.compress(bytes(MIB)) for _ in range(512)) + packer.flush()
    return body if levels == 1 else gzip.compress(body, 1)


def chunks(*, end: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + end


def flood(head: bytes, part: bytes) -> Talk:
    """Send without end, as fast as the client reads."""

    def talk(connection: socket.socket, _head: bytes) -> None:
        connection.sendall(head)
        while True:
            connection.sendall(part)

    return talk


BOMBS: dict[str, tuple[Callable[[], Talk], int]] = {
    "gzip": (lambda: sending(http_response(bomb(1), headers={"Content-Encoding": "gzip"})), 7),
    "gzip, gzip": (
        lambda: sending(http_response(bomb(2), headers={"Content-Encoding": "gzip, gzip"})),
        7,
    ),
    "a hundred encodings": (
        lambda: sending(
            http_response(bomb(1), headers={"Content-Encoding": ", ".join(["gzip"] * 100)})
        ),
        7,
    ),
    "a chunk's length": (lambda: flood(chunks(end=b""), b"0" * MIB), 7),
    "a chunk's extension": (lambda: flood(chunks(end=b"1;"), b"x" * MIB), 7),
    "trailers": (lambda: flood(chunks(end=b"1\r\n{\r\n0\r\n"), b"X-A: b\r\n" * 10_000), 6),
    "one trailer": (lambda: flood(chunks(end=b"1\r\n{\r\n0\r\nX:"), b"x" * MIB), 7),
    "headers": (lambda: flood(b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n" * 10_000), 7),
    "100 continue": (lambda: flood(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 10_000), 6),
    "103 early hints": (lambda: flood(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 10_000), 6),
    "a body": (lambda: flood(b"HTTP/1.1 200 OK\r\n\r\n", b" " * MIB), 7),
}


@pytest.mark.parametrize("name", BOMBS)
def test_endless_responses_are_bounded_in_time_and_memory(name: str) -> None:
    talk, status = BOMBS[name]
    with Server(talk()) as server:
        run = run_dlftask("get", "t1", "--read-timeout", "2s", env=configured(server.url))
    assert run.returncode == status
    assert "Traceback" not in run.stderr
    assert run.peak_mib < 400
