"""Connections whose time limits lie at the socket.

Name lookup, TCP, a proxy's tunnel and TLS share one limit; a response has another, up to its last
byte. What goes wrong is translated into an error of ours here, where it is known what was going on.
"""

import http.client
import io
import ipaddress
import os
import re
import socket
import ssl
import threading
import time
from pathlib import Path
from typing import Any, cast

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from dlftask.api.endpoints import nearest_region
from dlftask.durations import format_duration
from dlftask.errors import ConfigurationError, DlftaskError, InvalidResponse, ServiceUnavailable

PROXY_HINT = "check HTTPS_PROXY, HTTP_PROXY and NO_PROXY"
NETWORK_HINT = "check --region or --endpoint, and the network"

_SLICE_S = 0.2
"""How long one read of a socket blocks, at most: a closed client ends its reads that soon."""
_STOPPED_S = 1.0
"""A gap longer than this between two reads of the clock means that the process was stopped."""
_INTERIM_RESPONSES = 100
_TUNNEL_REFUSED = re.compile("Tunnel connection failed: ([0-9]{3})")
_DEFAULT_PORTS = {"http": 80, "https": 443}


class StaleConnection(ServiceUnavailable):
    """A kept connection that the other side had closed before it got the request."""


class _Lookup:
    """The lookup of a name. The system's ignores timeouts, so that it runs in a thread."""

    in_flight: "dict[tuple[int, str, int], _Lookup]" = {}  # noqa: RUF012 - shared by all

    def __init__(self, key: tuple[int, str, int]) -> None:
        self._key = key
        self.done = threading.Event()
        self.addresses: list[Any] = []

    def run(self) -> None:
        _, host, port = self._key
        try:
            self.addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):  # a label that is too long is no name either
            self.addresses = []
        finally:
            self.in_flight.pop(self._key, None)
            self.done.set()


def _look_up(host: str, port: int, until_s: float) -> list[Any]:
    """The addresses of a host; empty where its name does not resolve. Raises ``TimeoutError``."""
    # A thread of another process cannot finish a lookup for this one.
    key = (os.getpid(), host, port)
    new = _Lookup(key)
    lookup = _Lookup.in_flight.setdefault(key, new)
    if lookup is new:
        if _is_address(host):
            new.run()
        else:
            try:
                threading.Thread(target=new.run, daemon=True).start()
            except RuntimeError:  # the process may have no more threads
                new.run()
    if not lookup.done.wait(max(0.0, until_s - time.monotonic())):
        raise TimeoutError
    return lookup.addresses


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


_worked: dict[tuple[str, int], Any] = {}
"""The address of each host that was connected to last."""


def _connect(host: str, port: int, until_s: float, options: Any) -> socket.socket | None:
    """A connection to one of a host's addresses, which share the time; ``None`` without any.

    Raises ``OSError``, ``TimeoutError`` among them.
    """
    addresses = _look_up(host, port, until_s)
    if not addresses:
        return None
    addresses = sorted(addresses, key=lambda found: found[4] != _worked.get((host, port)))
    failure: OSError = TimeoutError()
    for place, (family, kind, protocol, _, address) in enumerate(addresses):
        left_s = until_s - time.monotonic()
        if left_s <= 0:
            break
        sock = None
        try:
            sock = socket.socket(family, kind, protocol)
            for option in options or ():
                sock.setsockopt(*option)
            sock.settimeout(left_s / (len(addresses) - place))
            sock.connect(address)
        except OSError as error:
            failure = error
            if sock is not None:
                sock.close()
        else:
            _worked[host, port] = address
            return sock
    raise failure


class _Reader(io.RawIOBase):
    """Reads a response from a socket until a moment of ``time.monotonic``, or until it is closed.

    The time in which the process was stopped does not count. Raises ``TimeoutError``.
    """

    received = False

    def __init__(self, sock: socket.socket, until_s: float, closed: threading.Event) -> None:
        self._sock = sock
        self._until_s = until_s
        self._client_closed = closed
        self._looked_s = time.monotonic()
        # Keeps the socket open for as long as the response is read.
        self._file = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while True:
            now_s = time.monotonic()
            if now_s - self._looked_s > _STOPPED_S:  # the response may lie in the socket by now
                self._until_s += now_s - self._looked_s
            self._looked_s = now_s
            left_s = self._until_s - now_s
            if left_s <= 0 or self._client_closed.is_set():
                raise TimeoutError
            self._sock.settimeout(min(left_s, _SLICE_S))
            try:
                size = self._sock.recv_into(buffer)
            except TimeoutError:
                continue
            self.received = self.received or size > 0
            return size

    def close(self) -> None:
        self._file.close()
        super().close()


class _Response(http.client.HTTPResponse):
    """A response that is read within its time, and after any interim ones."""

    def __init__(self, reader: _Reader, **options: Any) -> None:
        self._reader = reader
        super().__init__(cast("socket.socket", self), **options)

    def makefile(self, _mode: str) -> io.BufferedReader:
        """What ``http.client`` asks its socket for."""
        return io.BufferedReader(self._reader)

    def _read_status(self) -> tuple[str, int, str]:
        # http.client itself passes over 100 alone.
        for _ in range(_INTERIM_RESPONSES):
            version, status, reason = super()._read_status()  # type: ignore[misc]
            if not 102 <= status < 200:
                return version, status, reason
            http.client.parse_headers(self.fp)
        raise http.client.HTTPException("too many interim responses")


class _LimitedConnection(HTTPConnection):
    """A connection that keeps its time limits, and says of an error what was going on."""

    client_closed: threading.Event
    scheme_of_service = "http"
    _until_s = 0.0
    _used = False
    _reader: _Reader

    def connect(self) -> None:
        self._used = False
        super().connect()

    def _new_conn(self) -> socket.socket:
        self._until_s = time.monotonic() + float(self.timeout or 0)
        try:
            sock = _connect(self._dns_host, self.port, self._until_s, self.socket_options)
        except TimeoutError:
            raise self._no_connection() from None
        except OSError as error:
            raise ServiceUnavailable(
                f"{self._peer()}: {(error.strerror or str(error)).lower()}", hint=self._hint()
            ) from None
        if sock is None:
            region = None if self.proxy else nearest_region(self.host)
            hint = f"did you mean --region {region}?" if region else self._hint()
            raise ServiceUnavailable(f"{self._peer()}: the host name does not resolve", hint=hint)
        self._limit(sock)
        return sock

    def _limit(self, sock: Any) -> None:
        """Give a socket the time that is left for the connection."""
        sock.settimeout(max(self._until_s - time.monotonic(), 0.001))

    def _tunnel(self) -> None:
        try:
            super()._tunnel()
        except TimeoutError:
            raise self._no_connection() from None
        except (OSError, http.client.HTTPException) as error:
            refused = _TUNNEL_REFUSED.search(str(error))
            raise proxy_refused(self._proxy_name(), refused[1] if refused else None) from None
        self._limit(self.sock)

    def request(self, *args: Any, **kwargs: Any) -> None:
        if self.sock is None:
            self.connect()
        self.sock.settimeout(self.timeout)
        try:
            super().request(*args, **kwargs)
        except BrokenPipeError:  # the response may be there already
            raise
        except ConnectionError as error:
            raise self._closed_early(error, fresh=not self._used) from None

    def response_class(  # type: ignore[override]
        self, sock: socket.socket, **options: Any
    ) -> _Response:
        """How ``http.client`` makes a response, a tunnel's too."""
        self._reader = _Reader(sock, self._until_s, self.client_closed)
        return _Response(self._reader, **options)

    def getresponse(self) -> Any:
        limit_s = float(self.timeout or 0)
        self._until_s = time.monotonic() + limit_s
        try:
            response = super().getresponse()
        except TimeoutError:
            raise no_response(self._peer(), limit_s) from None
        except (ConnectionError, http.client.RemoteDisconnected) as error:
            fresh = not self._used or self._reader.received
            raise self._closed_early(error, fresh=fresh) from None
        except (http.client.HTTPException, urllib3.exceptions.InvalidHeader, ValueError):
            raise not_http(self._peer()) from None
        except OSError as error:
            raise broken(self._peer(), error) from None
        self._used = True
        return response

    def _closed_early(self, error: OSError, *, fresh: bool) -> ServiceUnavailable:
        kind = ServiceUnavailable if fresh else StaleConnection
        reason = (error.strerror or "").lower() or "the connection was closed"
        return kind(f"{self._peer()}: {reason} before a response", hint=self._hint())

    def _no_connection(self) -> ServiceUnavailable:
        limit = format_duration(float(self.timeout or 0))
        return ServiceUnavailable(
            f"{self._peer()}: no connection within {limit}", hint=self._hint()
        )

    def _hint(self) -> str:
        return PROXY_HINT if self.proxy else NETWORK_HINT

    def _proxy_name(self) -> str:
        return f"the proxy {self.host}:{self.port}"

    def _peer(self) -> str:
        """Who is at the other end: the service, or a proxy on the way to it."""
        if self.proxy and not (self._tunnel_host and self.has_connected_to_proxy):
            return self._proxy_name()
        host, port = (self._tunnel_host or self.host), (self._tunnel_port or self.port)
        return host if port == _DEFAULT_PORTS.get(self.scheme_of_service) else f"{host}:{port}"


class _LimitedTLSConnection(_LimitedConnection, HTTPSConnection):
    """The same over TLS."""

    scheme_of_service = "https"

    def connect(self) -> None:
        try:
            super().connect()
        except DlftaskError:
            raise
        except TimeoutError:
            raise self._no_connection() from None
        except (OSError, urllib3.exceptions.HTTPError, ValueError) as error:
            raise self._tls_error(error) from None

    def _tls_error(self, error: Exception) -> DlftaskError:
        found = error.args[0] if error.args and isinstance(error.args[0], Exception) else error
        if isinstance(found, TimeoutError):
            return self._no_connection()
        if bad := self._bad_ca_bundle():
            return bad
        if isinstance(found, ssl.SSLCertVerificationError):
            return ServiceUnavailable(
                f"{self._peer()}: the certificate is not trusted: {found.verify_message}",
                retryable=False,
                hint="give the authority's certificate with --ca-bundle",
            )
        reason = getattr(found, "reason", None) or getattr(found, "strerror", None) or "failed"
        return ServiceUnavailable(
            f"{self._peer()}: no TLS connection: {str(reason).replace('_', ' ').lower()}",
            hint="check that --endpoint is an https service that speaks TLS 1.2 or newer",
        )

    def _bad_ca_bundle(self) -> ConfigurationError | None:
        """A bundle that holds no certificates: checked where TLS fails, for it takes 20 ms."""
        file, folder = self.ca_certs, self.ca_cert_dir
        if file is None and folder is None:
            return None
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(file, folder)
        except OSError as unreadable:  # ssl.SSLError is one
            reason = unreadable.strerror or "not a file of certificates"
            return ConfigurationError(f"CA bundle {Path(str(file or folder))}: {reason}")
        return None


def limit_pools(manager: urllib3.PoolManager, closed: threading.Event) -> None:
    """Have a pool manager make connections with time limits, until ``closed`` is set."""

    class Plain(_LimitedConnection):
        client_closed = closed

    class Secure(_LimitedTLSConnection):
        client_closed = closed

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    manager.pool_classes_by_scheme = {"http": PlainPool, "https": SecurePool}


def no_response(peer: str, limit_s: float) -> ServiceUnavailable:
    """No whole response in time."""
    return ServiceUnavailable(
        f"{peer}: no response within {format_duration(limit_s)}", hint=NETWORK_HINT
    )


def not_http(peer: str) -> InvalidResponse:
    """What came is not HTTP."""
    return InvalidResponse(
        f"{peer}: the response is not HTTP",
        hint="check --endpoint: its port, and whether it is http or https",
    )


def broken(peer: str, error: Exception) -> ServiceUnavailable:
    """The connection broke."""
    reason = str(getattr(error, "strerror", None) or "the connection broke").lower()
    return ServiceUnavailable(f"{peer}: {reason}", hint=NETWORK_HINT)


def proxy_refused(proxy: str, status: str | None) -> ServiceUnavailable:
    """A proxy that does not connect to the service."""
    reason = "requires a user name and a password" if status == "407" else "does not connect to it"
    said = f" (HTTP {status})" if status else ""
    return ServiceUnavailable(f"{proxy} {reason}{said}", hint=PROXY_HINT)
