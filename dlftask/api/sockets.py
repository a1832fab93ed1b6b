"""Connected sockets: a host's name is looked up, and its addresses are tried within one limit.

A connection can be begun before it is needed: the command line's first one is made while requests
is being imported.
"""

import os
import socket
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from dlftask.api.endpoints import is_loopback

LONGEST_TIMEOUT_S = 1_000_000.0
"""Eleven days; a socket takes no more than 24."""


class _Background:
    """A call in a thread of its own; several may wait for what it gives or raises."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self._call = call
        self._ended = threading.Event()
        self._outcome: Any = None

    def start(self) -> None:
        try:
            threading.Thread(target=self._run, daemon=True).start()
        except RuntimeError:  # the process may have no more threads
            self._run()

    def _run(self) -> None:
        try:
            self._outcome = self._call()
        except OSError as error:
            self._outcome = error
        finally:
            self._ended.set()

    def result(self, until_s: float) -> Any:
        """What the call gives or raises; ``TimeoutError`` where it has not ended by then."""
        if not self._ended.wait(max(0.0, until_s - time.monotonic())):
            raise TimeoutError
        if isinstance(self._outcome, OSError):
            raise self._outcome
        return self._outcome


_lookups: dict[tuple[int, str, int], _Background] = {}
"""Lookups in flight by process, host and port.

By process, because a thread of another one cannot finish a lookup for this one.
"""
_begun: dict[tuple[str, int], _Background] = {}
"""Connections that were begun and that nobody has taken yet, by host and port."""
_worked: dict[tuple[str, int], Any] = {}
"""The address of each host that was connected to last."""


def begin_to_connect(url: str, timeout_s: float) -> None:
    """Begin a connection to the host of a URL, which the next ``connect`` to it will take.

    Nothing is begun where a proxy is set for the scheme: ``Transport`` decides whether it is used.
    """
    from urllib.request import getproxies

    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    if is_loopback(host) or parts.scheme not in getproxies():
        until_s = time.monotonic() + min(timeout_s, LONGEST_TIMEOUT_S)
        _begun[host, port] = _Background(partial(_try_addresses, host, port, until_s))
        _begun[host, port].start()


def connect(host: str, port: int, until_s: float) -> socket.socket | None:
    """A socket connected to a host by a moment of ``time.monotonic``.

    ``None`` where the name does not resolve. Raises ``OSError``, ``TimeoutError`` among them.
    """
    begun = _begun.pop((host, port), None)
    if begun is None:
        return _try_addresses(host, port, until_s)
    found: socket.socket | None = begun.result(until_s)
    return found


def _try_addresses(host: str, port: int, until_s: float) -> socket.socket | None:
    """A connection to one of a host's addresses, which share the time."""
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
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
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


def _look_up(host: str, port: int, until_s: float) -> list[Any]:
    """The addresses of a host; empty where its name does not resolve. Raises ``TimeoutError``."""
    key = (os.getpid(), host, port)
    mine = _Background(partial(_resolve, key))
    lookup = _lookups.setdefault(key, mine)
    if lookup is mine:
        lookup.start()
    found: list[Any] = lookup.result(until_s)
    return found


def _resolve(key: tuple[int, str, int]) -> list[Any]:
    """What the system's lookup gives. That ignores timeouts, so that this runs in a thread."""
    _, host, port = key
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):  # a label that is too long is no name either
        return []
    finally:
        del _lookups[key]
