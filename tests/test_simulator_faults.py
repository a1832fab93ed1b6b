"""Faults on demand: what their words mean, and each of them over a real socket."""

import http.client
import json
import socket
import time
from pathlib import Path

import pytest

from dlftask.simulator import Fault, Simulator
from dlftask.simulator.faults import INVALID, FaultPlan, parse_fault, read_scenario

PATH = "/v1/b384b9e9ab9b4ee8994c8633aabc9505/system-tasks/008aae2e675d3bcb01675d3e6b960004"


class Clock:
    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


def send(simulator: Simulator, path: str = PATH) -> tuple[int, bytes, http.client.HTTPMessage]:
    connection = http.client.HTTPConnection("127.0.0.1", simulator.port, timeout=10)
    try:
        connection.request("GET", path, headers={"X-Auth-Token": simulator.token})
        response = connection.getresponse()
        return response.status, response.read(), response.headers
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("spec", "fault"),
    [
        ("status=503", Fault(status=503)),
        ("status=503,rate=0.2", Fault(status=503, rate=0.2)),
        ("status=429, retry-after=30", Fault(status=429, retry_after="30")),
        ("status=429,retry-after=date+1m", Fault(status=429, retry_after=60.0)),
        (
            "status=429,retry-after=Wed, 21 Oct 2015 07:28:00 GMT,count=1",
            Fault(status=429, retry_after="Wed, 21 Oct 2015 07:28:00 GMT", count=1),
        ),
        ("drop,after=2,count=3", Fault(drop=True, after=2, count=3)),
        ("reset", Fault(reset=True)),
        ("delay=1m30s", Fault(delay_s=90.0)),
        ("trickle=0.5,headers", Fault(trickle=0.5, headers=True)),
        ("truncate=0", Fault(truncate=0)),
        ("invalid", Fault(invalid="html")),
        ("invalid=null", Fault(invalid="null")),
        ("drop,from=0,until=2s", Fault(drop=True, from_s=0.0, until_s=2.0)),
        ("drop,from=500ms", Fault(drop=True, from_s=0.5)),
        ("drop,task=abc,path=/v1/*", Fault(drop=True, task="abc", path="/v1/*")),
        ("delay=1s,status=500", Fault(delay_s=1.0, status=500)),
    ],
)
def test_a_spec_is_parsed_as_a_fault(spec: str, fault: Fault) -> None:
    assert parse_fault(spec) == fault


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("", "unknown word ''"),
        ("statsu=503", "did you mean 'status'?"),
        ("rate=0.5", "has no effect"),
        ("status", "not a whole number"),
        ("status=abc", "'abc' is not a whole number"),
        ("status=200", "not between 300 and 599"),
        ("status=600", "not between 300 and 599"),
        ("drop=yes", "takes no value"),
        ("drop,drop", "is given twice"),
        ("drop,rate=1.5", "not between 0 and 1"),
        ("drop,rate=-1", "not a number"),
        ("drop,rate=nan", "not a number"),
        ("delay=soon", "soon"),
        ("delay", "needs a duration"),
        ("trickle=0", "not above zero"),
        ("headers,drop", "headers needs trickle"),
        ("retry-after=3,drop", "retry-after needs a status"),
        ("status=503,retry-after=soon", "nor an HTTP date"),
        ("status=503,retry-after", "nothing is neither"),
        ("invalid=poem", "must be one of html, empty"),
        ("drop,from=5s,until=5s", "until is not after from"),
        ("drop,task", "needs a value"),
        ("drop,count=-1", "not a whole number"),
    ],
)
def test_a_bad_spec_is_refused_in_one_line(spec: str, expected: str) -> None:
    with pytest.raises(ValueError, match="fault") as caught:
        parse_fault(spec)
    message = str(caught.value)
    assert expected in message
    assert repr(spec) in message
    assert "\n" not in message


def test_a_scenario_has_the_same_words(tmp_path: Path) -> None:
    scenario = tmp_path / "scenario.toml"
    scenario.write_text(
        """
        [[fault]]
        status = 503
        rate = 0.2
        retry-after = 5

        [[fault]]
        drop = true
        from = "10s"
        until = "1m"
        path = "/v1/*/jobs/import"

        [[fault]]
        delay = 2
        trickle = 1.5
        headers = true
        """,
        encoding="utf-8",
    )
    assert read_scenario(scenario) == (
        Fault(status=503, rate=0.2, retry_after="5"),
        Fault(drop=True, from_s=10.0, until_s=60.0, path="/v1/*/jobs/import"),
        Fault(delay_s=2.0, trickle=1.5, headers=True),
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[[fault]]\nstatus = 'x'", "fault 1: status: 'x' is not a whole number"),
        ("[[fault]]\ndrop = true\n[[fault]]\ndorp = true", "fault 2: unknown word 'dorp'"),
        ("[[fault]]\ndrop = true\nrate = true", "rate: nothing is not a number"),
        ("fault = 3", "write [[fault]]"),
        ("[fault]\ndrop = true", "write [[fault]]"),
        ("[[faults]]\ndrop = true", "unknown key 'faults'"),
        ("[[fault", "scenario"),
        ("\udcff", "scenario"),
    ],
)
def test_a_bad_scenario_is_refused_with_its_place(tmp_path: Path, text: str, expected: str) -> None:
    scenario = tmp_path / "scenario.toml"
    scenario.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ValueError, match="scenario") as caught:
        read_scenario(scenario)
    assert expected in str(caught.value)
    assert str(scenario) in str(caught.value)


def test_an_empty_scenario_has_no_faults(tmp_path: Path) -> None:
    scenario = tmp_path / "scenario.toml"
    scenario.touch()
    assert read_scenario(scenario) == ()


def hits(plan: FaultPlan, number: int, path: str = "/", elapsed_s: float = 0.0) -> list[bool]:
    return [plan.next(path, elapsed_s) is not None for _ in range(number)]


def test_after_and_count_select_a_run_of_requests() -> None:
    plan = FaultPlan([Fault(drop=True, after=2, count=3)], None)
    assert hits(plan, 7) == [False, False, True, True, True, False, False]


def test_rate_selects_a_share_that_a_seed_repeats() -> None:
    fault = Fault(drop=True, rate=0.25)
    one, same, other = (hits(FaultPlan([fault], seed), 1000) for seed in (1, 1, 2))
    assert one == same != other
    assert 200 < sum(one) < 300
    assert not any(hits(FaultPlan([Fault(drop=True, rate=0)], 1), 100))


def test_a_window_selects_the_requests_within_it() -> None:
    plan = FaultPlan([Fault(drop=True, from_s=1.0, until_s=2.0)], None)
    moments = (0.0, 0.9, 1.0, 1.9, 2.0)
    assert [plan.next("/", moment) is not None for moment in moments] == [
        False, False, True, True, False,
    ]  # fmt: skip


def test_task_and_path_select_their_requests_and_count_only_those() -> None:
    fault = Fault(drop=True, task="abc", path="/v1/*", after=1)
    plan = FaultPlan([fault], None)
    assert hits(plan, 3, "/v1/p/system-tasks/abcd") == [False] * 3
    assert hits(plan, 3, "/v2/p/system-tasks/abc") == [False] * 3
    assert hits(plan, 3, "/v1/p/system-tasks/abc") == [False, True, True]


def test_the_first_fault_that_matches_applies() -> None:
    plan = FaultPlan([Fault(drop=True, count=1), Fault(status=500)], None)
    first, second = plan.next("/", 0), plan.next("/", 0)
    assert first is not None
    assert first.drop
    assert second == Fault(status=500)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 418, 429, 500, 502, 503, 504, 599])
def test_a_status_comes_with_a_plausible_body(status: int) -> None:
    with Simulator(faults=[Fault(status=status)]) as simulator:
        got, body, headers = send(simulator)
    assert got == status
    code = json.loads(body)["error_code"]
    assert code == "APIG.0308" if status == 429 else code.startswith("APIGW.")
    assert json.loads(body)["request_id"] == headers["X-Request-Id"]


def test_a_redirect_goes_elsewhere_on_the_same_server() -> None:
    with Simulator(faults=[Fault(status=302)]) as simulator:
        status, _, headers = send(simulator)
        assert (status, headers["Location"]) == (302, f"{simulator.endpoint}/elsewhere")


def test_retry_after_is_sent_in_seconds_and_as_a_date() -> None:
    faults = [Fault(status=429, retry_after="30", count=1), Fault(status=503, retry_after=30.0)]
    with Simulator(faults=faults, clock=Clock()) as simulator:
        assert send(simulator)[2]["Retry-After"] == "30"
        assert send(simulator)[2]["Retry-After"] == "Tue, 14 Nov 2023 22:13:50 GMT"


def test_drop_closes_without_a_response() -> None:
    with Simulator(faults=[Fault(drop=True, count=1)]) as simulator:
        with pytest.raises(http.client.RemoteDisconnected):
            send(simulator)
        assert send(simulator)[0] == 200


def test_interim_sends_103_before_the_response() -> None:
    with (
        Simulator(faults=[Fault(interim=True)]) as simulator,
        socket.create_connection(("127.0.0.1", simulator.port), 10) as connection,
    ):
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        received = connection.makefile("rb").read()
    assert received.startswith(b"HTTP/1.1 103 ")
    assert b"\r\n\r\nHTTP/1.1 404 " in received


def test_close_ends_a_kept_connection_unannounced() -> None:
    with (
        Simulator(faults=[Fault(close=True)]) as simulator,
        socket.create_connection(("127.0.0.1", simulator.port), 10) as connection,
    ):
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        received = connection.makefile("rb").read()
    assert received.startswith(b"HTTP/1.1 404 ")
    assert b"Connection: close" not in received


def test_reset_resets() -> None:
    with (
        Simulator(faults=[Fault(reset=True)]) as simulator,
        socket.create_connection(("127.0.0.1", simulator.port), 10) as connection,
    ):
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            connection.recv(1)


def test_delay_responds_late() -> None:
    with Simulator(faults=[Fault(delay_s=0.2)]) as simulator:
        before = time.monotonic()
        assert send(simulator)[0] == 200
        assert time.monotonic() - before >= 0.2


def test_truncate_cuts_the_body_but_not_its_length() -> None:
    with Simulator(faults=[Fault(truncate=10)]) as simulator:
        with pytest.raises(http.client.IncompleteRead) as caught:
            send(simulator)
        assert len(caught.value.partial) == 10


@pytest.mark.parametrize("kind", INVALID)
def test_invalid_bodies_come_with_200(kind: str) -> None:
    with Simulator(faults=[Fault(invalid=kind)]) as simulator:
        status, body, headers = send(simulator)
    assert (status, body) == (200, INVALID[kind])
    assert headers["Content-Type"].startswith("text/html" if kind == "html" else "application/json")


def test_an_invalid_body_can_have_another_status() -> None:
    with Simulator(faults=[Fault(status=502, invalid="html")]) as simulator:
        status, body, _ = send(simulator)
    assert (status, body) == (502, INVALID["html"])


@pytest.mark.parametrize("headers", [False, True])
def test_trickle_sends_little_at_a_time_and_all_of_it(headers: bool) -> None:  # noqa: FBT001
    with (
        Simulator(faults=[Fault(trickle=2000.0, headers=headers)]) as simulator,
        socket.create_connection(("127.0.0.1", simulator.port), 10) as connection,
    ):
        before = time.monotonic()
        request = f"GET {PATH} HTTP/1.1\r\nHost: x\r\nX-Auth-Token: {simulator.token}\r\n\r\n"
        connection.sendall(request.encode())
        received = connection.recv(65536)
        assert (b"\r\n\r\n" in received) == (not headers)
        head, _, body = received.partition(b"\r\n\r\n")
        while not body.endswith(b'"subtasks":[]}'):
            received += connection.recv(65536)
            head, _, body = received.partition(b"\r\n\r\n")
        took = time.monotonic() - before
        slow = len(received) if headers else len(body)
    assert json.loads(body)["status"] == "FAILED"
    assert f"Content-Length: {len(body)}".encode() in head
    assert took >= (slow - 200) / 2000


def test_a_window_goes_by_the_clock() -> None:
    clock = Clock()
    faults = [Fault(status=503, from_s=10.0, until_s=20.0)]
    with Simulator(faults=faults, clock=clock) as simulator:
        seen = []
        for _ in range(3):
            seen.append(send(simulator)[0])
            clock.now += 10
    assert seen == [200, 503, 200]


def test_faults_can_be_changed_while_it_runs() -> None:
    with Simulator() as simulator:
        assert send(simulator)[0] == 200
        simulator.set_faults(Fault(status=500, count=1))
        assert [send(simulator)[0] for _ in range(2)] == [500, 200]


def test_stopping_waits_for_no_delay() -> None:
    with Simulator(faults=[Fault(delay_s=60.0)]) as simulator:
        connection = socket.create_connection(("127.0.0.1", simulator.port), 10)
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        while not simulator.requests:
            time.sleep(0.01)
        before = time.monotonic()
        simulator.stop()
        assert connection.recv(1) == b""
        assert time.monotonic() - before < 5
        connection.close()
