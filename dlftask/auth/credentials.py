"""Where a credential comes from, in the order of the contract, and how it is refreshed.

The first source that holds a credential is taken, and in one source a token before a key pair:

1. ``--token-file``
2. ``DLFTASK_TOKEN``, then ``DLFTASK_TOKEN_FILE``
3. the profile: ``token``, ``token_file``, ``token_command``, then ``ak`` and ``sk``
4. ``HUAWEICLOUD_SDK_AK`` and ``_SK``
5. ``HW_AUTH_TOKEN``, then ``HW_ACCESS_KEY`` and ``HW_SECRET_KEY``
6. the vendor SDK's credentials file
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from dlftask.api.responses import Send
from dlftask.api.single_flight import SingleFlight
from dlftask.auth.tokens import checked, read_token_file
from dlftask.errors import AuthenticationError, ConfigurationError, DlftaskError
from dlftask.files import can_exist, expanded, is_regular, others_can_read, read_file
from dlftask.profiles import Profile, read_table

if TYPE_CHECKING:
    from requests.auth import AuthBase

    from dlftask.auth.signing import AccessKey

    Secret = AccessKey | str

_SDK_FILE = "HUAWEICLOUD_SDK_CREDENTIALS_FILE"
_LARGEST_SDK_FILE = 1024 * 1024
_REFRESH_BEFORE_S = 300.0
_RETRY_S = 30.0
_REFUSAL_COUNTS_S = 10.0
"""For this long a refusal by a source counts for all tasks, and is not asked for again."""
_MOMENT_S = 0.5
"""How long a file that is being rewritten is given."""
# The variables of a source, by the key of a profile that means the same.
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


@dataclass(frozen=True, slots=True)
class Source:
    """A credential's labels, and a function that reads it now.

    ``read`` gives the secret and when it expires, in seconds since the epoch. ``reload`` gives the
    source as it is now, and is ``None`` where it cannot be read again; ``file`` is what that reads.
    ``lazy`` ones are read only once a credential is needed: they can take long. ``close`` ends a
    reading.
    """

    name: str
    kind: str
    read: "Callable[[], tuple[Secret, float]]" = field(repr=False)
    file: Path | None = None
    reload: "Callable[[], Source | None] | None" = field(default=None, repr=False)
    lazy: bool = False
    close: Callable[[], None] = lambda: None


class Credentials:
    """The credential of one source, as it is now. May be used by many threads; one of them reads.

    One that expires is read again five minutes before (a short-lived one in the last quarter of
    its life); where that fails, the old one serves to its end.
    """

    def __init__(
        self,
        source: Source,
        *,
        warnings: tuple[str, ...] = (),
        now: Callable[[], float] = time.time,
    ) -> None:
        self.source = source.name
        self.kind = source.kind
        self.warnings = warnings
        self.close = source.close
        self._source = source
        self._now = now
        self._secret: Secret | None = None
        self._refused: Secret | None = None
        self._expires_s = self._refresh_s = 0.0
        self._failure: AuthenticationError | None = None
        self._failed_s = 0.0
        self._current = SingleFlight(self._load)
        self._lock = threading.Lock()
        self._auths: dict[str | None, AuthBase] = {}
        self._auths_secret: Secret | None = None

    def auth(self, project_id: str | None) -> "AuthBase":
        """What a request is sent with; the same object until the credentials change.

        Raises ``ConfigurationError`` where a file is bad; ``AuthenticationError``,
        ``ServiceUnavailable`` or ``InvalidResponse`` where a command or a metadata service failed.
        """
        from dlftask.auth.signing import AccessKeyAuth, TokenAuth

        secret = self._current()
        with self._lock:
            if secret is not self._auths_secret:
                self._auths_secret = secret
                self._auths = {}
            if project_id not in self._auths:
                self._auths[project_id] = (
                    TokenAuth(secret)
                    if isinstance(secret, str)
                    else AccessKeyAuth(secret, project_id)
                )
            return self._auths[project_id]

    def load(self) -> None:
        """Read the credential, unless it was read. Raises as ``auth`` does."""
        self._current()

    def refresh(self, refused: "AuthBase") -> bool:
        """After a 401: whether to send the request again, with what ``auth`` gives then.

        Of many threads that were refused with the same credential, one reads it again. Where the
        file is bad at that moment, the old credential is sent once more.
        """
        if self._source.reload is None:
            return False
        with self._lock:
            if any(refused is auth for auth in self._auths.values()):
                self._refused, self._secret = self._auths_secret, None
                self._auths = {}
        return True

    def _load(self) -> "Secret":
        now_s = self._now()
        current = self._secret  # a refusal may take it away at any moment
        if current is not None and now_s < self._refresh_s:
            return current
        if self._failure is not None and 0 <= now_s - self._failed_s < _REFUSAL_COUNTS_S:
            raise self._failure
        try:
            secret, self._expires_s = self._read()
        except DlftaskError as error:
            if current is not None and now_s < self._expires_s:
                self._refresh_s = now_s + _RETRY_S
                return current
            if isinstance(error, AuthenticationError):
                self._failure, self._failed_s = error, now_s
            raise
        left_s = self._expires_s - now_s
        self._refresh_s = self._expires_s - min(_REFRESH_BEFORE_S, left_s / 4)
        self._secret, self._refused, self._failure = secret, None, None
        return secret

    def _read(self) -> "tuple[Secret, float]":
        source, refused = self._source, self._refused
        if refused is None or source.reload is None or source.file is None:
            return source.read()
        for pause_s in (0.0, _MOMENT_S):
            time.sleep(pause_s)
            try:
                found = source.reload()
                if found is not None and (reading := found.read())[0] != refused:
                    return reading
            except ConfigurationError:
                continue
        return refused, float("inf")


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
        return Credentials(_agency(send, environ))
    for place in _places(token_file, environ, profile, home):
        source = _source(place, method)
        if source is None:
            continue
        # The profile's own warning was given when it was read.
        warned = source.file is None or source.file == profile.path
        warning = None if warned or source.file is None else others_can_read(source.file)
        credentials = Credentials(source, warnings=(warning,) if warning else ())
        if not source.lazy:
            credentials.load()
        return credentials
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
    named = bool(environ.get(_SDK_FILE))
    try:
        if not is_regular(path):
            raise ConfigurationError(f"{path}: not a regular file")
        text = read_file(path, limit=_LARGEST_SDK_FILE).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path}: not a text in UTF-8") from None
    except (OSError, ValueError) as error:
        missing = isinstance(error, FileNotFoundError | NotADirectoryError)
        if not named and (missing or not can_exist(path)):
            return {}
        prefix = f"{_SDK_FILE}: " if named else ""
        reason = getattr(error, "strerror", None) or error
        raise ConfigurationError(f"{prefix}{path}: {reason}") from None
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
class _Place:
    """Keys and values that count as one source.

    ``names`` are what a user calls the keys; ``read`` gives the values as they are now, and is
    ``None`` where those that were read stay.
    """

    name: str
    names: Mapping[str, str]
    values: Mapping[str, object] = field(repr=False)
    file: Path | None = None
    read: Callable[[], Mapping[str, object]] | None = None

    def text(self, key: str) -> str | None:
        """A value, where the place has it. Raises ``ConfigurationError`` for one like no secret."""
        value = self.values.get(key)
        text = value.strip() if key in self.names and isinstance(value, str) else ""
        return checked(text, self.names[key]) if text else None


def _places(
    token_file: Path | None, environ: Mapping[str, str], profile: Profile, home: Path
) -> Iterator[_Place]:
    """Each source, in the order of precedence."""
    if token_file is not None:
        option = "--token-file"
        yield _Place(option, {"token_file": option}, {"token_file": str(token_file)})
    yield _variables(environ, _DLFTASK)
    if profile.path is not None:
        path, table = profile.path, profile.name
        names = {
            key: f"{key} in table {table!r} of {path}"
            for key in ("token", "token_file", "token_command", "ak", "sk", "security_token")
        }
        reads = (lambda: read_table(path, table)) if is_regular(path) else None
        yield _Place(f"profile {table!r} of {path}", names, profile.values, path, reads)
    yield _variables(environ, _SDK)
    yield _variables(environ, _HW)
    path = _sdk_file(environ, home)
    names = {key: f"{key} in {path}" for key in ("ak", "sk", "security_token")}
    values = read_sdk_file(environ, home)
    yield _Place(str(path), names, values, path, lambda: read_sdk_file(environ, home))


def _variables(environ: Mapping[str, str], names: Mapping[str, str]) -> _Place:
    values = {key: environ.get(name, "") for key, name in names.items()}
    pair = f"{names['ak']} and {names['sk']}" if "ak" in names else ""
    return _Place(pair, names, values)


def _sdk_file(environ: Mapping[str, str], home: Path) -> Path:
    named = environ.get(_SDK_FILE)
    return _expanded(named, _SDK_FILE) if named else home / ".huaweicloud" / "credentials"


def _source(place: _Place, method: str) -> Source | None:
    """The credential that a place holds of the kinds that ``method`` allows: a token first."""

    def reload() -> Source | None:
        values = place.values if place.read is None else place.read()
        return _source(replace(place, values=values), method)

    again = None if place.read is None else reload
    if method != "aksk":
        token = place.text("token")
        if token:
            name = place.name if place.file else place.names["token"]
            return Source(name, "token", lambda: (token, float("inf")), place.file, again)
        if place.values.get("token_file"):
            return _token_file(place, reload)
        if place.values.get("token_command") is not None:
            return _token_command(place)
    key = None if method == "token" else _key_pair(place)
    if key is None:
        return None
    return Source(place.name, "key pair", lambda: (key, float("inf")), place.file, again)


def _token_file(place: _Place, reload: Callable[[], Source | None]) -> Source:
    path = _expanded(str(place.values["token_file"]), place.names["token_file"])
    # What a pipe gave is gone: it is read once, and when needed, for its writer may take long.
    regular = is_regular(path)
    return Source(
        f"token file {path}",
        "token",
        lambda: (read_token_file(path), float("inf")),
        path,
        reload if regular else None,
        lazy=not regular,
    )


def _token_command(place: _Place) -> Source:
    words = place.values["token_command"]
    if not (isinstance(words, list) and words and all(isinstance(word, str) for word in words)):
        raise ConfigurationError(f"{place.names['token_command']} is not an array of strings")
    from dlftask.auth.token_command import TokenCommand

    name = f"token_command of {place.name}"
    command = TokenCommand(words, name)
    source = Source(
        name,
        "token",
        lambda: (command.run(), float("inf")),
        reload=lambda: source,
        lazy=True,
        close=command.close,
    )
    return source


def _agency(send: Send, environ: Mapping[str, str]) -> Source:
    from dlftask.auth.agency import find_agency

    fetch = find_agency(send, environ)
    source = Source("the machine's agency", "key pair", fetch, reload=lambda: source, lazy=True)
    return source


def _key_pair(place: _Place) -> "AccessKey | None":
    access_key, secret_key = place.text("ak"), place.text("sk")
    if access_key is None and secret_key is None:
        return None
    if access_key is None or secret_key is None:
        there, missing = ("sk", "ak") if access_key is None else ("ak", "sk")
        raise ConfigurationError(
            f"half a key pair: {place.names[there]} is set, but {place.names[missing]} is not",
            hint=f"set {place.names[missing]}, or remove {place.names[there]}",
        )
    from dlftask.auth.signing import AccessKey

    return AccessKey(access_key, secret_key, place.text("security_token"))


def _expanded(text: str, what: str) -> Path:
    try:
        return expanded(text)
    except ValueError as error:
        raise ConfigurationError(f"{what}: {error}") from None
