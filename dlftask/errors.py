"""The errors: one class per cause, with its exit status.

    DlftaskError
    ├── ConfigurationError    2    usage or configuration; no request is sent
    ├── TaskNotFound          4    the service does not know the task
    ├── AuthenticationError   5    credentials refused by the service, IAM or the metadata service
    ├── ServiceUnavailable    6    could not be reached, or failed
    ├── InvalidResponse       7    an invalid response
    ├── OutputFailed          8    a full disk, a closed stream
    ├── WaitTimeout       124      `--timeout` ran out
    └── BrokenOutput      141      the output was closed early
    Interrupted        130, 143    SIGINT, SIGTERM (a BaseException, as KeyboardInterrupt is)

The command line's contract defines the meanings; they never change.
"""

from copy import copy
from enum import IntEnum
from typing import Self, TypedDict, Unpack

_LONGEST_WORD = 100
"""Characters of a code or a request ID in a line; a longer one is cut."""


class ExitStatus(IntEnum):
    """Every exit status of the command line."""

    SUCCESS = 0
    FAILED = 1
    USAGE = 2
    RUNNING = 3
    NOT_FOUND = 4
    AUTHENTICATION = 5
    UNAVAILABLE = 6
    INVALID = 7
    OUTPUT_FAILED = 8
    TIMEOUT = 124
    INTERRUPTED = 130
    TERMINATED = 143
    BROKEN_OUTPUT = 141


class ErrorDetails(TypedDict, total=False):
    """The optional fields of an error."""

    code: str | None
    service_message: str | None
    http_status: int | None
    request_id: str | None
    hint: str | None
    retryable: bool
    transient: bool
    retry_after_s: float | None
    exit_status: ExitStatus


class DlftaskError(Exception):
    """Anything that dlftask raises on purpose.

    ``message`` describes what happened; ``code``, ``service_message``, ``http_status`` and
    ``request_id`` come from the service's response, if there was one; ``hint`` tells what to do
    next. No field ever holds a secret, and none changes.
    """

    exit_status: ExitStatus
    code: str | None = None
    service_message: str | None = None
    http_status: int | None = None
    request_id: str | None = None
    hint: str | None = None
    retryable = False
    """Whether a first request that failed with it is retried."""
    transient = False
    """Whether a wait continues after it, as after an outage."""
    retry_after_s: float | None = None
    """The service's ``Retry-After`` in seconds."""

    def __init__(self, message: str, **details: Unpack[ErrorDetails]) -> None:
        super().__init__(message)
        self.message = message
        vars(self).update(details)

    def with_context(self, prefix: str | None = None, *, hint: str | None = None) -> Self:
        """The same error with its message as ``prefix: message``, and perhaps another hint."""
        error = copy(self)
        error.message = f"{prefix}: {self.message}" if prefix else self.message
        error.hint = hint or self.hint
        return error

    def __str__(self) -> str:
        # The service's message comes last: only it can be long enough to be cut.
        facts = []
        if self.http_status is not None:
            facts.append(f"HTTP {self.http_status}")
        if self.code and self.code != str(self.http_status):
            facts.append(_clipped(self.code))
        if self.request_id:
            facts.append(f"request ID {_clipped(self.request_id)}")
        details = ", ".join(facts)
        text = f"{self.message} ({details})" if details else self.message
        repeats = _words(self.service_message or "") == _words(self.message)
        return f"{text}: {self.service_message}" if self.service_message and not repeats else text


def _words(text: str) -> str:
    """A message to compare: "Task does not exist." equals "the task does not exist"."""
    return text.lower().strip(" .!").removeprefix("the ")


def _clipped(word: str) -> str:
    return word if len(word) <= _LONGEST_WORD else f"{word[:_LONGEST_WORD]}..."


class ConfigurationError(DlftaskError):
    """Usage or configuration: no request was sent."""

    exit_status = ExitStatus.USAGE


class TaskNotFound(DlftaskError):
    """The service does not know the task (``DLF.0810``, ``DLF.20810``)."""

    exit_status = ExitStatus.NOT_FOUND


class AuthenticationError(DlftaskError):
    """HTTP 401, 403, ``DLF.6888``, or a refusal by IAM or the metadata service."""

    exit_status = ExitStatus.AUTHENTICATION


class ServiceUnavailable(DlftaskError):
    """Not reached, or failed: name resolution, connection, TLS, timeout, 408, 429, 5xx.

    ``retryable`` is false for what a retry cannot fix (a certificate that is not trusted).
    """

    exit_status = ExitStatus.UNAVAILABLE
    retryable = True
    transient = True


class InvalidResponse(DlftaskError):
    """Not HTTP, not JSON, no ``id`` or ``status``, an unknown status, a redirect, another 4xx.

    ``transient`` is false for another 4xx, which is final.
    """

    exit_status = ExitStatus.INVALID
    transient = True


class OutputFailed(DlftaskError):
    """The output could not be written."""

    exit_status = ExitStatus.OUTPUT_FAILED


class WaitTimeout(DlftaskError):
    """``--timeout`` ran out before the task ended."""

    exit_status = ExitStatus.TIMEOUT


class BrokenOutput(DlftaskError):
    """The output was closed early: nobody is left to read an error."""

    exit_status = ExitStatus.BROKEN_OUTPUT


class Interrupted(BaseException):
    """SIGINT or SIGTERM. Not an ``Exception``, so that no ``except Exception`` catches it."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal_number)
        self.exit_status = ExitStatus(128 + signal_number)
