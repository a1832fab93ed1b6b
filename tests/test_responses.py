"""Responses that are not a success: each becomes an error of the package, with any content."""

import json
from email.utils import formatdate
from time import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from requests.structures import CaseInsensitiveDict

from dlftask.api.responses import Response, error_for, read_error
from dlftask.errors import (
    AuthenticationError,
    DlftaskError,
    ExitStatus,
    InvalidResponse,
    ServiceUnavailable,
    TaskNotFound,
)
from tests.fuzz import fuzz

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
NAMES = st.sampled_from(
    ["error", "error_code", "error_msg", "errorCode", "errorMsg", "code", "message", "request_id"]
)
ERROR_LIKE = st.dictionaries(NAMES, JSON | st.dictionaries(NAMES, JSON))
BODIES = st.binary() | ERROR_LIKE.map(lambda value: json.dumps(value).encode())


def response(status: int, body: object = b"", **headers: str) -> Response:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Response(status, CaseInsensitiveDict(headers), data)


@given(body=BODIES, status=st.integers(100, 999), text=st.text())
def test_any_response_becomes_an_error_of_the_package(body: bytes, status: int, text: str) -> None:
    headers = {"X-Request-Id": text, "Retry-After": text, "Location": text}
    error = error_for(response(status, body, **headers), "the service")
    assert isinstance(error, DlftaskError)
    assert error.exit_status in (4, 5, 6, 7)
    assert str(error)
    if status == 401:
        assert error.exit_status is ExitStatus.AUTHENTICATION
    if status >= 500:
        assert error.exit_status is ExitStatus.UNAVAILABLE


@given(body=BODIES)
def test_the_error_reader_returns_strings_or_none(body: bytes) -> None:
    assert all(found is None or isinstance(found, str) for found in read_error(response(400, body)))


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        ({"error_code": "DLF.0810", "error_msg": "m"}, "DLF.0810", "m"),
        ({"errorCode": "DLF.0810", "errorMsg": "m"}, "DLF.0810", "m"),
        ({"code": "DLF.0810", "message": "m"}, "DLF.0810", "m"),
        ({"error": {"code": 401, "message": "m", "title": "t"}}, "401", "m"),
        ({"error": {"error_code": "X", "error_msg": "m"}}, "X", "m"),
        ({"error": "unauthorized"}, None, None),
        ({"error_code": None, "error_msg": ["m"]}, None, None),
        ([], None, None),
    ],
)
def test_every_format_of_an_error_is_read(
    body: object, code: str | None, message: str | None
) -> None:
    assert read_error(response(400, body))[:2] == (code, message)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "DLF.0810", TaskNotFound),
        (404, "DLF.20810", TaskNotFound),
        (404, None, InvalidResponse),
        (400, "DLF.6888", AuthenticationError),
        (401, "APIGW.0301", AuthenticationError),
        (403, None, AuthenticationError),
        (500, "DLF.0810", ServiceUnavailable),
        (408, None, ServiceUnavailable),
        (429, None, ServiceUnavailable),
        (302, None, InvalidResponse),
        (400, "DLF.1", InvalidResponse),
    ],
)
def test_each_refusal_has_its_own_error(
    status: int, code: str | None, kind: type[DlftaskError]
) -> None:
    assert type(error_for(response(status, {"error_code": code}), "the service")) is kind


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [
        ("7", 7, 7),
        (" 0 ", 0, 0),
        ("9" * 400, 1e9, 1e9),
    ],
)
def test_retry_after_is_seconds(text: str, least: float, most: float) -> None:
    error = error_for(response(503, **{"Retry-After": text}), "the service")
    assert isinstance(error, ServiceUnavailable)
    assert error.retry_after_s is not None
    assert least <= error.retry_after_s <= most


@pytest.mark.parametrize("usegmt", [True, False])  # -0000 is UTC, as far as anybody knows
@pytest.mark.parametrize(("ahead_s", "least", "most"), [(100, 90, 101), (-100, 0, 0)])
def test_retry_after_is_a_date(ahead_s: int, least: float, most: float, *, usegmt: bool) -> None:
    text = formatdate(time() + ahead_s, usegmt=usegmt)
    error = error_for(response(503, **{"Retry-After": text}), "the service")
    assert isinstance(error, ServiceUnavailable)
    assert error.retry_after_s is not None
    assert least <= error.retry_after_s <= most


@pytest.mark.parametrize("text", ["", "soon", "-1", "1.5", "١٢", "Mon, 32 Foo 2026", "1e9"])
def test_an_invalid_retry_after_is_ignored(text: str) -> None:
    error = error_for(response(503, **{"Retry-After": text}), "the service")
    assert isinstance(error, ServiceUnavailable)
    assert error.retry_after_s is None


def test_thousands_of_mutations_raise_only_errors_of_the_package() -> None:
    assert fuzz(60, seed=7, most=3000) == 3000


@pytest.mark.parametrize("year", ["1970", "2001", "2035"])
def test_a_retry_after_date_counts_from_the_responses_own_date(year: str) -> None:
    headers = {
        "Date": f"Mon, 01 Jan {year} 00:00:00 GMT",
        "Retry-After": f"Mon, 01 Jan {year} 00:00:30 GMT",
    }
    error = error_for(response(503, **headers), "the service")
    assert isinstance(error, ServiceUnavailable)
    assert error.retry_after_s == 30


def test_an_error_with_context_is_new_and_keeps_its_facts() -> None:
    error = ServiceUnavailable("down", retry_after_s=7.0, http_status=503, hint="old")
    wrapped = error.with_context("IAM", hint="new")
    assert (wrapped.message, wrapped.retry_after_s, wrapped.http_status) == ("IAM: down", 7.0, 503)
    assert (error.message, error.hint, wrapped.hint) == ("down", "old", "new")
    assert wrapped.retryable
    assert not ServiceUnavailable("bad certificate", retryable=False).retryable
