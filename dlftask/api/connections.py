"""Connections that apply their time limits at the socket.

Name lookup, TCP, a proxy's tunnel and TLS share one limit; a response has another, up to its last
byte. Exceptions are translated into ``dlftask.errors`` here, where it is known what failed.
"""

import http.client
import io
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

from dlftask.api.endpoints import nearest_region
from dlftask.api.sockets import connect
from dlftask.durations import format_duration
from dlftask.errors import ConfigurationError, DlftaskError, InvalidResponse, ServiceUnavailable

PROXY_HINT = "check HTTPS_PROXY, HTTP_PROXY and NO_PROXY"
NETWORK_HINT = "check --region or --endpoint, and the network"

_SLICE_S = 0.2
"""How long one read of a socket blocks at most: closing the client ends a read within this time."""
_STOPPED_S = 1.0
"""A gap longer than this between two reads of the clock means that the process was stopped."""
_TUNNEL_REFUSED = re.compile("Tunnel connection failed: ([0-9]{3})")


class StaleConnection(ServiceUnavailable):
    """A kept connection that the other side had closed before it got the request."""


class _Reader(io.RawIOBase):
    """Reads a response from a socket until a moment of ``time.monotonic``, or until it is closed.

    Time while the process was stopped does not count. Raises what ``expired`` returns.
    """

    received = False

    def __init__(
        self,
        sock: socket.socket,
        until_s: float,
        client_closed: threading.Event,
        expired: Callable[[], DlftaskError],
    ) -> None:
        self._sock = sock
        self._until_s = until_s
        self._client_closed = client_closed
        self._expired = expired
        self._checked_s = time.monotonic()
        # Keeps the socket open while the response is read.
        self._file = sock.makefile("rb", buffering=0)

    def makefile(self, _mode: str) -> io.BufferedReader:
        """The method of a socket that ``http.client`` calls."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while True:
            now_s = time.monotonic()
            if now_s - self._checked_s > _STOPPED_S:  # the response may have arrived by now
                self._until_s += now_s - self._checked_s
            self._checked_s = now_s
            left_s = self._until_s - now_s
            if left_s <= 0 or self._client_closed.is_set():
                raise self._expired()
            self._sock.settimeout(min(left_s, _SLICE_S))
            with suppress(TimeoutError):
                size = self._sock.recv_into(buffer)
                self.received = self.received or size > 0
                return size

    def close(self) -> None:
        self._file.close()
        super().close()


class _Response(http.client.HTTPResponse):
    """A response; interim responses before it are skipped."""

    def _read_status(self) -> tuple[str, int, str]:
        # http.client itself skips only 100, and newer versions skip at most a hundred of them.
        while True:
            version, status, reason = super()._read_status()  # type: ignore[misc]
            if status == 101 or not 100 <= status < 200:
                return version, status, reason
            http.client.parse_headers(self.fp)


class _LimitedConnection(HTTPConnection):
    """A connection with time limits, whose errors report what failed."""

    _until_s = 0.0
    _awaited = "connection"
    _used = False
    _reader: _Reader

    def __init__(self, client_closed: threading.Event, **options: Any) -> None:
        self._client_closed = client_closed
        super().__init__(**options)

    def _await(self, what: str) -> None:
        """Start the timeout, for a connection or for a response."""
        self._awaited = what
        self._until_s = time.monotonic() + float(self.timeout or 0)

    def _new_conn(self) -> socket.socket:
        self._used = False
        self._await("connection")
        try:
            sock = connect(self._dns_host, self.port, self._until_s)
        except TimeoutError:
            raise self._expired() from None
        except OSError as error:
            raise self._failure((error.strerror or str(error)).lower()) from None
        if sock is None:
            region = None if self.proxy else nearest_region(self.host)
            hint = f"did you mean --region {region}?" if region else None
            raise self._failure("the host name does not resolve", hint=hint)
        self._limit(sock)
        return sock

    def _limit(self, sock: Any) -> None:
        """Give a socket the time that is left for the connection."""
        sock.settimeout(max(self._until_s - time.monotonic(), 0.001))

    def _tunnel(self) -> None:
        try:
            super()._tunnel()
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
        """Make a response for ``http.client``, also that of a tunnel."""
        self._reader = _Reader(sock, self._until_s, self._client_closed, self._expired)
        return _Response(cast("socket.socket", self._reader), **options)

    def getresponse(self) -> Any:
        self._await("response")
        try:
            response = super().getresponse()
        except OSError as error:
            fresh = not self._used or self._reader.received
            raise self._closed_early(error, fresh=fresh) from None
        except (http.client.HTTPException, urllib3.exceptions.InvalidHeader, ValueError):
            raise not_http(self._peer()) from None
        self._used = True
        return response

    def _closed_early(self, error: OSError, *, fresh: bool) -> ServiceUnavailable:
        reason = (error.strerror or "").lower() or "the connection was closed"
        failure = self._failure(f"{reason} before a response")
        return failure if fresh else StaleConnection(failure.message, hint=failure.hint)

    def _expired(self) -> ServiceUnavailable:
        limit = format_duration(float(self.timeout or 0))
        return self._failure(f"no {self._awaited} within {limit}")

    def _failure(self, reason: str, hint: str | None = None) -> ServiceUnavailable:
        hint = hint or (PROXY_HINT if self.proxy else NETWORK_HINT)
        return ServiceUnavailable(f"{self._peer()}: {reason}", hint=hint)

    def _proxy_name(self) -> str:
        return f"the proxy {self.host}:{self.port}"

    def _peer(self) -> str:
        """The other end of the connection: the service, or a proxy on the way to it."""
        if self.proxy and not (self._tunnel_host and self.has_connected_to_proxy):
            return self._proxy_name()
        host, port = (self._tunnel_host or self.host), (self._tunnel_port or self.port)
        return host if port == self.default_port else f"{host}:{port}"


class _LimitedTLSConnection(_LimitedConnection, HTTPSConnection):
    """The same over TLS."""

    def connect(self) -> None:
        try:
            super().connect()
        except TimeoutError:
            raise self._expired() from None
        except (OSError, urllib3.exceptions.HTTPError, ValueError) as error:
            raise self._bad_ca_bundle() or self._tls_error(error) from None

    def _tls_error(self, error: Exception) -> ServiceUnavailable:
        found = error.args[0] if error.args and isinstance(error.args[0], Exception) else error
        if isinstance(found, ssl.SSLCertVerificationError):
            return ServiceUnavailable(
                f"{self._peer()}: the certificate is not trusted: {found.verify_message}",
                retryable=False,
                hint="give the authority's certificate with --ca-bundle",
            )
        reason = getattr(found, "reason", None) or getattr(found, "strerror", None) or "failed"
        return self._failure(
            f"no TLS connection: {str(reason).replace('_', ' ').lower()}",
            hint="check that --endpoint is an https service that speaks TLS 1.2 or newer",
        )

    def _bad_ca_bundle(self) -> ConfigurationError | None:
        """The error for a bundle without certificates; checked after TLS failed: it takes 20 ms."""
        file, folder = self.ca_certs, self.ca_cert_dir
        if file is None and folder is None:
            return None
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(file, folder)
        except OSError as unreadable:  # ssl.SSLError is one
            reason = unreadable.strerror or "not a file of certificates"
            return ConfigurationError(f"CA bundle {Path(str(file or folder))}: {reason}")
        return None


CONNECTIONS = {"http": _LimitedConnection, "https": _LimitedTLSConnection}


def not_http(peer: str) -> InvalidResponse:
    """The error for a response that is not HTTP."""
    return InvalidResponse(
        f"{peer}: the response is not HTTP",
        hint="check --endpoint: its port, and whether it is http or https",
    )


def proxy_refused(name: str, status: str | None) -> ServiceUnavailable:
    """The error for a proxy that does not connect to the service."""
    reason = "requires a user name and a password" if status == "407" else "refused to connect"
    details = f" (HTTP {status})" if status else ""
    return ServiceUnavailable(f"{name} {reason}{details}", hint=PROXY_HINT)
