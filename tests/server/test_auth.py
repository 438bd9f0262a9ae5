"""Who is let in, with what, and how many at once; who is turned away and what they are told."""

from __future__ import annotations

from typing import get_args

import pytest
from structlog.testing import capture_logs

from legato.core.dialects.realtime.session_settings import SessionDefaults, SessionSettings, SessionType
from legato.core.errors import LocalProtocolError
from legato.core.wire.messages import JsonObject
from legato.server.auth import ANYONE, DEVELOPMENT_NAME, Authority, Grant, Unauthorized, bearer_token
from legato.server.auth_settings import ApiKey, AuthSettings, LimitsOfKey, hash_of_key
from legato.server.settings import Limits, ServerSettings
from legato.trust import new_api_key

KEY = new_api_key()
OTHER_KEY = new_api_key()
SESSION = {"type": "realtime", "instructions": "Be brief."}
CREATE, CANCEL, UPDATE = "response.create", "response.cancel", "session.update"
SIGNING = "a signing secret that is long enough"


class Clock:
    """Seconds since 1970, as the test wants them."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def key(name: str = "web", text: str = KEY, **fields: object) -> ApiKey:
    return ApiKey.model_validate({"name": name, "hash": hash_of_key(text), **fields})


def settings(*keys: ApiKey, required: bool = True, secrets: tuple[str, ...] = (SIGNING,)) -> ServerSettings:
    auth = AuthSettings.model_validate({"required": required, "keys": keys, "secrets": secrets})
    return ServerSettings(
        auth=auth, limits=Limits(calls=5, audio_rate=3, event_bytes=4096, session_seconds=600)
    )


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def authority(clock: Clock) -> Authority:
    return Authority(settings(key(), key("other", OTHER_KEY)), clock)


def refused(authority: Authority, token: str | None, origin: str | None = None) -> Unauthorized:
    with pytest.raises(Unauthorized) as caught:
        authority.admit(token, origin)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert not token or token not in message
    return caught.value


class TestKeys:
    def test_one_that_is_listed_is_admitted_by_its_name(self, authority: Authority) -> None:
        grant = authority.admit(KEY)
        assert (grant.name, grant.permissions, grant.session, grant.secret) == ("web", None, None, None)
        assert authority.admit(OTHER_KEY).name == "other"

    def test_the_limits_are_the_servers_but_for_the_keys_own(self) -> None:
        own = LimitsOfKey(calls=2, session_seconds=60)
        grant = Authority(settings(key(limits=own))).admit(KEY)
        limits = grant.limits
        assert (limits.calls, limits.session_seconds) == (2, 60)
        assert (limits.audio_rate, limits.event_bytes) == (3, 4096)

    def test_permissions_are_a_list_of_events(self) -> None:
        grant = Authority(settings(key(permissions=("response.create",)))).admit(KEY)
        assert grant.allows("response.create")
        assert not grant.allows("session.update")
        assert Authority(settings(key())).admit(KEY).allows("session.update")

    def test_none_at_all_is_401_and_says_how_to_send_one(self, authority: Authority) -> None:
        for nothing in (None, ""):
            refusal = refused(authority, nothing)
            assert (refusal.status, refusal.code) == (401, "missing_api_key")
            assert "Authorization: Bearer" in refusal.message

    def test_an_unknown_one_is_401_and_shown_by_its_first_characters(self, authority: Authority) -> None:
        unknown = new_api_key()
        refusal = refused(authority, unknown)
        assert (refusal.status, refusal.code) == (401, "invalid_api_key")
        assert f"{unknown[:7]}..." in refusal.message
        assert unknown[:8] not in refusal.message

    @pytest.mark.parametrize(
        "token",
        [
            "sk-proj-abcdefgh",
            "lg_short",
            KEY + "x",
            KEY[:-1],
            f"{KEY}\n",
            "\ud800",
            "é" * 20,
            "x" * 9000,
        ],
        ids=["OpenAI's", "short", "longer", "shorter", "with newline", "surrogate", "not ASCII", "very long"],
    )
    def test_what_is_no_key_of_ours_is_not_shown_at_all(self, authority: Authority, token: str) -> None:
        refusal = refused(authority, token)
        assert (refusal.status, refusal.code) == (401, "invalid_api_key")
        assert token[:5] not in refusal.message

    def test_the_development_key_is_one_when_it_is_given(self) -> None:
        authority = Authority(settings(), development_key=KEY)
        assert authority.admit(KEY).name == DEVELOPMENT_NAME
        assert refused(authority, OTHER_KEY).status == 401

    def test_without_any_key_nobody_is_admitted(self) -> None:
        assert refused(Authority(settings()), KEY).status == 401

    def test_a_grant_shows_no_key(self, authority: Authority) -> None:
        assert hash_of_key(KEY)[7:20] not in repr(authority.admit(KEY))

    def test_a_refusal_is_openais_error(self, authority: Authority) -> None:
        refusal = refused(authority, None)
        assert refusal.as_json() == {
            "error": {
                "message": refusal.message,
                "type": "invalid_request_error",
                "param": None,
                "code": "missing_api_key",
            }
        }


class TestCalls:
    def test_are_counted_by_key(self) -> None:
        authority = Authority(settings(key(limits=LimitsOfKey(calls=2)), key("other", OTHER_KEY)))
        first, second, third = (authority.admit(KEY) for _ in range(3))
        first.enter()
        second.enter()
        with pytest.raises(
            Unauthorized, match=r"the key web has as many calls in progress as it may \(2\)"
        ) as caught:
            third.enter()
        assert (caught.value.status, caught.value.type) == (429, "rate_limit_error")
        authority.admit(OTHER_KEY).enter()
        first.leave()
        third.enter()

    def test_end_once(self) -> None:
        authority = Authority(settings(key(limits=LimitsOfKey(calls=1))))
        grant = authority.admit(KEY)
        grant.leave()
        grant.enter()
        grant.leave()
        grant.leave()
        authority.admit(KEY).enter()
        with pytest.raises(Unauthorized):
            authority.admit(KEY).enter()

    def test_take_a_grant_each(self, authority: Authority) -> None:
        grant = authority.admit(KEY)
        grant.enter()
        with pytest.raises(LocalProtocolError, match="admit every caller anew"):
            grant.enter()

    def test_of_client_secrets_count_for_their_key(self) -> None:
        authority = Authority(settings(key(limits=LimitsOfKey(calls=1))))
        secret = authority.issue(authority.admit(KEY), None, 600)
        authority.admit(secret.value).enter()
        with pytest.raises(Unauthorized):
            authority.admit(KEY).enter()


class TestClientSecrets:
    def test_bring_their_session_and_the_limits_of_their_key(self, clock: Clock) -> None:
        authority = Authority(settings(key(limits=LimitsOfKey(calls=2))), clock)
        secret = authority.issue(authority.admit(KEY), SESSION, 600)
        assert secret.value.startswith("ek_")
        assert secret.expires_at == 1_800_000_600
        grant = authority.admit(secret.value)
        assert (grant.name, grant.session, grant.limits.calls) == ("web", SESSION, 2)
        assert grant.secret is not None
        assert grant.secret not in (secret.value, "")

    def test_open_many_calls_until_they_expire(self, authority: Authority, clock: Clock) -> None:
        value, _ = authority.issue(authority.admit(KEY), None, 10)
        clock.now += 9.999
        running = authority.admit(value)
        running.enter()
        authority.admit(value).enter()
        clock.now += 0.001
        refusal = refused(authority, value)
        assert (refusal.status, refusal.code) == (401, "expired_client_secret")
        assert "expired 0 seconds ago" in refusal.message
        assert running.allows("response.create")

    @pytest.mark.parametrize("seconds", [-1, 0, 9, 7201])
    def test_last_ten_seconds_to_two_hours(self, authority: Authority, seconds: int) -> None:
        with pytest.raises(LocalProtocolError, match=f"10 to 7200 seconds, not {seconds}"):
            authority.issue(authority.admit(KEY), None, seconds)

    @pytest.mark.parametrize(
        ("most", "asked", "granted"),
        [
            (None, None, None),
            (None, {CREATE}, {CREATE}),
            ({CREATE, CANCEL}, None, {CREATE, CANCEL}),
            ({CREATE, CANCEL}, {CANCEL, UPDATE}, {CANCEL}),
            ({CREATE}, {CANCEL}, set()),
            (None, set(), set()),
        ],
    )
    def test_narrow_what_their_key_allows_and_never_widen_it(
        self, most: set[str] | None, asked: set[str] | None, granted: set[str] | None
    ) -> None:
        allowed = None if most is None else tuple(sorted(most))
        authority = Authority(settings(key(permissions=allowed)))
        secret = authority.issue(authority.admit(KEY), None, 600, permissions=asked)
        assert authority.admit(secret.value).permissions == (None if granted is None else frozenset(granted))

    def test_lose_what_their_key_has_lost_since(self, clock: Clock) -> None:
        before = Authority(settings(key()), clock)
        secret = before.issue(before.admit(KEY), None, 600, permissions=["response.create", "session.update"])
        after = Authority(settings(key(permissions=("response.create",))), clock)
        assert after.admit(secret.value).permissions == {"response.create"}

    @pytest.mark.parametrize(
        "keys", [[], [key("other", OTHER_KEY)], [key("web", OTHER_KEY)], [key("renamed")]]
    )
    def test_end_with_their_key(self, clock: Clock, keys: list[ApiKey]) -> None:
        before = Authority(settings(key()), clock)
        secret = before.issue(before.admit(KEY), None, 600)
        refusal = refused(Authority(settings(*keys), clock), secret.value)
        assert (refusal.status, refusal.code) == (401, "invalid_client_secret")
        assert "no longer accepted" in refusal.message

    def test_of_another_server_are_refused(self, authority: Authority, clock: Clock) -> None:
        secret = authority.issue(authority.admit(KEY), None, 600)
        other = Authority(settings(key(), secrets=("another signing secret, long enough",)), clock)
        refusal = refused(other, secret.value)
        assert (refusal.status, refusal.code) == (401, "invalid_client_secret")
        assert "signed by another server" in refusal.message

    def test_survive_the_server_when_it_has_a_lasting_secret(self, clock: Clock) -> None:
        before = Authority(settings(key()), clock)
        secret = before.issue(before.admit(KEY), None, 600)
        rotated = settings(key(), secrets=("the next signing secret of this test", SIGNING))
        assert Authority(rotated, clock).admit(secret.value).name == "web"

    def test_without_a_lasting_secret_end_with_the_server_and_the_log_says_so(self, clock: Clock) -> None:
        authority = Authority(settings(key(), secrets=()), clock)
        with capture_logs() as logs:
            secret = authority.issue(authority.admit(KEY), None, 600)
            authority.issue(authority.admit(KEY), None, 600)
        assert [line["event"] for line in logs] == [
            "client secrets end with this process: set auth.secrets to keep them"
        ]
        assert authority.admit(secret.value).name == "web"
        assert (
            "signed by another server"
            in refused(Authority(settings(key(), secrets=()), clock), secret.value).message
        )

    def test_bring_no_session_that_their_key_could_not_ask_for(self) -> None:
        authority = Authority(settings(key(permissions=(CREATE,))))
        owner = authority.admit(KEY)
        assert authority.admit(authority.issue(owner, None, 600).value).session is None
        with pytest.raises(Unauthorized, match=r"the key web does not allow session\.update, nor") as caught:
            authority.issue(owner, SESSION, 600)
        assert caught.value.status == 403

    def test_make_no_others(self, authority: Authority) -> None:
        secret = authority.issue(authority.admit(KEY), None, 600)
        with pytest.raises(Unauthorized, match="use the API key") as caught:
            authority.issue(authority.admit(secret.value), None, 600)
        assert caught.value.status == 403


class TestSettings:
    """What a session begins with."""

    DEFAULTS = SessionDefaults(model="usual", voice="usual")

    def grant(self, authority: Authority, session: JsonObject | None) -> Grant:
        return authority.admit(authority.issue(authority.admit(KEY), session, 600).value)

    def test_of_a_key_are_what_the_caller_asked_for(self, authority: Authority) -> None:
        for grant in (authority.admit(KEY), self.grant(authority, None)):
            assert grant.settings(self.DEFAULTS) == SessionSettings.of(defaults=self.DEFAULTS)
            assert grant.settings(self.DEFAULTS, model="mine").model == "mine"
            assert grant.settings(self.DEFAULTS, "transcription").type == "transcription"

    def test_of_a_client_secret_come_before_what_the_caller_asked_for(self, authority: Authority) -> None:
        session = {"type": "realtime", "model": "its own", "instructions": "Be brief."}
        settings = self.grant(authority, session).settings(self.DEFAULTS, model="mine")
        assert (settings.model, settings.instructions, settings.voice) == ("its own", "Be brief.", "usual")
        assert settings == SessionSettings.requested(session, self.DEFAULTS)

    def test_of_a_client_secret_leave_the_model_to_the_caller(self, authority: Authority) -> None:
        assert (
            self.grant(authority, {"type": "realtime"}).settings(self.DEFAULTS, model="mine").model == "mine"
        )

    def test_of_a_client_secret_for_transcription(self, authority: Authority) -> None:
        session = {"type": "transcription", "audio": {"input": {"turn_detection": None}}}
        for kind in get_args(SessionType):
            settings = self.grant(authority, session).settings(self.DEFAULTS, kind, "mine")
            assert (settings.type, settings.turn_detection) == ("transcription", None)

    def test_a_client_secret_serves_no_other_kind_of_session(self, authority: Authority) -> None:
        with pytest.raises(Unauthorized, match="for realtime sessions only") as caught:
            self.grant(authority, {"type": "realtime"}).settings(self.DEFAULTS, "transcription")
        assert caught.value.status == 403

    def test_a_client_secret_whose_session_is_not_possible_any_more(self, authority: Authority) -> None:
        with pytest.raises(Unauthorized, match="session is not possible here: Unknown parameter") as caught:
            self.grant(authority, {"type": "realtime", "gone": 1}).settings(self.DEFAULTS)
        assert caught.value.status == 401


@pytest.mark.parametrize(
    ("header", "token"),
    [
        (None, None),
        ("", None),
        ("Bearer", None),
        ("Bearer ", None),
        ("Basic abc", None),
        ("abc", None),
        ("Bearer abc", "abc"),
        ("bearer  abc ", "abc"),
    ],
)
def test_a_token_stands_behind_bearer(header: str | None, token: str | None) -> None:
    assert bearer_token(header) == token


class TestAttending:
    @pytest.fixture
    def grants(self, authority: Authority) -> dict[str, Grant]:
        owner = authority.admit(KEY)
        one, two = (authority.issue(owner, None, 600).value for _ in range(2))
        tokens = {"key": KEY, "other": OTHER_KEY, "one": one, "again": one, "two": two}
        return {name: authority.admit(token) for name, token in tokens.items()}

    @pytest.mark.parametrize(
        ("who", "call", "may"),
        [
            ("key", "key", True),
            ("key", "one", True),
            ("key", "other", False),
            ("other", "one", False),
            ("again", "one", True),
            ("two", "one", False),
            ("one", "key", False),
        ],
    )
    def test_a_key_attends_its_calls_and_a_secret_its_own(
        self, grants: dict[str, Grant], who: str, call: str, may: bool
    ) -> None:
        assert grants[who].may_attend(grants[call]) is may


class TestWithoutKeys:
    @pytest.fixture
    def authority(self, clock: Clock) -> Authority:
        return Authority(settings(key(limits=LimitsOfKey(calls=1)), required=False), clock)

    @pytest.mark.parametrize(
        "token",
        [None, "", "unused", OTHER_KEY, "sk-proj-abcdefgh"],
        ids=["none", "empty", "a word", "a key", "a key of OpenAI's"],
    )
    def test_anyone_is_admitted(self, authority: Authority, token: str | None) -> None:
        grant = authority.admit(token)
        assert (grant.name, grant.limits.calls) == (ANYONE, 5)

    def test_a_key_is_still_known_by_its_name(self, authority: Authority) -> None:
        grant = authority.admit(KEY)
        assert (grant.name, grant.limits.calls) == ("web", 1)

    def test_a_client_secret_brings_its_session(self, authority: Authority) -> None:
        secret = authority.issue(authority.admit(None), {"type": "realtime"}, 600)
        assert authority.admit(secret.value).session == {"type": "realtime"}

    def test_a_client_secret_of_anyone_is_worth_nothing_where_keys_are_needed(
        self, authority: Authority, clock: Clock
    ) -> None:
        secret = authority.issue(authority.admit(None), None, 600)
        assert refused(Authority(settings(key()), clock), secret.value).status == 401

    def test_a_client_secret_that_cannot_be_honoured_is_refused(
        self, authority: Authority, clock: Clock
    ) -> None:
        secret = authority.issue(authority.admit(None), None, 600)
        clock.now += 600
        assert refused(authority, secret.value).code == "expired_client_secret"

    @pytest.mark.parametrize(
        "origin",
        ["http://localhost", "https://localhost:8000", "http://127.0.0.1:3000", "http://[::1]:1", None],
    )
    def test_pages_of_this_machine_may_call(self, authority: Authority, origin: str | None) -> None:
        assert authority.admit(None, origin).name == ANYONE

    @pytest.mark.parametrize(
        "origin", ["https://example.com", "null", "", "http://localhost.example.com", "http://[", "file://"]
    )
    def test_other_pages_may_not(self, authority: Authority, origin: str) -> None:
        refusal = refused(authority, None, origin)
        assert (refusal.status, refusal.code) == (403, "origin_not_allowed")

    def test_with_keys_pages_of_any_place_may_call(self, clock: Clock) -> None:
        assert Authority(settings(key()), clock).admit(KEY, "https://example.com").name == "web"
