"""Random mutations of untrusted input: only errors of the package may be raised.

    python tests/fuzz.py --minutes 10 [--seed N]

Responses of the service (the API page's examples), its errors, configuration files and standard
input are mutated and read; what can be read is rendered in every format. Any other exception, or
output that is not valid in its format, ends it with 1 and stores the input in a file.
"""

import argparse
import json
import random
import re
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from dlftask.api.responses import Response, error_for
from dlftask.durations import parse_duration
from dlftask.errors import ConfigurationError, DlftaskError
from dlftask.messages import write_error
from dlftask.output.formats import RenderOptions, render
from dlftask.output.log import ChangeLog
from dlftask.output.text import escape_controls
from dlftask.output.tree import tree_rows
from dlftask.output.view import WaitState
from dlftask.profiles import read_profile
from dlftask.streams import Streams
from dlftask.task import read_task
from dlftask.task_ids import check_task_id, read_task_ids
from dlftask.waiting.snapshot import Snapshot

SUBTASK = {
    "id": "008aae2e675d3bcb01675d3c9f5f0002",
    "lastUpdate": 1543457513000,
    "name": "Import the job_batch job.",
    "status": "SUCCESSFUL",
    "taskId": "008aae2e675d3bcb01675d3c66f20000",
}
TASK = {
    "endTime": 1543457514000,
    "id": "008aae2e675d3bcb01675d3c66f20000",
    "lastUpdate": 1543457514000,
    "name": "Import the solution from OBS path obs://aaaaa/traffic.zip.",
    "projectId": "b384b9e9ab9b4ee8994c8633aabc9505",
    "startTime": 1543457499000,
    "status": "SUCCESSFUL",
    "subtasks": [SUBTASK, {**SUBTASK, "status": "FAILED", "message": "导入[失败]"}],
}
FAILED = {**TASK, "status": "FAILED", "message": "Failed to read the OBS file.", "subtasks": []}
ERROR = {"error_code": "DLF.0810", "error_msg": "Task does not exist"}
ERRORS = [ERROR, {"error": {"code": 401, "message": "x", "title": "y"}}, {"errorCode": "APIG.1"}]
CONFIG = (
    b'[default]\nregion = "cn-north-4"\ntimeout = "5m"\nconcurrency = 4\n[other]\nstrict = true\n'
)
INPUTS = [b'{"taskId": "abc"}', b'["a", {"id": "b"}]\n"c"', b"one two\nthree", b"\xef\xbb\xbfabc"]

PIECES = [
    *(b"\x00", b"\x1b[31m", b"\xff", b"\xc2\x9b", b"\xe2\x80\xae", b"\xed\xa0\x80", b"\\ud800"),
    *(b"\xf0\x9f\x98\x80", b"{", b"}", b"[", b"]", b'"', b",", b":", b"\\", b"\n", b"null", b"NaN"),
    *(b"-1", b"1e400", b"1e300", b"9" * 30, b"9" * 5000, b"[" * 200, b"true", b"\xef\xbb\xbf"),
    *(b"]]>", b"&", b"<!--", b"\xef\xbf\xbe", b"\xe2\x80\xa8", b"0.5", b"\\u0000", b"=", b"#"),
]
VALUES: list[Any] = [
    *(None, True, 0, -1, 1.0, 1.5, 10**30, -(10**18), 2**63, 1e300, "", " ", "\n", "\x1b[2J"),
    *("\ud800", "\u202eabc", "RUNNING", "FAILED", "WARNING", "x" * 5000, "[bold]", "]]>", "&<>\"'"),
    *("\ufffe", "\x00", "a\tb\\c", [], {}, [[]], {"a": {"b": []}}, "\u2028", "😀" * 40),
]
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def mutated_bytes(rng: random.Random, data: bytes) -> bytes:
    body = bytearray(data)
    for _ in range(rng.randint(1, 6)):
        at = rng.randint(0, len(body))
        match rng.randrange(5):
            case 0:
                body[at:at] = rng.choice(PIECES)
            case 1:
                del body[at : at + rng.randint(1, 20)]
            case 2:
                body[at : at + 1] = bytes([rng.randrange(256)])
            case 3:
                body[at:at] = body[at : at + rng.randint(1, 40)]
            case _:
                body[at : at + rng.randint(1, 12)] = rng.choice(PIECES)
    return bytes(body)


def mutated_value(rng: random.Random, value: Any) -> Any:
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(list(value))
        if rng.random() < 0.1:
            return {name: item for name, item in value.items() if name != key}
        return {**value, key: mutated_value(rng, value[key])}
    if isinstance(value, list) and value and rng.random() < 0.8:
        items = list(value)
        at = rng.randrange(len(items))
        items[at] = mutated_value(rng, items[at])
        return items * rng.choice([1, 1, 1, 3])
    return rng.choice(VALUES)


def mutated(rng: random.Random, values: Sequence[Any]) -> bytes:
    value = rng.choice(values)
    for _ in range(rng.randint(0, 4)):
        value = mutated_value(rng, value)
    data = json.dumps(value, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")
    return mutated_bytes(rng, data) if rng.random() < 0.5 else data


def check_clean(text: str) -> None:
    found = CONTROL.search(text)
    if found:
        raise AssertionError(f"a control character is not escaped: {found[0]!r}")


def read_and_render(body: bytes) -> None:
    try:
        task = read_task(body)
    except ValueError:
        return
    snapshots = [Snapshot("given", task, settled=True)]
    for utc, compact, unicode in ((True, False, True), (False, True, False)):
        options = RenderOptions(utc=utc, compact=compact, unicode=unicode)
        pieces = [text for row in tree_rows(snapshots[0], options) for text, _ in row.label]
        if any("\n" in text.removeprefix("\n") for text in pieces):
            raise AssertionError("a line of the tree has a line break")
        check_clean("".join(render("tree", snapshots, options)).replace("\t", "\x00"))
    streams = Streams(_Nowhere(), _Nowhere())  # type: ignore[arg-type]
    log = ChangeLog(WaitState(["given"]), streams, streams.write, RenderOptions(utc=True))
    text = log.lines(snapshots[0])
    for line in text.splitlines():
        check_clean(line)
    for name in ("json", "jsonl"):
        text = "".join(render(name, snapshots, RenderOptions()))
        check_clean(text)
        if json.loads(text) != task.raw:
            raise AssertionError("the JSON has changed its meaning")
    for line in "".join(render("tsv", snapshots, RenderOptions())).splitlines(keepends=True):
        check_clean(line)
        if line.count("\t") != 9 or not line.endswith("\n"):
            raise AssertionError("a TSV line does not have ten fields")
    failed = Snapshot("unavailable", None, ConfigurationError("x"))
    report = "".join(render("junit", [*snapshots, failed], RenderOptions(strict=True)))
    root = ET.fromstring(report.encode())
    if int(root.get("tests", "-1")) != len(root.findall(".//testcase")):
        raise AssertionError("the counts of the JUnit report are wrong")


def read_error_body(body: bytes) -> None:
    rng = random.Random(len(body))
    text = body[:80].decode("latin-1")
    headers = {"X-Request-Id": text, "Retry-After": text[:12], "Location": text}
    status = rng.choice([200, 204, 302, 304, 400, 401, 403, 404, 408, 429, 500, 503, 599, 999])
    error = error_for(Response(status, headers, body), "the service")
    if not isinstance(error, DlftaskError):
        raise TypeError("not an error of the package")
    check_clean(escape_controls(str(error)))
    write_error(error, Streams(_Nowhere(), _Nowhere()), task_id="given")  # type: ignore[arg-type]


class _Nowhere:
    encoding = "utf-8"

    @property
    def buffer(self) -> "_Nowhere":
        return self

    def write(self, data: bytes) -> int:
        return len(data)

    def flush(self) -> None: ...

    def isatty(self) -> bool:
        return False


def read_ids(body: bytes) -> None:
    try:
        found = read_task_ids(["-"], lambda: body)
    except ConfigurationError as error:
        check_clean(escape_controls(str(error)))
        return
    for task_id in found:
        check_task_id(task_id)


def read_config(body: bytes, path: Path) -> None:
    path.write_bytes(body)
    try:
        read_profile(path, None, path_named=True)
    except ConfigurationError as error:
        check_clean(escape_controls(str(error)))


def read_duration(body: bytes) -> None:
    try:
        seconds = parse_duration(body.decode("latin-1"))
    except ValueError:
        return
    if not 0 < seconds < float("inf"):
        raise AssertionError(f"not a positive duration: {seconds}")


def fuzz(seconds: float, seed: int, *, most: int | None = None) -> int:
    """Try inputs for some seconds, or ``most`` of them; return how many were tried."""
    rng = random.Random(seed)
    until = time.monotonic() + seconds
    tried = 0
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "config.toml"
        ways: list[tuple[int, Callable[[bytes], None], Callable[[], bytes]]] = [
            (
                10,
                read_and_render,
                lambda: mutated(rng, [TASK, FAILED, {**TASK, "status": "RUNNING"}]),
            ),
            (5, read_error_body, lambda: mutated(rng, ERRORS)),
            (3, read_ids, lambda: mutated_bytes(rng, rng.choice(INPUTS))),
            (1, lambda body: read_config(body, config), lambda: mutated_bytes(rng, CONFIG)),
            (1, read_duration, lambda: mutated_bytes(rng, rng.choice([b"1m30s", b"1.5h", b"90"]))),
        ]
        weights = [weight for weight, _, _ in ways]
        while time.monotonic() < until and (most is None or tried < most):
            _, read, make = rng.choices(ways, weights)[0]
            body = make()
            tried += 1
            try:
                read(body)
            except Exception as error:
                error.add_note(f"the input is kept in {keep(body)}")
                raise
    return tried


def keep(body: bytes) -> str:
    with tempfile.NamedTemporaryFile(prefix="fuzz-", delete=False) as file:
        file.write(body)
        return file.name


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=None)
    arguments = parser.parse_args()
    seed = arguments.seed if arguments.seed is not None else random.randrange(2**32)
    sys.stdout.write(f"seed {seed}\n")
    sys.stdout.flush()
    try:
        tried = fuzz(arguments.minutes * 60, seed)
    except Exception:  # noqa: BLE001 - any exception is a finding
        traceback.print_exc()
        return 1
    sys.stdout.write(f"{tried:,} inputs tried: only errors of the package were raised\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
