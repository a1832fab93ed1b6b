"""Options, then DLFTASK_*, then the profile, then the cloud's own, then the SDK's file."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from dlftask.errors import ConfigurationError
from dlftask.options import OPTIONS, PROFILE_KEYS, ReportTarget
from dlftask.settings import Settings, load_settings


class Place:
    """A user's machine: an environment and a home folder."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.environ: dict[str, str] = {}

    def profile(self, text: str) -> None:
        path = self.home / ".config" / "dlftask" / "config.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def sdk_file(self, text: str) -> None:
        path = self.home / ".huaweicloud" / "credentials"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

    def load(self, options: Mapping[str, object] | None = None, **more: object) -> Settings:
        given = {**(options or {}), **more}
        return load_settings(given, environ=self.environ, home=self.home)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_nothing_set_gives_the_contracts_defaults(place: Place) -> None:
    found = place.load(wait=True)
    assert (found.output, found.color, found.auth) == ("tree", None, "auto")
    assert (found.timeout_s, found.interval_s, found.max_outage_s) == (None, None, 300)
    assert (found.connect_timeout_s, found.read_timeout_s, found.concurrency) == (5, 10, 8)
    assert [found.strict, found.compact, found.quiet, found.utc, found.debug] == [False] * 5
    assert found.project_id is None


def test_each_place_beats_the_ones_below_it(place: Place) -> None:
    place.sdk_file("[basic]\nproject_id = sdkfile\n")
    assert place.load().project_id == "sdkfile"
    place.environ["HW_PROJECT_ID"] = "hw"
    assert place.load().project_id == "hw"
    place.environ["HUAWEICLOUD_SDK_PROJECT_ID"] = "sdk"
    assert place.load().project_id == "sdk"
    place.profile('[default]\nproject_id = "profile"\n')
    assert place.load().project_id == "profile"
    place.environ["DLFTASK_PROJECT_ID"] = "variable"
    assert place.load().project_id == "variable"
    assert place.load(project_id="option").project_id == "option"


def test_an_empty_variable_is_unset(place: Place) -> None:
    place.environ |= {"DLFTASK_PROJECT_ID": "", "HW_PROJECT_ID": "hw", "DLFTASK_TIMEOUT": ""}
    assert place.load(wait=True).project_id == "hw"


@pytest.mark.parametrize(
    ("key", "variable", "text", "field", "value"),
    [
        ("project_id", "DLFTASK_PROJECT_ID", "p1", "project_id", "p1"),
        ("workspace", "DLFTASK_WORKSPACE", "w 1", "workspace", "w 1"),
        ("region", "DLFTASK_REGION", "cn-north-4", "region", "cn-north-4"),
        ("endpoint", "DLFTASK_ENDPOINT", "https://x", "endpoint", "https://x"),
        ("iam_endpoint", "DLFTASK_IAM_ENDPOINT", "https://y", "iam_endpoint", "https://y"),
        ("auth", "DLFTASK_AUTH", "aksk", "auth", "aksk"),
        ("timeout", "DLFTASK_TIMEOUT", "1m30s", "timeout_s", 90.0),
        ("timeout", "DLFTASK_TIMEOUT", "none", "timeout_s", None),
        ("interval", "DLFTASK_INTERVAL", "500ms", "interval_s", 0.5),
        ("interval", "DLFTASK_INTERVAL", "auto", "interval_s", None),
        ("max_outage", "DLFTASK_MAX_OUTAGE", "2h", "max_outage_s", 7200.0),
        ("connect_timeout", "DLFTASK_CONNECT_TIMEOUT", "2", "connect_timeout_s", 2.0),
        ("read_timeout", "DLFTASK_READ_TIMEOUT", "3s", "read_timeout_s", 3.0),
        ("concurrency", "DLFTASK_CONCURRENCY", "32", "concurrency", 32),
        ("rate", "DLFTASK_RATE", "30", "rate", 30),
        ("rate", "DLFTASK_RATE", "none", "rate", None),
        ("fail_fast", "DLFTASK_FAIL_FAST", "1", "fail_fast", True),
        ("progress", "DLFTASK_PROGRESS", "plain", "progress", "plain"),
        ("ca_bundle", "DLFTASK_CA_BUNDLE", "/ca.pem", "ca_bundle", Path("/ca.pem")),
        ("output", "DLFTASK_OUTPUT", "tsv", "output", "tsv"),
        ("strict", "DLFTASK_STRICT", "yes", "strict", True),
        ("compact", "DLFTASK_COMPACT", "1", "compact", True),
        ("utc", "DLFTASK_UTC", "ON", "utc", True),
        ("debug", "DLFTASK_DEBUG", "True", "debug", True),
    ],
)
def test_each_setting_as_an_option_a_variable_and_a_key(
    place: Place, key: str, variable: str, text: str, field: str, value: object
) -> None:
    switch = isinstance(value, bool)
    assert getattr(place.load({"wait": True, key: value if switch else text}), field) == value
    toml = "true" if switch else str(value) if isinstance(value, int) else f'"{text}"'
    place.profile(f"[default]\n{key} = {toml}\n")
    assert getattr(place.load(wait=True), field) == value
    place.profile("")
    place.environ[variable] = text
    assert getattr(place.load(wait=True), field) == value


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("DLFTASK_TIMEOUT", "5x"),
        ("DLFTASK_INTERVAL", "none"),
        ("DLFTASK_MAX_OUTAGE", "0"),
        ("DLFTASK_CONCURRENCY", "0"),
        ("DLFTASK_CONCURRENCY", "many"),
        ("DLFTASK_OUTPUT", "xml"),
        ("DLFTASK_RATE", "0"),
        ("DLFTASK_RATE", "1.5"),
        ("DLFTASK_PROGRESS", "fancy"),
        ("DLFTASK_AUTH", "magic"),
        ("DLFTASK_STRICT", "maybe"),
        ("DLFTASK_PROJECT_ID", "a/b"),
        ("DLFTASK_WORKSPACE", "a\nb"),
    ],
)
def test_a_bad_value_names_where_it_was_set(place: Place, variable: str, text: str) -> None:
    place.environ[variable] = text
    with pytest.raises(ConfigurationError, match=f"^{variable}: "):
        place.load(wait=True)
    key = variable.removeprefix("DLFTASK_").lower()
    place.environ.clear()
    with pytest.raises(ConfigurationError, match="^--" + key.replace("_", "-") + ": "):
        place.load({"wait": True, key: text})


def test_numbers_are_durations_in_a_profile(place: Place) -> None:
    place.profile("[default]\ntimeout = 90\ninterval = 1.5\n")
    found = place.load(wait=True)
    assert (found.timeout_s, found.interval_s) == (90, 1.5)


@pytest.mark.parametrize("key", ["timeout", "interval", "max_outage", "fail_fast"])
def test_a_plain_get_refuses_wait_options_but_ignores_them_elsewhere(
    place: Place, key: str
) -> None:
    with pytest.raises(ConfigurationError, match="needs --wait"):
        place.load({key: True if key == "fail_fast" else "5s"})
    place.environ[f"DLFTASK_{key.upper()}"] = "nonsense"
    place.load()


def test_a_profile_by_name(place: Place) -> None:
    place.profile('[default]\nregion = "a"\n[ci]\nregion = "b"\nstrict = true\n')
    assert place.load().region == "a"
    assert place.load(profile="ci").region == "b"
    place.environ["DLFTASK_PROFILE"] = "ci"
    assert place.load().strict
    with pytest.raises(ConfigurationError, match="nope"):
        place.load(profile="nope")


def test_a_misspelt_key_names_file_table_and_the_nearest_key(place: Place) -> None:
    place.profile('[default]\nregoin = "a"\n')
    with pytest.raises(ConfigurationError) as caught:
        place.load()
    text = f"{caught.value} {caught.value.hint}"
    assert all(word in text for word in ("config.toml", "default", "regoin", "region"))


def test_every_option_but_profile_demo_and_report_is_a_key() -> None:
    secrets = {"token", "ak", "sk", "security_token", "token_command"}
    assert set(PROFILE_KEYS) == set(OPTIONS) - {"profile", "demo", "report"} | secrets


def test_settings_have_a_field_of_the_right_default_for_each_option(place: Place) -> None:
    fields = {option.field or key for key, option in OPTIONS.items()} - {"profile"}
    others = {"profile", "environ", "home", "origins", "warnings"}
    assert set(Settings._fields) == fields | others
    found = place.load(wait=True)
    for key, option in OPTIONS.items():
        if option.metavar and not option.read_elsewhere and key not in ("color", "profile"):
            value = getattr(found, option.field or key)
            words = ("looked up", "from the", "the system's", "none")
            if option.default and not option.default.startswith(words):
                assert option.read(option.default) == value, key
            else:
                assert not value, key


def test_an_accessible_terminal_gets_plain_progress_unless_told_otherwise(place: Place) -> None:
    place.profile('[default]\nprogress = "none"\n')
    assert place.load().progress == "none"
    place.environ["ACCESSIBLE"] = "1"
    assert place.load().progress == "plain"
    place.environ["DLFTASK_PROGRESS"] = "auto"
    assert place.load().progress == "auto"
    assert place.load(progress="none").progress == "none"
    place.environ = {"ACCESSIBLE": ""}
    assert place.load().progress == "none"


def test_reports_are_read_in_their_order(place: Place) -> None:
    found = place.load(report=["junit:a:b.xml", "markdown:/x/y.md"]).reports
    assert found == (
        ReportTarget("junit", Path("a:b.xml")),
        ReportTarget("markdown", Path("/x/y.md")),
    )
    assert place.load(report=[]).reports == ()


@pytest.mark.parametrize(
    "reports",
    [["junit"], [":x"], ["junit:"], ["xml:x"], ["junit:-"], [""]],
)
def test_a_bad_report_is_a_usage_error(place: Place, reports: list[str]) -> None:
    with pytest.raises(ConfigurationError, match=r"^--report: "):
        place.load(report=reports)


@pytest.mark.parametrize(("output", "hint"), [("jsno", "did you mean json?"), ("excel", None)])
def test_a_similar_value_is_suggested_and_no_other(
    place: Place, output: str, hint: str | None
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        place.load(output=output)
    assert caught.value.hint == hint


def test_a_wait_may_come_from_the_profile(place: Place) -> None:
    place.profile("[default]\nwait = true\n")
    assert place.load(timeout="5s").timeout_s == 5


def test_no_color_beats_the_profile_and_the_option_beats_both(place: Place) -> None:
    place.profile('[default]\ncolor = "always"\n')
    assert place.load().color == "always"
    place.environ["NO_COLOR"] = "1"
    assert place.load().color is None
    assert place.load(color="auto").color == "auto"
    assert place.load(color="always").color == "always"


def test_a_query_implies_json_and_goes_with_jsonl(place: Place) -> None:
    assert place.load(query="status").output == "json"
    assert place.load(query="status", output="jsonl").output == "jsonl"
    assert place.load(query="status", output="json").output == "json"
    place.environ["DLFTASK_OUTPUT"] = "tree"
    assert place.load(query="status").output == "json"
    place.environ["DLFTASK_OUTPUT"] = "jsonl"
    assert place.load(query="status").output == "jsonl"


@pytest.mark.parametrize("output", ["tree", "tsv", "junit", "markdown"])
def test_a_query_conflicts_with_an_option_for_another_format(place: Place, output: str) -> None:
    with pytest.raises(ConfigurationError, match="--query"):
        place.load(query="status", output=output)
    place.profile('[default]\nquery = "status"\n')
    assert place.load(output=output).query is None


def test_a_demo_ignores_the_service_and_warns_of_options_only(place: Place) -> None:
    place.environ |= {"DLFTASK_REGION": "x", "DLFTASK_ENDPOINT": "y", "DLFTASK_PROFILE": "nope"}
    place.environ["DLFTASK_UTC"] = "1"
    found = place.load(demo=True, region="cn-north-4", token_file="/t", output="json")
    assert (found.region, found.endpoint, found.token_file) == (None, None, None)
    assert (found.output, found.utc) == ("json", True)
    assert len(found.warnings) == 2
    assert all("--demo" in warning for warning in found.warnings)


def test_a_secret_that_others_can_read_is_warned_about(place: Place) -> None:
    place.profile('[default]\ntoken = "s3cret"\n')
    (place.home / ".config" / "dlftask" / "config.toml").chmod(0o644)
    (warning,) = place.load().warnings
    assert "config.toml" in warning
    assert "s3cret" not in warning
    (place.home / ".config" / "dlftask" / "config.toml").chmod(0o600)
    assert place.load().warnings == ()


def test_settings_show_no_secret(place: Place) -> None:
    place.environ["DLFTASK_TOKEN"] = "s3cret-1"
    place.profile('[default]\nsk = "s3cret-2"\nak = "s3cret-3"\n')
    assert "s3cret" not in repr(place.load())
