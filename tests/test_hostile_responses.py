"""Responses that are invalid or meant to harm: one clear line, the right exit status, soon."""

import gzip
import json
import re
import socket
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from subprocess import DEVNULL
from typing import Any

import pytest

from tests.cli import Finished, configured, run_dlftask
from tests.servers import TASK, Server, chunked, http_response, request_path, sending

MIB = 1024 * 1024
Talk = Callable[[socket.socket, bytes], object]


def packed(body: bytes, encoding: str = "gzip") -> bytes:
    return http_response(body, headers={"Content-Encoding": encoding})


def without_length(body: bytes, head: str = "") -> bytes:
    return f"HTTP/1.1 200 OK\r\n{head}\r\n".encode() + body


def endlessly(head: bytes, part: bytes) -> Talk:
    """Send without end, until the client closes the connection."""

    def talk(connection: socket.socket, _head: bytes) -> None:
        connection.sendall(head)
        while True:
            connection.sendall(part)
            time.sleep(0.01)

    return talk


def silent_after(*parts: bytes) -> Talk:
    """Send these bytes and then nothing, with the connection left open."""

    def talk(connection: socket.socket, _head: bytes) -> None:
        connection.sendall(b"".join(parts))
        connection.recv(1)

    return talk


GZIP_TASK = gzip.compress(TASK)
DEEP = b'{"id": "a", "status": "SUCCESSFUL", "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
TWICE = b'{"id": "a", "status": "FAILED", "status": "SUCCESSFUL"}'

INVALID: dict[str, Talk] = {
    "not-json": sending(http_response(b"it works!")),
    "html-with-200": sending(
        http_response(
            b"<!DOCTYPE html><title>Log in</title>", headers={"Content-Type": "text/html"}
        )
    ),
    "chunk-length-is-negative": sending(
        without_length(b"-5\r\n" + TASK, "Transfer-Encoding: chunked\r\n")
    ),
    "chunk-length-is-an-apostrophe": sending(
        without_length(b"'\r\n" + TASK, "Transfer-Encoding: chunked\r\n")
    ),
    "empty": sending(http_response(b"")),
    "null": sending(http_response(b"null")),
    "a-list": sending(http_response(b"[]")),
    "no-id": sending(http_response(b'{"status": "SUCCESSFUL"}')),
    "no-status": sending(http_response(b'{"id": "a"}')),
    "deep-nesting": sending(http_response(DEEP)),
    "deep-nesting-of-objects": sending(http_response(b'{"a":' * 50_000 + b"1" + b"}" * 50_000)),
    "chunk-length-is-not-a-number": sending(
        without_length(b"zz\r\n" + TASK, "Transfer-Encoding: chunked\r\n")
    ),
    "cut-off-without-length": sending(without_length(TASK[:-5], "Connection: close\r\n")),
    "cut-off-in-the-headers": sending(b"HTTP/1.1 200 OK\r\nContent-"),
    "utf-16": sending(http_response(TASK.decode().encode("utf-16"))),
    "latin-1": sending(
        http_response('{"id": "a", "status": "RUNNING", "name": "é"}'.encode("latin-1"))
    ),
    "invalid-utf-8": sending(
        http_response(b'{"id": "a", "status": "RUNNING", "name": "\xff\xc0"}')
    ),
    "surrogate-in-utf-8": sending(
        http_response(b'{"id": "a", "status": "FAILED", "name": "\xed\xa0\x80"}')
    ),
    "nan": sending(http_response(b'{"id": "a", "status": "FAILED", "startTime": NaN}')),
    "infinity": sending(http_response(b'{"id": "a", "status": "FAILED", "x": -Infinity}')),
    "status-is-a-number": sending(http_response(b'{"id": "a", "status": 7}')),
    "id-is-an-object": sending(http_response(b'{"id": {}, "status": "FAILED"}')),
    "duplicate-keys": sending(http_response(TWICE)),
    "unknown-status": sending(http_response(b'{"id": "a", "status": "PAUSED\\u001b[31m"}')),
    "gzip-that-is-not-gzip": sending(packed(TASK)),
    "gzip-with-a-wrong-checksum": sending(packed(GZIP_TASK[:-8] + b"\0" * 8)),
    "gzip-in-gzip": sending(packed(gzip.compress(GZIP_TASK))),
    "gzip-twice-by-header": sending(packed(gzip.compress(GZIP_TASK), "gzip, gzip")),
    "deflate-not-requested": sending(packed(zlib.compress(TASK), "deflate")),
    "brotli-not-requested": sending(packed(b"\x0b\x02\x80hello\x03", "br")),
    "an-encoding-of-its-own": sending(packed(TASK, "x\x1b[31m")),
    "a-header-of-100-kb": sending(http_response(headers={"X-Long": "x" * 100_000})),
    "10000-headers": sending(http_response(headers={f"X-{n}": "y" for n in range(10_000)})),
    "a-status-line-of-100-kb": sending(b"HTTP/1.1 200 " + b"O" * 100_000 + b"\r\n\r\n"),
    "http-0.9": sending(TASK),
    "no-status-number": sending(b"HTTP/1.1 fine\r\n\r\n" + TASK),
    "status-999999": sending(b"HTTP/1.1 999999 OK\r\n\r\n" + TASK),
    "status-of-minus-1": sending(b"HTTP/1.1 -1 OK\r\n\r\n" + TASK),
    "not-http-but-smtp": sending(b"220 mail.example ESMTP\r\n"),
    "tls-alert": sending(b"\x15\x03\x01\x00\x02\x02\x46"),
    "http-2-preface": sending(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "negative-length": sending(http_response(headers={"Content-Length": "-5"})),
    "length-is-not-a-number": sending(http_response(headers={"Content-Length": "many"})),
    "two-lengths": sending(
        f"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: {len(TASK)}\r\n\r\n".encode()
        + TASK
    ),
    "101-switching-protocols": sending(b"HTTP/1.1 101 Switching Protocols\r\n\r\n"),
    "204": sending(b"HTTP/1.1 204 No Content\r\n\r\n"),
    "204-gzip": sending(b"HTTP/1.1 204 No Content\r\nContent-Encoding: gzip\r\n\r\n"),
    "206": sending(http_response(TASK[:20], status="206 Partial Content")),
    "304": sending(b"HTTP/1.1 304 Not Modified\r\n\r\n"),
    "redirect-with-controls": sending(
        http_response(b"", status="302 Found", headers={"Location": "http://\x1b]0;x\x07/\x9b31m"})
    ),
    "request-id-with-controls": sending(
        http_response(b"?", headers={"X-Request-Id": "\x1b[2J\x9b5m"})
    ),
    "error-message-with-controls": sending(
        http_response(
            rb'{"error_code": "X.1", "error_msg": "a\u001b[31m\u202eb\nc\u2028d"}',
            status="400 Bad Request",
        )
    ),
    "404-with-html": sending(http_response(b"<h1>Not found</h1>", status="404 Not Found")),
}

BROKEN: dict[str, Talk] = {
    "closed-at-once": sending(),
    "cut-off-by-length": sending(http_response(headers={"Content-Length": "500"})),
    "cut-off-in-a-chunk": sending(
        without_length(b"fff\r\n" + TASK, "Transfer-Encoding: chunked\r\n")
    ),
    "chunks-without-an-end": sending(
        without_length(chunked([TASK])[:-5], "Transfer-Encoding: chunked\r\n")
    ),
    "gzip-cut-off": sending(packed(GZIP_TASK[:-12])),
    "100-continue-flood": endlessly(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
    "a-body-without-end": endlessly(without_length(b"{"), b" " * 1000),
    "chunks-without-end": endlessly(
        without_length(b"", "Transfer-Encoding: chunked\r\n"), b"1\r\n \r\n"
    ),
    "trailers-without-end": endlessly(
        without_length(chunked([TASK])[:-2], "Transfer-Encoding: chunked\r\n"), b"X-A: b\r\n"
    ),
    "headers-without-end": endlessly(b"HTTP/1.1 200 OK\r\nX-A: ", b"b"),
    "silence-in-the-body": silent_after(http_response(headers={"Content-Length": "500"})),
    "500-with-html": sending(http_response(b"<h1>Oops</h1>", status="500 Internal Server Error")),
    "502-packed-with-brotli": sending(
        http_response(b"??", status="502 Bad Gateway", headers={"Content-Encoding": "br"})
    ),
    "429-without-a-body": sending(b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n"),
}

# Only a task's id and status are required: the rest is shown as received.
ODD: dict[str, Talk] = {
    "1e400": sending(http_response(b'{"id": "a", "status": "FAILED", "endTime": 1e400}')),
    "5000-digits": sending(
        http_response(b'{"id": "a", "status": "FAILED", "x": ' + b"9" * 5000 + b"}")
    ),
    "subtasks-is-an-object": sending(
        http_response(b'{"id": "a", "status": "FAILED", "subtasks": {}}')
    ),
    "a-subtask-is-a-string": sending(
        http_response(b'{"id": "a", "status": "FAILED", "subtasks": ["b"]}')
    ),
    "name-is-a-list": sending(http_response(b'{"id": "a", "status": "FAILED", "name": []}')),
    "time-is-a-string": sending(
        http_response(b'{"id": "a", "status": "FAILED", "startTime": "now"}')
    ),
    "time-is-true": sending(http_response(b'{"id": "a", "status": "FAILED", "endTime": true}')),
}
GOOD: dict[str, Talk] = {
    "as-usual": sending(http_response()),
    "gzip": sending(packed(GZIP_TASK)),
    "chunked": sending(
        without_length(chunked([TASK[:9], TASK[9:]]), "Transfer-Encoding: chunked\r\n")
    ),
    "without-length": sending(without_length(TASK)),
    "103-early-hints-first": sending(
        b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
        + http_response()
    ),
    "100-continue-first": sending(b"HTTP/1.1 100 Continue\r\n\r\n" + http_response()),
    "http-1.0": sending(b"HTTP/1.0 200 OK\r\n\r\n" + TASK),
    "two-equal-lengths": sending(
        http_response(headers={"Content-Length": f"{len(TASK)}, {len(TASK)}"}),
    ),
    "wrong-content-type": sending(
        http_response(headers={"Content-Type": "text/plain; charset=utf-16"})
    ),
}


@dataclass(frozen=True)
class Outcomes:
    """One run with a task per row: its lines on standard error and its JSON, by row."""

    run: Finished
    lines: dict[str, list[str]]
    documents: dict[str, Any]


@pytest.fixture(scope="module")
def outcomes() -> Outcomes:
    rows = {**INVALID, **ODD, **BROKEN, **GOOD}
    names = {re.sub("[^A-Za-z0-9_-]", "_", name): name for name in rows}

    def talk(connection: socket.socket, head: bytes) -> None:
        rows[names[request_path(head).rpartition("/")[2]]](connection, head)

    with Server(talk) as server:
        run = run_dlftask(
            *("get", "-o", "json", "--read-timeout", "1s", "--concurrency", "64", *names),
            env=configured(server.url),
        )
    lines: dict[str, list[str]] = {name: [] for name in rows}
    for line in run.stderr.splitlines():
        if match := re.match(r"dlftask: error: task ([A-Za-z0-9_-]+): ", line):
            lines[names[match[1]]].append(line)
    documents = dict(zip(rows, json.loads(run.stdout), strict=True))
    return Outcomes(run, lines, documents)


@pytest.mark.parametrize("row", INVALID)
def test_an_invalid_response_is_7_and_one_clear_line(outcomes: Outcomes, row: str) -> None:
    if row == "unknown-status":  # the task is read, and shown as it is
        assert outcomes.documents[row]["status"] == "PAUSED\x1b[31m"
    else:
        assert outcomes.documents[row]["error"]["exit_status"] == 7
    (line,) = outcomes.lines[row]
    assert len(line) <= 1000
    assert line.isprintable()


@pytest.mark.parametrize("row", ODD)
def test_a_field_of_a_wrong_type_does_not_make_a_response_invalid(
    outcomes: Outcomes, row: str
) -> None:
    document = outcomes.documents[row]
    assert (document["id"], document["status"], len(document)) == ("a", "FAILED", 3)
    assert not outcomes.lines[row]


@pytest.mark.parametrize("row", BROKEN)
def test_a_broken_transport_is_6_and_one_clear_line(outcomes: Outcomes, row: str) -> None:
    assert outcomes.documents[row]["error"]["exit_status"] == 6
    (line,) = outcomes.lines[row]
    assert line.isprintable()


@pytest.mark.parametrize("row", GOOD)
def test_what_http_permits_is_understood(outcomes: Outcomes, row: str) -> None:
    assert outcomes.documents[row] == json.loads(TASK)
    assert not outcomes.lines[row]


def test_all_of_it_takes_seconds_and_little_memory(outcomes: Outcomes) -> None:
    assert outcomes.run.returncode == 6
    assert "Traceback" not in outcomes.run.stderr
    assert outcomes.run.seconds < 12
    assert outcomes.run.peak_mib < 400


def test_a_single_invalid_response_prints_no_result_and_a_hint() -> None:
    with Server(INVALID["html-with-200"]) as server:
        run = run_dlftask("get", "t1", env=configured(server.url))
    assert run.returncode == 7
    assert run.stdout == ""
    error, hint = run.stderr.splitlines()
    assert error.startswith("dlftask: error: task t1: the service gave an invalid response")
    assert hint.startswith("hint: check --endpoint")


def test_a_byte_order_mark_is_not_json() -> None:
    with Server(sending(http_response(b"\xef\xbb\xbf" + TASK))) as server:
        run = run_dlftask("get", "t1", env=configured(server.url))
    assert run.returncode == 7


def test_a_banner_before_any_request_is_not_http() -> None:
    with Server(sending(b"SSH-2.0-OpenSSH_9.6\r\n"), greet=True) as server:
        run = run_dlftask("get", "t1", env=configured(server.url))
    assert run.returncode == 7
    assert "not HTTP" in run.stderr


def sized(size: int, start: bytes, unit: bytes, end: bytes) -> Iterator[bytes]:
    """A body of at most ``size`` bytes, and nearly that, which is never whole in memory."""
    yield start
    block = unit * (MIB // len(unit))
    left = size - len(start) - len(end)
    while left > len(block):
        yield block
        left -= len(block)
    yield unit * (left // len(unit))
    yield end


def streaming(parts: Callable[[], Iterator[bytes]], head: str = "") -> Talk:
    def talk(connection: socket.socket, _head: bytes) -> None:
        connection.sendall(without_length(b"", head))
        for part in parts():
            connection.sendall(part)

    return talk


def bomb(size: int) -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    parts = [packer.compress(b" " * MIB) for _ in range(size // MIB)]
    return b"".join([*parts, packer.flush()])


START, END = b'{"id": "a", "status": "SUCCESSFUL", "name": "', b'"}'

TOO_LARGE: dict[str, Talk] = {
    "65-mib": streaming(lambda: sized(65 * MIB, START, b"x", END)),
    "65-mib-in-chunks": streaming(
        lambda: iter([chunked(sized(65 * MIB, START, b"x", END))]), "Transfer-Encoding: chunked\r\n"
    ),
    "a-body-without-end-fast": streaming(lambda: sized(10_000 * MIB, START, b"x", END)),
    "gzip-that-inflates-to-1-gb": sending(packed(bomb(1024 * MIB))),
    "million-of-objects": streaming(
        lambda: sized(60 * MIB, b'{"id": "a", "status": "FAILED", "subtasks": [{}', b",{}", b"]}")
    ),
    "million-of-empty-lists": streaming(lambda: sized(60 * MIB, b"[[]", b",[]", b"]")),
}


@pytest.mark.parametrize("row", TOO_LARGE)
def test_what_is_too_large_is_7_in_seconds_and_little_memory(row: str) -> None:
    with Server(TOO_LARGE[row]) as server:
        run = run_dlftask("get", "t1", env=configured(server.url))
    assert run.returncode == 7, run.stderr
    assert run.stdout == ""
    assert re.search("larger than 64 MiB|of memory to read", run.stderr)
    assert run.seconds < 10
    assert run.peak_mib < 400


SUBTASK = b',{"id": "b", "status": "FAILED", "name": "n", "message": "' + b"m" * 620 + b'"}'

LARGE: dict[str, Callable[[], Iterator[bytes]]] = {
    "one-long-string": lambda: sized(64 * MIB, START, b"x", END),
    "one-long-string-of-chinese": lambda: sized(64 * MIB, START, "导".encode(), END),
    "95000-subtasks": lambda: sized(
        64 * MIB, b'{"id": "a", "status": "SUCCESSFUL", "subtasks": [{}', SUBTASK, b"]}"
    ),
    "as-many-subtasks-as-allowed": lambda: sized(
        2_700_000, b'{"id": "a", "status": "SUCCESSFUL", "subtasks": [{}', b',{"id":"b"}', b"]}"
    ),
    "as-many-values-as-allowed": lambda: sized(
        740_000, b'{"id": "a", "status": "SUCCESSFUL", "x": [0', b",{}", b"]}"
    ),
}


@pytest.mark.parametrize("row", LARGE)
@pytest.mark.parametrize("output", ["tree", "json"])
def test_what_is_just_small_enough_is_read_in_little_memory(row: str, output: str) -> None:
    with Server(streaming(LARGE[row])) as server:
        run = run_dlftask("get", "t1", "-o", output, env=configured(server.url), stdout=DEVNULL)
    assert run.returncode == 0, run.stderr
    assert run.peak_mib < 400
