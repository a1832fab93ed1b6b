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
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from dlftask.api.endpoints import NAME_REGION, NO_REGION
from dlftask.api.responses import Send
from dlftask.auth.tokens import AccessKey, checked, read_token_file
from dlftask.errors import AuthenticationError, ConfigurationError, DlftaskError
from dlftask.files import expanded, is_regular, others_can_read
from dlftask.options import PROFILE_KEYS
from dlftask.profiles import read_sdk_file, read_table, sdk_file

if TYPE_CHECKING:
    from requests.auth import AuthBase

    from dlftask.settings import Settings

Secret = AccessKey | str

_REFRESH_BEFORE_S = 300.0
_RETRY_S = 30.0
_REFUSAL_COUNTS_S = 10.0
"""For this long a refusal by a source applies to all tasks, and the source is not read again."""
_REWRITE_S = 0.5
"""How long to wait where a file still holds what was refused: it may just be being rewritten."""
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
    """A source of a credential: its labels, and the credential that was found there.

    ``secret`` is a function where getting it can take long; ``close`` ends that. ``reload`` returns
    the source as it is now, and is ``None`` where it cannot be read again; ``file`` is the file
    that it reads.
    """

    name: str
    kind: str
    secret: Secret | Callable[[], Secret] = field(repr=False)
    file: Path | None = None
    reload: "Callable[[], Source | None] | None" = field(default=None, repr=False)
    close: Callable[[], None] = lambda: None

    def read(self) -> Secret:
        """The secret itself."""
        return self.secret() if callable(self.secret) else self.secret


class Credentials:
    """The credential of one source, as it is now. May be used by many threads; one of them reads.

    A credential is read again five minutes before it expires (a short-lived one in the last quarter
    of its lifetime); where that fails, the old one is used until it expires. Threads that waited
    for a read share its failure; a refusal applies to all reads within ten seconds.
    """

    def __init__(self, source: Source, *, now: Callable[[], float] = time.time) -> None:
        self.source = source.name
        self.kind = source.kind
        self.close = source.close
        self._source = source
        self._now = now
        self._lock = threading.Lock()
        self._secret: Secret | None = None
        self._refused: Secret | None = None
        self._expires_s = self._refresh_s = 0.0
        self._auths: dict[str | None, AuthBase] = {}
        self._failure: DlftaskError | None = None
        self._failure_counts_until_s = 0.0

    @property
    def at_hand(self) -> bool:
        """Whether the credential is known without running a command or sending a request."""
        return not callable(self._source.secret)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a user should know about the file that holds the credential."""
        warning = self._source.file and others_can_read(self._source.file)
        return (warning,) if warning else ()

    def auth(self, project_id: str | None) -> "AuthBase":
        """The authentication of a request; the same object until the credentials change.

        Raises ``AuthenticationError``, ``ServiceUnavailable`` or ``InvalidResponse`` where a
        command or a metadata service failed, ``ConfigurationError`` where a file is bad.
        """
        from dlftask.auth.signing import AccessKeyAuth, TokenAuth

        requested_s = time.monotonic()
        with self._lock:
            secret = self._current(requested_s)
            if isinstance(secret, str):
                return self._auths.setdefault(project_id, TokenAuth(secret))
            return self._auths.setdefault(project_id, AccessKeyAuth(secret, project_id))

    def forget(self, refused: "AuthBase") -> bool:
        """Forget a credential after a 401; return whether ``auth`` can read it again.

        If many threads were refused with the same one, only one of them reads it again.
        """
        if self._source.reload is None:
            return False
        with self._lock:
            if refused in self._auths.values():
                self._refused, self._secret, self._auths = self._secret, None, {}
        return True

    def _current(self, requested_s: float) -> Secret:
        now_s = self._now()
        if self._secret is not None and now_s < self._refresh_s:
            return self._secret
        if self._failure is not None and requested_s <= self._failure_counts_until_s:
            raise self._failure.with_traceback(None)
        try:
            secret = self._read()
        except DlftaskError as error:
            if self._secret is not None and now_s < self._expires_s:
                self._refresh_s = now_s + _RETRY_S
                return self._secret
            counts_s = _REFUSAL_COUNTS_S if isinstance(error, AuthenticationError) else 0.0
            self._failure, self._failure_counts_until_s = error, time.monotonic() + counts_s
            raise
        self._expires_s = float("inf") if isinstance(secret, str) else secret.expires_s
        left_s = self._expires_s - now_s
        self._refresh_s = self._expires_s - min(_REFRESH_BEFORE_S, left_s / 4)
        self._secret, self._refused, self._failure, self._auths = secret, None, None, {}
        return secret

    def _read(self) -> Secret:
        """The credential as it is now; the refused one if its file is bad, or holds no other."""
        source, refused = self._source, self._refused
        if refused is None or source.reload is None or source.file is None:
            return source.read()
        for pause_s in (0.0, _REWRITE_S):
            time.sleep(pause_s)
            with suppress(ConfigurationError):
                found = source.reload()
                if found is not None and (secret := found.read()) != refused:
                    return secret
        return refused


def find_credentials(settings: "Settings", send: Send) -> Credentials:
    """The credentials of the first source that holds some of the kind that ``auth`` allows.

    An empty variable counts as unset. Raises ``ConfigurationError`` where nothing is found, half of
    a key pair is missing, or a file is bad.
    """
    try:
        return Credentials(_find_source(settings, send))
    except ConfigurationError as error:
        if settings.region is not None or settings.endpoint is not None:
            raise
        # Report both at once.
        hint = f"{NAME_REGION}; {error.hint}" if error.hint else NAME_REGION
        raise ConfigurationError(f"{NO_REGION}, and {error.message}", hint=hint) from None


def _find_source(settings: "Settings", send: Send) -> Source:
    if settings.auth == "agency":
        from dlftask.auth.agency import find_agency

        fetch = find_agency(send, settings.environ)
        agency = Source("the machine's agency", "key pair", fetch, reload=lambda: agency)
        return agency
    for place in _places(settings):
        if source := _source(place, settings.auth):
            return source
    what = {"token": "no token", "aksk": "no key pair"}.get(settings.auth, "no credentials")
    hint = (
        "set DLFTASK_TOKEN, --token-file, or HUAWEICLOUD_SDK_AK and HUAWEICLOUD_SDK_SK; "
        "on a machine of the cloud use --auth agency; to try without an account: --demo"
    )
    raise ConfigurationError(what, hint=hint)


@dataclass(frozen=True, slots=True)
class _Place:
    """Keys and values that count as one source.

    ``names`` are the names of the keys in messages, ``name`` is the file that holds them.
    ``reread`` returns the values as they are now, and is ``None`` where they cannot change.
    """

    names: Mapping[str, str]
    values: Mapping[str, object] = field(repr=False)
    name: str = ""
    file: Path | None = None
    reread: Callable[[], Mapping[str, object]] | None = None

    def text(self, key: str) -> str | None:
        """A value, where the place has it. Raises ``ConfigurationError`` for an invalid secret."""
        value = self.values.get(key)
        text = value.strip() if isinstance(value, str) else ""
        return checked(text, self.names[key]) if text else None


def _places(settings: "Settings") -> Iterator[_Place]:
    """Each source, in the order of precedence."""
    environ, home, profile = settings.environ, settings.home, settings.profile
    if settings.token_file is not None:
        yield _Place({"token_file": "--token-file"}, {"token_file": str(settings.token_file)})
    yield _variables(environ, _DLFTASK)
    if profile.path is not None:
        path, table = profile.path, profile.name
        names = {key: f"{key} in table {table!r} of {path}" for key in PROFILE_KEYS}
        reread = (lambda: read_table(path, table)) if is_regular(path) else None
        yield _Place(names, profile.values, f"profile {table!r} of {path}", path, reread)
    yield _variables(environ, _SDK)
    yield _variables(environ, _HW)
    path = sdk_file(environ, home)

    def read_pair() -> Mapping[str, str]:
        return {key: text for key, text in read_sdk_file(environ, home).items() if key in _SDK}

    names = {key: f"{key} in {path}" for key in _SDK}
    yield _Place(names, read_pair(), str(path), path, read_pair)


def _variables(environ: Mapping[str, str], names: Mapping[str, str]) -> _Place:
    return _Place(names, {key: environ.get(name, "") for key, name in names.items()})


def _source(place: _Place, method: str) -> Source | None:
    """The source for a place's credential of a kind that ``method`` allows: a token first."""

    def reload() -> Source | None:
        values = place.values if place.reread is None else place.reread()
        return _source(replace(place, values=values), method)

    again = None if place.reread is None else reload
    if method != "aksk":
        if token := place.text("token"):
            return Source(place.name or place.names["token"], "token", token, place.file, again)
        if place.values.get("token_file"):
            path = expanded(str(place.values["token_file"]), place.names["token_file"])
            name = f"token file {path}"
            if is_regular(path):
                return Source(name, "token", read_token_file(path), path, reload)
            # A pipe can be read only once, and its writer may be slow: read it when it is needed.
            return Source(name, "token", lambda: read_token_file(path))
        if "token_command" in place.values:
            return _token_command(place)
    if method != "token" and (key := _key_pair(place)):
        name = place.name or f"{place.names['ak']} and {place.names['sk']}"
        return Source(name, "key pair", key, place.file, again)
    return None


def _token_command(place: _Place) -> Source:
    words = place.values["token_command"]
    if not (isinstance(words, list) and words and all(isinstance(word, str) for word in words)):
        raise ConfigurationError(f"{place.names['token_command']} is not an array of strings")
    from dlftask.auth.token_command import TokenCommand

    name = f"token_command of {place.name}"
    command = TokenCommand(words, name)
    source = Source(name, "token", command.run, reload=lambda: source, close=command.close)
    return source


def _key_pair(place: _Place) -> AccessKey | None:
    access_key, secret_key = place.text("ak"), place.text("sk")
    if access_key is None and secret_key is None:
        return None
    if access_key is None or secret_key is None:
        there, missing = ("sk", "ak") if access_key is None else ("ak", "sk")
        raise ConfigurationError(
            f"half a key pair: {place.names[there]} is set, but {place.names[missing]} is not",
            hint=f"set {place.names[missing]}, or remove {place.names[there]}",
        )
    return AccessKey(access_key, secret_key, place.text("security_token"))
