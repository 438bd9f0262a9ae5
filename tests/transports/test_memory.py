"""The in-memory transport keeps the contract of transports."""

from collections.abc import Awaitable, Callable

from legato.testing.transports import check_transport
from legato.transports.base import Handler, Transport
from legato.transports.memory import memory_pair


async def pair(
    near: Callable[[Transport], Handler], far: Callable[[Transport], Handler]
) -> tuple[Transport, Transport, Callable[[], Awaitable[None]]]:
    first, second = memory_pair(near, far)

    async def release() -> None:
        first.close(0, "")

    return first, second, release


async def test_it_keeps_the_contract() -> None:
    await check_transport(pair)
