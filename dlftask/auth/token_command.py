"""A token printed by a program of the user: ``token_command`` of a profile."""

import subprocess
import time
from collections.abc import Sequence
from threading import Lock

from dlftask.auth.tokens import LARGEST_TOKEN, read_token
from dlftask.errors import AuthenticationError, ConfigurationError
from dlftask.files import read_descriptor
from dlftask.platforms import kill_group

LIMIT_S = 60.0


class TokenCommand:
    """A program that prints a token, run without a shell and without input.

    Its standard error is the user's. It gets a process group of its own, so that it can be ended
    together with its children.
    """

    def __init__(self, command: Sequence[str], what: str) -> None:
        self._command = command
        self._what = f"{what}: {command[0]!r}"
        self._lock = Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False

    def run(self) -> str:
        """Run it and return the token.

        Raises ``AuthenticationError`` where it cannot be run, fails, prints no token or takes
        longer than ``LIMIT_S``.
        """
        until_s = time.monotonic() + LIMIT_S
        with self._start() as process:
            try:
                pipe = process.stdout.fileno()  # type: ignore[union-attr]
                output = read_descriptor(pipe, limit=LARGEST_TOKEN, until_s=until_s)
                status = process.wait(max(0.0, until_s - time.monotonic()))
            except ValueError as error:
                raise self._failure(f"printed no token ({error})") from None
            except (TimeoutError, subprocess.TimeoutExpired):
                raise self._failure(f"did not end within {LIMIT_S:g}s") from None
            finally:
                kill_group(process)
        if status < 0:
            raise self._failure(f"was ended by signal {-status}")
        if status:
            raise self._failure(f"ended with exit status {status}")
        try:
            return read_token(output, "its output")
        except ConfigurationError as error:
            raise self._failure(f"printed no token ({error})") from None

    def close(self) -> None:
        """End it if it is running, and do not run it again."""
        with self._lock:
            self._closed = True
            if self._process is not None:
                kill_group(self._process)

    def _start(self) -> "subprocess.Popen[bytes]":
        with self._lock:
            if self._closed:
                raise self._failure("was not run: the client is closed")
            try:
                self._process = subprocess.Popen(  # noqa: S603 - the user's own program
                    self._command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    process_group=0,
                )
            except (OSError, ValueError) as error:
                reason = getattr(error, "strerror", None) or error
                raise self._failure(f"cannot be run: {reason}") from None
            return self._process

    def _failure(self, happened: str) -> AuthenticationError:
        return AuthenticationError(
            f"{self._what} {happened}", hint="run it yourself: it must print only a token"
        )
