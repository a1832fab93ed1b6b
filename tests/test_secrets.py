"""No secret is seen, in no trace, no error, no history; every run of the suite is asked that."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from dlftask.simulator import Simulator
from tests.cli import check_no_secret, run_dlftask

TASK = "008aae2e675d3bcb01675d3c66f20000"
MARK = "s3cret-of-mine"


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator(
        token=f"{MARK}-token", access_key=f"{MARK}-ak", secret_key=f"{MARK}-sk", temporary_s=2.0
    ) as running:
        yield running


def places(simulator: Simulator) -> dict[str, str]:
    return {
        "DLFTASK_ENDPOINT": simulator.endpoint,
        "DLFTASK_IAM_ENDPOINT": simulator.iam_endpoint,
        "DLFTASK_REGION": "cn-north-4",
        "DLFTASK_METADATA_ENDPOINT": simulator.metadata_endpoint,
    }


TOKEN, AK, SK = f"{MARK}-token", f"{MARK}-ak", f"{MARK}-sk"
SOURCES = {
    "a token": {"DLFTASK_TOKEN": TOKEN},
    "another token": {"HW_AUTH_TOKEN": TOKEN},
    "a wrong token": {"DLFTASK_TOKEN": f"{TOKEN}-wrong"},
    "a key pair": {"HUAWEICLOUD_SDK_AK": AK, "HUAWEICLOUD_SDK_SK": SK},
    "a wrong secret": {"HUAWEICLOUD_SDK_AK": AK, "HUAWEICLOUD_SDK_SK": f"{SK}-wrong"},
    "a security token": {
        "HW_ACCESS_KEY": AK,
        "HW_SECRET_KEY": SK,
        "HW_SECURITY_TOKEN": f"{MARK}-security",
    },
    "half a pair": {"HUAWEICLOUD_SDK_SK": SK},
    "a token that no header takes": {"DLFTASK_TOKEN": f"{TOKEN}\n{TOKEN}"},
    "a file": {"DLFTASK_TOKEN_FILE": "token"},
    "a profile": {"DLFTASK_CONFIG": "config.toml"},
    "a broken profile": {"DLFTASK_CONFIG": "broken.toml"},
    "the SDK's file": {"HUAWEICLOUD_SDK_CREDENTIALS_FILE": "credentials"},
    "a machine's identity": {"DLFTASK_AUTH": "agency"},
    "a password in an endpoint": {"DLFTASK_ENDPOINT": f"https://user:{MARK}@example.com"},
    "a password in a proxy": {
        "DLFTASK_TOKEN": TOKEN,
        "DLFTASK_ENDPOINT": "http://service.invalid",
        "http_proxy": f"http://user:{MARK}@127.0.0.1:9",
    },
}
# With what a run ends, where that is not 0.
ENDS_WITH = {
    "a wrong token": 5,
    "a wrong secret": 5,
    "a security token": 5,
    "half a pair": 2,
    "a token that no header takes": 2,
    "a broken profile": 2,
    "a password in an endpoint": 2,
    "a password in a proxy": 6,
}


@pytest.mark.parametrize("source", SOURCES)
def test_a_trace_shows_none(simulator: Simulator, tmp_path: Path, source: str) -> None:
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "config.toml").write_text(f'[default]\nak = "{AK}"\nsk = "{SK}"\n')
    (tmp_path / "broken.toml").write_text(f'[default]\ntoken = "{TOKEN}\n')
    (tmp_path / "credentials").write_text(f"[basic]\nak = {AK}\nsk = {SK}\n")
    env = {**places(simulator), "DLFTASK_DEBUG": "1", **SOURCES[source]}
    run = run_dlftask("get", "--insecure", TASK, env=env, home=tmp_path)
    assert run.returncode == ENDS_WITH.get(source, 0), run.stderr
    assert MARK not in run.stdout + run.stderr
    assert ("> GET " in run.stderr) == (run.returncode != 2)
    kept = tmp_path / "state/dlftask/recent"
    assert not kept.exists() or kept.read_text() == f"{TASK}\n"
    # What the machine's identity was given is as secret as what a user sets.
    lent = [request.headers.get("X-Security-Token", "") for request in simulator.requests]
    assert not [token for token in lent if token and token in run.stdout + run.stderr]


def test_whoever_prints_one_is_caught() -> None:
    check_no_secret("nothing here", {"DLFTASK_TOKEN": "0123456789"})
    with pytest.raises(AssertionError):
        check_no_secret("it is 0123456789!", {"DLFTASK_TOKEN": "0123456789"})
