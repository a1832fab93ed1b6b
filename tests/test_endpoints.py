"""Endpoints: by the pattern, its exceptions, and as given."""

import pytest
from huaweicloudsdkcore.auth import endpoint as sdk_endpoint
from huaweicloudsdkdgc.v1.region.dgc_region import DgcRegion
from hypothesis import given
from hypothesis import strategies as st

from dlftask.api.endpoints import check_endpoint, iam_endpoint, service_endpoint
from dlftask.errors import ConfigurationError

SDK_REGIONS = {
    name: region.endpoints[0] if hasattr(region, "endpoints") else region.endpoint
    for name, region in DgcRegion.static_fields.items()
}


@pytest.mark.parametrize(
    ("region", "endpoint"),
    [
        ("cn-north-4", "https://dayu-dlf.cn-north-4.myhuaweicloud.com"),
        ("cn-east-4", "https://dayu.cn-east-4.myhuaweicloud.com"),
        ("eu-west-101", "https://dayu-dlf.eu-west-101.myhuaweicloud.eu"),
        ("eu-west-199", "https://dayu-dlf.eu-west-199.myhuaweicloud.eu"),
        ("eu-west-0", "https://dayu-dlf.eu-west-0.myhuaweicloud.com"),
        ("xx-new-9", "https://dayu-dlf.xx-new-9.myhuaweicloud.com"),
    ],
)
def test_the_service_of_a_region(region: str, endpoint: str) -> None:
    assert service_endpoint(region) == endpoint


@pytest.mark.parametrize("region", sorted(set(SDK_REGIONS) - {"eu-west-101"}))
def test_the_service_endpoint_is_that_of_the_sdk(region: str) -> None:
    assert service_endpoint(region) == SDK_REGIONS[region]


@pytest.mark.parametrize(
    ("region", "endpoint"),
    [
        ("cn-north-4", "https://iam.cn-north-4.myhuaweicloud.com"),
        ("cn-north-12", "https://iam.cn-north-12.myhuaweicloud.com"),
        ("eu-west-101", "https://iam.eu-west-101.myhuaweicloud.eu"),
        ("eu-west-0", "https://iam.eu-west-0.myhuaweicloud.com"),
        ("ru-northwest-2", "https://iam.myhuaweicloud.com"),
        ("cn-north-11", "https://iam.myhuaweicloud.com"),
        ("xx-new-9", "https://iam.myhuaweicloud.com"),
    ],
)
def test_the_iam_of_a_region(region: str, endpoint: str) -> None:
    assert iam_endpoint(region) == endpoint


@pytest.mark.parametrize("region", [*SDK_REGIONS, "cn-south-2", "cn-east-5", "eu-west-0"])
def test_the_iam_endpoint_is_that_of_the_sdk(region: str) -> None:
    if region == "eu-west-101":
        assert iam_endpoint(region).endswith(".eu")
        return
    central = "https://iam.myhuaweicloud.com"
    assert iam_endpoint(region) == sdk_endpoint.get_iam_endpoint_by_id(region, central)


@pytest.mark.parametrize(
    "region",
    ["", "x.evil.example/", "evil.example", "a b", "-a", "a-", "CN-NORTH-4", "a" * 51, "ä", "a\n"],
)
def test_what_cannot_be_part_of_a_host_name_is_not_a_region(region: str) -> None:
    for endpoint in (service_endpoint, iam_endpoint):
        with pytest.raises(ConfigurationError, match="is not a valid region name") as caught:
            endpoint(region)
        assert repr(region) in caught.value.message


@given(st.text(max_size=20))
def test_a_region_never_leads_out_of_the_cloud(region: str) -> None:
    try:
        url = service_endpoint(region)
    except ConfigurationError:
        return
    assert url.count("/") == 2
    assert url.endswith((".myhuaweicloud.com", ".myhuaweicloud.eu"))
    assert check_endpoint(url, what="--region", insecure=False) == url


@pytest.mark.parametrize(
    ("given_url", "endpoint"),
    [
        ("https://a.example", "https://a.example"),
        ("https://a.example/", "https://a.example"),
        ("https://A.example:8443/base/", "https://a.example:8443/base"),
        ("https://a.example:/x", "https://a.example/x"),
        ("HTTPS://a.example", "https://a.example"),
        ("http://127.0.0.1:5000/", "http://127.0.0.1:5000"),
        ("http://127.3.2.1", "http://127.3.2.1"),
        ("http://localhost:5000", "http://localhost:5000"),
        ("http://[::1]:5000/", "http://[::1]:5000"),
        ("https://under_score.example", "https://under_score.example"),
    ],
)
def test_an_endpoint_is_taken_as_given(given_url: str, endpoint: str) -> None:
    assert check_endpoint(given_url, what="--endpoint", insecure=False) == endpoint


@pytest.mark.parametrize(
    "url",
    [
        "",
        "a.example",
        "a.example:443",
        "ftp://a.example",
        "file:///etc/passwd",
        "https://",
        "https:///x",
        "https://:443",
        "https://a.example:0",
        "https://a.example:99999",
        "https://a.example:http",
        "https://a.example?x=1",
        "https://a.example/?",
        "https://a.example/#",
        "https://a b.example",
        "https://a.example/x y",
        "https://a.example\\evil.example",
        "https://a.example\n",
        "https://a..example",
        "https://-a.example",
        "https://ä.example",
        "https://[::1",
        "https://[::zz]",
        "https://a%2Fb.example",
    ],
)
def test_an_invalid_endpoint_is_refused_with_its_source(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        check_endpoint(url, what="DLFTASK_ENDPOINT", insecure=True)
    assert caught.value.message.startswith("DLFTASK_ENDPOINT: ")
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    "url", ["https://user:pa55word@a.example", "https://user:pa55word@a.example:x/"]
)
def test_a_password_in_an_endpoint_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        check_endpoint(url, what="--endpoint", insecure=True)
    assert "pa55word" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["http://a.example", "http://10.0.0.1", "http://localhost.evil.example", "http://[::2]"]
)
def test_plain_http_beyond_loopback_needs_insecure(url: str) -> None:
    with pytest.raises(ConfigurationError, match="plain text") as caught:
        check_endpoint(url, what="--endpoint", insecure=False)
    assert caught.value.hint is not None
    assert "--insecure" in caught.value.hint
    assert check_endpoint(url, what="--endpoint", insecure=True) == url
