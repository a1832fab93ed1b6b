"""Signatures: equal, byte for byte, to those of the vendor's own signer."""

import string
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qsl, quote

import pytest
import requests
from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.sdk_request import SdkRequest
from huaweicloudsdkcore.signer.signer import Signer
from hypothesis import given
from hypothesis import strategies as st
from requests import PreparedRequest, Request

from dlftask.auth.signing import AccessKeyAuth, TokenAuth, canonical_request, signature
from dlftask.auth.tokens import AccessKey

ACCESS, SECRET, SECURITY_TOKEN = "AKEXAMPLE", "skVerySecret/+=", "stTemporary=="
NOW = 1_767_225_600.0  # 2026-01-01T00:00:00Z
UNSIGNED = ("Authorization", "Accept", "Accept-Encoding", "Content-Length", "User-Agent")


def signed_by_us(
    request: Request, *, key: AccessKey, project_id: str | None = None, now: float = NOW
) -> PreparedRequest:
    request.auth = AccessKeyAuth(key, project_id, now=lambda: now)
    return request.prepare()


def authorization_of_the_sdk(sent: PreparedRequest, key: AccessKey, project_id: str | None) -> str:
    """The vendor SDK's signature of the same request, from what goes over the wire."""
    scheme, _, rest = (sent.url or "").partition("://")
    path, _, query = sent.path_url.partition("?")
    theirs = ("Host", "X-Project-Id", "X-Security-Token")
    credentials = BasicCredentials(key.access_key, key.secret_key, project_id)
    if key.security_token:
        credentials.with_security_token(key.security_token)
    request = SdkRequest(
        method=sent.method,
        schema=scheme,
        host=sent.headers["Host"],
        resource_path=path,
        query_params=parse_qsl(query, keep_blank_values=True),
        header_params={
            name: value.decode() if isinstance(value, bytes) else value
            for name, value in sent.headers.items()
            if name not in UNSIGNED and name not in theirs
        },
        body=sent.body,
    )
    assert rest
    authorization: str = credentials.sign_request(request).header_params["Authorization"]
    return authorization


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
segments = st.one_of(
    st.sampled_from(
        ["", ".", "..", "%", "%2F", "%25", "a b", "~", "systemTasks", "ä", "任务", "+"]
    ),
    text.map(lambda part: quote(part, safe="")),
    text.filter(lambda part: not set(part) & set("?#\\")),
)
paths = st.tuples(st.lists(segments, max_size=5), st.booleans()).map(
    lambda both: "/" + "/".join(both[0]) + ("/" if both[1] else "")
)
hosts = st.sampled_from(
    [
        "dayu-dlf.cn-north-4.myhuaweicloud.com",
        "dayu-dlf.cn-north-4.myhuaweicloud.com:8443",
        "DAYU.example.com:80",
        "example.com:443",
        "127.0.0.1:5000",
        "[::1]:5000",
        "[::1]",
    ]
)
header_names = st.text(string.ascii_letters + string.digits + "-", min_size=1, max_size=12).map(
    "X-T-{}".format
)
header_values = st.one_of(
    st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=12).map(str.lstrip),
    text.filter(lambda v: v.isprintable()).map(str.strip).map(str.encode),
)
keys = st.builds(
    AccessKey,
    st.text(string.ascii_uppercase + string.digits, min_size=1, max_size=20),
    st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=40),
    st.none() | st.text(string.ascii_letters + "+/=", min_size=1, max_size=60),
)


@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "get"]),
    scheme=st.sampled_from(["http", "https"]),
    host=hosts,
    path=paths,
    query=st.lists(st.tuples(text, text), max_size=4),
    headers=st.dictionaries(header_names, header_values, max_size=4),
    body=st.binary(max_size=40),
    key=keys,
    project_id=st.none() | st.text(string.hexdigits, min_size=1, max_size=32),
    now=st.floats(0, 4e9),
)
def test_a_signature_is_that_of_the_vendors_sdk(
    *,
    method: str,
    scheme: str,
    host: str,
    path: str,
    query: list[tuple[str, str]],
    headers: dict[str, Any],
    body: bytes,
    key: AccessKey,
    project_id: str | None,
    now: float,
) -> None:
    # In one spelling: the headers of requests have one value for a name in any case.
    headers = {name.title(): value for name, value in headers.items()}
    if body:
        headers["Content-Type"] = "application/json"
    request = Request(
        method, f"{scheme}://{host}{path}", params=query, headers=headers, data=body or None
    )

    sent = signed_by_us(request, key=key, project_id=project_id, now=now)

    assert sent.headers["Authorization"] == authorization_of_the_sdk(sent, key, project_id)


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://a.example", "a.example"),
        ("https://a.example:443/", "a.example"),
        ("http://a.example:443/", "a.example:443"),
        ("http://a.example:80/", "a.example"),
        ("https://a.example:80/", "a.example:80"),
        ("https://A.Example:8443/x", "a.example:8443"),
        ("http://[::1]:80/", "[::1]"),
        ("http://[::1]:8080/", "[::1]:8080"),
    ],
)
def test_the_host_has_its_port_where_that_is_not_the_default(url: str, host: str) -> None:
    assert signed_by_us(Request("GET", url), key=AccessKey("a", "s")).headers["Host"] == host


def test_what_a_proxy_may_change_is_not_signed() -> None:
    headers = {
        "User-Agent": "dlftask/1",
        "Accept": "*/*",
        "Accept-Encoding": "gzip",
        "under_score": "1",
    }
    plain = signed_by_us(Request("GET", "https://a.example/"), key=AccessKey("a", "s"))
    sent = signed_by_us(
        Request("GET", "https://a.example/", headers=headers), key=AccessKey("a", "s")
    )
    assert sent.headers["Authorization"] == plain.headers["Authorization"]


def test_project_workspace_and_security_token_are_signed() -> None:
    sent = signed_by_us(
        Request("GET", "https://a.example/v1/p", headers={"workspace": "w1"}),
        key=AccessKey(ACCESS, SECRET, SECURITY_TOKEN),
        project_id="p",
    )
    assert sent.headers["X-Project-Id"] == "p"
    assert sent.headers["X-Security-Token"] == SECURITY_TOKEN
    assert sent.headers["X-Sdk-Date"] == "20260101T000000Z"
    assert (
        f"SDK-HMAC-SHA256 Access={ACCESS}, "
        "SignedHeaders=host;workspace;x-project-id;x-sdk-date;x-security-token, Signature="
    ) in sent.headers["Authorization"]


def test_a_permanent_pair_sends_no_security_token_and_no_project_unless_given() -> None:
    sent = signed_by_us(Request("GET", "https://a.example/"), key=AccessKey("a", "s"))
    assert not {"X-Security-Token", "X-Project-Id"} & set(sent.headers)


def test_signing_again_replaces_the_first_signature() -> None:
    key = AccessKey("a", "s")
    once = signed_by_us(Request("GET", "https://a.example/x?b=2&a=1"), key=key)
    first = once.headers["Authorization"]
    assert AccessKeyAuth(key, now=lambda: NOW)(once).headers["Authorization"] == first


def test_a_body_that_the_sdk_leaves_unsigned_verifies() -> None:
    """The SDK signs ``UNSIGNED-PAYLOAD`` for media types other than JSON: a verifier must know."""
    request = SdkRequest(
        method="POST",
        schema="http",
        host="a.example",
        resource_path="/v1/p",
        query_params=[],
        header_params={"Content-Type": "text/plain", "X-Sdk-Date": "20260101T000000Z"},
        body=b"text",
    )
    Signer(BasicCredentials(ACCESS, SECRET)).sign(request)
    headers = {name.lower(): value for name, value in request.header_params.items()}
    signed = sorted(set(headers) - {"authorization"})
    canonical = canonical_request("POST", "/v1/p", "", headers, signed, b"text")
    assert headers["authorization"].endswith(signature(canonical, headers["x-sdk-date"], SECRET))


def test_a_header_that_is_signed_but_missing_counts_as_empty() -> None:
    assert "\nhost:\n" in canonical_request("GET", "/", "", {}, ["host"], b"")


def test_a_body_that_is_read_only_while_it_is_sent_cannot_be_signed() -> None:
    with pytest.raises(TypeError):
        signed_by_us(
            Request("POST", "https://a.example/", data=iter([b"x"])), key=AccessKey("a", "s")
        )


def test_no_secret_is_in_a_repr() -> None:
    key = AccessKey(ACCESS, SECRET, SECURITY_TOKEN)
    shown = f"{key!r} {AccessKeyAuth(key)!r} {TokenAuth('MIItoken')!r} {key} {AccessKeyAuth(key)}"
    for secret in (ACCESS, SECRET, SECURITY_TOKEN, "MIItoken"):
        assert secret not in shown


class _Checking(BaseHTTPRequestHandler):
    """Responds with the signature that the request, as it came over the wire, should have had."""

    def do_POST(self) -> None:
        headers = {
            name.lower(): value.encode("latin-1").decode() for name, value in self.headers.items()
        }
        body = self.rfile.read(int(headers["content-length"]))
        path, _, query = self.path.partition("?")
        names = headers["authorization"].partition("SignedHeaders=")[2].partition(",")[0].split(";")
        canonical = canonical_request("POST", path, query, headers, names, body)
        expected = signature(canonical, headers["x-sdk-date"], SECRET).encode()
        self.send_response(200)
        self.send_header("X-Token-Seen", headers.get("x-auth-token", ""))
        self.send_header("Content-Length", str(len(expected)))
        self.end_headers()
        self.wfile.write(expected)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), _Checking) as service:
        Thread(target=service.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{service.server_port}"
        service.shutdown()


def test_the_signature_matches_what_came_over_the_wire(server: str) -> None:
    response = requests.post(
        f"{server}/v1/ä b/../%7e//x/?name=a+b&name=ä&empty",
        data=b'{"path": "obs://b"}',
        headers={"workspace": "空间".encode(), "Content-Type": "application/json"},
        auth=AccessKeyAuth(AccessKey(ACCESS, SECRET, SECURITY_TOKEN), "p1"),
        timeout=5,
    )
    assert response.request.headers["Authorization"].endswith(f"Signature={response.text}")


def test_a_token_is_sent_as_it_is() -> None:
    sent = Request("GET", "https://a.example/", auth=TokenAuth("MII+/=")).prepare()
    assert sent.headers["X-Auth-Token"] == "MII+/="
    assert "Authorization" not in sent.headers
