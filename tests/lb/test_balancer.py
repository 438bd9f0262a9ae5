"""The balancer as a whole, with real sockets and real forwarding on loopback."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.lb.stages import FileStage, KubernetesStage
from tests.lb.tunnels import (
    WAIT_S,
    balancing,
    calling,
    first_packet,
    listed,
    scene,
    settings,
    short_packet,
    write_keys,
)

from legato.core.errors import SettingsError, TransportError
from legato.fleet_keys import FleetKeys
from legato.lb.balancer import Balancer
from legato.lb.states import State


async def until(balancer: Balancer, condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        await balancer.until(condition)


def all_are(balancer: Balancer, *states: State) -> Callable[[], bool]:
    return lambda: list(balancer.states.values()) == list(states)


async def test_servers_that_answer_get_calls_and_names_lead_to_their_servers(tmp_path: Path) -> None:
    async with (
        scene(tmp_path) as (keys, servers),
        balancing(settings(tmp_path, discovery=listed(servers))) as balancer,
        calling(balancer.addresses[0]) as client,
    ):
        await until(balancer, all_are(balancer, State.READY, State.READY))
        for server in servers * 3:
            assert await client.ask(short_packet(keys, server.name)) == server.name
        assert await client.ask(first_packet()) in {server.name for server in servers}


async def test_another_address_of_the_client_changes_nothing(tmp_path: Path) -> None:
    async with (
        scene(tmp_path) as (keys, servers),
        balancing(settings(tmp_path, discovery=listed(servers))) as balancer,
    ):
        for server in servers:
            for _ in range(5):
                async with calling(balancer.addresses[0]) as client:
                    assert await client.ask(short_packet(keys, server.name)) == server.name


async def test_a_silent_server_is_dead_and_gets_no_new_calls_until_it_answers(tmp_path: Path) -> None:
    async with (
        scene(tmp_path) as (_, servers),
        balancing(settings(tmp_path, discovery=listed(servers))) as balancer,
    ):
        quiet, other = servers
        await until(balancer, all_are(balancer, State.READY, State.READY))
        quiet.silent = True
        await until(balancer, lambda: balancer.states[quiet.address] is State.DEAD)
        for _ in range(8):
            async with calling(balancer.addresses[0]) as client:
                assert await client.ask(first_packet()) == other.name
        quiet.silent = False
        await until(balancer, all_are(balancer, State.READY, State.READY))


async def test_a_server_that_leaves_the_list_keeps_its_calls_and_gets_no_new_ones(tmp_path: Path) -> None:
    stage = FileStage(tmp_path)
    async with scene(tmp_path) as (keys, servers):
        await stage.publish([server.address for server in servers])
        source = {"static": {"file": stage.file, "poll_seconds": 0.01}}
        async with balancing(settings(tmp_path, discovery=source)) as balancer:
            leaving, staying = servers
            await until(balancer, all_are(balancer, State.READY, State.READY))
            await stage.publish([staying.address])
            await until(balancer, lambda: balancer.states[leaving.address] is State.DRAINING)
            for _ in range(8):
                async with calling(balancer.addresses[0]) as client:
                    assert await client.ask(short_packet(keys, leaving.name)) == leaving.name
                    assert await client.ask(first_packet()) == staying.name


async def test_a_restarted_and_a_second_balancer_decide_the_same(tmp_path: Path) -> None:
    async with scene(tmp_path, servers=3) as (keys, servers):
        wanted = settings(tmp_path, discovery=listed(servers))
        decisions = []
        for _ in range(3):
            async with balancing(wanted) as balancer:
                await until(balancer, all_are(balancer, *[State.READY] * 3))
                packets = [short_packet(keys, server.name) for server in servers]
                async with calling(balancer.addresses[0]) as client:
                    decisions.append([await client.ask(packet) for packet in packets])
                    decisions.append([server.name for server in servers])
        assert all(decision == decisions[0] for decision in decisions)


async def test_turned_keys_are_used_at_once_and_old_connections_go_on(tmp_path: Path) -> None:
    async with (
        scene(tmp_path) as (old, servers),
        balancing(settings(tmp_path, discovery=listed(servers))) as balancer,
        calling(balancer.addresses[0]) as client,
    ):
        announced = old.rotated()
        switched = announced.rotated()
        for keys in (announced, switched):
            write_keys(tmp_path / "fleet.keys", keys)
            for server in servers:
                server.keys = keys
            await until(balancer, lambda now=keys: balancer.keys.fingerprint == now.fingerprint)  # type: ignore[misc]
        await until(balancer, all_are(balancer, State.READY, State.READY))
        for server in servers:
            assert await client.ask(short_packet(old, server.name)) == server.name
            assert await client.ask(short_packet(switched, server.name)) == server.name
        configs = balancer.forwarder.counters().configs
        assert configs[old.current.codepoint] >= 2
        assert configs[switched.current.codepoint] >= 2


@pytest.mark.parametrize("bad", ["half a file", "another fleet", "no file"])
async def test_bad_keys_are_told_and_those_in_use_stay(tmp_path: Path, bad: str) -> None:
    async with (
        scene(tmp_path) as (keys, servers),
        balancing(settings(tmp_path, discovery=listed(servers))) as balancer,
        calling(balancer.addresses[0]) as client,
    ):
        file = tmp_path / "fleet.keys"
        if bad == "half a file":
            file.write_bytes(keys.dump()[:50])
        elif bad == "another fleet":
            write_keys(file, FleetKeys.new())
        else:
            file.unlink()
        await until(balancer, lambda: balancer.key_problem is not None)
        assert "stay" in balancer.problems[0]
        assert await client.ask(short_packet(keys, servers[0].name)) == servers[0].name
        write_keys(file, keys.rotated())
        await until(balancer, lambda: balancer.key_problem is None)


async def test_an_api_that_stalls_harms_no_call(tmp_path: Path) -> None:
    """The list comes from Kubernetes, which then stops answering; calls and probes go on."""
    stage = KubernetesStage()
    await stage.start()
    try:
        async with scene(tmp_path, servers=1) as (keys, servers):
            (server,) = servers
            await stage.publish([server.address])
            source = {
                "source": "kubernetes",
                "kubernetes": {
                    "service": "legato",
                    "namespace": "voice",
                    "api_url": stage.url,
                    "retry_seconds": 0.01,
                },
            }
            async with (
                balancing(settings(tmp_path, discovery=source)) as balancer,
                calling(balancer.addresses[0]) as client,
            ):
                await until(balancer, all_are(balancer, State.READY))
                stage.stalls = True
                stage.asked.clear()
                stage.hang_up()
                async with asyncio.timeout(WAIT_S):
                    await stage.asked.wait()
                assert await client.ask(short_packet(keys, server.name)) == server.name
                assert await client.ask(first_packet()) == server.name
                server.silent = True
                await until(balancer, all_are(balancer, State.DEAD))
                server.silent = False
                await until(balancer, all_are(balancer, State.READY))
                await stage.publish([server.address])
    finally:
        await stage.close()


async def test_without_any_server_packets_are_dropped_and_counted(tmp_path: Path) -> None:
    (tmp_path / "servers.toml").write_text("servers = []")
    source = {"static": {"file": tmp_path / "servers.toml", "poll_seconds": 0.01}}
    async with scene(tmp_path, servers=0):
        balancer = Balancer(settings(tmp_path, discovery=source))
        try:
            await balancer.start()
            assert "nobody to send to" in balancer.problems[0]
            async with calling(balancer.addresses[0]) as client, asyncio.timeout(WAIT_S):
                while not balancer.forwarder.counters().drops["no_server"]:
                    client.send(first_packet())
                    await asyncio.sleep(0)
        finally:
            await balancer.close()


async def test_a_strange_packet_at_a_probes_socket_means_nothing(tmp_path: Path) -> None:
    async with (
        scene(tmp_path, servers=1) as (keys, servers),
        balancing(settings(tmp_path, discovery=listed(servers))) as balancer,
    ):
        sockets = balancer._sockets
        for packet in (b"", b"\x09", keys.encapsulation.request(("192.0.2.1", 1), b"x"), bytes(1200)):
            sockets.datagram_received(packet, ("192.0.2.1", 1))
        sockets.send(("2001:db8::1", 4434), b"nowhere to go")
        sockets.error_received(OSError())
        await until(balancer, all_are(balancer, State.READY))


def test_keys_are_needed(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="legato keys new"):
        Balancer(settings(tmp_path, keys_file=None))


async def test_a_port_in_use_is_told(tmp_path: Path) -> None:
    async with scene(tmp_path, servers=1) as (_, servers):
        taken = servers[0].address[1]
        wanted = settings(
            tmp_path, discovery={"static": {"servers": ("127.0.0.2:4434",)}}, listen=(f"127.0.0.1:{taken}",)
        )
        balancer = Balancer(wanted)
        try:
            with pytest.raises(TransportError, match=f"cannot listen on UDP 127.0.0.1:{taken}"):
                await balancer.start()
        finally:
            await balancer.close()
