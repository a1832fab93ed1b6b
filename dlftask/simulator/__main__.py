"""``python -m dlftask.simulator``: the simulator as a program of its own."""

import argparse
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from dlftask import platforms
from dlftask.simulator.faults import INVALID, Fault, parse_fault, read_scenario
from dlftask.simulator.server import Simulator

_PROGRAM = "python -m dlftask.simulator"

_DESCRIPTION = """\
The service of dlftask on loopback: test a pipeline without an account.

examples:
  Run a script against it:
    python -m dlftask.simulator -- ./deploy.sh
  Try a wait against a service that responds to every fifth request with 503:
    python -m dlftask.simulator --fault status=503,rate=0.2 -- \\
        dlftask get --wait 008aae2e675d3bcb01675d3c66f20000
  Serve until interrupted, for other programs to source:
    python -m dlftask.simulator >simulator.env & sleep 1; . ./simulator.env
"""

_EPILOGUE = f"""\
tasks:
  It knows the four tasks of the API's documentation, all others do not exist:
    008aae2e675d3bcb01675d3c66f20000  an import that went well
    008aae2e675d3bcb01675d3e6b960004  a failed import
    008aae2e675d3bcb01675d40ab3f0005  a start with a failed subtask
    008aae2e67abe2ff0167abe3a28f0000  an import of one job
  POST /v1/PROJECT/jobs/import {{"path": "obs://bucket/jobs.zip"}} starts another
  one, about 9 seconds long at speed 1. A path that names "fail" ends FAILED,
  one that names "warn" ends with WARNING, "big" has a thousand subtasks, and
  "subtasks-N" N of them. POST /v1/PROJECT/connections/import does so too.

also there:
  GET /v3/projects?name=REGION, as in IAM; and the metadata service, for
  DLFTASK_METADATA_ENDPOINT="$DLFTASK_ENDPOINT" dlftask get --auth agency ...

faults:
  SPEC is words joined by commas; a [[fault]] table of a scenario file has the
  same words as keys (status = 503, drop = true, delay = "2s"). The first fault
  that matches a request applies.
  what:
    status=300..599     send it; with retry-after=SECONDS, date+DURATION or an
                        HTTP date
    drop, reset         close the connection without a response, or reset it
    interim, close      send 103 before the response; close the connection after
    delay=DURATION      wait before anything else
    trickle=N           N bytes a second; with headers, the head too
    truncate=N          cut the body after N bytes, but not Content-Length
    invalid=KIND        {", ".join(list(INVALID)[:5])},
                        {", ".join(list(INVALID)[5:])}
  when:
    rate=0..1           this share of the requests (--seed for the same again)
    after=N, count=N    not the first N; then only N
    from=D, until=D     durations since the simulator's start
    task=ID, path=GLOB  only these requests, as /v1/*/jobs/import

environment of COMMAND:
  DLFTASK_ENDPOINT, DLFTASK_IAM_ENDPOINT, DLFTASK_PROJECT_ID, DLFTASK_TOKEN,
  HUAWEICLOUD_SDK_AK and HUAWEICLOUD_SDK_SK lead here; variables that name
  another account are unset, and loopback is added to NO_PROXY.

exit status:
  of COMMAND, or 128 + N where signal N ended it, 126 where it cannot be run,
  127 where it is not found; alone 0 when interrupted; 2 for a usage error or
  a port that is not free.
"""

# Variables that would make a command use another account than the simulator's.
_ELSEWHERE = (
    "DLFTASK_AUTH",
    "DLFTASK_TOKEN_FILE",
    "HUAWEICLOUD_SDK_SECURITY_TOKEN",
    "HUAWEICLOUD_SDK_PROJECT_ID",
    "HUAWEICLOUD_SDK_IAM_ENDPOINT",
    "HW_ACCESS_KEY",
    "HW_SECRET_KEY",
    "HW_SECURITY_TOKEN",
    "HW_PROJECT_ID",
    "HW_AUTH_TOKEN",
)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Print one line, as dlftask itself does."""
        self.exit(2, f"dlftask.simulator: error: {' '.join(message.split())}\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program and return its exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    command: list[str] | None = None
    if "--" in arguments:
        place = arguments.index("--")
        arguments, command = arguments[:place], arguments[place + 1 :]
    parser = _parser()
    options = vars(parser.parse_args(arguments))
    if command is not None and not command:
        parser.error("no COMMAND after --")
    scenario = options.pop("scenario")
    try:
        faults = read_scenario(scenario) if scenario else ()
    except OSError as error:
        parser.error(f"scenario {scenario}: {error.strerror}")
    except ValueError as error:
        parser.error(str(error))
    options["faults"] = [*faults, *options["faults"]]
    simulator = Simulator(**options)
    try:
        simulator.start()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        parser.error(f"cannot listen on {options['host']} port {options['port']}: {reason}")
    try:
        return _serve(simulator) if command is None else _run(command, simulator)
    finally:
        simulator.stop()


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog=_PROGRAM,
        usage=f"{_PROGRAM} [OPTIONS] [-- COMMAND...]",
        description=_DESCRIPTION,
        epilog=_EPILOGUE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add(
        "--host",
        default="127.0.0.1",
        help="address to listen on (127.0.0.1); secrets go over it unencrypted: keep to loopback",
    )
    add("--port", type=_port, default=0, help="port to listen on; 0, the default: any free one")
    add("--token", type=_secret, help="token to accept (random)")
    add("--access-key", type=_access_key, help="access key to accept (random)")
    add("--secret-key", type=_secret, help="secret key to accept (random)")
    add("--speed", type=_speed, default=1.0, help="how many times as fast imports run (1)")
    add(
        "--fault",
        dest="faults",
        type=_fault,
        action="append",
        default=[],
        metavar="SPEC",
        help="what goes wrong, and when (see below); can be given again",
    )
    add(
        "--scenario", type=Path, metavar="FILE", help="TOML file of faults; before those of --fault"
    )
    add("--rate-limit", type=_limit, metavar="N", help="send 429 beyond N requests in a second")
    add("--seed", type=int, help="repeat the same choice of faults with a rate")
    return parser


def _serve(simulator: Simulator) -> int:
    interruptions: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: interruptions.append(number))
    environ = simulator.environment()
    try:
        # In one piece: a script that waits for the first line can source them all.
        lines = (f"export {name}={shlex.quote(value)}" for name, value in environ.items())
        print("\n".join(lines), flush=True)
    except OSError as error:
        print(f"dlftask.simulator: error: standard output: {error.strerror}", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or Python reports it again at its end
        return 1
    while not interruptions:
        time.sleep(0.1)
    return 0


def _run(command: Sequence[str], simulator: Simulator) -> int:
    environ = _environment(os.environ, simulator.environment())
    child: subprocess.Popen[bytes] | None = None
    early: list[int] = []

    def forward(number: int, _frame: FrameType | None) -> None:
        if child is None:
            early.append(number)
        # Ctrl-C on a terminal reaches the command by itself.
        elif number != signal.SIGINT or not platforms.owns_terminal():
            child.send_signal(number)

    for number in platforms.FORWARDED:
        signal.signal(number, forward)
    platforms.keep_child_statuses()
    try:
        child = subprocess.Popen(command, env=environ)  # noqa: S603 - what the user asked to run
    except (OSError, ValueError) as error:
        is_missing = isinstance(error, FileNotFoundError)
        reason = "not found" if is_missing else getattr(error, "strerror", None) or error
        print(f"dlftask.simulator: error: {command[0]}: {reason}", file=sys.stderr)
        return 127 if is_missing else 126
    for arrived in early:
        child.send_signal(arrived)
    status = child.wait()
    return status if status >= 0 else 128 - status


def _environment(environ: Mapping[str, str], ours: Mapping[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in environ.items() if name not in _ELSEWHERE}
    if any(name.lower() in {"http_proxy", "all_proxy"} for name in environ):
        for name in ("no_proxy", "NO_PROXY"):
            others = kept.get(name)
            kept[name] = f"{others},127.0.0.1,localhost" if others else "127.0.0.1,localhost"
    return {**kept, **ours}


def _port(text: str) -> int:
    if not re.fullmatch("[0-9]{1,5}", text) or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port, 0 to 65535")
    return int(text)


def _limit(text: str) -> int:
    if not re.fullmatch("[1-9][0-9]{0,5}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above zero")
    return int(text)


def _speed(text: str) -> float:
    if not re.fullmatch(r"[0-9]{0,6}\.?[0-9]{1,6}", text) or not float(text) > 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above zero")
    return float(text)


def _secret(text: str) -> str:
    # The value itself stays out of the message.
    if not re.fullmatch("[!-~]+", text):
        raise argparse.ArgumentTypeError("empty, or not of printable ASCII without spaces")
    return text


def _access_key(text: str) -> str:
    if "," in text:
        raise argparse.ArgumentTypeError("holds a comma, which no signature can carry")
    return _secret(text)


def _fault(text: str) -> Fault:
    try:
        return parse_fault(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


if __name__ == "__main__":
    sys.exit(main())
