"""A server behind a balancer asks its clients to come to it directly; aioquic follows, as Firefox does."""

import asyncio
import socket
from datetime import UTC, datetime
from types import SimpleNamespace

from tests.interop.aioquic_client import aioquic_client

from legato import _native
from legato.fleet_keys import FleetKeys
from legato.server.certificates import make_development_identity

PATIENCE_S = 20.0


async def test_a_client_leaves_the_balancer_for_the_preferred_address() -> None:
    identity = make_development_identity(datetime.now(UTC))
    keys = FleetKeys.new()
    generation = keys.current
    member = _native.FleetMember(
        [(generation.quic_lb, generation.key("a"), generation.key("b"), generation.key("c"))],
        tunnel=[("127.0.0.1", 0)],
        balancers=["127.0.0.1"],
        encapsulation=keys.encapsulation,
    )
    direct = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    direct.bind(("127.0.0.1", 0))
    preferred = direct.getsockname()
    server = _native.Endpoint.inherit(
        [direct.detach()],
        _native.Identity(list(identity.chain), identity.key),
        SimpleNamespace(preferred_addresses=[preferred], handshake_timeout_ms=120_000),
        _native.EndpointKeys(fleet=member),
    )
    name = server.server_id()
    assert name is not None
    backend = _native.Backend([name], server.tunnel_addresses()[0])
    view = _native.ForwarderView(keys.quic_lb, [backend], keys.hash_key, keys.encapsulation)
    balancer = _native.Forwarder([("127.0.0.1", 0)], view, threads=1)
    try:
        async with aioquic_client(balancer.addresses()[0][1], identity.chain_pem()) as client:
            async with asyncio.timeout(PATIENCE_S):
                while client._quic._network_paths[0].addr[1] != preferred[1]:
                    await client.ping()
                before = balancer.counters().received
                assert before > 0
                for _ in range(5):
                    await client.ping()
                # A straggler of the handshake may have been on its way.
                assert balancer.counters().received <= before + 2
    finally:
        balancer.close()
        await asyncio.to_thread(server.shutdown)
