"""Credentials: the order of the sources, and how they are refreshed."""

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Barrier, Thread
from typing import Any

import pytest
import requests

from dlftask.api.responses import Response
from dlftask.auth.credentials import Credentials, Source, find_credentials
from dlftask.auth.tokens import read_token_file
from dlftask.errors import ConfigurationError, ServiceUnavailable
from dlftask.profiles import Profile, read_profile, read_sdk_file
from dlftask.settings import Settings, load_settings
from dlftask.simulator import Simulator
from tests.cli import run_dlftask
from tests.running import Running

# The README's table, row by row in its order: the source, its setup, and what is sent then.
PRECEDENCE: list[tuple[str, dict[str, Any], str]] = [
    ("--token-file", {"option": "t-option"}, "t-option"),
    ("DLFTASK_TOKEN", {"DLFTASK_TOKEN": "t-dlftask"}, "t-dlftask"),
    ("DLFTASK_TOKEN_FILE", {"DLFTASK_TOKEN_FILE": "t-dlftask-file"}, "t-dlftask-file"),
    ("profile: token", {"profile": {"token": "t-profile"}}, "t-profile"),
    ("profile: token_file", {"profile": {"token_file": "t-profile-file"}}, "t-profile-file"),
    ("profile: ak, sk", {"profile": {"ak": "profile", "sk": "s"}}, "profile"),
    ("HUAWEICLOUD_SDK_AK", {"HUAWEICLOUD_SDK_AK": "sdk", "HUAWEICLOUD_SDK_SK": "s"}, "sdk"),
    ("HW_AUTH_TOKEN", {"HW_AUTH_TOKEN": "t-hw"}, "t-hw"),
    ("HW_ACCESS_KEY", {"HW_ACCESS_KEY": "hw", "HW_SECRET_KEY": "s"}, "hw"),
    ("~/.huaweicloud/credentials", {"ini": "[basic]\nak = ini\nsk = s\n"}, "ini"),
]
TOKENS = [row for row in PRECEDENCE if row[2].startswith("t-")]
KEYS = [row for row in PRECEDENCE if not row[2].startswith("t-")]


def no_send(*args: Any, **kwargs: Any) -> Response:
    raise AssertionError("no request may be sent")


def private(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o600)
    return path


class Machine:
    """A user's machine, set up by rows of the table."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environ: dict[str, str] = {}
        self.table: dict[str, str] = {}
        self.option: Path | None = None
        self.config = folder / "config.toml"

    def set(self, setup: Mapping[str, Any]) -> None:
        for name, value in setup.items():
            if name == "option":
                self.option = private(self.folder / value, value)
            elif name == "profile":
                self.table |= {
                    key: str(private(self.folder / text, text)) if key == "token_file" else text
                    for key, text in value.items()
                }
            elif name == "ini":
                private(self.folder / ".huaweicloud" / "credentials", value)
            elif name.endswith("_FILE"):
                self.environ[name] = str(private(self.folder / value, value))
            else:
                self.environ[name] = value

    def write_table(self) -> Path:
        lines = "".join(f"{key} = '{text}'\n" for key, text in self.table.items())
        return private(self.config, f"[default]\n{lines}")

    def profile(self) -> Profile:
        return read_profile(self.write_table(), None, path_named=True)

    def find(self, method: str = "auto") -> Credentials:
        settings = Settings(
            self.profile(), self.environ, self.folder, {}, auth=method, token_file=self.option
        )
        return find_credentials(settings, no_send)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def sent(credentials: Credentials) -> str:
    """The token or access key that is really sent with a request."""
    headers = (
        requests.Request("GET", "https://a.example/", auth=credentials.auth(None)).prepare().headers
    )
    if "X-Auth-Token" in headers:
        return headers["X-Auth-Token"]
    return headers["Authorization"].partition("Access=")[2].partition(",")[0]


@pytest.mark.parametrize("place", range(len(PRECEDENCE)), ids=[row[0] for row in PRECEDENCE])
def test_a_source_is_taken_before_all_below_it(machine: Machine, place: int) -> None:
    for _, setup, _ in PRECEDENCE[place:]:
        machine.set(setup)
    assert sent(machine.find()) == PRECEDENCE[place][2]


@pytest.mark.parametrize(("source", "setup", "gives"), PRECEDENCE, ids=[r[0] for r in PRECEDENCE])
def test_a_source_is_enough_alone(
    machine: Machine, source: str, setup: dict[str, Any], gives: str
) -> None:
    machine.set(setup)
    assert sent(machine.find()) == gives


@pytest.mark.parametrize(
    ("method", "rows", "others"), [("token", TOKENS, KEYS), ("aksk", KEYS, TOKENS)]
)
def test_a_method_uses_only_its_own_kind(
    machine: Machine, method: str, rows: list[Any], others: list[Any]
) -> None:
    for _, setup, _ in others:
        machine.set(setup)
    with pytest.raises(ConfigurationError, match=r"no token|no key pair"):
        machine.find(method)
    for _, setup, _ in rows:
        machine.set(setup)
    assert sent(machine.find(method)) == rows[0][2]


PAIRS = [
    ("HUAWEICLOUD_SDK_AK", "HUAWEICLOUD_SDK_SK"),
    ("HW_ACCESS_KEY", "HW_SECRET_KEY"),
]


@pytest.mark.parametrize("method", ["auto", "aksk"])
@pytest.mark.parametrize(("there", "missing"), [*PAIRS, *(pair[::-1] for pair in PAIRS)])
def test_half_a_key_pair_is_reported_and_never_completed_from_another_source(
    machine: Machine, method: str, there: str, missing: str
) -> None:
    machine.set({there: "geheim", missing: "", "ini": "[basic]\nak = a\nsk = s\n"})
    with pytest.raises(ConfigurationError) as caught:
        machine.find(method)
    assert f"{missing} is not" in caught.value.message
    assert "geheim" not in str(caught.value)


def test_half_a_key_pair_below_the_source_that_is_used_does_not_matter(machine: Machine) -> None:
    machine.set({"HW_AUTH_TOKEN": "t", "HW_ACCESS_KEY": "half"})
    assert sent(machine.find()) == "t"


def test_half_a_key_pair_in_files_names_the_file(machine: Machine) -> None:
    machine.set({"profile": {"ak": "a"}})
    with pytest.raises(ConfigurationError, match=r"sk in table 'default' of .*config.toml is not"):
        machine.find()
    machine.table.clear()
    machine.set({"ini": "[basic]\nsk = s\n"})
    with pytest.raises(ConfigurationError, match=r"ak in .*credentials is not"):
        machine.find()


def test_a_security_token_goes_with_its_pair(machine: Machine) -> None:
    key = {"ak": "a", "sk": "s", "security_token": "st"}
    machine.set({"profile": key, "HUAWEICLOUD_SDK_SECURITY_TOKEN": "other"})
    request = requests.Request("GET", "https://a.example/", auth=machine.find().auth("p")).prepare()
    assert request.headers["X-Security-Token"] == "st"
    assert request.headers["X-Project-Id"] == "p"


def test_without_credentials_the_hint_lists_what_to_set(machine: Machine) -> None:
    machine.set({"DLFTASK_TOKEN": "", "HW_AUTH_TOKEN": " "})
    with pytest.raises(ConfigurationError, match="no credentials") as caught:
        machine.find()
    for name in ("DLFTASK_TOKEN", "--token-file", "HUAWEICLOUD_SDK_AK", "--auth agency", "--demo"):
        assert name in (caught.value.hint or "")


@pytest.mark.parametrize("secret", ["geheim\ngeheim", "geheim\x7f", "gehéim", "geheim\udc80"])
@pytest.mark.parametrize("name", ["DLFTASK_TOKEN", "HUAWEICLOUD_SDK_AK", "HW_SECRET_KEY"])
def test_a_secret_that_no_header_can_carry_names_its_source(
    machine: Machine, secret: str, name: str
) -> None:
    machine.set({name: secret})
    with pytest.raises(ConfigurationError, match=name) as caught:
        machine.find()
    assert "geh" not in str(caught.value)


def test_white_space_around_a_token_is_not_part_of_it(machine: Machine) -> None:
    machine.set({"DLFTASK_TOKEN": " t\n"})
    assert sent(machine.find()) == "t"
    assert read_token_file(private(machine.folder / "f", "\ufeff\n t2 \r\n")) == "t2"


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (b"x" * 65_537, "64 KiB"),
        (b"\xff\xfe", "not text"),
        (b"one\ntwo", "character"),
    ],
)
def test_a_bad_token_file_is_named(tmp_path: Path, content: bytes, fault: str) -> None:
    path = tmp_path / "token"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=fault) as caught:
        read_token_file(path)
    assert str(path) in caught.value.message


def test_a_token_file_that_is_missing_or_a_directory_is_named(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(ConfigurationError, match=r"directory|No such file") as caught:
            read_token_file(path)
        assert str(path) in caught.value.message


def test_a_file_that_others_can_read_gets_one_warning(machine: Machine) -> None:
    machine.set({"option": "t"})
    assert machine.option is not None
    assert machine.find().warnings == ()
    machine.option.chmod(0o644)
    (warning,) = machine.find().warnings
    assert f"chmod 600 {machine.option}" in warning


def test_the_sdk_file_is_read_as_the_sdk_reads_it(machine: Machine) -> None:
    machine.set({"ini": "[basic]\nAK = a%(x)s\nproject_id = p\n[global]\nak = g\n"})
    assert read_sdk_file({}, machine.folder) == {
        "ak": "a%(x)s",
        "project_id": "p",
    }


def test_the_sdk_file_may_be_missing_unless_it_was_named(tmp_path: Path) -> None:
    assert read_sdk_file({}, tmp_path) == {}
    variable = "HUAWEICLOUD_SDK_CREDENTIALS_FILE"
    with pytest.raises(ConfigurationError, match=variable):
        read_sdk_file({variable: str(tmp_path / "missing")}, tmp_path)
    named = private(tmp_path / "named", "[basic]\nak = a\n")
    assert read_sdk_file({variable: str(named)}, tmp_path) == {"ak": "a"}


@pytest.mark.parametrize(
    "text", ["ak = geheim\n", "[basic]\ngeheim\n", "[basic]\nak=1\nak=geheim\n"]
)
def test_a_bad_sdk_file_is_reported_without_its_content(machine: Machine, text: str) -> None:
    machine.set({"ini": text})
    with pytest.raises(ConfigurationError, match="not a valid INI file") as caught:
        read_sdk_file({}, machine.folder)
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize("key", ["token", "token_file", "token_command"])
def test_keys_that_the_sdk_does_not_read_in_its_file_are_ignored(
    machine: Machine, key: str
) -> None:
    machine.set({"ini": f"[basic]\nak = ini\nsk = s\n{key} = x\n"})
    assert sent(machine.find()) == "ini"


def rewrite_option(machine: Machine) -> None:
    private(machine.folder / "t-option", "fresh")


def rewrite_profile(machine: Machine) -> None:
    machine.table = {"token": "fresh"}
    machine.write_table()


def rewrite_ini(machine: Machine) -> None:
    machine.set({"ini": "[basic]\nak = fresh\nsk = s\n"})


RENEWABLE: list[tuple[dict[str, Any], Callable[[Machine], None]]] = [
    ({"option": "t-option"}, rewrite_option),
    ({"profile": {"token": "old"}}, rewrite_profile),
    ({"profile": {"ak": "old", "sk": "s"}}, rewrite_profile),
    ({"ini": "[basic]\nak = old\nsk = s\n"}, rewrite_ini),
]


@pytest.mark.parametrize(("setup", "rewrite"), RENEWABLE)
def test_a_credential_in_a_file_is_read_again(
    machine: Machine, setup: dict[str, Any], rewrite: Callable[[Machine], None]
) -> None:
    machine.set(setup)
    credentials = machine.find()
    refused = credentials.auth("p")
    rewrite(machine)
    assert credentials.auth("p") is refused
    assert credentials.forget(refused)
    assert sent(credentials) == "fresh"


def test_a_variable_cannot_be_read_again(machine: Machine) -> None:
    machine.set({"DLFTASK_TOKEN": "t"})
    credentials = machine.find()
    assert not credentials.forget(credentials.auth(None))


def test_a_file_in_the_middle_of_being_written_leaves_the_old_token(machine: Machine) -> None:
    machine.set({"option": "t-option"})
    credentials = machine.find()
    token_file = machine.option
    assert token_file is not None
    for spoil in (lambda: token_file.write_text(""), token_file.unlink):
        spoil()
        assert credentials.forget(credentials.auth(None))
        assert sent(credentials) == "t-option"


@pytest.mark.parametrize("spoiled", ["", "t-option", None], ids=["empty", "unchanged", "missing"])
def test_a_file_that_is_being_rewritten_is_read_again_after_a_moment(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, spoiled: str | None
) -> None:
    machine.set({"option": "t-option"})
    credentials = machine.find()
    refused = credentials.auth(None)
    token_file = machine.option
    assert token_file is not None
    if spoiled is None:
        token_file.unlink()
    else:
        token_file.write_text(spoiled)
    monkeypatch.setattr(time, "sleep", lambda for_s: for_s and token_file.write_text("fresh"))
    assert credentials.forget(refused)
    assert sent(credentials) == "fresh"


def test_a_pipe_is_read_once_and_not_before_its_token_is_needed(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.option = tmp_path / "fifo"
    os.mkfifo(machine.option)
    credentials = machine.find()
    writer = Thread(target=machine.option.write_text, args=("t-pipe",))
    writer.start()
    assert sent(credentials) == "t-pipe"
    writer.join()
    assert not credentials.forget(credentials.auth(None))


def test_a_configuration_that_is_a_pipe_is_not_read_again(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "config.toml")
    profile = Profile(tmp_path / "config.toml", "default", {"token": "t"}, ())
    credentials = find_credentials(Settings(profile, {}, tmp_path, {}), no_send)
    assert not credentials.forget(credentials.auth(None))


SOURCES = [
    ({"option": "t"}, "token", "token file {home}/t"),
    ({"DLFTASK_TOKEN": "t"}, "token", "DLFTASK_TOKEN"),
    ({"profile": {"token": "t"}}, "token", "profile 'default' of {home}/config.toml"),
    ({"profile": {"ak": "a", "sk": "s"}}, "key pair", "profile 'default' of {home}/config.toml"),
    (
        {"HUAWEICLOUD_SDK_AK": "a", "HUAWEICLOUD_SDK_SK": "s"},
        "key pair",
        "HUAWEICLOUD_SDK_AK and HUAWEICLOUD_SDK_SK",
    ),
    ({"HW_AUTH_TOKEN": "t"}, "token", "HW_AUTH_TOKEN"),
    ({"ini": "[basic]\nak = a\nsk = s\n"}, "key pair", "{home}/.huaweicloud/credentials"),
]


@pytest.mark.parametrize(("setup", "kind", "source"), SOURCES, ids=[row[2] for row in SOURCES])
def test_a_credential_is_named_by_its_kind_and_source(
    machine: Machine, setup: dict[str, Any], kind: str, source: str
) -> None:
    machine.set(setup)
    found = machine.find()
    assert (found.kind, found.source) == (kind, source.format(home=machine.folder))


def test_a_token_command_comes_after_a_token_and_before_a_key_pair(machine: Machine) -> None:
    values: dict[str, object] = {"token_command": ["echo", "t-command"], "ak": "a", "sk": "s"}

    def find(method: str) -> str:
        profile = Profile(machine.config, "default", values)
        environ = {"HW_AUTH_TOKEN": "t-hw"}
        settings = Settings(profile, environ, machine.folder, {}, auth=method)
        return sent(find_credentials(settings, no_send))

    assert (find("auto"), find("token"), find("aksk")) == ("t-command", "t-command", "a")
    values["token_file"] = str(private(machine.folder / "file", "t-file"))
    assert find("auto") == "t-file"


@contextmanager
def locked_out(path: Path) -> Iterator[None]:
    """Run as a user who can neither read a file nor enter a folder; root could."""
    path.chmod(0)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
        path.chmod(0o700)


def test_a_home_folder_that_cannot_be_entered_holds_nothing(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    with locked_out(home):
        assert read_sdk_file({}, home) == {}
        found = load_settings({"region": "x"}, environ={"DLFTASK_TOKEN": "t"}, home=home)
        credentials = find_credentials(found, no_send)
        with pytest.raises(ConfigurationError, match="Permission denied"):
            read_sdk_file({"HUAWEICLOUD_SDK_CREDENTIALS_FILE": str(home / "x")}, home)
    assert sent(credentials) == "t"


def test_an_unreadable_file_is_an_error() -> None:
    with TemporaryDirectory() as name:  # one that others may enter
        home = Path(name)
        file = private(home / ".huaweicloud" / "credentials", "[basic]\nak = a\nsk = s\n")
        home.chmod(0o755)
        with locked_out(file), pytest.raises(ConfigurationError, match="Permission denied"):
            read_sdk_file({}, home)


# From the command line

TASK = "008aae2e675d3bcb01675d3c66f20000"


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator() as running:
        yield running


def service(simulator: Simulator, **more: str) -> dict[str, str]:
    return {
        "DLFTASK_ENDPOINT": simulator.endpoint,
        "DLFTASK_PROJECT_ID": simulator.project_id,
        **more,
    }


@pytest.mark.parametrize("variable", ["DLFTASK_TOKEN_FILE", "DLFTASK_CONFIG"])
@pytest.mark.parametrize("kind", ["directory", "50 MB", "/dev/zero"])
def test_a_path_that_is_not_such_a_file_is_a_configuration_error(
    simulator: Simulator, tmp_path: Path, variable: str, kind: str
) -> None:
    path = tmp_path / "file"
    if kind == "directory":
        path.mkdir()
    elif kind == "50 MB":
        with path.open("wb") as file:
            file.truncate(50_000_000)
    else:
        path.symlink_to(kind)
    finished = run_dlftask("get", TASK, env=service(simulator, **{variable: str(path)}))
    assert (finished.returncode, finished.stdout) == (2, "")
    assert str(path) in finished.stderr
    assert not simulator.requests


def test_a_token_from_a_pipe_that_is_refused_ends_with_5(
    simulator: Simulator, tmp_path: Path
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    writer = Thread(target=fifo.write_text, args=("wrong-token",))
    writer.start()
    finished = run_dlftask("get", "--token-file", str(fifo), TASK, env=service(simulator))
    writer.join()
    assert (finished.returncode, finished.stdout) == (5, "")
    assert len(simulator.requests) == 1


def test_a_token_from_a_pipe_is_used_for_the_whole_run(
    simulator: Simulator, tmp_path: Path
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    writer = Thread(target=fifo.write_text, args=(simulator.token,))
    writer.start()
    finished = run_dlftask("get", "--token-file", str(fifo), TASK, TASK, env=service(simulator))
    writer.join()
    assert (finished.returncode, finished.stderr) == (0, "")


def test_a_pipe_that_nobody_writes_to_delays_neither_the_timeout_nor_an_interruption(
    simulator: Simulator, tmp_path: Path
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    args = ["get", "--wait", "--token-file", str(fifo), TASK, "another"]
    finished = run_dlftask(*args, "--timeout", "2s", env=service(simulator))
    assert finished.returncode == 124
    assert finished.seconds < 10
    with Running(*args, env=service(simulator)) as run:
        run.until(lambda: "waiting for" in run.stderr)
        assert run.end(signal.SIGINT) == 130


def test_a_file_with_a_secret_that_others_can_read_is_warned_about_once(
    simulator: Simulator, tmp_path: Path
) -> None:
    config = tmp_path / "config.toml"
    config.write_text(f'[default]\ntoken = "{simulator.token}"\n')
    config.chmod(0o644)
    env = service(simulator, DLFTASK_CONFIG=str(config))
    finished = run_dlftask("get", TASK, env=env)
    assert finished.returncode == 0
    assert finished.stderr.count("chmod 600") == 1


def test_only_one_of_many_refused_threads_reads_again() -> None:
    reads: list[int] = []

    def read() -> str:
        reads.append(1)
        return f"t{len(reads)}"

    source = Source("x", "token", read, reload=lambda: source)
    credentials = Credentials(source)
    refused = credentials.auth("p")
    barrier = Barrier(8)

    def renew() -> bool:
        barrier.wait(timeout=5)
        return credentials.forget(refused)

    with ThreadPoolExecutor(8) as pool:
        results = [done.result() for done in [pool.submit(renew) for _ in range(8)]]
    assert results == [True] * 8
    assert sent(credentials) == "t2"
    assert len(reads) == 2


def test_threads_that_waited_for_a_failed_read_share_the_failure() -> None:
    waiting: list[int] = []
    reads: list[int] = []

    def read() -> str:
        reads.append(1)
        while len(waiting) < 8:
            time.sleep(0.01)
        time.sleep(0.3)
        raise ServiceUnavailable("down")

    credentials = Credentials(Source("x", "token", read))

    def read_auth() -> None:
        waiting.append(1)
        with pytest.raises(ServiceUnavailable, match="down"):
            credentials.auth(None)

    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(read_auth) for _ in range(8)]:
            done.result()
    assert len(reads) == 1
    read_auth()
    assert len(reads) == 2


def test_no_secret_is_in_a_repr(machine: Machine) -> None:
    machine.set({"DLFTASK_TOKEN": "geheim"})
    credentials = machine.find()
    assert "geheim" not in f"{credentials!r} {credentials.source} {credentials.auth(None)!r}"
