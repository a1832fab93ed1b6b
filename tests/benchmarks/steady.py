"""Ten thousand polls in one wait: ``python tests/benchmarks/steady.py``.

The wait is the real command line in a process of its own. Its memory, open files and threads are
read from /proc at intervals: they must not grow. Its CPU time per poll is compared with that of a
plain loop over one ``requests.Session`` at full speed. Start-up does not count: measuring begins
with the first row.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from dlftask.simulator import Simulator
from dlftask.simulator.faults import Fault
from dlftask.simulator.responses import Request

# At this speed an import takes days: none ends before it has been polled often enough.
_SPEED = 0.00001
_WAIT = [sys.executable, "-m", "dlftask", "get", "--wait", "--interval", "0.001ms", "-o", "json"]
_LOOP = """\
import os, requests, sys
url = "{DLFTASK_ENDPOINT}/v1/{DLFTASK_PROJECT_ID}/system-tasks/".format(**os.environ)
session = requests.Session()
headers = {"X-Auth-Token": os.environ["DLFTASK_TOKEN"]}
while session.get(url + sys.argv[1], headers=headers, timeout=10).json()["status"] == "RUNNING":
    pass
"""


class Counting(Simulator):
    """A simulator that counts its requests."""

    count = 0

    def record(self, request: Request) -> Fault | None:
        """Count a request."""
        self.count += 1
        return super().record(request)


def main() -> None:
    """Measure the wait, then the loop."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--polls", type=int, default=10_000)
    parser.add_argument("--every", type=int, default=1_000)
    options = parser.parse_args()
    with Counting(speed=_SPEED) as simulator:
        task_id = simulator.start_import()
        print("| polls | memory, MiB | open files | threads | CPU a poll, ms |")
        print("|--:|--:|--:|--:|--:|")
        wait_ms = measure([*_WAIT, task_id], simulator, options.polls, options.every, show=True)
        loop = [sys.executable, "-c", _LOOP, task_id]
        loop_ms = measure(loop, simulator, options.polls, options.every, show=False)
    print(
        f"\nCPU a poll: {wait_ms:.2f} ms; a plain loop over one requests.Session: {loop_ms:.2f} ms"
    )
    print(f"ratio: {wait_ms / loop_ms:.2f}")


def measure(
    command: Sequence[str], simulator: Counting, polls: int, every: int, *, show: bool
) -> float:
    """Milliseconds of CPU time per poll, from the first ``every`` polls to the last."""
    simulator.count = 0
    environ = {**os.environ, **simulator.environment(), "DLFTASK_NO_HISTORY": "1"}
    process = subprocess.Popen(command, env=environ, stderr=subprocess.DEVNULL)
    try:
        began = _wait_for_polls(process, simulator, every)
        each_ms = 0.0
        for goal in range(2 * every, polls + 1, every):
            count, used_s = _wait_for_polls(process, simulator, goal)
            each_ms = (used_s - began[1]) / (count - began[0]) * 1000
            if show:
                print(f"| {count:,} | {_resources(process.pid)} | {each_ms:.2f} |", flush=True)
    finally:
        process.terminate()
        process.wait()
    return each_ms


def _wait_for_polls(
    process: subprocess.Popen[bytes], simulator: Counting, goal: int
) -> tuple[int, float]:
    """Wait for ``goal`` polls; return their number and the CPU time that they took, in seconds."""
    while simulator.count < goal:
        if process.poll() is not None:
            raise SystemExit(f"ended after {simulator.count} polls with {process.returncode}")
        time.sleep(0.01)
    stat = Path(f"/proc/{process.pid}/stat").read_text(encoding="ascii")
    fields = stat.rpartition(")")[2].split()
    return simulator.count, (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _resources(process_id: int) -> str:
    """Memory, open files and threads, as cells of the table."""
    lines = Path(f"/proc/{process_id}/status").read_text(encoding="ascii").splitlines()
    status: Mapping[str, str] = {
        name: value.strip() for name, _, value in (line.partition(":") for line in lines)
    }
    memory_mib = int(status["VmRSS"].split()[0]) / 1024
    files = len(list(Path(f"/proc/{process_id}/fd").iterdir()))
    return f"{memory_mib:.1f} | {files} | {status['Threads']}"


if __name__ == "__main__":
    main()
