"""One balancer replaces another without a packet lost."""

import asyncio
import contextlib
import os
import socket
from pathlib import Path

import pytest
from tests.lb.tunnels import WAIT_S, balancing, calling, listed, scene, settings, short_packet

from legato.core.errors import TransportError
from legato.lb.balancer import Balancer
from legato.lb.handover import Handover, take_over
from legato.lb.servers import shown


async def test_no_packet_is_lost_when_a_balancer_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "handover"
    async with scene(tmp_path) as (keys, servers), contextlib.AsyncExitStack() as stack:
        wanted = settings(tmp_path, discovery=listed(servers), threads=2)
        old = await stack.enter_async_context(balancing(wanted))
        over = asyncio.Event()
        waiting = await Handover.listen(path, old.forwarder.descriptors, over.set)
        client = await stack.enter_async_context(calling(old.addresses[0]))
        sent: list[bytes] = []

        async def send(count: int) -> None:
            for _ in range(count):
                sent.append(short_packet(keys, servers[len(sent) % 2].name))
                client.send(sent[-1])
                await asyncio.sleep(0)

        await send(50)
        predecessor = await take_over(path)
        assert predecessor is not None
        await send(50)
        new = await stack.enter_async_context(balancing(wanted, predecessor.descriptors))
        assert new.addresses == old.addresses
        await send(50)
        released = asyncio.create_task(predecessor.release())
        async with asyncio.timeout(WAIT_S):
            await over.wait()
            await old.close()
            waiting.close()
            await send(50)
            await released
            heard = {(await client.heard.get())[8:] for _ in sent}
        assert heard == set(sent)
        assert new.forwarder.counters().received > 0
        assert not path.exists()


async def test_the_addresses_are_those_of_the_one_before_and_it_is_told(tmp_path: Path) -> None:
    async with scene(tmp_path, servers=1) as (_, servers), contextlib.AsyncExitStack() as stack:
        wanted = settings(tmp_path, discovery=listed(servers))
        old = await stack.enter_async_context(balancing(wanted))
        before = shown(old.addresses[0])
        for listen, is_told in (("127.0.0.1:0", False), (before, False), ("127.0.0.1:9", True)):
            ours = [os.dup(descriptor) for descriptor in old.forwarder.descriptors()]
            async with balancing(wanted.model_copy(update={"listen": (listen,)}), ours) as new:
                assert new.addresses == old.addresses
                told = [problem for problem in new.problems if "listens at" in problem]
                assert bool(told) is is_told
                assert all(f"at {before} as the balancer before, not at 127.0.0.1:9" in one for one in told)


async def test_one_that_knows_no_server_takes_nothing_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as while the source of servers is away: the other one knows them."""
    monkeypatch.setattr("legato.lb.balancer.FIRST_WAIT_S", 0.05)
    path = tmp_path / "handover"
    async with scene(tmp_path, servers=1) as (keys, servers), contextlib.AsyncExitStack() as stack:
        old = await stack.enter_async_context(balancing(settings(tmp_path, discovery=listed(servers))))
        over = asyncio.Event()
        waiting = await Handover.listen(path, old.forwarder.descriptors, over.set)
        predecessor = await take_over(path)
        assert predecessor is not None
        away = {"static": {"file": tmp_path / "not there", "poll_seconds": 0.01}}
        new = Balancer(settings(tmp_path, discovery=away))
        with pytest.raises(TransportError, match="the balancer before goes on, as this one knows no server"):
            await new.start(predecessor.descriptors)
        await new.close()
        for descriptor in predecessor.descriptors:
            os.close(descriptor)
        predecessor._connection.close()
        client = await stack.enter_async_context(calling(old.addresses[0]))
        assert await client.ask(short_packet(keys, servers[0].name)) == servers[0].name
        assert not over.is_set()
        waiting.close()


async def test_nobody_to_take_over_from_is_a_first_start(tmp_path: Path) -> None:
    assert await take_over(None) is None
    assert await take_over(tmp_path / "none") is None
    left = tmp_path / "left"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
        listening.bind(str(left))
        listening.listen()
    assert await take_over(left) is None, "whoever listened there was killed"
    waiting = await Handover.listen(left, list, lambda: None)
    waiting.close()


async def test_a_successor_that_fails_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "handover"
    over = asyncio.Event()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ours:
        waiting = await Handover.listen(path, lambda: [ours.fileno()], over.set)
        for _ in range(2):
            predecessor = await take_over(path)
            assert predecessor is not None
            with socket.socket(fileno=predecessor.descriptors[0]) as theirs:
                assert theirs.type is socket.SOCK_DGRAM
            predecessor._connection.close()
        assert not over.is_set()
        waiting.close()


async def test_more_sockets_than_a_message_takes_are_handed_over(tmp_path: Path) -> None:
    path = tmp_path / "handover"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ours:
        waiting = await Handover.listen(path, lambda: [ours.fileno()] * 300, lambda: None)
        predecessor = await take_over(path)
        assert predecessor is not None
        assert len(predecessor.descriptors) == 300
        for descriptor in predecessor.descriptors:
            socket.socket(fileno=descriptor).close()
        predecessor._connection.close()
        waiting.close()


async def test_who_gives_nothing_or_cannot_be_reached_is_told(tmp_path: Path) -> None:
    path = tmp_path / "handover"
    waiting = await Handover.listen(path, list, lambda: None)
    with pytest.raises(TransportError, match="does not hand over"):
        await take_over(path)
    waiting.close()
    with pytest.raises(TransportError, match=r"cannot take over .*: AF_UNIX path too long"):
        await take_over(tmp_path / ("x" * 200))
    with pytest.raises(TransportError, match=r"cannot wait .*: AF_UNIX path too long"):
        await Handover.listen(tmp_path / ("x" * 200), list, lambda: None)
    with pytest.raises(TransportError, match="cannot wait for a successor"):
        await Handover.listen(tmp_path / "no folder" / "handover", list, lambda: None)


async def test_a_file_that_is_no_socket_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "fleet.keys"
    path.write_text("not to be had again")
    for attempt in (Handover.listen(path, list, lambda: None), take_over(path)):
        with pytest.raises(TransportError, match="it is no socket"):
            await attempt
    assert path.read_text() == "not to be had again"
    assert os.listdir(tmp_path) == ["fleet.keys"]
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(TransportError, match="it is no socket"):
        await Handover.listen(folder, list, lambda: None)


async def test_one_that_ends_meanwhile_hands_nothing_over(tmp_path: Path) -> None:
    path = tmp_path / "handover"

    def closed() -> list[int]:
        raise TransportError("the forwarder is closed")

    waiting = await Handover.listen(path, closed, lambda: None)
    for _ in range(2):
        with pytest.raises(TransportError, match="does not hand over: it sent no sockets"):
            await take_over(path)
    waiting.close()
