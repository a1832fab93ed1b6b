"""The simulator's HTTP: connections, and faults on the way out."""

import re
import secrets
import socket
import struct
import sys
from contextlib import suppress
from http import HTTPStatus
from http.client import HTTPMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import TYPE_CHECKING, Any

from dlftask.simulator.faults import INVALID, Fault
from dlftask.simulator.responses import Request, Response, gateway_error

if TYPE_CHECKING:
    from dlftask.simulator.server import Simulator

_LONGEST_BODY = 16 * 1024 * 1024


class Server(ThreadingHTTPServer):
    """Hands each request to a simulator, and can close every open connection."""

    daemon_threads = True
    request_queue_size = 1024

    def __init__(self, address: tuple[str, int], simulator: "Simulator") -> None:
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        self.simulator = simulator
        self._connections: set[socket.socket] = set()
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        """Bind without looking up the server's name."""
        # HTTPServer looks up its own name, which can take seconds; nothing uses it.
        TCPServer.server_bind(self)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Keep the connection, to close it when the simulator stops."""
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget the connection and close it."""
        self._connections.discard(request)
        super().shutdown_request(request)

    def close_connections(self) -> None:
        """Wake every thread that waits for a request on a connection kept alive."""
        for connection in self._connections.copy():  # their threads remove them meanwhile
            with suppress(OSError):  # the other side was faster
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Report bugs of the simulator."""
        # A client may disconnect; anything else is a bug and is printed.
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: Server
    headers: HTTPMessage
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's own name
        """Print nothing: standard error belongs to the command that runs against it."""

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Refuse what is not HTTP, in the gateway's format rather than in HTML."""
        self.close_connection = True
        self._write(gateway_error(code, message or explain), None)

    def do_GET(self) -> None:
        """Respond to one request."""
        body = self._body()
        if body is None:
            return
        path, _, query = self.path.partition("?")
        simulator = self.server.simulator
        request = Request(self.command, path, query, self.headers, body, simulator.clock())
        fault = simulator.record(request)
        if fault is None:
            self._write(simulator.respond(request), None)
        else:
            self._apply(fault, request)

    do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = do_OPTIONS = do_GET  # noqa: N815

    def _body(self) -> bytes | None:
        if "Transfer-Encoding" in self.headers:
            self.send_error(HTTPStatus.LENGTH_REQUIRED, "Content-Length is missing")
            return None
        length = self.headers.get("Content-Length", "0")
        if not re.fullmatch("[0-9]{1,18}", length):
            self.send_error(HTTPStatus.BAD_REQUEST, "Content-Length is not a number")
            return None
        if int(length) > _LONGEST_BODY:
            self.send_error(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            return None
        return self.rfile.read(int(length))

    def _apply(self, fault: Fault, request: Request) -> None:
        if fault.delay_s and self.server.simulator.stopping.wait(fault.delay_s):
            self.close_connection = True
            return
        if fault.reset:
            # A linger time of zero sends RST.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.rfile.close()
            self.connection.close()
        if fault.drop or fault.reset:
            self.close_connection = True
            return
        if fault.interim:
            self.wfile.write(b"HTTP/1.1 103 Early Hints\r\nLink: </>; rel=preload\r\n\r\n")
        self._write(self._faulty(fault, request), fault)
        # Nothing in the response announces it.
        self.close_connection = self.close_connection or fault.close

    def _faulty(self, fault: Fault, request: Request) -> Response:
        if fault.status is None and fault.invalid is None:
            return self.server.simulator.respond(request)
        status = fault.status or 200
        response = gateway_error(status)
        headers = dict(response.headers)
        if isinstance(fault.retry_after, str):
            headers["Retry-After"] = fault.retry_after
        elif fault.retry_after is not None:
            moment_s = self.server.simulator.clock() + fault.retry_after
            headers["Retry-After"] = self.date_time_string(int(moment_s))
        if 300 <= status < 400:
            headers["Location"] = f"{self.server.simulator.endpoint}/elsewhere"
        body = response.body if fault.invalid is None else INVALID[fault.invalid]
        kind = "text/html" if fault.invalid == "html" else response.content_type
        return Response(status, body, headers, kind)

    def _write(self, response: Response, fault: Fault | None) -> None:
        headers = {
            "Date": self.date_time_string(),
            "Content-Type": response.content_type,
            "Content-Length": str(len(response.body)),
            "X-Request-Id": secrets.token_hex(16),
            **response.headers,
            **({"Connection": "close"} if self.close_connection else {}),
        }
        phrase, _ = self.responses.get(response.status, ("Unknown", ""))
        lines = [f"HTTP/1.1 {response.status} {phrase}", *(f"{k}: {v}" for k, v in headers.items())]
        head = "\r\n".join([*lines, "", ""]).encode("latin-1")
        body = b"" if self.command == "HEAD" else response.body
        if fault is not None and fault.truncate is not None:
            body = body[: fault.truncate]
            self.close_connection = True
        if fault is None or fault.trickle is None:
            self.wfile.write(head + body)
        elif fault.headers:
            self._trickle(head + body, fault.trickle)
        else:
            self.wfile.write(head)
            self._trickle(body, fault.trickle)

    def _trickle(self, data: bytes, bytes_per_s: float) -> None:
        # In pieces of a twentieth of a second where single bytes would be too frequent.
        size = max(1, int(bytes_per_s / 20))
        for start in range(0, len(data), size):
            self.wfile.write(data[start : start + size])
            if self.server.simulator.stopping.wait(size / bytes_per_s):
                self.close_connection = True
                return
