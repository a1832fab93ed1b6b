"""What dlftask costs, compared with what a user would write instead.

Run it with ``python tests/benchmarks/compare.py``, and the names of some parts to run only those.

Each case is a whole process, over loopback, against the simulator in a process of its own. Cases
run in turns, so that a busy machine slows all of them equally; a figure is the median of the turns'
ratios. Prints a Markdown table.
"""

import argparse
import bisect
import os
import platform
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from queue import SimpleQueue
from statistics import median
from urllib.parse import urlsplit

from dlftask.waiting.policy import WaitPolicy

TASK = "008aae2e675d3bcb01675d3c66f20000"
_DLFTASK = [sys.executable, "-m", "dlftask"]

_GET_TASK = """\
HEADERS = {'X-Auth-Token': os.environ['DLFTASK_TOKEN']}
URL = '{DLFTASK_ENDPOINT}/v1/{DLFTASK_PROJECT_ID}/system-tasks/'.format(**os.environ)
"""
# R, the measure of start-up: the shortest script of a Python user.
_REQUESTS = f"""\
import os, requests
{_GET_TASK}
requests.get(URL + '{TASK}', headers=HEADERS).json()
"""
# S: the same request by the vendor's SDK.
_SDK = f"""\
import os
from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkdgc.v1 import DgcClient, ListSystemTasksRequest
key = os.environ['HUAWEICLOUD_SDK_AK'], os.environ['HUAWEICLOUD_SDK_SK']
client = (
    DgcClient.new_builder()
    .with_credentials(BasicCredentials(*key, os.environ['DLFTASK_PROJECT_ID']))
    .with_endpoint(os.environ['DLFTASK_ENDPOINT'])
    .build()
)
client.list_system_tasks(ListSystemTasksRequest(task_id='{TASK}'))
"""
_CURL = (
    'curl -s -H "X-Auth-Token: $DLFTASK_TOKEN" '
    f'"$DLFTASK_ENDPOINT/v1/$DLFTASK_PROJECT_ID/system-tasks/{TASK}" | jq -r .status'
)
_INDENTED = f"""\
import json, os, requests, sys
{_GET_TASK}
print(json.dumps(requests.get(URL + sys.argv[1], headers=HEADERS).json(), indent=2))
"""
# One session, one request after the other: the task IDs come from standard input.
_SEQUENCE = f"""\
import os, requests, sys
{_GET_TASK}
with requests.Session() as session:
    for task_id in sys.stdin.read().split():
        session.get(URL + task_id, headers=HEADERS).json()
"""
_LOOP = f"""\
import os, requests, sys, time
{_GET_TASK}
with requests.Session() as session:
    for _ in range(int(sys.argv[2])):
        session.get(URL + sys.argv[1], headers=HEADERS).json()
        time.sleep(float(sys.argv[3]))
"""


@dataclass(frozen=True)
class Cost:
    """What a process cost: seconds of wall and of processor time, MiB of memory at its peak."""

    wall_s: float
    cpu_s: float
    peak_mib: float


@dataclass(frozen=True)
class Row:
    """One line of the table; ``limit`` is what it must not exceed, where there is one."""

    what: str
    of: str
    measured: float
    limit: float | None
    absolute: str

    def __str__(self) -> str:
        limit = "" if self.limit is None else f"≤ {self.limit:.2f}"
        verdict = "" if self.limit is None or self.measured <= self.limit else " **missed**"
        cells = (self.what, f"{self.measured:.2f}{verdict}", limit, self.of, self.absolute)
        return f"| {' | '.join(cells)} |"


class Service:
    """A simulator in a process of its own, and a user's environment that points to it."""

    def __init__(self, home: Path, *options: str) -> None:
        command = [sys.executable, "-m", "dlftask.simulator", *options]
        self._process = subprocess.Popen(
            command, env=_environment(home), stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        exported = dict(
            line.strip().removeprefix("export ").split("=", 1)
            for line in (self._process.stdout.readline() for _ in range(6))
        )
        self.environ = {**_environment(home), **exported}

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()

    def start_imports(self, count: int, path: str) -> list[str]:
        """Start imports of ``path``; return their task IDs."""
        from http.client import HTTPConnection

        host = self.environ["DLFTASK_ENDPOINT"].removeprefix("http://")
        url = f"/v1/{self.environ['DLFTASK_PROJECT_ID']}/jobs/import"
        headers = {"X-Auth-Token": self.environ["DLFTASK_TOKEN"]}
        connection = HTTPConnection(host)
        ids = []
        for _ in range(count):
            connection.request("POST", url, f'{{"path": "obs://bucket/{path}"}}', headers)
            ids.append(connection.getresponse().read().decode().split('"')[3])
        connection.close()
        return ids


@contextmanager
def service(*options: str) -> Iterator[Service]:
    with tempfile.TemporaryDirectory() as home:
        running = Service(Path(home), *options)
        try:
            yield running
        finally:
            running.stop()


def _environment(home: Path) -> dict[str, str]:
    """A user's environment: nothing set up, and Python caches its compiled modules."""
    return {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "HOME": str(home)}


def cost(
    command: Sequence[str],
    environ: Mapping[str, str],
    *,
    terminal: bool = False,
    text: str = "",
    expect: int = 0,
) -> Cost:
    """Run a command to its end; its output is read and discarded."""
    with tempfile.TemporaryFile() as source:
        source.write(text.encode())
        source.seek(0)
        # The memory of this process counts as its child's, so none of the output is kept.
        reader, writer = os.openpty() if terminal else os.pipe()
        drain = threading.Thread(target=_drain, args=(reader,))
        drain.start()
        began_s = time.perf_counter()
        process = subprocess.Popen(command, env=environ, stdin=source, stdout=writer, stderr=writer)
        os.close(writer)
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - began_s
        process.returncode = os.waitstatus_to_exitcode(status)
        drain.join()
        os.close(reader)
    if process.returncode != expect:
        raise SystemExit(f"exit status {process.returncode}, not {expect}: {command}")
    return Cost(wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def _drain(reader: int) -> None:
    with suppress(OSError):  # how a terminal ends
        while os.read(reader, 1 << 20):
            pass


Case = Callable[[], Cost]


def in_turns(cases: Mapping[str, Case], turns: int) -> dict[str, list[Cost]]:
    """Run each case once to warm up, then all of them in turns."""
    for case in cases.values():
        case()
    costs: dict[str, list[Cost]] = {name: [] for name in cases}
    for _ in range(turns):
        for name, case in cases.items():
            costs[name].append(case())
    return costs


def ratio(mine: list[Cost], theirs: list[Cost], of: Callable[[Cost], float]) -> float:
    return median(of(a) / of(b) for a, b in zip(mine, theirs, strict=True))


def wall(one: Cost) -> float:
    return one.wall_s


def in_ms(costs: list[Cost]) -> str:
    return f"{median(map(wall, costs)) * 1000:.0f} ms"


def start_up(turns: int) -> Iterator[Row]:
    """One request, or none."""
    with service() as running:
        env = running.environ

        def python(code: str) -> Case:
            return lambda: cost([sys.executable, "-c", code], env)

        def dlftask(*args: str, terminal: bool = False, expect: int = 0) -> Case:
            return lambda: cost(
                [*_DLFTASK, *args],
                {**env, "TERM": "xterm-256color"},
                terminal=terminal,
                expect=expect,
            )

        limits = {
            "`get -o json`": (dlftask("get", "-o", "json", TASK), 1.30),
            "`get`, a tree on a pipe": (dlftask("get", TASK), 1.40),
            "`get`, a tree on a terminal": (dlftask("get", TASK, terminal=True), 1.90),
            "`--version`": (dlftask("--version"), 0.75),
            "a usage error": (dlftask("get", "--nonsense", expect=2), 0.75),
            "`get --help`": (dlftask("get", "--help"), 1.35),
        }
        cases = {"R": python(_REQUESTS), "S": python(_SDK)}
        if shutil.which("curl") and shutil.which("jq"):
            cases["curl"] = lambda: cost(["sh", "-c", _CURL], env)
        cases |= {name: case for name, (case, _) in limits.items()}
        costs = in_turns(cases, turns)
    base = costs["R"]
    for name, (_, limit) in limits.items():
        yield Row(name, "R", ratio(costs[name], base, wall), limit, in_ms(costs[name]))
    json = costs["`get -o json`"]
    yield Row("`get -o json`", "S", ratio(json, costs["S"], wall), 0.85, in_ms(json))
    peak = ratio(json, base, lambda one: one.peak_mib)
    mib = median(one.peak_mib for one in json)
    yield Row("`get -o json`, peak memory", "R", peak, 1.35, f"{mib:.1f} MiB")
    yield Row("R itself: `requests.get(…).json()`", "R", 1.0, None, in_ms(base))
    yield Row("S: the vendor's SDK", "R", ratio(costs["S"], base, wall), None, in_ms(costs["S"]))
    if "curl" in costs:
        curl = costs["curl"]
        yield Row("`curl … \\| jq`", "R", ratio(curl, base, wall), None, in_ms(curl))


_ROUND_TRIP_S = 0.1


def far(turns: int) -> Iterator[Row]:
    """One request over TLS to a service far away."""
    with service() as running, _far_away(running.environ) as env:
        script = [sys.executable, "-c", _REQUESTS]
        get = [*_DLFTASK, "get", "-o", "json", TASK]
        cases = {"R": lambda: cost(script, env), "get": lambda: cost(get, env)}
        if shutil.which("curl") and shutil.which("jq"):
            cases["curl"] = lambda: cost(["sh", "-c", _CURL], env)
        costs = in_turns(cases, turns)
    where = f"over TLS, {_ROUND_TRIP_S * 1000:.0f} ms away"
    mine, base = costs.pop("get"), costs.pop("R")
    yield Row(f"`get -o json`, {where}", "R", ratio(mine, base, wall), 0.97, in_ms(mine))
    for curl in costs.values():
        yield Row(f"`curl … \\| jq`, {where}", "R", ratio(curl, base, wall), None, in_ms(curl))


@contextmanager
def _far_away(environ: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """An environment that points to the simulator over TLS, with a delay for each round trip."""
    import trustme

    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    simulator = urlsplit(environ["DLFTASK_ENDPOINT"]).port or 0

    def decrypt(client: socket.socket) -> None:
        _relay(context.wrap_socket(client, server_side=True), simulator, 0.0)

    def delay(client: socket.socket) -> None:
        time.sleep(_ROUND_TRIP_S)  # what TCP's own handshake takes
        _relay(client, tls, _ROUND_TRIP_S / 2)

    with _listening(decrypt) as tls, _listening(delay) as port, authority.cert_pem.tempfile() as ca:
        bundles = dict.fromkeys(("DLFTASK_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"), ca)
        yield {**environ, **bundles, "DLFTASK_ENDPOINT": f"https://localhost:{port}"}


@contextmanager
def _listening(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """A port whose connections are each served by a thread."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            with suppress(OSError):  # closed
                while True:
                    client, _ = listener.accept()
                    threading.Thread(target=serve, args=(client,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]


def _relay(client: socket.socket, port: int, delay_s: float) -> None:
    """Forward what both sides send, ``delay_s`` later."""
    upstream = socket.create_connection(("127.0.0.1", port))
    for source, target in ((client, upstream), (upstream, client)):
        target.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        pieces: SimpleQueue[tuple[float, bytes]] = SimpleQueue()
        threading.Thread(target=_receive, args=(source, pieces), daemon=True).start()
        threading.Thread(target=_send, args=(target, pieces, delay_s), daemon=True).start()


def _receive(source: socket.socket, pieces: "SimpleQueue[tuple[float, bytes]]") -> None:
    data = b"?"
    while data:
        try:
            data = source.recv(1 << 16)
        except OSError:
            data = b""
        pieces.put((time.monotonic(), data))


def _send(
    target: socket.socket, pieces: "SimpleQueue[tuple[float, bytes]]", delay_s: float
) -> None:
    with suppress(OSError), target:
        while True:
            came_s, data = pieces.get()
            time.sleep(max(0.0, came_s + delay_s - time.monotonic()))
            if not data:
                return
            target.sendall(data)


def size(turns: int) -> Iterator[Row]:
    """One task of 10,000 subtasks, compared with a script that prints indented JSON."""
    few, many = 1_000, 10_000
    formats = {"json": 1.5, "tsv": 2.0, "tree": 3.0}
    with service("--speed", "1000") as running:
        env = running.environ
        ids = {n: running.start_imports(1, f"subtasks-{n}.zip")[0] for n in (0, few, many)}
        time.sleep(0.1)

        def get(output: str, count: int) -> Case:
            return lambda: cost([*_DLFTASK, "get", "-o", output, ids[count]], env)

        cases = {f"{output} {n}": get(output, n) for output in formats for n in (0, few, many)}
        cases["script"] = lambda: cost([sys.executable, "-c", _INDENTED, ids[many]], env)
        costs = in_turns(cases, turns)
    script = costs["script"]
    for output, limit in formats.items():
        mine = costs[f"{output} {many}"]
        what = f"10,000 subtasks, `-o {output}`"
        yield Row(what, "the script", ratio(mine, script, wall), limit, in_ms(mine))
    # The minimum of the processor time, summed over the formats: a thousand subtasks take little.
    none, thousand, ten = (
        sum(min(one.cpu_s for one in costs[f"{output} {n}"]) for output in formats)
        for n in (0, few, many)
    )
    each = f"{(ten - none) / many / len(formats) * 1e6:.0f} µs a subtask"
    growth = (ten - none) / (thousand - none)
    yield Row("what 10,000 subtasks add (10: in proportion)", "what 1,000 add", growth, 12.5, each)


def number(turns: int) -> Iterator[Row]:
    """Many tasks, compared with a script that requests one after the other."""
    yield _many(1_000, "no latency", 1.5, turns)
    yield _many(200, "20 ms latency", 0.25, turns, "--fault", "delay=20ms,path=*/system-tasks/*")


def _many(count: int, latency: str, limit: float, turns: int, *options: str) -> Row:
    with service("--speed", "1000", *options) as running:
        ids = running.start_imports(count, "jobs.zip")
        time.sleep(0.1)  # until the last one has ended
        get = [*_DLFTASK, "get", "--rate", "none", "-o", "tsv", *ids]
        script = [sys.executable, "-c", _SEQUENCE]
        costs = in_turns(
            {
                "get": lambda: cost(get, running.environ),
                "script": lambda: cost(script, running.environ, text="\n".join(ids)),
            },
            turns,
        )
    measured = ratio(costs["get"], costs["script"], wall)
    what = f"{count:,} tasks in one `get -o tsv --rate none`, {latency}"
    return Row(what, "one `Session`", measured, limit, in_ms(costs["get"]))


def waiting(turns: int, *, polls: int = 400, pause_s: float = 0.01) -> Iterator[Row]:
    """The processor time of one more poll, compared with a plain loop's."""
    mine: list[float] = []
    theirs: list[float] = []
    for _ in range(turns):
        for run, costs in ((_wait, mine), (_loop, theirs)):
            many, one = run(polls, pause_s).cpu_s, run(1, pause_s).cpu_s
            costs.append((many - one) / (polls - 1))
    each = median(a / b for a, b in zip(mine, theirs, strict=True))
    yield Row("processor time of a poll", "a plain loop", each, 1.3, f"{median(mine) * 1e3:.2f} ms")


def _wait(polls: int, pause_s: float) -> Cost:
    """A wait that ends after ``polls`` polls, because the next one is refused."""
    fault = f"status=403,after={polls},path=*/system-tasks/*"
    with service("--fault", fault, "--speed", "0.01") as running:
        task = running.start_imports(1, "jobs.zip")[0]
        interval = f"{pause_s * 1000:.0f}ms"
        command = [*_DLFTASK, "get", "--wait", "--interval", interval, "-o", "json", task]
        return cost(command, running.environ, expect=5)


def _loop(polls: int, pause_s: float) -> Cost:
    with service("--speed", "0.01") as running:
        task = running.start_imports(1, "jobs.zip")[0]
        command = [sys.executable, "-c", _LOOP, task, str(polls), str(pause_s)]
        return cost(command, running.environ)


def live_view() -> Iterator[Row]:
    """The share of a core that ``watch`` takes on a terminal."""
    with service() as running:
        task = running.start_imports(1, "subtasks-10000.zip")[0]
        env = {**running.environ, "TERM": "xterm-256color"}
        one = cost([*_DLFTASK, "watch", task], env, terminal=True)
    share = one.cpu_s / one.wall_s
    what = "`watch` of 10,000 subtasks, on a terminal"
    yield Row(what, "a core", share, 0.35, f"{one.cpu_s:.1f} s in {one.wall_s:.1f} s")


def table(rows: Sequence[Row]) -> str:
    machine = f"{os.cpu_count()} cores, Python {platform.python_version()}"
    today = datetime.now(UTC).date()
    lines = [
        "Whole commands, side by side on one machine, against the simulator: R is what a Python",
        "script with requests takes for one request, S one with the vendor's SDK, and the script",
        "of the large task fetches, parses and prints indented JSON.",
        f"Last run: {today}, {machine}. A ratio is the median of the turns' ratios.",
        "",
        "| what | ratio | limit | to | itself |",
        "| --- | --- | --- | --- | --- |",
        *map(str, rows),
    ]
    return "\n".join(lines) + "\n"


def polls(task_s: float, interval_s: float | None) -> tuple[float, float]:
    """Requests, and the mean delay in seconds, of tasks of 95 % to 105 % of a length."""
    policy = WaitPolicy(wait=True, interval_s=interval_s)
    times = [0.0]
    while times[-1] < task_s * 1.05:
        times.append(times[-1] + policy.pause_s(times[-1]))
    ends = [task_s * (0.95 + 0.1 * (i + 0.5) / 1000) for i in range(1000)]
    seen = [bisect.bisect_left(times, end) for end in ends]
    requests = sum(seen) / len(seen) + 1
    return requests, sum(times[i] - end for i, end in zip(seen, ends, strict=True)) / len(ends)


def schedule() -> Iterator[Row]:
    """What polling a task costs, compared with a fixed interval of 5 s. This measures nothing."""
    for name, task_s in {"a minute": 60.0, "ten minutes": 600.0, "an hour": 3600.0}.items():
        (ours, our_s), (theirs, their_s) = polls(task_s, None), polls(task_s, 5.0)
        absolute = f"{ours:.0f}, {our_s:.1f} s late; {theirs:.0f}, {their_s:.1f} s late"
        yield Row(f"requests for a task of {name}", "every 5 s", ours / theirs, None, absolute)


PARTS: dict[str, Callable[[int], Iterator[Row]]] = {
    "start-up": start_up,
    "far": far,
    "size": lambda turns: size(max(5, turns // 2)),
    "number": lambda turns: number(max(3, turns // 3)),
    "waiting": lambda turns: waiting(max(3, turns // 5)),
    "live": lambda _: live_view(),
    "polls": lambda _: schedule(),
}


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; else all")
    parser.add_argument("--turns", type=int, default=15, help="of the start-up part (15)")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"no part {', '.join(unknown)}")
    rows: list[Row] = []
    for name in options.parts or PARTS:
        print(f"{name} …", file=sys.stderr)
        rows += PARTS[name](options.turns)
    print(table(rows), end="")


if __name__ == "__main__":
    main()
