"""The endpoints of the services: by region, or as a user sets them. Credentials go nowhere else."""

import re
from urllib.parse import urlsplit

from dlftask.errors import ConfigurationError

NO_REGION = "no region and no endpoint"
NAME_REGION = "set --region or DLFTASK_REGION, or --endpoint"

_REGION = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,48}[a-z0-9])?")
REGIONS = (
    "ae-ad-1",
    "af-south-1",
    "ap-southeast-1",
    "ap-southeast-2",
    "ap-southeast-3",
    "ap-southeast-4",
    "cn-east-2",
    "cn-east-3",
    "cn-east-4",
    "cn-north-1",
    "cn-north-11",
    "cn-north-2",
    "cn-north-4",
    "cn-north-9",
    "cn-south-1",
    "cn-southwest-2",
    "eu-west-101",
    "la-north-2",
    "la-south-2",
    "me-east-1",
    "my-kualalumpur-1",
    "na-mexico-1",
    "ru-moscow-1",
    "ru-northwest-2",
    "sa-brazil-1",
    "tr-west-1",
)
"""The regions with DataArts Factory, according to the vendor's SDK and endpoint page."""
# According to the vendor's SDK: all regions above but two, and some others. The rest use the
# central IAM.
_REGIONS_WITH_IAM = (frozenset(REGIONS) - {"cn-north-11", "ru-northwest-2"}) | {
    "cn-east-5",
    "cn-north-12",
    "cn-south-2",
    "eu-west-0",
}


def service_endpoint(region: str | None) -> str:
    """The endpoint of DataArts Factory in a region; that of an unknown region follows the pattern.

    Raises ``ConfigurationError`` for no region and for what cannot be part of a host name.
    """
    if region is None:
        raise ConfigurationError(NO_REGION, hint=NAME_REGION)
    name = "dayu" if region == "cn-east-4" else "dayu-dlf"
    return f"https://{name}.{_domain(region)}"


def iam_endpoint(region: str) -> str:
    """IAM for a region. Raises ``ConfigurationError`` for what cannot be part of a host name."""
    domain = _domain(region)
    if region in _REGIONS_WITH_IAM or domain.endswith(".eu"):
        return f"https://iam.{domain}"
    return "https://iam.myhuaweicloud.com"


def nearest_region(host: str) -> str | None:
    """The known region that is similar to the unknown one in a host's name, if there is one."""
    from difflib import get_close_matches

    found = re.fullmatch(r"[^.]+\.([^.]+)\.myhuaweicloud\.(?:com|eu)", host)
    if found is None or found[1] in REGIONS:
        return None
    return next(iter(get_close_matches(found[1], REGIONS, n=1, cutoff=0.75)), None)


def check_endpoint(url: str, *, what: str, insecure: bool) -> str:
    """Check an endpoint and return it without a trailing slash; ``what`` is its name in errors.

    Raises ``ConfigurationError`` for anything but an http or https URL of a host and perhaps a
    path, and for plain http beyond loopback unless ``insecure``. The URL is not repeated where it
    may hold a password.
    """
    shown = "the URL" if "@" in url else repr(url)
    try:
        parts = urlsplit(url)
        valid = parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise ConfigurationError(f"{what}: {shown} has no valid host and port")
    hint = "an endpoint looks like https://host or https://host:port/path"
    if parts.username is not None or parts.password is not None:
        raise ConfigurationError(f"{what}: an endpoint has no user name or password", hint=hint)
    if re.search(r"[\s\\]", url) or not url.isprintable():
        raise ConfigurationError(f"{what}: {shown} has white space or a backslash in it", hint=hint)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigurationError(f"{what}: {shown} is not an http or https URL", hint=hint)
    if "?" in url or "#" in url:
        raise ConfigurationError(f"{what}: {shown} has a query or a fragment", hint=hint)
    if not _is_host(parts.hostname):
        raise ConfigurationError(f"{what}: {shown} has no valid host name", hint=hint)
    if parts.scheme == "http" and not insecure and not is_loopback(parts.hostname):
        raise ConfigurationError(
            f"{what}: {shown} would send the credentials in plain text",
            hint="use https; --insecure permits plain http beyond loopback",
        )
    return f"{parts.scheme}://{parts.netloc.lower().removesuffix(':')}{parts.path.rstrip('/')}"


def is_loopback(host: str) -> bool:
    """Whether a host is this machine itself: ``localhost``, 127.0.0.0/8 or ::1."""
    if host == "localhost":
        return True
    try:
        import ipaddress

        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _domain(region: str) -> str:
    """The domain of a region's hosts, after checking the region's name.

    The European cloud has its own; the vendor's SDK has its regions under ``.com``, wrongly.
    """
    if not _REGION.fullmatch(region):
        raise ConfigurationError(
            f"{region!r} is not a valid region name",
            hint="a region looks like cn-north-4; see --region, or name the service by --endpoint",
        )
    return f"{region}.myhuaweicloud.{'eu' if region.startswith('eu-west-1') else 'com'}"


def _is_host(host: str) -> bool:
    """Whether a host is valid in a URL: an address, or a name of ASCII letters and digits."""
    if ":" in host:
        try:
            import ipaddress

            ipaddress.IPv6Address(host)
        except ValueError:
            return False
        return True
    labels = host.removesuffix(".").split(".")
    return len(host) <= 253 and all(
        re.fullmatch(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?", label) for label in labels
    )
