"""Servers with scripted, often bad responses, on real sockets."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from dlftask.api.transport import Transport
from dlftask.profiles import Profile
from dlftask.settings import Settings

Talk = Callable[[socket.socket, bytes], object]
"""What a server does with a connection after it has read a request's head."""

TASK = b'{"id": "t1", "status": "SUCCESSFUL", "name": "Import", "subtasks": []}'


def http_response(
    body: bytes = TASK, *, status: str = "200 OK", headers: Mapping[str, str] | None = None
) -> bytes:
    """A well-formed HTTP/1.1 response; a header passed in replaces the usual one."""
    usual = {"Content-Type": "application/json", "Content-Length": str(len(body))}
    lines = [f"{name}: {value}\r\n" for name, value in {**usual, **(headers or {})}.items()]
    return f"HTTP/1.1 {status}\r\n{''.join(lines)}\r\n".encode("latin-1") + body


def sending(*parts: bytes) -> Talk:
    """Send these bytes, then close."""

    def talk(connection: socket.socket, _head: bytes) -> None:
        for part in parts:
            connection.sendall(part)

    return talk


class Server:
    """A server on loopback: a thread per connection, closed when ``talk`` returns.

    With ``keep_alive`` the connection is closed only where ``talk`` returns something, such as an
    error. ``heads`` are the heads of the requests in order, ``connections`` counts those that were
    accepted. With ``greet`` it talks at once and reads no request.
    """

    def __init__(
        self,
        talk: Talk,
        *,
        tls: ssl.SSLContext | None = None,
        keep_alive: bool = False,
        greet: bool = False,
        host: str = "127.0.0.1",
    ) -> None:
        self._talk = talk
        self._tls = tls
        self._keep_alive = keep_alive
        self._greet = greet
        self._host = host
        self._open: set[socket.socket] = set()
        self.heads: list[str] = []
        self.connections = 0
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.socket(family, socket.SOCK_STREAM)
        self._listener.bind((host, 0))
        self._listener.listen(64)
        self.port: int = self._listener.getsockname()[1]

    @property
    def url(self) -> str:
        """The server's URL."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{'https' if self._tls else 'http'}://{host}:{self.port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        # A thread that waits in accept() is woken by shutdown, not by close.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        plain = connection
        try:
            # Tests have clients that disconnect, or do not accept the certificate.
            with contextlib.suppress(OSError):
                if self._tls is not None:
                    connection = self._tls.wrap_socket(connection, server_side=True)
                with connection:
                    self._converse(connection)
        finally:
            self._open.discard(plain)

    def _converse(self, connection: socket.socket) -> None:
        while True:
            head = b"" if self._greet else read_head(connection)
            if not self._greet and not head:
                return
            self.heads.append(head.decode("latin-1"))
            if self._talk(connection, head) is not None or not self._keep_alive:
                return


def read_head(connection: socket.socket) -> bytes:
    """A request up to its first empty line; empty if the client has disconnected."""
    head = b""
    while b"\r\n\r\n" not in head:
        part = connection.recv(65536)
        if not part:
            return b""
        head += part
    return head


def request_path(head: bytes) -> str:
    """The path of a request."""
    return head.split(b" ", 2)[1].decode("latin-1")


def forwarding(names: Mapping[str, int], *, seen: list[str] | None = None) -> Talk:
    """A proxy, for plain http and CONNECT, that maps host names to ports of loopback.

    ``seen`` gets the request line of each request.
    """

    def talk(client: socket.socket, head: bytes) -> None:
        line = head.split(b"\r\n", 1)[0].decode("latin-1")
        if seen is not None:
            seen.append(line)
        method, target, _ = line.split(" ", 2)
        host = (target if method == "CONNECT" else urlsplit(target).netloc).partition(":")[0]
        with socket.create_connection(("127.0.0.1", names[host])) as upstream:
            if method == "CONNECT":
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                path = target.partition(host)[2].lstrip(":0123456789")
                upstream.sendall(head.replace(target.encode(), path.encode(), 1))
            _join(client, upstream)

    return talk


def _join(one: socket.socket, other: socket.socket) -> None:
    back = threading.Thread(target=_pump, args=(other, one), daemon=True)
    back.start()
    _pump(one, other)
    back.join()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while part := source.recv(65536):
            target.sendall(part)
    for end in (source, target):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


def chunked(parts: Iterable[bytes]) -> bytes:
    """A body in chunks, its end included."""
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def new_transport(*, trace: Callable[[str], None] | None = None, **limits: Any) -> Transport:
    """A transport as a client makes it, but without a limit of its rate unless one is given."""
    settings = Settings(Profile(None, "default", {}), {}, Path(), {}, rate=None)
    return Transport(settings._replace(**limits), trace)
