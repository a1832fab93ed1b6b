"""HTTP requests over persistent connections, in which no server is trusted.

Redirects are never followed, netrc is not read, cookies are not kept, and a response is at most
64 MiB unpacked. The time limits are those of ``connections``.
"""

import os
import re
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from requests.utils import get_environ_proxies

from dlftask import __version__
from dlftask.api.connections import (
    CONNECTIONS,
    NETWORK_HINT,
    StaleConnection,
    not_http,
    proxy_refused,
)
from dlftask.api.endpoints import is_loopback
from dlftask.api.responses import Response
from dlftask.api.sockets import LONGEST_TIMEOUT_S
from dlftask.errors import ConfigurationError, DlftaskError, InvalidResponse, ServiceUnavailable
from dlftask.secrets import Secrets
from dlftask.settings import Settings

MAX_BODY = 64 * 1024 * 1024
"""Bytes of a response, unpacked."""
MAX_MEMORY = 380_000_000
"""Bytes of memory to read a response and write it again, at most; estimated before it is read."""

_CONTINUATION = bytes(range(0x80, 0xC0))  # all but the first byte of a UTF-8 character
_SECRET_WORDS = ("auth", "token", "cookie", "secret", "credential", "signature", "key")
_BAD_CHUNK = re.compile(r"base 16: b(?!'')|InvalidChunkLength|LineTooLong")
_NOT_SECRET = frozenset({"x-metadata-token-ttl-seconds"})


class _Adapter(HTTPAdapter):
    def __init__(self, closed: threading.Event, connections: int) -> None:
        self._closed = closed
        super().__init__(pool_connections=4, pool_maxsize=connections)

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        pool: Any = super().get_connection_with_tls_context(*args, **kwargs)
        pool.ConnectionCls = partial(CONNECTIONS[pool.scheme], self._closed)
        return pool

    def close(self) -> None:
        # urllib3 itself closes idle connections only once nothing refers to their pool. The error
        # of a request that was in flight does, for as long as somebody keeps it.
        for manager in (self.poolmanager, *self.proxy_manager.values()):
            for key in manager.pools.keys():  # noqa: SIM118 - it cannot be iterated
                if pool := manager.pools.get(key):
                    pool.close()
        super().close()


class Transport:
    """Sends requests within the limits of the settings; may be used by many threads.

    The connect timeout bounds name resolution, connection and TLS together, the read timeout the
    response up to its last byte. ``trace`` gets one text per request and response. Secrets are
    masked in it, and in each error that is made from a response.
    """

    def __init__(self, settings: Settings, trace: Callable[[str], None] | None = None) -> None:
        self._secrets = Secrets()
        self._timeouts = (
            min(settings.connect_timeout_s, LONGEST_TIMEOUT_S),
            min(settings.read_timeout_s, LONGEST_TIMEOUT_S),
        )
        self._connections = settings.concurrency
        # A little wider than necessary: a request can take longer to arrive than the next one.
        self._gap_s = 0.0 if settings.rate is None else 1.02 / settings.rate
        self._trace = trace
        self._verify: bool | str = not settings.insecure
        if settings.insecure:
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        elif settings.ca_bundle is not None:
            self._verify = str(settings.ca_bundle)
        self._open()

    def close(self) -> None:
        """Close the connections; a request in flight ends soon with an error."""
        self._closed.set()
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
        """Send one request. Raises ``ServiceUnavailable`` and ``InvalidResponse``; see ``Send``."""
        if os.getpid() != self._process:
            self._open()  # the parent's connections: two processes on one would mix up responses
        target = urlsplit(url)
        direct = direct or is_loopback(target.hostname or "")
        proxies = {} if direct else get_environ_proxies(url)
        proxy = proxies.get(target.scheme, "")  # ALL_PROXY is not used
        userinfo, at, _ = proxy.rpartition("@")
        if at:
            self._secrets.add_userinfo(userinfo.rpartition("//")[2])
        request = requests.Request(
            method,
            url,
            headers={
                "Accept": "application/json",
                "Accept-Encoding": "gzip",
                "User-Agent": f"dlftask/{__version__}",
                **headers,
            },
            data=body,
            auth=auth,
        )
        with self._slots:
            try:
                return self._send_once(request, proxy)
            except StaleConnection:
                # The other idle connections may be closed too; a thread keeps the one it is using.
                self._adapter = _Adapter(self._closed, self._connections)
                return self._send_once(request, proxy)

    def _open(self) -> None:
        """Start without connections."""
        self._process = os.getpid()
        self._closed = threading.Event()
        self._slots = threading.Semaphore(self._connections)
        self._turn = threading.Lock()
        self._last_s = float("-inf")
        self._adapter = _Adapter(self._closed, self._connections)

    def _wait_for_turn(self) -> None:
        """Let requests begin at most ``rate`` times in any second, evenly."""
        with self._turn:
            self._closed.wait(max(0.0, self._last_s + self._gap_s - time.monotonic()))
            self._last_s = time.monotonic()
        if self._closed.is_set():
            raise ConfigurationError("the client was closed")

    def _send_once(self, request: requests.Request, proxy: str) -> Response:
        self._wait_for_turn()
        started_s = time.monotonic()
        prepared = request.prepare()
        secrets = self._secrets_of(prepared.headers, request.auth)
        report = partial(self._report, prepared, started_s, secrets)
        target = urlsplit(request.url)
        failure: DlftaskError
        try:
            with self._adapter.send(
                prepared,
                stream=True,
                timeout=self._timeouts,
                verify=self._verify,
                proxies={target.scheme: proxy},
            ) as received:
                response = _read_response(received, target.netloc, secrets)
            if response.status == 407 and proxy:
                raise proxy_refused("the proxy", "407")
        except DlftaskError as error:
            failure = error
        # TypeError: what requests raises for a proxy URL without a host.
        except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema, TypeError):
            failure = ConfigurationError(
                f"{request.url}: no request can be sent there",
                hint="check --endpoint and the proxy variables",
            )
        except (urllib3.exceptions.HTTPError, OSError):
            failure = ServiceUnavailable(
                f"{target.netloc}: the connection broke", hint=NETWORK_HINT
            )
        else:
            report(f"HTTP {response.status}", response)
            return response
        report(str(failure))
        raise failure from None

    def _secrets_of(self, headers: Mapping[str, str], auth: AuthBase | None) -> Secrets:
        self._secrets.add(*getattr(auth, "secrets", ()))
        # Not remembered: every request has a different signature.
        values = [value for name, value in headers.items() if _is_secret(name)]
        return self._secrets.of_request(
            *values, *(value.rpartition("Signature=")[2] for value in values)
        )

    def _report(
        self,
        request: requests.PreparedRequest,
        started_s: float,
        secrets: Secrets,
        outcome: str,
        response: Response | None = None,
    ) -> None:
        if self._trace is None:
            return
        took_ms = (time.monotonic() - started_s) * 1000
        lines = [
            f"> {request.method} {request.url}",
            *_masked(">", request.headers),
            f"< {outcome} in {took_ms:.0f}ms",
        ]
        if response is not None:
            lines += [*_masked("<", response.headers), f"< {len(response.body)} bytes"]
        self._trace(secrets.mask("\n".join(line.replace("\n", "\\x0a") for line in lines)))


def _read_response(received: requests.Response, peer: str, secrets: Secrets) -> Response:
    response = Response(received.status_code, received.headers, b"", secrets)
    try:
        return replace(response, body=_read_body(received.raw, peer))
    except InvalidResponse as error:
        if response.status >= 400:
            return response  # the status shows what is wrong; the body does not matter
        raise InvalidResponse(
            secrets.mask(error.message),
            hint=error.hint,
            http_status=response.status,
            request_id=response.request_id,
        ) from None


def _read_body(raw: urllib3.BaseHTTPResponse, peer: str) -> bytes:
    try:
        return _unpacked(raw)
    except (urllib3.exceptions.ProtocolError, urllib3.exceptions.InvalidHeader) as error:
        # A chunk whose length is not a number is not HTTP; one without a length was cut off.
        if any(_BAD_CHUNK.search(repr(cause)) for cause in _causes(error)):
            raise not_http(peer) from None
        raise ServiceUnavailable(f"{peer}: the response was cut off") from None
    except ValueError:  # a negative length of a chunk
        raise not_http(peer) from None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _is_secret(name: str) -> bool:
    name = name.lower()
    return name not in _NOT_SECRET and any(word in name for word in _SECRET_WORDS)


def _masked(mark: str, headers: Mapping[str, str]) -> Iterator[str]:
    for name, value in headers.items():
        yield f"{mark} {name}: {'***' if _is_secret(name) else value}"


def _unpacked(raw: urllib3.BaseHTTPResponse) -> bytes:
    """The whole body, decompressed here and not by ``raw``: a decompression bomb stays harmless."""
    length = raw.headers.get("Content-Length", "0").strip()
    if not re.fullmatch(r"[0-9]+(?:, *[0-9]+)*", length):
        raise InvalidResponse("the response is not HTTP: its length is not a number")
    encoding = (raw.headers.get("Content-Encoding") or "identity").strip().lower()
    if encoding not in ("identity", "gzip", "x-gzip"):
        raise InvalidResponse(f"the response is packed with {encoding}, which was not requested")
    parts: list[bytes] = []
    size = 0
    while part := raw.read(256 * 1024, decode_content=False):
        parts.append(part)
        size += len(part)
        if size > MAX_BODY:
            raise InvalidResponse("the response is larger than 64 MiB")
    body = b"".join(parts)
    del parts
    if body and encoding != "identity":
        body = _unzip(body)
    if _memory_to_read(body) > MAX_MEMORY:
        raise InvalidResponse("the response would take more than 400 MB of memory to read")
    return body


def _memory_to_read(body: bytes) -> float:
    """Estimate the bytes, from measurements with one long string and with many small objects.

    Python stores a string at one byte per character, at two if one is beyond Latin-1, and at four
    if one is beyond the Basic Multilingual Plane.
    """
    width = 1 if body.isascii() else 4 if re.search(rb"[\xf0-\xff]", body) else 2
    values = body.count(b",") + body.count(b"{") + body.count(b"[")
    if values > 100_000:  # those inside strings do not count
        bare = re.sub(rb'(?s)"[^"\\]*(?:\\.[^"\\]*)*"', b"", body)
        values = bare.count(b",") + bare.count(b"{") + bare.count(b"[")
    characters = len(body.translate(None, _CONTINUATION))
    return 2.0 * len(body) + 2.7 * width * characters + 110.0 * values


def _unzip(packed: bytes) -> bytes:
    unpacker = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    try:
        body = unpacker.decompress(packed, MAX_BODY + 1)
    except zlib.error:
        raise InvalidResponse("the response is declared as gzip, but is not") from None
    if len(body) > MAX_BODY:
        raise InvalidResponse("the response is larger than 64 MiB unpacked")
    if not unpacker.eof:
        raise ServiceUnavailable("the response was cut off")
    return body
