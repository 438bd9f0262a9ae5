"""Who may call and what they are allowed; must not know connections, HTTP or sessions.

`Authority.admit` turns the token that a caller shows into a `Grant`. There are two kinds of token: API keys,
which the settings list as hashes, and client secrets (``ek_...``), which an API key's holder has made for
browsers and other places where a key would not stay secret. A client secret allows at most what its key
allows now, and ends with it. Calls are counted by key, whichever kind of token they came with.

Tokens appear in no log and no message; a few characters of a mistaken key do, so that it can be found.
"""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import urlsplit

import structlog

from legato.core.dialects.realtime.errors import EventRefused
from legato.core.dialects.realtime.session_settings import SessionDefaults, SessionSettings, SessionType
from legato.core.errors import LegatoError, LocalProtocolError
from legato.core.wire.messages import JsonObject
from legato.server.auth_secret import SECRET_PREFIX, Claims, SecretRefused, SigningSecrets
from legato.server.auth_settings import ApiKey, hash_of_key
from legato.server.settings import ServerSettings
from legato.trust import API_KEY_PREFIX, is_api_key, is_loopback

__all__ = [
    "MAX_SECRET_SECONDS",
    "MIN_SECRET_SECONDS",
    "Authority",
    "ClientSecret",
    "Grant",
    "KeyLimits",
    "Unauthorized",
    "bearer_token",
]

MIN_SECRET_SECONDS = 10
MAX_SECRET_SECONDS = 7200
"""Lifetimes of a client secret, as OpenAI's `expires_after.seconds` allows them."""

MAX_TOKEN_CHARS = 8192
"""A longer token is refused unseen."""

DEVELOPMENT_NAME = "development"
"""Name of the key that the server makes for its own user."""

ANYONE = "anyone"
"""Name of callers without a key, where none is required."""

_FINGERPRINT_DIGITS = 16
_SHOWN_CHARS = len(API_KEY_PREFIX) + 4

log = structlog.get_logger(__name__)


class Unauthorized(LegatoError):  # noqa: N818 - named after what happened
    """A caller is turned away: `status` is 401 (who are you), 403 (you may not) or 429 (too many calls).

    On a native session it becomes the close code UNAUTHORIZED, or OVERLOADED for 429.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        """Take the HTTP status, OpenAI's error code and one sentence for the caller."""
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message

    @property
    def type(self) -> str:
        """OpenAI's error type."""
        return "rate_limit_error" if self.status == 429 else "invalid_request_error"

    def as_json(self) -> JsonObject:
        """The body of the HTTP answer, in OpenAI's shape."""
        error = {"message": self.message, "type": self.type, "param": None, "code": self.code}
        return {"error": error}


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyLimits:
    """What the callers of one key may cost."""

    calls: int
    """Calls at once, all callers of the key together."""
    audio_rate: int
    """Sustained speed of a call's incoming audio, in multiples of real time."""
    event_bytes: int
    """Largest client event."""
    session_seconds: float
    """Longest call; 0 sets no limit."""


class ClientSecret(NamedTuple):
    """A client secret as it is handed out."""

    value: str
    expires_at: int
    """Seconds since 1970."""


@dataclass(slots=True)
class _Account:
    """An API key that is accepted, and the calls that run on it."""

    name: str
    hash: str
    limits: KeyLimits
    permissions: frozenset[str] | None
    calls: int = 0

    @property
    def fingerprint(self) -> str:
        return self.hash.partition(":")[2][:_FINGERPRINT_DIGITS]


@dataclass(slots=True, eq=False, kw_only=True)
class Grant:
    """What one caller may do. Made by `Authority.admit`; a caller who begins a call enters with it."""

    name: str
    """Name of the API key; of a client secret, of the key it was made with."""
    limits: KeyLimits
    permissions: frozenset[str] | None = None
    """Client events (by type) that are allowed; None allows all."""
    session: JsonObject | None = None
    """Session settings that a client secret brings, as given to `Authority.issue`."""
    secret: str | None = None
    """Identity of the client secret (never its text); None for an API key."""
    _account: _Account = field(repr=False)
    _entered: bool = field(default=False, init=False, repr=False)

    @property
    def holder(self) -> str:
        """Who has this grant, in words that show no key: two grants with the same were given to one."""
        return "/".join((self.name, self._account.fingerprint, self.secret or ""))

    def allows(self, event_type: str) -> bool:
        """Whether the caller may send client events of this type."""
        return self.permissions is None or event_type in self.permissions

    def settings(
        self, defaults: SessionDefaults, kind: SessionType = "realtime", model: str | None = None
    ) -> SessionSettings:
        """What a session of this caller begins with, who asked for `kind` and `model`.

        What a client secret's session says comes first. Raises `Unauthorized` (403) when they asked for
        another kind of session than it is for.
        """
        if self.session is None:
            return SessionSettings.of(kind, model, defaults)
        given = self.session.get("type")
        if kind == "transcription" and given != kind:
            raise Unauthorized(
                403, "insufficient_permissions", "the client secret is for realtime sessions only"
            )
        named = {"model": model} if given == "realtime" and model is not None else {}
        try:
            return SessionSettings.requested(named | self.session, defaults)
        except EventRefused as refusal:
            # It was valid when the secret was made, by another version or with other settings of the server.
            raise Unauthorized(
                401, "invalid_client_secret", f"the client secret's session is not possible here: {refusal}"
            ) from None

    def enter(self) -> None:
        """Count a call. Raises `Unauthorized` (429) when the key has as many as it may."""
        if self._entered:
            raise LocalProtocolError("this grant has a call already; admit every caller anew")
        if self._account.calls >= self.limits.calls:
            raise Unauthorized(
                429,
                "rate_limit_exceeded",
                f"the key {self.name} has as many calls in progress as it may ({self.limits.calls}): end one,"
                " or try again later",
            )
        self._account.calls += 1
        self._entered = True

    def leave(self) -> None:
        """The call is over. Without effect if none was entered."""
        if self._entered:
            self._account.calls -= 1
            self._entered = False

    def may_attend(self, call: Grant) -> bool:
        """Whether this caller may attach to a call that began with the grant `call` (`?call_id=`).

        A key may attend every call made with it or its client secrets, a client secret only its own.
        """
        return call._account is self._account and self.secret in (None, call.secret)


class Authority:
    """Decides who may call."""

    def __init__(
        self,
        settings: ServerSettings,
        clock: Callable[[], float] = time.time,
        development_key: str | None = None,
    ) -> None:
        """Accept the keys of `settings.auth`, or else `development_key`; `clock` gives seconds since 1970."""
        auth, limits = settings.auth, settings.limits
        self.required = auth.required
        self._clock = clock
        self._most = KeyLimits(
            calls=limits.calls,
            audio_rate=limits.audio_rate,
            event_bytes=limits.event_bytes,
            session_seconds=limits.session_seconds,
        )
        self._accounts = [self._account(key) for key in auth.keys]
        if development_key is not None:
            self._accounts.append(
                _Account(DEVELOPMENT_NAME, hash_of_key(development_key), self._most, permissions=None)
            )
        self._anyone = _Account(ANYONE, "", self._most, permissions=None)
        self._lasting = bool(auth.secrets)
        self._signing = SigningSecrets(
            [secret.get_secret_value().encode() for secret in auth.secrets] or [secrets.token_bytes(32)]
        )

    def replace_secrets(self, signing: Sequence[bytes]) -> None:
        """Sign client secrets with the first of these from now on, and accept all of them."""
        self._signing.replace(signing)

    def admit(self, token: str | None, origin: str | None = None) -> Grant:
        """What the holder of `token` may do; `origin` is the web page's, if a browser sent one.

        Raises `Unauthorized` with a sentence that may be shown to the caller.
        """
        if not self.required:
            self._check_origin(origin)
        if not token:
            if self.required:
                raise Unauthorized(
                    401,
                    "missing_api_key",
                    "an API key is needed and none was shown: send it as `Authorization: Bearer KEY`, or as"
                    " the token of a native hello",
                )
            return self._grant(self._anyone)
        if len(token) > MAX_TOKEN_CHARS:
            raise Unauthorized(401, "invalid_api_key", "the API key is far too long to be one")
        if token.startswith(SECRET_PREFIX):
            # Also where no key is required: without its settings the call would not be the one it stands for.
            return self._admit_secret(token)
        account = self._account_of(token)
        if account is not None:
            return self._grant(account)
        if not self.required:
            return self._grant(self._anyone)
        raise Unauthorized(401, "invalid_api_key", f"the API key {_shown(token)} is not known here")

    def issue(
        self,
        grant: Grant,
        session: JsonObject | None,
        seconds: int,
        permissions: Iterable[str] | None = None,
    ) -> ClientSecret:
        """Make a client secret that opens calls for `seconds` (10 to 7200), as often as its holder likes.

        `session` are settings that its calls begin with; `permissions` narrows what `grant` allows. Raises
        `Unauthorized` (403) for a grant that may not make one, or not with a session; `LocalProtocolError`
        for a session too large.
        """
        if grant.secret is not None:
            raise Unauthorized(
                403, "insufficient_permissions", "a client secret cannot make another: use the API key"
            )
        if session is not None and not grant.allows("session.update"):
            raise Unauthorized(
                403,
                "insufficient_permissions",
                f"the key {grant.name} does not allow session.update, nor a client secret with a session",
            )
        if not MIN_SECRET_SECONDS <= seconds <= MAX_SECRET_SECONDS:
            raise LocalProtocolError(
                f"a client secret lasts {MIN_SECRET_SECONDS} to {MAX_SECRET_SECONDS} seconds, not {seconds}"
            )
        if not self._lasting:
            self._lasting = True
            log.warning("client secrets end with this process: set auth.secrets to keep them")
        allowed = _narrowed(grant.permissions, None if permissions is None else frozenset(permissions))
        claims = Claims(
            id=secrets.token_urlsafe(9),
            name=grant.name,
            key=grant._account.fingerprint,
            expires_at=int(self._clock()) + seconds,
            permissions=None if allowed is None else tuple(sorted(allowed)),
            session=session,
        )
        return ClientSecret(self._signing.seal(claims), claims.expires_at)

    def _account(self, key: ApiKey) -> _Account:
        own, most = key.limits, self._most
        limits = KeyLimits(
            calls=own.calls or most.calls,
            audio_rate=own.audio_rate or most.audio_rate,
            event_bytes=own.event_bytes or most.event_bytes,
            session_seconds=own.session_seconds or most.session_seconds,
        )
        permissions = None if key.permissions is None else frozenset(key.permissions)
        return _Account(key.name, key.hash, limits, permissions)

    def _account_of(self, token: str) -> _Account | None:
        """The account of an API key. Every hash is compared, in constant time, whichever fits."""
        shown = hash_of_key(token)
        fitting = [account for account in self._accounts if hmac.compare_digest(account.hash, shown)]
        return fitting[0] if fitting else None

    def _admit_secret(self, token: str) -> Grant:
        try:
            claims = self._signing.open(token)
        except SecretRefused as refusal:
            raise Unauthorized(401, "invalid_client_secret", str(refusal)) from None
        late = self._clock() - claims.expires_at
        if late >= 0:
            raise Unauthorized(
                401,
                "expired_client_secret",
                f"the client secret expired {int(late)} seconds ago: get a new one",
            )
        accounts = self._accounts if self.required else [*self._accounts, self._anyone]
        for account in accounts:
            if (account.name, account.fingerprint) == (claims.name, claims.key):
                return self._grant(account, claims)
        raise Unauthorized(
            401,
            "invalid_client_secret",
            "the API key that the client secret was made with is no longer accepted: get a new one",
        )

    def _grant(self, account: _Account, claims: Claims | None = None) -> Grant:
        if claims is None:
            return Grant(
                name=account.name, limits=account.limits, permissions=account.permissions, _account=account
            )
        asked = None if claims.permissions is None else frozenset(claims.permissions)
        return Grant(
            name=account.name,
            limits=account.limits,
            permissions=_narrowed(account.permissions, asked),
            session=claims.session,
            secret=claims.id,
            _account=account,
        )

    def _check_origin(self, origin: str | None) -> None:
        """Without keys, any page in this machine's browser could call: only pages of this machine may."""
        if origin is not None and not is_loopback(_host(origin)):
            raise Unauthorized(
                403,
                "origin_not_allowed",
                "this server asks for no key, and so takes calls from pages of this machine only",
            )


def bearer_token(authorization: str | None) -> str | None:
    """The token of an `Authorization` header (RFC 6750 §2.1); None if there is none in it."""
    scheme, _, token = (authorization or "").strip().partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def _narrowed(most: frozenset[str] | None, asked: frozenset[str] | None) -> frozenset[str] | None:
    """What both allow; None allows all."""
    if most is None or asked is None:
        return most if asked is None else asked
    return most & asked


def _host(origin: str) -> str:
    try:
        return urlsplit(origin).hostname or ""
    except ValueError:
        return ""


def _shown(token: str) -> str:
    """A few characters of a mistaken key; of what is no key of ours, nothing."""
    if not is_api_key(token):
        return f"(which is no {API_KEY_PREFIX}... key)"
    return f"{token[:_SHOWN_CHARS]}..."
