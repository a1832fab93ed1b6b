"""Which credentials the simulator accepts, and where temporary ones come from."""

import time
from datetime import datetime
from typing import Any

import pytest
import requests

from dlftask.auth.signing import AccessKeyAuth, TokenAuth, canonical_request, signature
from dlftask.auth.tokens import AccessKey
from dlftask.simulator import Simulator

PATH = "/v1/b384b9e9ab9b4ee8994c8633aabc9505/system-tasks/008aae2e675d3bcb01675d3e6b960004"


class Clock:
    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


def key_of(simulator: Simulator) -> AccessKey:
    return AccessKey(simulator.access_key, simulator.secret_key)


def get(simulator: Simulator, path: str = PATH, **how: Any) -> requests.Response:
    return requests.get(simulator.endpoint + path, timeout=10, **how)


def refused(response: requests.Response) -> str:
    """The gateway's message of a refusal, after a check of its format."""
    assert response.status_code == 401
    body = response.json()
    assert body["error_code"] == "APIGW.0301"
    assert body["request_id"] == response.headers["X-Request-Id"]
    prefix = "Incorrect IAM authentication information: "
    assert body["error_msg"].startswith(prefix)
    return str(body["error_msg"].removeprefix(prefix))


def test_the_token_is_accepted_and_another_or_none_is_not() -> None:
    with Simulator() as simulator:
        assert get(simulator, auth=TokenAuth(simulator.token)).status_code == 200
        assert "token is invalid" in refused(get(simulator, auth=TokenAuth("another")))
        assert "not found" in refused(get(simulator))


def test_an_expired_token_is_refused_and_the_new_one_accepted() -> None:
    with Simulator() as simulator:
        old = simulator.token
        simulator.expire_token("new")
        refused(get(simulator, auth=TokenAuth(old)))
        assert get(simulator, auth=TokenAuth("new")).status_code == 200
        assert simulator.token == "new"


@pytest.mark.parametrize("project_id", [None, "b384b9e9ab9b4ee8994c8633aabc9505"])
def test_a_signature_with_the_key_pair_is_accepted(project_id: str | None) -> None:
    with Simulator() as simulator:
        auth = AccessKeyAuth(key_of(simulator), project_id)
        assert get(simulator, auth=auth, headers={"workspace": ""}).status_code == 200
        started = requests.post(
            f"{simulator.endpoint}{PATH.partition('/system')[0]}/jobs/import",
            json={"path": "obs://aaaaa/x.zip"},
            headers={"workspace": "工作区".encode()},
            auth=auth,
            timeout=10,
        )
        assert started.status_code == 200


def test_a_wrong_key_pair_is_refused() -> None:
    with Simulator() as simulator:
        wrong = AccessKey(simulator.access_key, "wrong")
        assert "signature" in refused(get(simulator, auth=AccessKeyAuth(wrong)))
        unknown = AccessKey("UNKNOWN", simulator.secret_key)
        assert "access key" in refused(get(simulator, auth=AccessKeyAuth(unknown)))
        extra = AccessKey(simulator.access_key, simulator.secret_key, "token")
        assert "security token" in refused(get(simulator, auth=AccessKeyAuth(extra)))
        old = key_of(simulator)
        simulator.expire_access_key("next-key", "next-secret")
        assert "access key" in refused(get(simulator, auth=AccessKeyAuth(old)))
        assert get(simulator, auth=AccessKeyAuth(key_of(simulator))).status_code == 200


@pytest.mark.parametrize("minutes", [-16, 16])
def test_a_date_more_than_a_quarter_of_an_hour_off_is_refused(minutes: int) -> None:
    with Simulator() as simulator:
        auth = AccessKeyAuth(key_of(simulator), now=lambda: time.time() + minutes * 60)
        assert "expired" in refused(get(simulator, auth=auth))
        nearly = AccessKeyAuth(key_of(simulator), now=lambda: time.time() + minutes * 60 * 14 / 16)
        assert get(simulator, auth=nearly).status_code == 200


class Changed(requests.auth.AuthBase):
    """A signature, and then a change of what was signed."""

    def __init__(self, key: AccessKey, **headers: str | None) -> None:
        self.key = key
        self.headers = headers

    def __call__(self, r: requests.PreparedRequest) -> requests.PreparedRequest:
        r = AccessKeyAuth(self.key)(r)
        for name, value in self.headers.items():
            if value is None:
                del r.headers[name]
            else:
                r.headers[name] = value
        return r


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"X-Sdk-Date": None}, "x-sdk-date is missing"),
        ({"X-Sdk-Date": "yesterday"}, "x-sdk-date is missing or is no date"),
        ({"Host": "another"}, "verify aksk signature fail"),
        ({"Authorization": "SDK-HMAC-SHA256"}, "the Authorization header is not"),
        ({"Authorization": "Basic eDp5"}, "the Authorization header is not"),
    ],
)
def test_what_was_changed_after_signing_is_refused(
    headers: dict[str, str | None], expected: str
) -> None:
    with Simulator() as simulator:
        response = get(simulator, auth=Changed(key_of(simulator), **headers))
        assert expected in refused(response)


@pytest.mark.parametrize("signed", ["host", "x-sdk-date;x-gone"])
def test_the_date_must_be_signed_and_signed_headers_must_be_present(signed: str) -> None:
    with Simulator() as simulator:
        value = (
            f"SDK-HMAC-SHA256 Access={simulator.access_key}, SignedHeaders={signed}, Signature=0"
        )
        response = get(simulator, auth=Changed(key_of(simulator), Authorization=value))
        assert "signed" in refused(response)


def test_the_date_alone_can_be_signed_as_the_vendors_go_sdk_does() -> None:
    with Simulator() as simulator:
        date = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        headers = {"X-Sdk-Date": date, "Content-Type": "application/json"}
        body = b'{"path": "obs://aaaaa/jobs.zip"}'
        path = f"{PATH.partition('/system-tasks')[0]}/jobs/import"
        canonical = canonical_request("POST", path, "", {"x-sdk-date": date}, ["x-sdk-date"], body)
        signed = signature(canonical, date, simulator.secret_key)
        headers["Authorization"] = (
            f"SDK-HMAC-SHA256 Access={simulator.access_key}, SignedHeaders=x-sdk-date, "
            f"Signature={signed}"
        )
        url = simulator.endpoint + path
        assert requests.post(url, body, headers=headers, timeout=10).status_code == 200
        refused(requests.post(url, body + b" ", headers=headers, timeout=10))


@pytest.mark.parametrize("name", ["Content-Type", "X-Forwarded-For", "Via", "workspace"])
def test_headers_that_are_not_signed_may_change(name: str) -> None:
    with Simulator() as simulator:
        auth = Changed(key_of(simulator), **{name: "192.0.2.1"})
        assert get(simulator, auth=auth).status_code != 401


def test_a_temporary_keys_security_token_must_be_sent_and_signed() -> None:
    with Simulator() as simulator:
        issued = simulator.access.issue(600)
        key = AccessKey(issued.access_key, issued.secret_key, issued.security_token)
        assert get(simulator, auth=AccessKeyAuth(key)).status_code == 200
        without = AccessKey(issued.access_key, issued.secret_key)
        refused(get(simulator, auth=AccessKeyAuth(without)))


def test_iam_returns_the_project_for_any_region_by_token_and_by_signature() -> None:
    with Simulator() as simulator:
        for auth in (TokenAuth(simulator.token), AccessKeyAuth(key_of(simulator))):
            body = get(simulator, "/v3/projects?name=cn-north-4", auth=auth).json()
            assert body["projects"] == [{"id": simulator.project_id, "name": "cn-north-4"}]


def test_iam_can_return_none_several_or_a_refusal() -> None:
    projects = {"none": (), "several": ("p1", "p2"), "refused": None}
    with Simulator(projects=projects) as simulator:
        auth = TokenAuth(simulator.token)

        def look_up(name: str) -> requests.Response:
            return get(simulator, f"/v3/projects?name={name}", auth=auth)

        assert look_up("none").json()["projects"] == []
        assert [project["id"] for project in look_up("several").json()["projects"]] == ["p1", "p2"]
        assert look_up("refused").status_code == 403
        assert look_up("refused").json()["error"]["code"] == 403
        assert get(simulator, "/v3/projects?name=x").json()["error"]["title"] == "Unauthorized"


def put_token(simulator: Simulator, **headers: str) -> requests.Response:
    url = f"{simulator.endpoint}/meta-data/latest/api/token"
    return requests.put(url, headers=headers, timeout=10)


def test_the_metadata_service_issues_keys_that_are_accepted_until_they_expire() -> None:
    clock = Clock()
    with Simulator(clock=clock, temporary_s=600) as simulator:
        assert get(simulator, "/openstack/latest/securitykey").status_code == 401
        assert put_token(simulator).status_code == 400
        token = put_token(simulator, **{"X-Metadata-Token-Ttl-Seconds": "21600"}).text
        headers = {"X-Metadata-Token": token}
        issued = get(simulator, "/openstack/latest/securitykey", headers=headers).json()[
            "credential"
        ]
        expires = datetime.strptime(issued["expires_at"], "%Y-%m-%dT%H:%M:%S.%f%z")
        assert expires.timestamp() == pytest.approx(clock.now + 600, abs=0.001)
        auth = AccessKeyAuth(
            AccessKey(issued["access"], issued["secret"], issued["securitytoken"]), now=clock
        )
        assert get(simulator, auth=auth).status_code == 200
        without = AccessKeyAuth(AccessKey(issued["access"], issued["secret"]), now=clock)
        assert "security token" in refused(get(simulator, auth=without))
        clock.now += 601
        assert "expired" in refused(get(simulator, auth=auth))
        again = get(simulator, "/openstack/latest/securitykey", headers=headers).json()
        assert again["credential"]["access"] != issued["access"]
        clock.now += 21600
        assert get(simulator, "/openstack/latest/securitykey", headers=headers).status_code == 401


def test_a_metadata_service_without_tokens() -> None:
    with Simulator(metadata_token=False) as simulator:
        assert put_token(simulator, **{"X-Metadata-Token-Ttl-Seconds": "1"}).status_code == 404
        issued = get(simulator, "/openstack/latest/securitykey").json()["credential"]
        key = AccessKey(issued["access"], issued["secret"], issued["securitytoken"])
        assert get(simulator, auth=AccessKeyAuth(key)).status_code == 200
        simulator.expire_temporary_keys()
        refused(get(simulator, auth=AccessKeyAuth(key)))


def test_a_pod_gets_keys_for_its_authorization() -> None:
    with Simulator(pod_authorization="pod secret") as simulator:
        uri = simulator.pod_identity_uri
        assert requests.post(uri, json={}, timeout=10).status_code == 401
        headers = {"Authorization": "pod secret"}
        body = requests.post(uri, json={}, headers=headers, timeout=10).json()["credentials"]
        key = AccessKey(body["accessKeyId"], body["secretAccessKey"], body["securityToken"])
        assert get(simulator, auth=AccessKeyAuth(key)).status_code == 200
        assert body["expiration"].endswith("Z")
