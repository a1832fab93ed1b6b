import re
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlftask.output.text import (
    display_name,
    duration_text,
    escape_controls,
    rfc3339,
    status_word,
    style,
    symbol,
    task_time,
)

ANYTHING = st.text(alphabet=st.characters())  # surrogates, controls and all
FORBIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


@pytest.fixture
def shanghai(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Asia/Shanghai")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("two\nlines\tand a tab\r", r"two\x0alines\x09and a tab\x0d"),
        ("\x00\x7f\x85\x9b", r"\x00\x7f\x85\x9b"),
        ("a\u202egpj.exe\u2066\u200e\u061c", r"a\u202egpj.exe\u2066\u200e\u061c"),
        ("lone \ud800", r"lone \ud800"),
        ("no\u200bthing\ufeff\u00ad", r"no\u200bthing\ufeff\xad"),
        ("next\u2028line", r"next\u2028line"),
        ("tag\U000e0041", r"tag\U000e0041"),
    ],
)
def test_control_and_deceptive_characters_are_escaped(text: str, shown: str) -> None:
    assert escape_controls(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "从路径[obs://aaaaa/job_batch.zip]导入作业。",
        "[bold]not markup[/bold] :smile:",
        "می\u200cخواهم",
        "👩\u200d💻 ❤️",
        "no\u00a0break",
        "\\x1b typed by hand",
        "e\u0301",
        "",
    ],
)
def test_other_text_is_shown_as_it_is(text: str) -> None:
    assert escape_controls(text) == text


@given(ANYTHING)
def test_nothing_forbidden_is_ever_left(text: str) -> None:
    shown = escape_controls(text)
    assert not FORBIDDEN.search(shown)
    assert escape_controls(shown) == shown
    assert len(shown.splitlines()) <= 1


@pytest.mark.parametrize(
    ("status", "mark", "ascii_mark", "colour"),
    [
        ("SUCCESSFUL", "✓", "v", "green"),
        ("RUNNING", "●", ">", "blue"),
        ("FAILED", "✗", "x", "red"),
        ("WARNING", "!", "!", "yellow"),
        ("PAUSED", "?", "?", "magenta"),
        (None, "?", "?", "magenta"),
    ],
)
def test_a_status_has_a_symbol_and_a_colour(
    status: str | None, mark: str, ascii_mark: str, colour: str
) -> None:
    assert symbol(status, unicode=True) == mark
    assert symbol(status, unicode=False) == ascii_mark
    assert style(status) == colour


def test_a_status_is_untrusted_text_too() -> None:
    assert status_word("RUN\x1bNING") == r"RUN\x1bNING"
    assert status_word(None) == "(no status)"


def test_what_has_no_name_is_shown_by_its_id() -> None:
    assert display_name("Import", "1") == "Import"
    assert display_name("", "1") == "1"
    assert display_name(" ", "1") == "1"
    assert display_name(None, "1\n") == r"1\x0a"
    assert display_name(None, None) == "(no name)"


def test_a_time_is_local_with_its_offset(shanghai: None) -> None:
    assert task_time(1543457499000, utc=False) == "2018-11-29 10:11:39+08:00"
    assert rfc3339(1543457499.9, utc=False) == "2018-11-29T10:11:39+08:00"


def test_a_time_can_be_utc(shanghai: None) -> None:
    assert task_time(1543457499999, utc=True) == "2018-11-29 02:11:39Z"
    assert rfc3339(1543457499.9, utc=True) == "2018-11-29T02:11:39Z"


def test_an_offset_can_be_negative_and_half_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "America/St_Johns")
        time.tzset()
        assert task_time(1543457499000, utc=False) == "2018-11-28 22:41:39-03:30"
    time.tzset()


@given(st.integers(0, 253_402_300_799_999))
def test_every_time_that_is_read_can_be_shown(number: int) -> None:
    assert task_time(number, utc=True)
    assert task_time(number, utc=False)
    assert duration_text(number)


def test_a_duration_is_short() -> None:
    assert duration_text(None) == ""
    assert duration_text(0) == "0ms"
    assert duration_text(15_000) == "15s"
    assert duration_text(1_500) == "1.5s"
    assert duration_text(90_061_000) == "1d01h"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("x ##[error]y", r"x \x23#[error]y"),
        ("###[x] ##VSO[y]", r"#\x23#[x] \x23#VSO[y]"),
        ("##teamCity[x", r"\x23#teamCity[x"),
        ("::error::x", r"\x3a:error::x"),
        ("  ::x", r"  \x3a:x"),
        ("\t::x", r"\x09::x"),
        ("## [x] ##y #[z]", "## [x] ##y #[z]"),
        ("std::string", "std::string"),
        ("a ::b", "a ::b"),
    ],
)
def test_ci_commands_are_escaped(text: str, shown: str) -> None:
    assert escape_controls(text) == shown
