from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlftask.errors import ConfigurationError
from dlftask.task_ids import read_task_ids


def giving(data: bytes) -> Callable[[], bytes]:
    return lambda: data


def untouched() -> bytes:
    raise AssertionError("standard input is read only for -")


def test_ids_stay_in_order_and_none_is_repeated() -> None:
    assert read_task_ids(["b", "a", "b", "_-9"], untouched) == ["b", "a", "_-9"]


@pytest.mark.parametrize(
    "bad", ["", " ", "a/b", "a.b", "a%2Fb", "x" * 129, "ä", "a b", "a\n", "..", "a?b", "a\x00"]
)
def test_an_invalid_task_id_is_a_usage_error(bad: str) -> None:
    with pytest.raises(ConfigurationError, match="is not a valid task ID"):
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
        ("# mine\na # old b\n c#d\n", ["a", "c"]),
        ("true", ["true"]),
        ("12345", ["12345"]),
    ],
)
def test_standard_input_is_read_in_each_of_its_forms(text: str, ids: list[str]) -> None:
    assert read_task_ids(["-"], giving(text.encode())) == ids


def test_ids_from_standard_input_replace_the_dash() -> None:
    assert read_task_ids(["x", "-", "y", "-"], giving(b"a x")) == ["x", "a", "y"]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "contains no task ID"),
        (b" \n", "contains no task ID"),
        (b"[]", "contains no task ID"),
        (b"{}", "contains no task ID"),
        (b'[{"taskId": 5}]', "contains no task ID"),
        (b'[["a"]]', "contains no task ID"),
        (b'{"error_code": "DLF.0100", "error_msg": "no such bucket"}', "no such bucket"),
        (b'{"taskId": "a"', "is not valid"),
        (b'{"taskId": "a"} nonsense', "is not valid"),
        (b'"a/b"', "is not a valid task ID"),
        (b"\xff\xfe", "not UTF-8"),
        (b"[" * 100_000, "is not valid"),
    ],
)
def test_bad_input_is_one_clear_line(data: bytes, expected: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_task_ids(["-"], giving(data))
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_error_in_place_of_a_task_is_reported_with_its_code_and_message() -> None:
    data = b'[{"error_code": "DLF.0100", "error_msg": "no such bucket"}]'
    with pytest.raises(ConfigurationError) as caught:
        read_task_ids(["-"], giving(data))
    assert caught.value.code == "DLF.0100"
    assert caught.value.service_message == "no such bucket"


@given(st.binary(max_size=200))
def test_any_input_gives_ids_or_a_usage_error(data: bytes) -> None:
    try:
        found = read_task_ids(["-"], giving(data))
    except ConfigurationError:
        return
    assert all(task_id.isascii() for task_id in found)
    assert len(set(found)) == len(found) > 0
