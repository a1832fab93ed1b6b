"""Connected sockets: a host's name is looked up, and its addresses are tried within one limit.

A connection can be started before it is needed: the command line's first one is made while requests
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
"""Eleven days; a socket accepts at most 24."""


class _Background:
    """A call in a thread of its own; several threads may wait for its result."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self._call = call
        self._ended = threading.Event()
        self._outcome: Any = None

    def start(self) -> None:
        try:
            threading.Thread(target=self._run, daemon=True).start()
        except RuntimeError:  # the process cannot start another thread
            self._run()

    def _run(self) -> None:
        try:
            self._outcome = self._call()
        except OSError as error:
            self._outcome = error
        finally:
            self._ended.set()

    def result(self, until_s: float) -> Any:
        """Return or raise what the call did; ``TimeoutError`` if it has not ended by then."""
        if not self._ended.wait(max(0.0, until_s - time.monotonic())):
            raise TimeoutError
        if isinstance(self._outcome, OSError):
            raise self._outcome
        return self._outcome


_lookups: dict[tuple[int, str, int], _Background] = {}
"""Lookups in flight by process, host and port.

By process, because a child process does not have the threads of its parent.
"""
_begun: dict[tuple[str, int], _Background] = {}
"""Connections that were started and are not used yet, by host and port."""
_worked: dict[tuple[str, int], Any] = {}
"""The address of each host that worked last."""


def begin_to_connect(url: str, timeout_s: float) -> None:
    """Start a connection to the host of a URL, which the next ``connect`` to it will use.

    Does nothing where a proxy is set for the scheme: ``Transport`` decides whether to use that.
    """
    from urllib.request import getproxies

    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    if is_loopback(host) or parts.scheme not in getproxies():
        until_s = time.monotonic() + min(timeout_s, LONGEST_TIMEOUT_S)
        _begun[host, port] = _Background(partial(_try_addresses, host, port, until_s))
        _begun[host, port].start()


def connect(host: str, port: int, until_s: float) -> socket.socket | None:
    """Return a socket connected to a host by ``until_s``, a moment of ``time.monotonic``.

    ``None`` where the name does not resolve. Raises ``OSError``, including ``TimeoutError``.
    """
    begun = _begun.pop((host, port), None)
    if begun is None:
        return _try_addresses(host, port, until_s)
    found: socket.socket | None = begun.result(until_s)
    return found


def _try_addresses(host: str, port: int, until_s: float) -> socket.socket | None:
    """Connect to one of a host's addresses, which share the time that is left."""
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
    """The result of the system's lookup, which ignores timeouts: run it in a thread."""
    _, host, port = key
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):  # such as a label that is too long
        return []
    finally:
        del _lookups[key]
