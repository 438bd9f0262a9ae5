"""Lists that people write."""

from contextlib import aclosing
from pathlib import Path

import pytest
from tests.lb.stages import SOON_S, FileStage

from legato.core.errors import SettingsError
from legato.lb.discovery.static import MAX_OCTETS, StaticDiscovery, build, parse_address, read_entries
from legato.lb.discovery_settings import DiscoverySettings, StaticSource
from legato.lb.servers import Listed, Snapshot


def static(**source: object) -> DiscoverySettings:
    return DiscoverySettings(static=StaticSource(**source))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "address"),
    [("192.0.2.1:4434", ("192.0.2.1", 4434)), ("[2001:DB8::1]:1", ("2001:db8::1", 1))],
)
def test_addresses_are_read(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "192.0.2.1",
        "192.0.2.1:",
        ":1",
        "2001:db8::1:1",
        "[192.0.2.1]:1",
        "192.0.2.1:+1",
        "a:1",
        "1:²",
        "192.0.2.1:" + "9" * 5000,
    ],
)
def test_what_is_no_address_is_told(text: str) -> None:
    with pytest.raises(SettingsError):
        parse_address(text)


def test_an_entry_is_text_or_a_table() -> None:
    table = {
        "address": "192.0.2.2:1",
        "weight": 3,
        "draining": True,
        "server_ids": ["0a0b", "0C"],
        "load_url": "https://192.0.2.2:4433/readyz",
    }
    assert read_entries(["192.0.2.1:1", "192.0.2.3:1*7", table]) == Snapshot(
        servers=(
            Listed(address=("192.0.2.1", 1)),
            Listed(address=("192.0.2.3", 1), weight=7),
            Listed(
                address=("192.0.2.2", 1),
                weight=3,
                draining=True,
                server_ids=(b"\x0a\x0b", b"\x0c"),
                load_url="https://192.0.2.2:4433/readyz",
            ),
        )
    )


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (7, "neither text nor a table"),
        ({}, "no address and port"),
        ({"address": 7}, "`address` is no str"),
        ({"adress": "192.0.2.2:1"}, "'adress' is not one of"),
        ({"address": "192.0.2.2:1", "weight": "2"}, "`weight` is no int"),
        ({"address": "192.0.2.2:1", "weight": True}, "`weight` is no int"),
        ({"address": "192.0.2.2:1", "server_ids": ["xy"]}, "not hexadecimal"),
        ("192.0.2.2:1*", "no whole number"),
        ("192.0.2.2:1*-1", "no whole number"),
        ("192.0.2.2:1*" + "9" * 5000, "no whole number"),
    ],
)
def test_one_bad_entry_is_a_problem_and_no_more(entry: object, reason: str) -> None:
    snapshot = read_entries(["192.0.2.1:1", entry])
    assert [server.address for server in snapshot.servers] == [("192.0.2.1", 1)]
    (problem,) = snapshot.problems
    assert problem.startswith("server 2 of the list is left out: ")
    assert reason in problem


async def test_a_list_in_the_settings_is_told_once() -> None:
    async with aclosing(build(static(servers=("192.0.2.1:1",))).watch()) as snapshots:
        assert (await anext(snapshots)).servers == (Listed(address=("192.0.2.1", 1)),)


@pytest.mark.parametrize("source", [{}, {"file": Path("a"), "servers": ("192.0.2.1:1",)}])
def test_either_a_file_or_a_list_is_needed(source: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match="not both"):
        build(static(**source))


def test_a_bad_list_in_the_settings_is_refused_at_once() -> None:
    with pytest.raises(SettingsError, match="server 1 of the list"):
        build(static(servers=("nowhere",)))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("servers = 7", "needs an array `servers`"),
        ("other = []", "needs an array `servers`"),
        ("servers = []\nother = 1", "and nothing else"),
        ("servers = [", "is no TOML"),
        ("servers = " + "[" * 5000, "is no TOML"),
        ("servers = " + "9" * 5000, "is no TOML"),
        ("#" * (MAX_OCTETS + 1), "more than"),
    ],
)
async def test_a_file_that_is_no_list_is_told(tmp_path: Path, text: str, reason: str) -> None:
    stage = FileStage(tmp_path)
    stage.write(text)
    async with aclosing(stage.discovery().watch()) as snapshots:
        snapshot = await anext(snapshots)
    assert snapshot.servers == ()
    assert reason in snapshot.problems[0]


async def test_a_file_that_is_not_there_is_told_until_it_is(tmp_path: Path) -> None:
    file = tmp_path / "later.toml"
    async with aclosing(StaticDiscovery(file, SOON_S).watch()) as snapshots:
        assert "No such file" in (await anext(snapshots)).problems[0]
        file.write_bytes(b"\xff")
        assert "cannot be read" in (await anext(snapshots)).problems[0]
        new = file.with_suffix(".new")
        new.write_text('servers = ["192.0.2.1:1"]')
        new.replace(file)
        assert (await anext(snapshots)).servers == (Listed(address=("192.0.2.1", 1)),)
