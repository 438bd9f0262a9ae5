"""What may be set together, and that settings stay as they are."""

import pytest
from pydantic import ValidationError

from legato.server.auth_settings import ApiKey, AuthSettings, LimitsOfKey
from legato.server.settings import Limits, Listen, ServerSettings

HASH = f"sha256:{'0' * 64}"

ELSEWHERE = [
    *("*", "0.0.0.0", "::", "[::]", "192.168.1.5", "128.0.0.1", "126.255.255.255", "::2", "fe80::1"),
    *("::ffff:127.0.0.1", "127.1", "7f.1"),
    *("example.com", "localhost.example.com", "my.localhost", "localhost."),
]


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        ServerSettings().listen.port = 1


class TestWithoutKeys:
    @pytest.mark.parametrize(
        "host", ["localhost", "127.0.0.1", "127.0.0.2", "127.255.255.254", "::1", "[::1]", "0:0:0:0:0:0:0:1"]
    )
    def test_the_server_may_listen_on_loopback(self, host: str) -> None:
        settings = ServerSettings(auth=AuthSettings(required=False), listen=Listen(host=host))
        assert not settings.auth.required

    @pytest.mark.parametrize("host", ELSEWHERE)
    def test_the_server_listens_nowhere_else(self, host: str) -> None:
        with pytest.raises(ValidationError, match=r"auth\.required = false \(--no-auth\)"):
            ServerSettings(auth=AuthSettings(required=False), listen=Listen(host=host))
        assert ServerSettings(listen=Listen(host=host)).auth.required


class TestLimitsOfKeys:
    @pytest.mark.parametrize(
        ("own", "whole"),
        [
            (LimitsOfKey(calls=11), Limits(calls=10)),
            (LimitsOfKey(audio_rate=5), Limits(audio_rate=4)),
            (LimitsOfKey(event_bytes=4097), Limits(event_bytes=4096)),
            (LimitsOfKey(session_seconds=61), Limits(session_seconds=60)),
        ],
    )
    def test_do_not_exceed_those_of_the_server(self, own: LimitsOfKey, whole: Limits) -> None:
        keys = (ApiKey(name="web", hash=HASH, limits=own),)
        with pytest.raises(ValidationError, match=r"of the key web in auth\.keys exceeds limits"):
            ServerSettings(auth=AuthSettings(keys=keys), limits=whole)

    def test_may_bound_what_the_server_leaves_open(self) -> None:
        keys = (ApiKey(name="web", hash=HASH, limits=LimitsOfKey(session_seconds=60)),)
        settings = ServerSettings(auth=AuthSettings(keys=keys), limits=Limits(session_seconds=0))
        assert settings.auth.keys[0].limits.session_seconds == 60


class TestKeys:
    def test_have_names_of_their_own(self) -> None:
        keys = [{"name": "a", "hash": HASH}, {"name": "a", "hash": HASH.replace("0", "1")}]
        with pytest.raises(ValidationError, match=r"auth\.keys names a twice"):
            AuthSettings.model_validate({"keys": keys})

    def test_are_not_listed_under_two_names(self) -> None:
        with pytest.raises(ValidationError, match=r"one key under two names"):
            AuthSettings.model_validate({"keys": [{"name": "a", "hash": HASH}, {"name": "b", "hash": HASH}]})

    @pytest.mark.parametrize("name", ["", "-a", "a b", "a\nb", "é", "a" * 65])
    def test_have_names_that_are_safe_in_a_log(self, name: str) -> None:
        with pytest.raises(ValidationError):
            ApiKey(name=name, hash=HASH)

    @pytest.mark.parametrize(
        "text", ["", "0" * 64, "sha256:" + "0" * 63, "sha256:" + "G" * 64, "md5:" + "0" * 64]
    )
    def test_need_a_hash(self, text: str) -> None:
        with pytest.raises(ValidationError, match="a hash is sha256: and 64 hexadecimal digits"):
            ApiKey(name="web", hash=text)

    def test_are_allowed_events_that_exist(self) -> None:
        with pytest.raises(
            ValidationError, match=r"'response\.creat' is no client event; did you mean response\.create\?"
        ):
            ApiKey(name="web", hash=HASH, permissions=("session.update", "response.creat"))
        with pytest.raises(ValidationError, match=r"'x' is no client event; known are session\.update, "):
            ApiKey(name="web", hash=HASH, permissions=("x",))
