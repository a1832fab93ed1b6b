import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlftask.durations import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("90s", 90),
        ("500ms", 0.5),
        ("1m30s", 90),
        ("2h", 7200),
        ("1.5h", 5400),
        ("1h1m1s1ms", 3661.001),
        ("0.5", 0.5),
        ("2m500ms", 120.5),
    ],
)
def test_a_duration_is_read_as_people_write_it(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "5x", "-1s", "0", "0s", "0h0m", "1m1h", "30s1m", "1e5", "s", ".", "1.", ".5s"),
        *("1 s", " 5", "5 ", "5\n", "١", "9" * 400, "inf", "nan", "1m1m", "+5", "0x10", "none"),
    ],
)
def test_anything_else_is_not_a_duration(text: str) -> None:
    with pytest.raises(ValueError, match="not a positive duration"):
        parse_duration(text)


@given(st.text(max_size=20))
def test_no_text_is_read_as_anything_but_a_positive_finite_number(text: str) -> None:
    try:
        seconds = parse_duration(text)
    except ValueError:
        return
    assert 0 < seconds < float("inf")


@given(
    st.integers(0, 99),
    st.integers(0, 999),
    st.integers(0, 9999),
    st.integers(min_value=1, max_value=999),
)
def test_units_add_up(hours: int, minutes: int, seconds: int, millis: int) -> None:
    text = f"{hours}h{minutes}m{seconds}s{millis}ms"
    total = hours * 3600 + minutes * 60 + seconds + millis / 1000
    assert parse_duration(text) == pytest.approx(total)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0ms"),
        (0.34, "340ms"),
        (1, "1s"),
        (1.58, "1.5s"),
        (15.9, "15s"),
        (60, "1m00s"),
        (90, "1m30s"),
        (3599.9, "59m59s"),
        (7500, "2h05m"),
        (86_400, "1d00h"),
        (300_000, "3d11h"),
    ],
)
def test_a_duration_is_written_with_two_units_at_most(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text
