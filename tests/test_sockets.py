"""The first connection, which the command line starts while requests is being imported."""

import socket
import threading
import time
from pathlib import Path

import pytest

from tests.cli import configured, run_dlftask
from tests.servers import Server, forwarding, http_response, sending

SLOW_IMPORT = """
import importlib.machinery, os, sys, time

class Finder:
    def find_spec(name, path, target=None):
        if name == "requests":
            spec = importlib.machinery.PathFinder.find_spec(name, path, target)
            load = spec.loader.exec_module
            spec.loader.exec_module = lambda module: (wait(), load(module))
            return spec

def wait():
    until_s = time.monotonic() + 20
    while not os.path.exists(os.environ["CONNECTED"]):
        if time.monotonic() > until_s:
            sys.exit("no connection while requests is imported")
        time.sleep(0.01)

sys.meta_path.insert(0, Finder)
"""

RECORDED_LOOKUPS = """
import os, socket
resolve = socket.getaddrinfo
def getaddrinfo(host, *args, **options):
    with open(os.environ["LOOKUPS"], "a") as file:
        print(host, file=file)
    return resolve("127.0.0.1" if host == "service.test" else host, *args, **options)
socket.getaddrinfo = getaddrinfo
"""


def connections_of(server: Server) -> int:
    """How many connections a server has accepted so far."""
    # Make one more: they are accepted in their order.
    before = server.connections
    with socket.create_connection(("127.0.0.1", server.port)):
        until_s = time.monotonic() + 20.0
        while server.connections == before and time.monotonic() < until_s:
            time.sleep(0.01)
    return server.connections - 1


def test_the_connection_is_made_while_requests_is_imported(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(SLOW_IMPORT)
    connected = tmp_path / "connected"

    def wait_for_connection() -> None:
        while not server.connections:
            time.sleep(0.01)
        connected.touch()

    with Server(sending(http_response())) as server:
        threading.Thread(target=wait_for_connection, daemon=True).start()
        env = configured(server.url, PYTHONPATH=str(tmp_path), CONNECTED=str(connected))
        run = run_dlftask("get", "t1", env=env)
    assert run.returncode == 0, run.stderr
    assert server.connections == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LocalHost", "[::1]", "[0:0::1]"])
def test_the_request_uses_the_connection_that_was_started(host: str) -> None:
    with Server(sending(http_response()), host="::1" if ":" in host else "127.0.0.1") as server:
        url = f"http://{host}:{server.port}/path"
        run = run_dlftask("get", "t1", env=configured(url))
        assert run.returncode == 0, run.stderr
        assert len(server.heads) == server.connections == 1


@pytest.mark.parametrize(
    ("arguments", "variables"),
    [
        (["get", "not/an/id"], {}),
        (["get", "--query", "a[", "t1"], {}),
        (["get", "--report", "junit:/nowhere/report.xml", "t1"], {}),
        (["get", "--ca-bundle", "/nowhere/ca.pem", "t1"], {}),
        (["get", "--token-file", "/nowhere/token", "t1"], {}),
        (["get", "--auth", "aksk", "t1"], {}),
        (["get", "t1"], {"DLFTASK_TOKEN": ""}),
        (["get", "t1"], {"DLFTASK_TOKEN": "two\nlines"}),
        (["get", "t1"], {"DLFTASK_TOKEN": "", "HUAWEICLOUD_SDK_AK": "half"}),
        (["get", "t1"], {"DLFTASK_PROJECT_ID": ""}),
    ],
)
def test_without_a_request_to_send_there_is_no_connection(
    arguments: list[str], variables: dict[str, str]
) -> None:
    with Server(sending(http_response())) as server:
        run = run_dlftask(*arguments, env=configured(server.url, **variables))
        assert run.returncode == 2, run.stderr
        assert connections_of(server) == 0


def test_a_credential_that_must_be_fetched_comes_before_the_connection(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text('[default]\ntoken_command = ["false"]\n')
    refusal = sending(http_response(b"{}", status="403 Forbidden"))
    with Server(sending(http_response())) as server, Server(refusal) as metadata:
        env = configured(server.url, DLFTASK_TOKEN="", DLFTASK_CONFIG=str(config))
        of_command = run_dlftask("get", "t1", env=env)
        env = configured(server.url, DLFTASK_METADATA_ENDPOINT=metadata.url)
        of_agency = run_dlftask("get", "--auth", "agency", "t1", env=env)
        assert connections_of(server) == 0
    assert of_command.returncode == of_agency.returncode == 5


def test_the_service_is_connected_to_after_a_project_lookup() -> None:
    variables = {"DLFTASK_PROJECT_ID": "", "DLFTASK_REGION": "cn-north-4"}
    project = http_response(b'{"projects": [{"id": "p1"}]}')
    refusal = http_response(b"{}", status="401 Unauthorized")
    for response, status, connections in ((project, 0, 1), (refusal, 5, 0)):
        with Server(sending(http_response())) as service, Server(sending(response)) as iam:
            env = configured(service.url, DLFTASK_IAM_ENDPOINT=iam.url, **variables)
            run = run_dlftask("get", "t1", env=env)
            assert run.returncode == status, run.stderr
            assert connections_of(service) == connections
            assert connections_of(iam) == len(iam.heads)


@pytest.mark.parametrize("no_proxy", ["", "service.test"])
def test_no_connection_is_started_around_a_proxy(tmp_path: Path, no_proxy: str) -> None:
    (tmp_path / "sitecustomize.py").write_text(RECORDED_LOOKUPS)
    lookups = tmp_path / "lookups"
    lookups.touch()
    with (
        Server(sending(http_response())) as service,
        Server(forwarding({"service.test": service.port})) as proxy,
    ):
        env = configured(
            f"http://service.test:{service.port}",
            PYTHONPATH=str(tmp_path),
            LOOKUPS=str(lookups),
            HTTP_PROXY=proxy.url,
            NO_PROXY=no_proxy,
        )
        run = run_dlftask("get", "--insecure", "t1", env=env)
        assert run.returncode == 0, run.stderr
        assert connections_of(service) == 1
    names = lookups.read_text().split()
    assert ("service.test" in names) is bool(no_proxy)
