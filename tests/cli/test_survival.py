"""What the scene of the dying network does to packets, and what it says of a call."""

import asyncio
import socket
from collections.abc import Callable

import pytest
from rich.console import Console

from legato.cli.showing.path import BreakablePath
from legato.cli.showing.survival import LONG_QUESTION, _account, _Outage
from legato.cli.talking.turns import Part, Turn
from legato.cli.talking.view import Reconnected


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - sockets and counters
            await asyncio.sleep(0.001)


async def test_a_dead_path_loses_packets_and_a_moved_one_has_another_port() -> None:
    loop = asyncio.get_running_loop()
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        for one in (server, client):
            one.bind(("127.0.0.1", 0))
            one.setblocking(False)
        path = BreakablePath(server.getsockname()[1])
        client.connect(("127.0.0.1", int(path.url.rpartition(":")[2])))

        async def ask(word: bytes) -> tuple[bytes, tuple[str, int]]:
            await loop.sock_sendall(client, word)
            return await asyncio.wait_for(loop.sock_recvfrom(server, 100), 20)

        word, seen = await ask(b"one")
        assert (word, [seen[1]]) == (b"one", path.seen_at)
        server.sendto(b"two", seen)
        assert await asyncio.wait_for(loop.sock_recv(client, 100), 20) == b"two"
        path.dead = True
        client.send(b"three")
        await until(lambda: path.lost == 1)
        server.sendto(b"four", seen)
        await until(lambda: path.lost == 2)
        path.move()
        path.dead = False
        word, now = await ask(b"five")
        assert word == b"five"
        assert now != seen
        path.close()


def turn(heard: str = "i would like to hear a very long story about the sea", underruns: int = 0) -> Turn:
    made = Turn(1, LONG_QUESTION, 0, 24_000, transcripts=[heard])
    made.parts[1] = Part(0, samples=240_000, played=96_000, underruns=underruns)
    return made


OUTAGES = [_Outage(100, [1024], [1025]), _Outage(90, [1025], [1026])]


@pytest.mark.parametrize(
    ("seen", "outages", "replaced", "good"),
    [
        (turn(), OUTAGES, [], True),
        (turn(), OUTAGES, [Reconnected(True, 2_000, 0)], True),
        (turn("i would like to hear a very long story"), OUTAGES, [], False),
        (turn(underruns=1), OUTAGES, [], False),
        (turn(), OUTAGES[:1], [], False),
        (turn(), OUTAGES, [Reconnected(True, 2_000, 20)], False),
    ],
    ids=["unharmed", "on another connection", "a word missing", "a gap", "cut short", "audio lost"],
)
def test_it_says_what_was_lost(
    seen: Turn, outages: list[_Outage], replaced: list[Reconnected], good: bool
) -> None:
    console = Console(record=True, width=100, quiet=True)
    assert _account(console, seen, outages, replaced) is good
