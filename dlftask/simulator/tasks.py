"""The tasks of the simulator: the documented examples, and imports that run by themselves.

The state of a task depends only on the time that has passed.
"""

import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from dlftask.task import Status

PROJECT_ID = "b384b9e9ab9b4ee8994c8633aabc9505"
"""The project of the documented examples."""

_DURATION_S = 9.3
"""How long an import takes at speed 1, in seconds."""

_MAX_SUBTASKS = 100_000


@dataclass(frozen=True, slots=True)
class ScriptedSubtask:
    """A subtask of a scripted task; times are seconds after the task's start."""

    name: str
    start_s: float
    end_s: float
    status: Status = Status.SUCCESSFUL
    message: str | None = None


# By a word of the path: the task's status and message, and the message of the subtask that is why.
_BAD_ENDS = {
    "fail": (
        Status.FAILED,
        "1 job could not be imported.",
        "The connection [dws_traffic] that the job uses does not exist.",
    ),
    "warn": (
        Status.WARNING,
        "1 job was imported with a warning.",
        "The job was there already and was overwritten.",
    ),
}


class ScriptedTask:
    """An import of ``path``, started at ``started_ms``, that runs ``speed`` times as fast.

    Times are milliseconds since the epoch. ``workspace`` is ``None`` for the default one. A path
    that names ``fail`` ends FAILED, one that names ``warn`` ends with WARNING, one that names
    ``big`` has a thousand subtasks, and one that names ``subtasks-N`` has N of them.
    """

    def __init__(self, path: str, workspace: str | None, started_ms: int, speed: float) -> None:
        words = path.lower()
        subtasks = list(_many(1_000) if "big" in words else _FEW)
        if number := re.search(r"subtasks-([0-9]{1,6})", words):
            subtasks = list(_many(min(int(number[1]), _MAX_SUBTASKS)))
        bad_ends = (end for word, end in _BAD_ENDS.items() if word in words)
        status, message, reason = next(bad_ends, (Status.SUCCESSFUL, None, None))
        if subtasks:
            middle = len(subtasks) // 2
            subtasks[middle] = replace(subtasks[middle], status=status, message=reason)
        # The last eight digits number the subtasks.
        self.id = f"{secrets.token_hex(12)}{0:08x}"
        self.workspace = workspace
        self._name = f"Import the job from {path}."
        self._started_ms = started_ms
        self._speed = speed
        self._script = subtasks
        self._status = status
        self._message = message

    def at(self, now_ms: int) -> dict[str, Any]:
        """The task as the service describes it at a moment."""
        subtasks = list(self._subtasks(now_ms))
        end_ms = self._moment(_DURATION_S)
        ended = now_ms >= end_ms
        updates = [subtask["lastUpdate"] for subtask in subtasks]
        return _without_none(
            endTime=end_ms if ended else None,
            id=self.id,
            lastUpdate=end_ms if ended else max(updates, default=self._started_ms),
            message=self._message if ended else None,
            name=self._name,
            projectId=PROJECT_ID,
            startTime=self._started_ms,
            status=self._status if ended else Status.RUNNING,
            subtasks=subtasks,
        )

    def _subtasks(self, now_ms: int) -> Iterator[dict[str, Any]]:
        for number, subtask in enumerate(self._script, 1):
            start_ms, end_ms = self._moment(subtask.start_s), self._moment(subtask.end_s)
            if now_ms < start_ms:
                continue
            ended = now_ms >= end_ms
            yield _without_none(
                endTime=end_ms if ended else None,
                id=f"{self.id[:-8]}{number:08x}",
                lastUpdate=end_ms if ended else start_ms,
                message=subtask.message if ended else None,
                name=subtask.name,
                startTime=start_ms,
                status=subtask.status if ended else Status.RUNNING,
                taskId=self.id,
            )

    def _moment(self, offset_s: float) -> int:
        return self._started_ms + round(offset_s * 1_000 / self._speed)


def _without_none(**fields: object) -> dict[str, Any]:
    """The fields that have a value, in the order of the service's real responses."""
    return {name: value for name, value in fields.items() if value is not None}


_FEW = (
    ScriptedSubtask("Import the job_batch job.", 0.8, 3.0),
    ScriptedSubtask("Import the job_stream job.", 1.6, 4.7),
    ScriptedSubtask("Import the daily_report[v2] job.", 3.0, 5.4),
    ScriptedSubtask("导入作业[交通流量统计]。", 4.7, 8.1),
    ScriptedSubtask("Import the job_cleanup job.", 6.0, 8.9),
)


def _many(count: int) -> Iterator[ScriptedSubtask]:
    for i in range(count):
        name, start_s = f"Import the job_{i + 1:04d} job.", 0.8 + 7.2 * i / count
        yield ScriptedSubtask(name, start_s, start_s + 0.2 + i % 7 / 10)


# The documentation prints the fourth under the third's request: here it has the ID of its response.
_EXAMPLES: tuple[dict[str, Any], ...] = (
    {
        "endTime": 1543457514000,
        "id": "008aae2e675d3bcb01675d3c66f20000",
        "lastUpdate": 1543457514000,
        "name": "Import the solution from OBS path obs://aaaaa/traffic.zip.",
        "projectId": PROJECT_ID,
        "startTime": 1543457499000,
        "status": "SUCCESSFUL",
        "subtasks": [
            {
                "id": "008aae2e675d3bcb01675d3c9f5f0002",
                "lastUpdate": 1543457513000,
                "name": "Import the job_batch job.",
                "status": "SUCCESSFUL",
                "taskId": "008aae2e675d3bcb01675d3c66f20000",
            },
            {
                "id": "008aae2e675d3bcb01675d3c9fdc0003",
                "lastUpdate": 1543457513000,
                "name": "Import the job_stream job.",
                "status": "SUCCESSFUL",
                "taskId": "008aae2e675d3bcb01675d3c66f20000",
            },
        ],
    },
    {
        "endTime": 1543457631000,
        "id": "008aae2e675d3bcb01675d3e6b960004",
        "lastUpdate": 1543457631000,
        "message": "Failed to read the OBS file obs://aaaaa/traffic2.zip. ",
        "name": "Import the solution from OBS path obs://aaaaa/traffic2.zip.",
        "projectId": PROJECT_ID,
        "startTime": 1543457631000,
        "status": "FAILED",
        "subtasks": [],
    },
    {
        "endTime": 1543457794000,
        "id": "008aae2e675d3bcb01675d40ab3f0005",
        "lastUpdate": 1543457794000,
        "name": "Start the traffic solution",
        "projectId": PROJECT_ID,
        "startTime": 1543457778000,
        "status": "FAILED",
        "subtasks": [
            {
                "id": "008aae2e675d3bcb01675d40e8560006",
                "lastUpdate": 1543457794000,
                "name": "Start the job_batch job",
                "status": "FAILED",
                "taskId": "008aae2e675d3bcb01675d40ab3f0005",
            }
        ],
    },
    {
        "endTime": 1544777083000,
        "id": "008aae2e67abe2ff0167abe3a28f0000",
        "lastUpdate": 1544777083000,
        "name": "Import the job from obs://aaaaa/job_batch.zip.",
        "projectId": PROJECT_ID,
        "startTime": 1544777081000,
        "status": "SUCCESSFUL",
        "subtasks": [
            {
                "id": "008aae2e67abe2ff0167abe3a7e70002",
                "lastUpdate": 1544777083000,
                "name": "Import the job_batch job.",
                "status": "SUCCESSFUL",
                "taskId": "008aae2e67abe2ff0167abe3a28f0000",
            }
        ],
    },
)
DOCUMENTED = {task["id"]: task for task in _EXAMPLES}
"""The four tasks of the API's documentation (2022-08-17), by their IDs."""
