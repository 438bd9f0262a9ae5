"""Where settings come from, which source wins, and the one sentence said about each mistake."""

import json
from pathlib import Path

import pytest

from legato.core.errors import SettingsError
from legato.server.settings import Limits, Listen, ServerSettings
from legato.server.settings_sources import load_settings


class TestSources:
    def test_nothing_set_gives_the_defaults(self) -> None:
        settings = load_settings()
        assert settings == ServerSettings()
        assert settings.listen == Listen(host="localhost", port=4433)
        assert settings.agent == "assistant"
        assert settings.tls.development

    def test_construction_reads_no_source(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("LEGATO_LISTEN__PORT", "5000")
        assert ServerSettings().listen.port == 4433

    def test_flags_beat_the_environment_beats_the_file_beats_defaults(
        self, config: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        config.write_text('agent = "echo"\n[listen]\nhost = "*"\nport = 1\n[log]\nlevel = "debug"\n')
        monkeypatch.setenv("LEGATO_LISTEN__PORT", "2")
        monkeypatch.setenv("LEGATO_LOG__LEVEL", "error")
        settings = load_settings({"listen.port": 3, "agent": None}, config)
        assert (settings.agent, settings.listen.host) == ("echo", "*")
        assert (settings.listen.port, settings.log.level) == (3, "error")
        assert settings.limits == Limits()

    def test_the_file_may_be_named_by_the_environment(
        self, config: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        config.write_text("drain_seconds = 7\n")
        monkeypatch.setenv("LEGATO_CONFIG", str(config))
        assert load_settings().drain_seconds == 7
        other = config.with_name("other.toml")
        other.write_text("drain_seconds = 8\n")
        assert load_settings(config=other).drain_seconds == 8

    def test_a_file_may_begin_with_a_byte_order_mark(self, config: Path) -> None:
        config.write_bytes(b"\xef\xbb\xbf[listen]\nport = 5000\n")
        assert load_settings(config=config).listen.port == 5000

    def test_keys_and_secrets_are_json_in_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        keys = [{"name": "web", "hash": f"sha256:{'0' * 64}", "limits": {"calls": 3}}]
        monkeypatch.setenv("LEGATO_AUTH__KEYS", json.dumps(keys))
        monkeypatch.setenv("LEGATO_AUTH__SECRETS", json.dumps(["s" * 32]))
        auth = load_settings().auth
        assert (auth.keys[0].name, auth.keys[0].limits.calls) == ("web", 3)
        assert auth.secrets[0].get_secret_value() == "s" * 32

    @pytest.mark.parametrize("name", ["LEGATO_AUTH", "LEGATO_AUTH__KEYS", "LEGATO_AUTH__SECRETS"])
    def test_what_is_no_json_there_is_not_repeated(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        monkeypatch.setenv(name, "lg_private")
        with pytest.raises(SettingsError, match="must hold JSON") as caught:
            load_settings()
        assert "lg_private" not in str(caught.value)

    def test_empty_variables_and_those_of_a_cluster_are_no_settings(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("LEGATO_LISTEN__PORT", "")
        monkeypatch.setenv("LEGATO_PORT", "tcp://10.0.0.1:4433")
        monkeypatch.setenv("LEGATO_SERVICE_HOST", "10.0.0.1")
        assert load_settings() == ServerSettings()


class TestMistakes:
    @pytest.mark.parametrize(
        ("toml", "sentence"),
        [
            ("[listen]\nprot = 1", "unknown setting listen.prot (in {file}); did you mean listen.port?"),
            ("[listn]\nport = 1", "unknown setting listn (in {file}); did you mean listen?"),
            ("listen = 4", "listen (in {file}) is a group of settings: set its keys one by one"),
            (
                "[listen]\nport = 70000",
                "listen.port = 70000 (in {file}) cannot be used: it must be less than or equal to 65535",
            ),
            (
                '[log]\nformat = "loud"',
                "log.format = 'loud' (in {file}) cannot be used: it must be 'auto', 'console' or 'json'",
            ),
            (
                '[tls]\ncert = "a.pem"',
                "tls.cert needs tls.key beside it, or neither for a development certificate (in {file})",
            ),
            (
                '[tls]\nkey = "a.pem"',
                "tls.key needs tls.cert beside it, or neither for a development certificate (in {file})",
            ),
            (
                "[engine]\ninitial_mtu = 1500",
                "engine.initial_mtu must not exceed engine.mtu_upper_bound (1452) (in {file})",
            ),
        ],
    )
    def test_in_the_file(self, config: Path, toml: str, sentence: str) -> None:
        config.write_text(toml)
        with pytest.raises(SettingsError) as caught:
            load_settings(config=config)
        assert str(caught.value) == sentence.format(file=config)

    def test_a_secret_is_not_repeated(self, config: Path) -> None:
        config.write_text("[assistant]\nstt_key = 123456")
        with pytest.raises(SettingsError) as caught:
            load_settings(config=config)
        assert "assistant.stt_key = the given value (hidden)" in str(caught.value)
        assert "123456" not in str(caught.value)

    def test_of_the_assistant_names_its_group(self, config: Path) -> None:
        config.write_text('[assistant]\nstt = "openai"')
        with pytest.raises(SettingsError, match=r"^assistant: stt openai needs stt_url"):
            load_settings(config=config)

    @pytest.mark.parametrize(
        ("toml", "sentence"),
        [
            ('[auth]\nkeys = "lg_private"', "auth.keys = the given value (hidden) (in {file})"),
            ('[auth]\nkeys = ["lg_private"]', "auth.keys.0 (in {file}) is a group of settings"),
            ('[[auth.keys]]\nname = "web"', "auth.keys.0.hash is missing (in {file})"),
            (
                '[[auth.keys]]\nname = "web"\nhash = "lg_private"',
                "auth.keys.0.hash: a hash is sha256: and 64 hexadecimal digits",
            ),
            (
                '[[auth.keys]]\nname = "web"\nhsh = "lg_private"',
                "unknown setting auth.keys.0.hsh (in {file}); did you mean auth.keys.0.hash?",
            ),
            (
                '[[auth.keys]]\nname = "lg private"\nhash = "lg_private"',
                "auth.keys.0.name = the given value (hidden) (in {file}) cannot be used",
            ),
            ('[auth]\nsecrets = ["lg_private"]', "auth.secrets needs at least 32 random characters"),
            ('[auth]\nsecrets = "lg_private"', "auth.secrets = the given value (hidden) (in {file})"),
            (
                "[auth]\nrequired = 7",
                "auth.required = 7 (in {file}) cannot be used: it must be a valid boolean",
            ),
        ],
    )
    def test_of_keys_never_repeats_one(self, config: Path, toml: str, sentence: str) -> None:
        config.write_text(toml)
        with pytest.raises(SettingsError) as caught:
            load_settings(config=config)
        assert sentence.format(file=config) in str(caught.value)
        assert "lg_private" not in str(caught.value)
        assert len(str(caught.value).splitlines()) == 1

    def test_of_the_second_key_is_found_in_the_file(self, config: Path) -> None:
        good = f'[[auth.keys]]\nname = "a"\nhash = "sha256:{"0" * 64}"\n'
        config.write_text(good + '[[auth.keys]]\nname = "b"\nhash = "sha256:1"\n')
        with pytest.raises(SettingsError, match=r"^auth\.keys\.1\.hash: .* \(in "):
            load_settings(config=config)

    def test_of_two_settings_together_blames_no_single_source(self) -> None:
        with pytest.raises(
            SettingsError, match=r"^auth\.required = false .* not '\*': leave it out, or listen there$"
        ):
            load_settings({"auth.required": False, "listen.host": "*"})

    def test_a_key_like_no_other_lists_the_known_ones(self, config: Path) -> None:
        config.write_text("[listen]\nzzz = 1")
        with pytest.raises(SettingsError, match=r"known are listen\.host, listen\.port"):
            load_settings(config=config)

    @pytest.mark.parametrize(
        ("name", "value", "sentence"),
        [
            (
                "LEGATO_LISTEN__PORT",
                "x",
                r"listen\.port = 'x' \(LEGATO_LISTEN__PORT\) cannot be used: it must be a",
            ),
            ("LEGATO_LISTEN__PROT", "1", r"unknown setting listen\.prot .*; did you mean listen\.port\?"),
            (
                "LEGATO_LISTN__PORT",
                "1",
                r"variable LEGATO_LISTN__PORT names no group .*; did you mean LEGATO_LISTEN\?",
            ),
            ("LEGATO_LISTEN", "{", "a variable that sets a whole group must hold JSON"),
        ],
    )
    def test_in_the_environment(
        self, monkeypatch: pytest.MonkeyPatch, name: str, value: str, sentence: str
    ) -> None:
        monkeypatch.setenv(name, value)
        with pytest.raises(SettingsError, match=sentence):
            load_settings()

    def test_on_the_command_line(self) -> None:
        with pytest.raises(SettingsError, match=r"^listen\.port = -1 \(--port\) cannot be used"):
            load_settings({"listen.port": -1})

    @pytest.mark.parametrize(
        ("content", "sentence"),
        [
            (None, "cannot read the settings file"),
            (b"=", "is not valid TOML"),
            (b"\xff", "is not text in UTF-8"),
        ],
    )
    def test_a_file_that_is_none(self, config: Path, content: bytes | None, sentence: str) -> None:
        if content is not None:
            config.write_bytes(content)
        with pytest.raises(SettingsError, match=sentence):
            load_settings(config=config)

    def test_every_sentence_is_one_line(self, config: Path) -> None:
        config.write_text('agent = ""\n')
        with pytest.raises(SettingsError) as caught:
            load_settings(config=config)
        assert len(str(caught.value).splitlines()) == 1
