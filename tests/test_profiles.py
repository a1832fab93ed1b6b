"""Profiles: what a table may contain, and how errors in one are reported."""

from pathlib import Path
from typing import Any

import pytest

from dlftask.errors import ConfigurationError
from dlftask.profiles import Profile, read_profile


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def read(
    file: Path, name: str = "default", *, path_named: bool = False, name_named: bool = False
) -> Profile:
    return read_profile(file, name if name_named else None, path_named=path_named)


def written(file: Path, text: str | bytes, mode: int = 0o600) -> Path:
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    file.chmod(mode)
    return file


def test_each_table_is_a_separate_profile(file: Path) -> None:
    written(file, '[default]\nregion = "a"\nstrict = true\n[prod]\ntimeout = 1.5\n')
    assert read(file).values == {"region": "a", "strict": True}
    assert read(file, "prod", name_named=True).values == {"timeout": 1.5}


@pytest.mark.parametrize("text", [None, "", "[prod]\nregion = 'a'\n"])
def test_no_file_and_no_default_table_are_fine(file: Path, text: str | None) -> None:
    if text is not None:
        written(file, text)
    assert read(file).values == {}


@pytest.mark.parametrize("named", [{"path_named": True}, {"name_named": True}])
def test_a_named_file_must_exist(file: Path, named: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="no such configuration file") as caught:
        read(file, **named)
    assert str(file) in caught.value.message


def test_a_named_profile_without_a_file_names_both(file: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read(file, "ci", name_named=True)
    assert str(file) in caught.value.message
    assert "'ci'" in caught.value.message


def test_a_named_profile_must_exist(file: Path) -> None:
    written(file, "[production]\n[default]\n")
    with pytest.raises(ConfigurationError) as caught:
        read(file, "prodution", name_named=True)
    assert caught.value.message == f"{file}: no table 'prodution': did you mean 'production'?"


def test_an_unknown_key_is_reported_with_file_table_and_the_nearest_known(file: Path) -> None:
    written(file, "[default]\nregoin = 'x'\n")
    with pytest.raises(ConfigurationError) as caught:
        read(file)
    assert caught.value.message == (
        f"unknown key 'regoin' in table 'default' of {file}: did you mean 'region'?"
    )


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("region = 1", "a whole number, not a string"),
        ("strict = 1", "a whole number, not true or false"),
        ("concurrency = true", "true or false, not a whole number"),
        ("concurrency = 1.5", "a number, not a whole number"),
        ("timeout = true", "true or false, not a string or a whole number or a number"),
        ("timeout = 2026-01-01", "a date or time, not a string"),
        ("region = ['a']", "an array, not a string"),
        ("region = {a = 1}", "a table, not a string"),
    ],
)
def test_a_wrong_type_is_reported_with_file_table_and_key(
    file: Path, line: str, fault: str
) -> None:
    written(file, f"[default]\n{line}\n")
    with pytest.raises(ConfigurationError) as caught:
        read(file)
    for part in (str(file), "'default'", repr(line.partition(" ")[0]), fault):
        assert part in caught.value.message


def test_another_table_is_not_checked(file: Path) -> None:
    assert read(written(file, "[default]\n[other]\nregoin = 1\n")).values == {}


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[default]\ntoken = geheim\n", "not valid TOML (at line 2"),
        (b"[default]\ntoken = '\xff'\n", "not UTF-8 text"),
        ("region = 'a'\n", "key 'region' is in no table"),
        ("default = 1\n", "'default' is not a table"),
        ("a = " + "[" * 20_000, "not valid TOML"),
    ],
)
def test_a_bad_file_is_reported_in_one_line(file: Path, text: str | bytes, fault: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read(written(file, text))
    assert str(file) in caught.value.message
    assert fault in caught.value.message
    assert "\n" not in caught.value.message
    assert "geheim" not in str(caught.value)


def test_a_directory_is_not_a_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="directory"):
        read(tmp_path)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
def test_a_file_with_a_secret_that_others_can_read_gets_a_warning(file: Path, mode: int) -> None:
    written(file, "[default]\n[other]\nsk = 'x'\n", mode)
    (warning,) = read(file).warnings
    assert str(file) in warning
    assert "chmod 600" in warning


def test_a_file_without_a_secret_or_for_its_owner_gets_none(file: Path) -> None:
    assert read(written(file, "[default]\nregion = 'a'\n", 0o644)).warnings == ()
    assert read(written(file, "[default]\ntoken = 'a'\n", 0o600)).warnings == ()


def test_no_secret_is_in_a_repr(file: Path) -> None:
    assert "geheim" not in repr(read(written(file, "[default]\ntoken = 'geheim'\n")))


def test_windows_line_ends_and_byte_order_mark_are_read(file: Path) -> None:
    assert read(written(file, b"\xef\xbb\xbf[default]\r\nregion = 'a'\r\n")).values == {
        "region": "a"
    }


def test_a_path_that_leads_nowhere_is_an_error_though_nobody_named_it(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    for path in (tmp_path / "loop" / "config.toml", tmp_path / ("x" * 300)):
        with pytest.raises(ConfigurationError):
            read(path)
