"""`legato api-key new`: what it prints is what a server accepts."""

import json
from pathlib import Path

import pytest

from legato.cli.__main__ import main
from legato.server.auth import Authority
from legato.server.development_key import keep_development_key
from legato.server.settings_sources import load_settings


def test_what_is_printed_makes_a_server_accept_the_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["api-key", "new", "web"]) == 0
    key, _, rest = capsys.readouterr().out.partition("\n")
    config = tmp_path / "legato.toml"
    config.write_text(rest[rest.index("[[auth.keys]]") :])
    settings = load_settings(config=config)
    assert Authority(settings).admit(key).name == "web"
    assert key not in config.read_text()


def test_for_programs_it_is_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["api-key", "new", "batch.1", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    auth = {"auth": {"keys": [{"name": told["name"], "hash": told["hash"]}]}}
    assert Authority(load_settings(auth)).admit(told["key"]).name == "batch.1"


def test_every_key_is_another(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        main(["api-key", "new", "web"])
    lines = capsys.readouterr().out.splitlines()
    assert (
        len([line for line in lines if line.startswith("lg_")])
        == len({line for line in lines if line.startswith("lg_")})
        == 2
    )


@pytest.mark.parametrize("name", ["", "a b", 'x"\n[listen]', "é", "a" * 65])
def test_a_name_that_is_none(capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert main(["api-key", "new", name]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"legato: {name!r} cannot be the name of a key")
    assert len(printed.err.splitlines()) == 1


def test_the_development_key_is_the_one_a_server_keeps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert main(["api-key", "development"]) == 0
    assert capsys.readouterr().out == f"{keep_development_key()}\n"


def test_alone_it_says_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    main(["api-key"])
    printed = capsys.readouterr()
    assert "new" in printed.out + printed.err
