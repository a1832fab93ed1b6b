"""Show, or wait for, a system task of DataArts Factory (DLF).

from dlftask import Client, Status

with Client(region="cn-north-4") as client:
    task = client.wait("008aae2e675d3bcb01675d3c66f20000", timeout=3600)
if task.status != Status.SUCCESSFUL:
    print(task.message, [subtask.name for subtask in task.subtasks])
"""

# Type checkers take it as true. Importing typing takes milliseconds, and until then a Ctrl-C would
# print Python's own traceback.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from dlftask.api.client import Client
    from dlftask.errors import (
        AuthenticationError,
        ConfigurationError,
        DlftaskError,
        ExitStatus,
        InvalidResponse,
        ServiceUnavailable,
        TaskNotFound,
        WaitTimeout,
    )
    from dlftask.task import Status, Subtask, Task
    from dlftask.waiting.snapshot import Snapshot

__version__ = "0.2.0"

__all__ = [
    "AuthenticationError",
    "Client",
    "ConfigurationError",
    "DlftaskError",
    "ExitStatus",
    "InvalidResponse",
    "ServiceUnavailable",
    "Snapshot",
    "Status",
    "Subtask",
    "Task",
    "TaskNotFound",
    "WaitTimeout",
]

_MODULES = {
    "Client": "api.client",
    "Snapshot": "waiting.snapshot",
    "Status": "task",
    "Subtask": "task",
    "Task": "task",
}


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> "Any":
    # Loaded on use: the command line imports this package only for its version.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"dlftask.{_MODULES.get(name, 'errors')}"), name)
