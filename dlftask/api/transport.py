"""One question over HTTP, on kept-alive connections, that trusts nobody.

Redirects are never followed, netrc is not read, cookies are not kept, an answer is at most 64 MiB
unpacked, and a thread that asks can be told from outside to give up, whatever it hangs in.
"""

import http.client
import re
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from requests.utils import get_environ_proxies, select_proxy
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from dlftask.api.endpoints import is_loopback
from dlftask.api.responses import Response
from dlftask.durations import format_duration
from dlftask.errors import ConfigurationError, DlftaskError, InvalidResponse, ServiceUnavailable
from dlftask.output.text import escape_controls

MAX_BODY = 64 * 1024 * 1024
"""Bytes of an answer, unpacked."""
MAX_MEMORY = 380_000_000
"""Bytes that reading an answer and writing it again may take, estimated before it is read."""

_LONGEST_TIMEOUT_S = 1_000_000.0  # eleven days; a socket takes no more than 24
_CONTINUATION = bytes(range(0x80, 0xC0))  # in UTF-8 the further bytes of a character
_CONNECTION = "connection"
_TUNNEL = re.compile("Tunnel connection failed: ([0-9]{3})")
_PROXY_HINT = "check HTTPS_PROXY, HTTP_PROXY and NO_PROXY"
_NETWORK_HINT = "check --region or --endpoint, and the network"
_SECRET_WORDS = ("auth", "token", "cookie", "secret", "credential", "signature", "key")


class Call:
    """One question under way, as another thread sees it: until when, and how to end it.

    ``until`` moves as the call does: the connection has its time, then the answer its own. It is
    infinite while nothing is under way, so that a thread that waits for another's credentials is
    not taken for a slow service.
    """

    def __init__(self) -> None:
        self.until = float("inf")
        self.given_up = False
        self.waiting_for = "an answer"
        self._limit_s = 0.0
        self._host = ""
        self._connection: HTTPConnection | None = None

    def begins(self, host: str, waiting_for: str, limit_s: float) -> None:
        """From now on the call waits for something of a host, for so many seconds.

        Raises ``ServiceUnavailable`` where it was given up before.
        """
        if self.given_up:
            raise self.overdue()
        self._host = host
        self._wait(waiting_for, limit_s)

    def connects(self, connection: HTTPConnection) -> "Callable[[], None]":
        """The call gets itself a connection; what is returned is called once there is one."""
        before = (self.waiting_for, self._limit_s)
        limit_s = connection.timeout
        self._connection = connection
        self._wait(_CONNECTION, limit_s if isinstance(limit_s, int | float) else 0.0)
        return lambda: self._wait(*before)

    def asks(self, connection: HTTPConnection) -> None:
        """The call has a connection: its answer's time begins."""
        self._connection = connection
        self._wait(self.waiting_for, self._limit_s)

    def ends(self) -> None:
        """Nothing is under way any more."""
        self.until = float("inf")
        self._connection = None

    def overdue(self) -> ServiceUnavailable:
        """What to say of a call whose time is up."""
        limit = format_duration(self._limit_s)
        host = f"{self._host}: " if self._host else ""
        return ServiceUnavailable(f"{host}no {self.waiting_for} within {limit}", hint=_NETWORK_HINT)

    def give_up(self) -> bool:
        """End the call from another thread; whether its own thread wakes up, with an error.

        One that reads does. A name look-up or a connection under way cannot be ended.
        """
        self.given_up = True
        sock = getattr(self._connection, "sock", None)
        if sock is None:
            return False
        try:
            # Not SSLSocket.shutdown: that would pull the TLS state from under the reading thread.
            socket.socket.shutdown(sock, socket.SHUT_RDWR)
        except OSError:
            return False
        return True

    def _wait(self, waiting_for: str, limit_s: float) -> None:
        self.waiting_for = waiting_for
        self._limit_s = limit_s
        self.until = time.monotonic() + limit_s


class _Calls(threading.local):
    def __init__(self) -> None:
        self.current = Call()


_calls = _Calls()


def attend(call: Call) -> None:
    """Whatever this thread sends from now on is that call."""
    _calls.current = call


class _WatchedConnection(HTTPConnection):
    """A connection that tells its call how far it has come."""

    def connect(self) -> None:
        connected = _calls.current.connects(self)
        super().connect()
        connected()

    def request(self, *args: Any, **kwargs: Any) -> None:
        _calls.current.asks(self)
        super().request(*args, **kwargs)


class _WatchedTLSConnection(_WatchedConnection, HTTPSConnection):
    """The same over TLS: the handshake is part of the connection's time."""


class _WatchedPool(HTTPConnectionPool):
    ConnectionCls = _WatchedConnection


class _WatchedTLSPool(HTTPSConnectionPool):
    ConnectionCls = _WatchedTLSConnection


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        _watch(self.poolmanager)

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(*args, **kwargs)
        _watch(manager)
        return manager


def _watch(manager: urllib3.PoolManager) -> None:
    manager.pool_classes_by_scheme = {"http": _WatchedPool, "https": _WatchedTLSPool}


class Transport:
    """Sends questions; may be used by ``connections`` threads at once.

    ``connect_timeout_s`` bounds name resolution, connection and TLS together, ``read_timeout_s``
    the answer up to its last byte: on a thread whose call is watched (``attend``) by the watcher,
    elsewhere as far as a single read goes. ``trace`` gets one text a question and answer, with
    every secret masked. Raises ``ConfigurationError`` for a CA bundle that is not there.
    """

    def __init__(
        self,
        *,
        connect_timeout_s: float = 5.0,
        read_timeout_s: float = 10.0,
        connections: int = 8,
        ca_bundle: Path | None = None,
        insecure: bool = False,
        trace: Callable[[str], None] | None = None,
    ) -> None:
        self._read_timeout_s = min(read_timeout_s, _LONGEST_TIMEOUT_S)
        self._timeouts = (min(connect_timeout_s, _LONGEST_TIMEOUT_S), self._read_timeout_s)
        self._trace = trace
        self._verify: bool | str = not insecure
        if insecure:
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        elif ca_bundle is not None:
            try:
                ca_bundle.stat()
            except (OSError, ValueError) as error:
                reason = getattr(error, "strerror", None) or error
                raise ConfigurationError(f"CA bundle {ca_bundle}: {reason}") from None
            self._verify = str(ca_bundle)
        self._adapter = _Adapter(pool_connections=4, pool_maxsize=connections)

    def close(self) -> None:
        """Close every connection that is not in use."""
        self._adapter.close()

    def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] = {},
        auth: AuthBase | None = None,
        body: bytes = b"",
        direct: bool = False,
    ) -> Response:
        """Ask once. Raises ``ServiceUnavailable`` and ``InvalidResponse``; see ``Send``."""
        call = _calls.current
        started = time.monotonic()
        loopback = is_loopback(urlsplit(url).hostname or "")
        proxies = {} if direct or loopback else _environment_proxies(url)
        proxied = select_proxy(url, proxies) is not None
        try:
            request = requests.Request(
                method,
                url,
                headers={"Accept": "application/json", "Accept-Encoding": "gzip", **headers},
                data=body,
                auth=auth,
            ).prepare()
            request.headers.setdefault("User-Agent", _user_agent())
            call.begins(urlsplit(url).netloc, "answer", self._read_timeout_s)
            with self._adapter.send(
                request,
                stream=True,
                timeout=self._timeouts,
                verify=self._verify,
                proxies=proxies,
            ) as response:
                reply = _read_reply(response)
        except DlftaskError as error:
            error = call.overdue() if call.given_up else error
            self._report(method, url, request.headers, started, str(error))
            raise error from None
        except Exception as error:  # noqa: BLE001 - whatever it is: no traceback for a user
            failure = self._what_failed(error, url, call, proxied=proxied)
            self._report(method, url, headers, started, str(failure))
            raise failure from None
        finally:
            call.ends()
        if call.given_up:  # a connection that we cut can look like the end of an answer
            raise call.overdue()
        self._report(method, url, request.headers, started, f"HTTP {reply.status}", reply=reply)
        if reply.status == 407 and proxied:
            raise _no_tunnel(urlsplit(url).netloc, "407")
        return reply

    def _what_failed(
        self, error: Exception, url: str, call: Call, *, proxied: bool
    ) -> DlftaskError:
        if call.given_up:  # whatever the thread has seen of that
            return call.overdue()
        bad_bundle = self._bad_ca_bundle() if url.startswith("https:") else None
        return bad_bundle or _failure(error, url, call, proxied=proxied)

    def _bad_ca_bundle(self) -> ConfigurationError | None:
        """A bundle that is none: looked at where TLS fails, for reading one takes 20 ms."""
        if not isinstance(self._verify, str):
            return None
        try:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            if Path(self._verify).is_dir():
                context.load_verify_locations(capath=self._verify)
            else:
                context.load_verify_locations(cafile=self._verify)
        except OSError as unreadable:  # ssl.SSLError is one
            reason = unreadable.strerror or "not a file of certificates"
            return ConfigurationError(f"CA bundle {self._verify}: {reason}")
        return None

    def _report(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        started: float,
        outcome: str,
        *,
        reply: Response | None = None,
    ) -> None:
        if self._trace is None:
            return
        took_ms = (time.monotonic() - started) * 1000
        lines = [f"> {method} {url}", *_masked(">", headers), f"< {outcome} in {took_ms:.0f}ms"]
        if reply is not None:
            lines += [*_masked("<", reply.headers), f"< {len(reply.body)} bytes"]
        self._trace("\n".join(escape_controls(line) for line in lines))


def _environment_proxies(url: str) -> dict[str, str]:
    """The proxies of ``HTTPS_PROXY`` and ``HTTP_PROXY``, unless ``NO_PROXY`` has the host."""
    found = get_environ_proxies(url)
    return {scheme: found[scheme] for scheme in ("https", "http") if scheme in found}


def _user_agent() -> str:
    from dlftask import __version__

    return f"dlftask/{__version__}"


def _masked(mark: str, headers: Mapping[str, str]) -> Iterator[str]:
    for name, value in headers.items():
        secret = any(word in name.lower() for word in _SECRET_WORDS)
        yield f"{mark} {name}: {'***' if secret else value}"


def _read_reply(response: requests.Response) -> Response:
    status = response.status_code
    try:
        body = _read_body(response.raw, MAX_BODY)
    except InvalidResponse as error:
        if status < 400:
            error.http_status = status
            error.request_id = response.headers.get("X-Request-Id")
            raise
        body = b""  # the status has said what is wrong, whatever came with it
    return Response(status, response.headers, body)


def _read_body(raw: urllib3.BaseHTTPResponse, limit: int) -> bytes:
    """The whole body, unpacked. ``raw`` decodes nothing, so that no bomb goes off in it."""
    length = raw.headers.get("Content-Length", "0").strip()
    if not re.fullmatch(r"[0-9]+(?:, *[0-9]+)*", length):
        raise InvalidResponse("the answer is not HTTP: its length is no number")
    parts: list[bytes] = []
    size = 0
    while part := raw.read(256 * 1024, decode_content=False):
        parts.append(part)
        size += len(part)
        if size > limit:
            raise InvalidResponse("the answer is larger than 64 MiB")
    body = b"".join(parts)
    del parts
    if not body:
        return body
    encoding = (raw.headers.get("Content-Encoding") or "identity").strip().lower()
    if encoding in ("gzip", "x-gzip"):
        body = _unzip(body, limit)
    elif encoding != "identity":
        raise InvalidResponse(f"the answer is packed with {encoding}, which was not asked for")
    if _memory_to_read(body) > MAX_MEMORY:
        raise InvalidResponse("the answer would take more than 400 MB of memory to read")
    return body


def _memory_to_read(body: bytes) -> float:
    """Bytes, estimated: measured on texts of one long string, and of many small objects.

    Python keeps a text at one byte a character, at two with anything beyond Latin-1 in it, and at
    four with anything beyond the Basic Multilingual Plane.
    """
    width = 1 if body.isascii() else 4 if re.search(rb"[\xf0-\xff]", body) else 2
    values = body.count(b",") + body.count(b"{") + body.count(b"[")
    if values > 100_000:  # those in strings count for nothing
        bare = re.sub(rb'(?s)"[^"\\]*(?:\\.[^"\\]*)*"', b"", body)
        values = bare.count(b",") + bare.count(b"{") + bare.count(b"[")
    characters = len(body.translate(None, _CONTINUATION))
    return 2.0 * len(body) + 2.7 * width * characters + 110.0 * values


def _unzip(packed: bytes, limit: int) -> bytes:
    unpacker = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    try:
        body = unpacker.decompress(packed, limit + 1)
    except zlib.error:
        raise InvalidResponse("the answer is not the gzip that it says it is") from None
    if len(body) > limit:
        raise InvalidResponse("the answer is larger than 64 MiB unpacked")
    if not unpacker.eof:
        raise ServiceUnavailable("the answer was cut off")
    return body


def _failure(  # noqa: C901 - one kind of failure after another
    error: Exception, url: str, call: Call, *, proxied: bool
) -> DlftaskError:
    """What went wrong, in words of ours: an exception's own text can hold anything."""
    causes = list(_causes(error))
    host = urlsplit(url).netloc
    # With a connection under way it is the proxy that does not work, not the service.
    at_proxy = proxied and call.waiting_for == _CONNECTION
    where = f"the proxy of {host}" if at_proxy else host
    hint = _PROXY_HINT if proxied else None

    def caused_by(*kinds: type[BaseException]) -> BaseException | None:
        return next((cause for cause in causes if isinstance(cause, kinds)), None)

    not_http = InvalidResponse(
        f"{host}: the answer is not HTTP",
        hint="check --endpoint: its port, and whether it is http or https",
    )
    if caused_by(urllib3.exceptions.InvalidHeader):  # two lengths; requests makes it a ValueError
        return not_http
    if isinstance(error, requests.RequestException) and isinstance(error, ValueError):
        return ConfigurationError(
            f"{url}: no request can be sent there", hint="check --endpoint and the proxy variables"
        )
    if found := caused_by(ssl.SSLCertVerificationError):
        reason = getattr(found, "verify_message", "") or "verification failed"
        return ServiceUnavailable(
            f"{host}: the certificate is not trusted: {reason}",
            permanent=True,
            hint="give the authority's certificate with --ca-bundle",
        )
    if caused_by(socket.gaierror, urllib3.exceptions.NameResolutionError):
        return ServiceUnavailable(
            f"{where}: the host name does not resolve",
            hint=hint or _NETWORK_HINT,
        )
    if caused_by(TimeoutError):  # urllib3 counts a refused connection among its own
        return call.overdue()
    if found := caused_by(ssl.SSLError):
        reason = str(getattr(found, "reason", "") or "failed").replace("_", " ").lower()
        return ServiceUnavailable(
            f"{host}: no TLS connection: {reason}",
            hint="check that --endpoint is an https service that speaks TLS 1.2 or newer",
        )
    if refused := next(filter(None, (_TUNNEL.search(str(cause)) for cause in causes)), None):
        return _no_tunnel(host, refused[1])
    if caused_by(http.client.RemoteDisconnected):
        return ServiceUnavailable(
            f"{where}: the connection was closed without an answer", hint=hint
        )
    # Of a chunk's length that is none the library makes an answer that is cut off.
    bad_chunk = re.compile(r"base 16: b'[^']")
    if any(isinstance(cause, ValueError) and bad_chunk.search(str(cause)) for cause in causes):
        return not_http
    if caused_by(http.client.IncompleteRead, urllib3.exceptions.IncompleteRead):
        return ServiceUnavailable(f"{where}: the answer was cut off")
    if caused_by(http.client.HTTPException, urllib3.exceptions.InvalidChunkLength):
        if at_proxy:
            return ServiceUnavailable(f"{where}: the answer is not HTTP", hint=hint)
        return not_http
    broken = next((c for c in causes if isinstance(c, OSError) and c.errno and c.strerror), None)
    reason = str(broken.strerror).lower() if broken else "the connection broke"
    return ServiceUnavailable(f"{where}: {reason}", hint=hint or _NETWORK_HINT)


def _no_tunnel(host: str, status: str) -> ServiceUnavailable:
    happened = "wants a user name and a password" if status == "407" else "has no way there"
    return ServiceUnavailable(f"the proxy of {host} {happened} (HTTP {status})", hint=_PROXY_HINT)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An exception and all that it was made from: urllib3 wraps by argument, Python by context."""
    seen: set[int] = set()
    waiting: list[object] = [error]
    while waiting:
        found = waiting.pop(0)
        if not isinstance(found, BaseException) or id(found) in seen:
            continue
        seen.add(id(found))
        yield found
        waiting += [*found.args, getattr(found, "reason", None), found.__cause__, found.__context__]
