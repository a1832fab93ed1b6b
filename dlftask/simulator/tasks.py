"""What the simulated service knows: the documented examples, and imports that run by themselves.

The state of a task is a function of the time that has passed and of nothing else.
"""

import hashlib
import itertools
import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dlftask.task import Status

PROJECT_ID = "b384b9e9ab9b4ee8994c8633aabc9505"
"""The project of the documented examples."""

DURATION_S = 9.3
"""How long an import takes at speed 1, in seconds."""

MANY = 1_000
"""The subtasks of an import whose path names ``big``."""

_MOST = 100_000


@dataclass(frozen=True, slots=True)
class Job:
    """A part of a scripted task: when it runs, in seconds after the task's start, and its end."""

    name: str
    start_s: float
    end_s: float
    status: Status = Status.SUCCESSFUL
    message: str | None = None


@dataclass(frozen=True, slots=True)
class ScriptedTask:
    """A task that was started at ``started_ms`` and runs through its jobs, ``speed`` times as fast.

    Times are milliseconds since the epoch. ``workspace`` is ``None`` for the default one.
    """

    id: str
    name: str
    project_id: str
    workspace: str | None
    started_ms: int
    speed: float
    jobs: tuple[Job, ...]
    status: Status
    message: str | None = None

    @property
    def end_ms(self) -> int:
        """When the task ends."""
        return self._moment(DURATION_S)

    def at(self, now_ms: int) -> dict[str, Any]:
        """What the service says of the task at a moment; keys in the order of its real answers."""
        subtasks = list(self._subtasks(now_ms))
        ended = now_ms >= self.end_ms
        updates = [subtask["lastUpdate"] for subtask in subtasks]
        return {
            **({"endTime": self.end_ms} if ended else {}),
            "id": self.id,
            "lastUpdate": self.end_ms if ended else max(updates, default=self.started_ms),
            **({"message": self.message} if ended and self.message else {}),
            "name": self.name,
            "projectId": self.project_id,
            "startTime": self.started_ms,
            "status": self.status if ended else Status.RUNNING,
            "subtasks": subtasks,
        }

    def _subtasks(self, now_ms: int) -> Iterator[dict[str, Any]]:
        for number, job in enumerate(self.jobs, 1):
            start_ms, end_ms = self._moment(job.start_s), self._moment(job.end_s)
            if now_ms < start_ms:
                continue
            ended = now_ms >= end_ms
            yield {
                **({"endTime": end_ms} if ended else {}),
                "id": f"{self.id[:-8]}{number:08x}",
                "lastUpdate": end_ms if ended else start_ms,
                **({"message": job.message} if ended and job.message else {}),
                "name": job.name,
                "startTime": start_ms,
                "status": job.status if ended else Status.RUNNING,
                "taskId": self.id,
            }

    def _moment(self, offset_s: float) -> int:
        return self.started_ms + round(offset_s * 1_000 / self.speed)


def scripted(
    path: str,
    *,
    verb: str = "Import",
    project_id: str = PROJECT_ID,
    workspace: str | None = None,
    started_ms: int,
    speed: float = 1.0,
) -> ScriptedTask:
    """The task that importing (or exporting) ``path`` starts.

    A path that names ``fail`` ends FAILED, one that names ``warn`` ends with WARNING, one that
    names ``big`` has a thousand subtasks, and one that names ``subtasks-N`` has N of them.
    """
    words = path.lower()
    status = Status.FAILED if "fail" in words else Status.SUCCESSFUL
    if status is Status.SUCCESSFUL and "warn" in words:
        status = Status.WARNING
    number = re.search(r"subtasks-([0-9]{1,6})", words)
    count = min(int(number[1]), _MOST) if number else MANY if "big" in words else None
    # The last eight digits count the subtasks.
    task_id = f"{_identity(started_ms, verb, status, count, workspace)}{0:08x}"
    return _task(
        task_id,
        path=path,
        verb=verb,
        status=status,
        count=count,
        project_id=project_id,
        workspace=workspace,
        started_ms=started_ms,
        speed=speed,
    )


def remembered(
    task_id: str, *, project_id: str, workspace: str | None, speed: float
) -> ScriptedTask | None:
    """A task that an earlier process started: its ID says all of it but the path.

    So a simulator that is started again knows what became of an import, as the service does.
    """
    if not re.fullmatch("[0-9a-f]{24}0{8}", task_id):
        return None
    packed = bytes.fromhex(task_id[:24])
    if _seal(packed[:9], workspace) != packed[9:]:
        return None
    bits = int.from_bytes(packed[:9])
    count, outcome, verb = bits >> 10 & 0x1FFFF, bits >> 27 & 3, bits >> 29 & 1
    return _task(
        task_id,
        path="obs://…",
        verb=_VERBS[verb],
        status=_OUTCOMES[outcome],
        count=count - 1 if count else None,
        project_id=project_id,
        workspace=workspace,
        started_ms=bits >> 30,
        speed=speed,
    )


_VERBS = ("Import", "Export")
_OUTCOMES = (Status.SUCCESSFUL, Status.FAILED, Status.WARNING)
_started = itertools.count(secrets.randbelow(1024))


def _identity(
    started_ms: int, verb: str, status: Status, count: int | None, workspace: str | None
) -> str:
    """24 hexadecimal digits: 42 bits of start, 3 of what and how, 17 of parts, 10 to tell apart."""
    bits = (started_ms & 2**42 - 1) << 3 | _VERBS.index(verb) << 2 | _OUTCOMES.index(status)
    bits = bits << 17 | (0 if count is None else count + 1)
    packed = (bits << 10 | next(_started) & 1023).to_bytes(9)
    return (packed + _seal(packed, workspace)).hex()


def _seal(packed: bytes, workspace: str | None) -> bytes:
    """What makes an ID that nobody was given unlikely to be taken for one; it keeps no secret."""
    return hashlib.blake2b(packed + (workspace or "").encode(), digest_size=3).digest()


def _task(
    task_id: str,
    *,
    path: str,
    verb: str,
    status: Status,
    count: int | None,
    project_id: str,
    workspace: str | None,
    started_ms: int,
    speed: float,
) -> ScriptedTask:
    message = {
        Status.FAILED: f"1 job could not be {verb.lower()}ed.",
        Status.WARNING: f"1 job was {verb.lower()}ed with a warning.",
    }
    return ScriptedTask(
        id=task_id,
        name=f"{verb} the job from {path}." if verb == "Import" else f"{verb} the job to {path}.",
        project_id=project_id,
        workspace=workspace,
        started_ms=started_ms,
        speed=speed,
        jobs=_with_end(_jobs(count, verb), status),
        status=status,
        message=message.get(status),
    )


def _jobs(count: int | None, verb: str) -> tuple[Job, ...]:
    if count is not None:
        return tuple(_many(count, verb))
    return (
        Job(f"{verb} the job_batch job.", 0.8, 3.0),
        Job(f"{verb} the job_stream job.", 1.6, 4.7),
        Job(f"{verb} the daily_report[v2] job.", 3.0, 5.4),
        Job(
            "导入作业[交通流量统计]。" if verb == "Import" else "导出作业[交通流量统计]。", 4.7, 8.1
        ),
        Job(f"{verb} the job_cleanup job.", 6.0, 8.9),
    )


def _many(count: int, verb: str) -> Iterator[Job]:
    for index in range(count):
        start_s = 0.8 + 7.2 * index / count
        yield Job(f"{verb} the job_{index + 1:04d} job.", start_s, start_s + 0.2 + index % 7 / 10)


def _with_end(jobs: tuple[Job, ...], status: Status) -> tuple[Job, ...]:
    """The jobs, of which one ends as the whole task will."""
    if status is Status.SUCCESSFUL or not jobs:
        return jobs
    message = {
        Status.FAILED: "The connection [dws_traffic] that the job uses does not exist.",
        Status.WARNING: "The job was there already and was overwritten.",
    }[status]
    index = len(jobs) // 2
    job = jobs[index]
    ended = Job(job.name, job.start_s, job.end_s, status, message)
    return (*jobs[:index], ended, *jobs[index + 1 :])


def _documented(*tasks: dict[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    return {task["id"]: task for task in tasks}


# The fourth was printed under the third's request: it has its own answer's ID here.
DOCUMENTED = _documented(
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
"""The four tasks of the API's documentation (2022-08-17), by their IDs."""
