from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlftask.errors import ConfigurationError
from dlftask.task_ids import read_task_ids


def giving(data: bytes) -> Callable[[], bytes]:
    return lambda: data


def untouched() -> bytes:
    raise AssertionError("standard input is read for - alone")


def test_ids_stay_in_order_and_each_is_asked_for_once() -> None:
    assert read_task_ids(["b", "a", "b", "_-9"], untouched) == ["b", "a", "_-9"]


@pytest.mark.parametrize(
    "bad", ["", " ", "a/b", "a.b", "a%2Fb", "x" * 129, "ä", "a b", "a\n", "..", "a?b", "a\x00"]
)
def test_what_is_no_task_id_is_a_usage_error(bad: str) -> None:
    with pytest.raises(ConfigurationError, match="is no task ID"):
        read_task_ids(["good", bad], untouched)


def test_128_characters_are_a_task_id() -> None:
    assert read_task_ids(["x" * 128], untouched) == ["x" * 128]


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("a", ["a"]),
        ("a b\n\tc\r\n", ["a", "b", "c"]),
        ('{"taskId": "a"}', ["a"]),
        ('{"id": "a", "status": "RUNNING"}', ["a"]),
        ('{"id": "b", "taskId": "a"}', ["a"]),
        ('{"taskId": null, "id": "b"}', ["b"]),
        ('["a", {"taskId": "b"}, "a"]', ["a", "b"]),
        ('"a"', ["a"]),
        ('{"taskId": "a"}{"taskId": "b"}\n"c" ["d"]\n', ["a", "b", "c", "d"]),
        ('\n\ufeff {"taskId": "a"}'.lstrip(), ["a"]),
        ("true", ["true"]),
        ("12345", ["12345"]),
    ],
)
def test_standard_input_is_read_in_each_of_its_forms(text: str, ids: list[str]) -> None:
    assert read_task_ids(["-"], giving(text.encode())) == ids


def test_standard_input_stands_where_the_dash_does() -> None:
    assert read_task_ids(["x", "-", "y", "-"], giving(b"a x")) == ["x", "a", "y"]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "no task ID on standard input"),
        (b" \n", "no task ID on standard input"),
        (b"[]", "no task ID in the JSON"),
        (b"{}", "names no task"),
        (b'[{"taskId": 5}]', "names no task"),
        (b'[["a"]]', "names no task"),
        (b'{"error_code": "DLF.0100", "error_msg": "no such bucket"}', "no such bucket"),
        (b'{"taskId": "a"', "is none"),
        (b'{"taskId": "a"} nonsense', "is none"),
        (b'"a/b"', "is no task ID"),
        (b"\xff\xfe", "not UTF-8"),
        (b"[" * 100_000, "is none"),
    ],
)
def test_bad_input_is_one_clear_line(data: bytes, said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_task_ids(["-"], giving(data))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.binary(max_size=200))
def test_no_input_brings_anything_but_ids_or_a_usage_error(data: bytes) -> None:
    try:
        found = read_task_ids(["-"], giving(data))
    except ConfigurationError:
        return
    assert all(task_id.isascii() for task_id in found)
    assert len(set(found)) == len(found) > 0
