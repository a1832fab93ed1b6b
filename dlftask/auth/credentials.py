"""Where a secret comes from, in the order of the contract, and how it is had afresh.

The first source that holds a credential is taken, and in one source a token before a key pair:

1. ``--token-file``
2. ``DLFTASK_TOKEN``, then ``DLFTASK_TOKEN_FILE``
3. the profile: ``token``, ``token_file``, then ``ak`` and ``sk``
4. ``HUAWEICLOUD_SDK_AK`` and ``_SK``
5. ``HW_AUTH_TOKEN``, then ``HW_ACCESS_KEY`` and ``HW_SECRET_KEY``
6. the vendor SDK's credentials file
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from dlftask.api.responses import Send
from dlftask.auth.tokens import checked, read_token_file
from dlftask.errors import ConfigurationError
from dlftask.files import expanded
from dlftask.profiles import Profile, others_can_read, read_table

if TYPE_CHECKING:
    from requests.auth import AuthBase

    from dlftask.auth.signing import AccessKey

_SDK_FILE = "HUAWEICLOUD_SDK_CREDENTIALS_FILE"
# The variables of one source, by the part of a credential that each holds.
_DLFTASK = {"token": "DLFTASK_TOKEN", "token_file": "DLFTASK_TOKEN_FILE"}
_SDK = {
    "ak": "HUAWEICLOUD_SDK_AK",
    "sk": "HUAWEICLOUD_SDK_SK",
    "security_token": "HUAWEICLOUD_SDK_SECURITY_TOKEN",
}
_HW = {
    "token": "HW_AUTH_TOKEN",
    "ak": "HW_ACCESS_KEY",
    "sk": "HW_SECRET_KEY",
    "security_token": "HW_SECURITY_TOKEN",
}


class Credentials:
    """What proves who asks, now. May be used by many threads at once.

    ``source`` says where it comes from, for messages; ``get`` gives the token or key pair that is
    valid now; ``forget`` has it read or fetched afresh, and is ``None`` where that cannot be.
    """

    def __init__(
        self,
        get: "Callable[[], AccessKey | str]",
        *,
        source: str,
        forget: Callable[[], None] | None = None,
        warnings: tuple[str, ...] = (),
    ) -> None:
        self.source = source
        self.warnings = warnings
        self._get = get
        self._forget = forget
        self._lock = threading.Lock()
        self._secret: AccessKey | str | None = None
        self._auths: dict[str | None, AuthBase] = {}

    def auth(self, project_id: str | None) -> "AuthBase":
        """What a request is sent with; the same object until the credentials change.

        Raises ``AuthenticationError``, ``ServiceUnavailable`` or ``InvalidResponse`` where a
        machine's own identity could not be fetched.
        """
        from dlftask.auth.signing import AccessKeyAuth, TokenAuth

        secret = self._get()
        with self._lock:
            if secret is not self._secret:
                self._secret = secret
                self._auths = {}
            if project_id not in self._auths:
                self._auths[project_id] = (
                    TokenAuth(secret)
                    if isinstance(secret, str)
                    else AccessKeyAuth(secret, project_id)
                )
            return self._auths[project_id]

    def renew(self, refused: "AuthBase") -> bool:
        """After a 401: whether to ask again, with what ``auth`` gives then.

        Of many threads that were refused with the same credentials, one reads them afresh. A file
        that cannot be read at this moment may be in the middle of being written: the old
        credentials are then tried once more, and a second refusal ends it.
        """
        if self._forget is None:
            return False
        with self._lock:
            if any(refused is auth for auth in self._auths.values()):
                self._forget()
                self._auths = {}
            return True


def find_credentials(
    *,
    method: str,
    token_file: Path | None,
    environ: Mapping[str, str],
    profile: Profile,
    home: Path,
    send: Send,
) -> Credentials:
    """The credentials of the first source that holds some of the kind that ``method`` allows.

    ``method`` is ``auto``, ``token``, ``aksk`` or ``agency``; an empty variable is unset. Raises
    ``ConfigurationError`` where nothing is found, a pair is half, or a file is bad.
    """
    if method == "agency":
        from dlftask.auth.agency import Agency

        agency = Agency(send, environ)
        return Credentials(agency.key, source="the machine's agency", forget=agency.forget)
    for load in _sources(token_file, environ, profile, home):
        found = _found(load(_FIRST), method)
        if found is not None:
            # The profile's own warnings were given when it was read.
            warning = (
                others_can_read(found.file)
                if found.file is not None and found.file != profile.path
                else None
            )
            return _credentials(found, load, method, (warning,) if warning else ())
    what = {"token": "no token", "aksk": "no key pair"}.get(method, "no credentials")
    raise ConfigurationError(
        what,
        hint="set DLFTASK_TOKEN, --token-file, or HUAWEICLOUD_SDK_AK and HUAWEICLOUD_SDK_SK; "
        "on a machine of the cloud use --auth agency; to try without an account: --demo",
    )


def read_sdk_file(environ: Mapping[str, str], home: Path) -> Mapping[str, str]:
    """Section ``[basic]`` of the vendor SDK's credentials file; empty where there is none.

    Raises ``ConfigurationError`` for a file that is not valid, or was named but is not there.
    """
    path = _sdk_file(environ, home)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (FileNotFoundError, NotADirectoryError):
        if environ.get(_SDK_FILE):
            raise ConfigurationError(f"{_SDK_FILE}: {path}: no such file") from None
        return {}
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path}: not a text in UTF-8") from None
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    import configparser

    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(text)
    except configparser.Error:  # its message repeats the file's lines
        raise ConfigurationError(f"{path}: not a valid INI file") from None
    # The SDK reads the first where a program names it, the second by itself.
    found = [name for name in ("basic", "basiccredentials") if parser.has_section(name)]
    return dict(parser[found[0]]) if found else {}


@dataclass(frozen=True, slots=True)
class _Source:
    """One source as it is now; ``names`` are what its user calls the parts, ``values`` by part."""

    name: str
    names: Mapping[str, str]
    values: Mapping[str, str] = field(repr=False)
    file: Path | None = None

    def value(self, part: str) -> str | None:
        text = self.values.get(part, "").strip()
        return checked(text, self.names[part]) if text else None


@dataclass(frozen=True, slots=True)
class _Found:
    secret: "AccessKey | str" = field(repr=False)
    name: str
    file: Path | None


_Load = Callable[[bool], _Source]
"""Reads a source; whether for the first time or ``_AGAIN`` matters to a profile, read already."""
_FIRST, _AGAIN = False, True


def _sources(
    token_file: Path | None, environ: Mapping[str, str], profile: Profile, home: Path
) -> Iterator[_Load]:
    """Ways to read each source, in the order of precedence."""
    if token_file is not None:
        yield lambda _again: _Source(
            "--token-file", {"token_file": "--token-file"}, {"token_file": str(token_file)}
        )
    yield lambda _again: _variables(environ, _DLFTASK)
    if profile.path is not None:
        path, name = profile.path, profile.name
        yield lambda again: _table(path, name, read_table(path, name) if again else profile.values)
    yield lambda _again: _variables(environ, _SDK)
    yield lambda _again: _variables(environ, _HW)
    yield lambda _again: _ini(environ, home)


def _variables(environ: Mapping[str, str], names: Mapping[str, str]) -> _Source:
    values = {part: environ.get(name, "") for part, name in names.items()}
    return _Source("the environment", names, values)


def _table(path: Path, name: str, values: Mapping[str, object]) -> _Source:
    where = f"table {name!r} of {path}"
    texts = {key: value for key, value in values.items() if isinstance(value, str)}
    parts = ("token", "token_file", "ak", "sk", "security_token")
    return _Source(
        f"profile {name!r} of {path}", {part: f"{part} in {where}" for part in parts}, texts, path
    )


def _ini(environ: Mapping[str, str], home: Path) -> _Source:
    path = _sdk_file(environ, home)
    parts = ("ak", "sk", "security_token")
    return _Source(
        str(path), {part: f"{part} in {path}" for part in parts}, read_sdk_file(environ, home), path
    )


def _sdk_file(environ: Mapping[str, str], home: Path) -> Path:
    named = environ.get(_SDK_FILE)
    return _expanded(named, _SDK_FILE) if named else home / ".huaweicloud" / "credentials"


def _found(source: _Source, method: str) -> _Found | None:
    """What a source holds of the kinds that ``method`` allows: a token before a key pair."""
    if method != "aksk":
        if "token" in source.names and (token := source.value("token")):
            return _Found(token, source.names["token"], source.file)
        if "token_file" in source.names and source.values.get("token_file"):
            path = _expanded(source.values["token_file"], source.names["token_file"])
            return _Found(read_token_file(path), f"token file {path}", path)
    if method != "token" and "ak" in source.names:
        key = _key_pair(source)
        if key is not None:
            return _Found(key, f"{source.names['ak']} and {source.names['sk']}", source.file)
    return None


def _key_pair(source: _Source) -> "AccessKey | None":
    access_key, secret_key = source.value("ak"), source.value("sk")
    if access_key is None and secret_key is None:
        return None
    if access_key is None or secret_key is None:
        there, missing = ("sk", "ak") if access_key is None else ("ak", "sk")
        raise ConfigurationError(
            f"half a key pair: {source.names[there]} is set, but {source.names[missing]} is not",
            hint=f"set {source.names[missing]}, or remove {source.names[there]}",
        )
    from dlftask.auth.signing import AccessKey

    return AccessKey(access_key, secret_key, source.value("security_token"))


def _credentials(found: _Found, load: _Load, method: str, warnings: tuple[str, ...]) -> Credentials:
    if found.file is None:
        return Credentials(lambda: found.secret, source=found.name)
    held = [found.secret]

    def read_again() -> None:
        try:
            fresh = _found(load(_AGAIN), method)
        except ConfigurationError:
            return
        if fresh is not None:
            held[0] = fresh.secret

    return Credentials(lambda: held[0], source=found.name, forget=read_again, warnings=warnings)


def _expanded(text: str, what: str) -> Path:
    try:
        return expanded(text)
    except ValueError as error:
        raise ConfigurationError(f"{what}: {error}") from None
