"""Servers from a nameserver that answers over UDP."""

import sys
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest
from tests.lb.stages import DnsStage

from legato.core.errors import SettingsError
from legato.lb.discovery.dns import DnsDiscovery, build
from legato.lb.discovery_settings import DiscoverySettings, DnsSource
from legato.lb.servers import Listed, Snapshot

NAME = "voice.example"


@pytest.fixture
async def stage() -> AsyncIterator[DnsStage]:
    stage = DnsStage()
    await stage.start()
    yield stage
    stage.close()


async def first(stage: DnsStage, **source: object) -> Snapshot:
    async with aclosing(DnsDiscovery(stage.source(**source)).watch()) as snapshots:
        return await anext(snapshots)


async def test_both_families_are_one_list(stage: DnsStage) -> None:
    stage.records = {(NAME, "A"): ["192.0.2.2", "192.0.2.1"], (NAME, "AAAA"): ["2001:db8::1"]}
    snapshot = await first(stage, port=9)
    addresses = [server.address for server in snapshot.servers]
    assert addresses == [("192.0.2.1", 9), ("192.0.2.2", 9), ("2001:db8::1", 9)]
    assert snapshot.problems == ()


async def test_srv_records_have_ports_and_weights(stage: DnsStage) -> None:
    stage.records = {
        (NAME, "SRV"): [
            "10 5 4434 one.example.",
            "10 0 4435 two.example.",
            "20 9 4434 backup.example.",
        ],
        ("one.example", "A"): ["192.0.2.1"],
        ("two.example", "AAAA"): ["2001:db8::2"],
        ("backup.example", "A"): ["192.0.2.9"],
    }
    snapshot = await first(stage, records="srv")
    assert snapshot.servers == (
        Listed(address=("192.0.2.1", 4434), weight=5),
        Listed(address=("2001:db8::2", 4435), weight=1),
    )


async def test_a_name_that_does_not_exist_is_an_empty_list(stage: DnsStage) -> None:
    assert await first(stage) == Snapshot(servers=())
    assert await first(stage, records="srv") == Snapshot(servers=())


async def test_half_an_answer_is_none(stage: DnsStage) -> None:
    stage.records = {(NAME, "A"): ["192.0.2.1"]}
    stage.broken_kinds = {"AAAA"}
    snapshot = await first(stage)
    assert snapshot.servers == ()
    assert f"no answer for {NAME} AAAA" in snapshot.problems[0]


async def test_a_record_that_is_no_servers_address_harms_no_other(stage: DnsStage) -> None:
    stage.records = {(NAME, "A"): ["192.0.2.1", "0.0.0.0"], (NAME, "AAAA"): ["fe80::1"]}
    snapshot = await first(stage)
    assert snapshot.servers == (Listed(address=("192.0.2.1", 4434)),)
    assert [problem.partition(": ")[0] for problem in snapshot.problems] == [
        f"an address of {NAME} is left out"
    ] * 2
    stage.records = {
        (NAME, "SRV"): ["1 1 0 one.example.", "1 1 4434 two.example."],
        ("one.example", "A"): ["192.0.2.1"],
        ("two.example", "A"): ["192.0.2.2"],
    }
    snapshot = await first(stage, records="srv")
    assert snapshot.servers == (Listed(address=("192.0.2.2", 4434)),)
    assert "one.example" in snapshot.problems[0]


async def test_large_weights_of_srv_records_keep_their_proportion(stage: DnsStage) -> None:
    stage.records = {
        (NAME, "SRV"): ["1 60000 1 a.example.", "1 30000 1 b.example.", "1 7 1 c.example."],
        ("a.example", "A"): ["192.0.2.1"],
        ("b.example", "A"): ["192.0.2.2"],
        ("c.example", "A"): ["192.0.2.3"],
    }
    snapshot = await first(stage, records="srv")
    assert [server.weight for server in snapshot.servers] == [1000, 500, 1]


async def test_questions_come_again_when_answers_expire_and_no_earlier_than_allowed(stage: DnsStage) -> None:
    stage.records = {(NAME, "A"): ["192.0.2.1"], (NAME, "AAAA"): ["2001:db8::1"]}
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        stage.ttl_s = [3, 500, 1][len(pauses) % 3]
        stage.records[NAME, "A"] = [f"192.0.2.{len(pauses)}0"]

    source = stage.source().model_copy(update={"least_seconds": 2.0, "most_seconds": 60.0})
    async with aclosing(DnsDiscovery(source, pause).watch()) as snapshots:
        for _ in range(4):
            await anext(snapshots)
    assert pauses == [2.0, 60.0, 2.0]


async def test_failures_are_asked_about_less_and_less_often(stage: DnsStage) -> None:
    stage.broken = True
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        stage.broken = len(pauses) < 4

    source = stage.source().model_copy(update={"least_seconds": 1.0, "most_seconds": 3.0})
    async with aclosing(DnsDiscovery(source, pause).watch()) as snapshots:
        assert "no answer for voice.example" in (await anext(snapshots)).problems[0]
        assert (await anext(snapshots)).problems == ()
    assert pauses == [1.0, 2.0, 3.0, 3.0]


def test_a_name_is_needed() -> None:
    with pytest.raises(SettingsError, match=r"discovery\.dns\.name"):
        build(DiscoverySettings())


def test_a_nameserver_is_an_address() -> None:
    with pytest.raises(SettingsError, match=r"'dns\.example:53'|'dns\.example'"):
        DnsDiscovery(DnsSource(name=NAME, nameservers=("dns.example:53",)))


def test_without_dnspython_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dns.asyncresolver", None)
    with pytest.raises(SettingsError, match=r"legato\[lb\]"):
        DnsDiscovery(DnsSource(name=NAME))
