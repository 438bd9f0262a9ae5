"""Servers of a fleet: connection IDs that lead to them, the tunnel, shared secrets, several on one port."""

import socket
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from legato import _native
from legato.core.errors import LocalProtocolError, SettingsError, TransportError
from legato.fleet_keys import FleetKeys

PATIENCE_S = 20.0
PROBE = b"\xc0\x1a\x2a\x3a\x4a\x08" + bytes(8) + b"\x08probe id" + bytes(1177)
"""A long header of a version that nobody speaks; whoever is a server answers with Version Negotiation."""


def member(keys: FleetKeys, **more: Any) -> _native.FleetMember:
    generations = [
        (each.quic_lb, each.key("reset"), each.key("token"), each.key("tickets")) for each in keys.generations
    ]
    tunnel = {"tunnel": [("127.0.0.1", 0)], "balancers": ["127.0.0.0/8"], "encapsulation": keys.encapsulation}
    return _native.FleetMember(generations, **(tunnel | more))


class Fleet:
    """Servers with tunnels, a balancer in front of them, and one client."""

    def __init__(self, parts: Any, keys: FleetKeys, servers: int, **more: Any) -> None:
        self.keys = keys
        self.certificate = parts.certificate()
        self.settings = SimpleNamespace(max_idle_ms=60_000)
        self.servers = [parts.party(self.serve(**more)) for _ in range(servers)]
        self.client = parts.party(_native.Endpoint.client(self.settings))
        self.balancer = _native.Forwarder([("127.0.0.1", 0)], self.view(), threads=1)
        self.port = self.balancer.addresses()[0][1]

    def serve(self, **more: Any) -> _native.Endpoint:
        keys = _native.EndpointKeys(fleet=member(self.keys, **more))
        identity = self.certificate.identity
        return _native.Endpoint.listen([("127.0.0.1", 0)], identity, self.settings, keys)

    def view(self, states: dict[int, str] | None = None, keys: FleetKeys | None = None) -> Any:
        keys = keys or self.keys
        backends = [
            _native.Backend(
                [server.endpoint.server_id()],
                server.endpoint.tunnel_addresses()[0],
                (states or {}).get(number, "ready"),
            )
            for number, server in enumerate(self.servers)
        ]
        return _native.ForwarderView(keys.quic_lb, backends, keys.hash_key, keys.encapsulation, grace_us=0)

    def call(self, port: int | None = None) -> tuple[int, int, int]:
        """Connect and return the session at the client, which server has it, and the session there."""
        before = [len(server.of(_native.SESSION_REQUESTED)) for server in self.servers]
        target = _native.ConnectTarget(
            addresses=[("127.0.0.1", port or self.port)],
            server_name="localhost",
            authority="localhost",
            path="/",
            certificate_hashes=[self.certificate.hash],
        )
        ours = self.client.endpoint.connect(target)
        limit = time.monotonic() + PATIENCE_S
        while True:
            for number, server in enumerate(self.servers):
                server.drain()
                if asked := server.of(_native.SESSION_REQUESTED)[before[number] :]:
                    self.client.until(
                        lambda it: any(each[0] == ours for each in it.of(_native.SESSION_OPENED))
                    )
                    return ours, number, asked[0][0]
            assert time.monotonic() < limit, self.balancer.counters().drops
            time.sleep(0.001)

    def ask(self, ours: int, number: int, words: bytes) -> None:
        """Send something to the server that has the call, and hear it come back."""
        server = self.servers[number]
        known = len(server.of(_native.STREAM_FIN))
        stream = self.client.endpoint.open_stream(ours, True)
        self.client.endpoint.send(stream, words, True)
        server.until(lambda it: len(it.of(_native.STREAM_FIN)) > known)
        received = server.of(_native.STREAM_FIN)[-1][1]
        server.endpoint.send(received, server.data(received), fin=True)
        self.client.until(lambda it: any(each[1] == stream for each in it.of(_native.STREAM_FIN)))
        assert self.client.data(stream) == words

    def close(self) -> None:
        self.balancer.close()
        for party in [*self.servers, self.client]:
            party.endpoint.shutdown()


@pytest.fixture
def make_fleet(certificate, party) -> Iterator[Callable[..., Fleet]]:
    fleets: list[Fleet] = []

    def make(servers: int = 2, keys: FleetKeys | None = None, **more: Any) -> Fleet:
        parts = SimpleNamespace(certificate=certificate, party=party)
        fleets.append(Fleet(parts, keys or FleetKeys.new(), servers, **more))
        return fleets[-1]

    yield make
    for fleet in fleets:
        fleet.close()


def probe(to: tuple[str, int], keys: FleetKeys, wrong: bytes = b"") -> bytes:
    """Ask a tunnel for its versions, after an attempt that must stay unanswered; return the answer."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        opened.bind(("127.0.0.1", 0))
        opened.settimeout(PATIENCE_S)
        if wrong:
            opened.sendto(wrong, to)
        opened.sendto(keys.encapsulation.request(opened.getsockname(), PROBE), to)
        is_reply, client, payload = keys.encapsulation.open(opened.recvfrom(2000)[0])
        assert (is_reply, client) == (True, opened.getsockname())
        return payload


def issued_by(fleet: Fleet) -> bytes:
    """The connection ID in the server's answer to a client's first flight, as it is on the wire."""
    client = _native.InlineEndpoint.client(SimpleNamespace())
    address = fleet.servers[0].endpoint.local_addresses()[0]
    client.connect(
        _native.ConnectTarget(
            addresses=[address],
            server_name="localhost",
            authority="localhost",
            path="/",
            certificate_hashes=[fleet.certificate.hash],
        )
    )
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        opened.settimeout(PATIENCE_S)
        for _, _, datagram in client.poll_transmit(0):
            opened.sendto(datagram, address)
        answer = opened.recv(2000)
    # First octet, version, length and octets of the client's ID, then those of the server's (RFC 8999).
    length_at = 6 + answer[5]
    return answer[length_at + 1 : length_at + 1 + answer[length_at]]


def test_connection_ids_on_the_wire_name_the_server(make_fleet):
    fleet = make_fleet(1)
    name = fleet.servers[0].endpoint.server_id()
    assert _native.decode_connection_id(fleet.keys.quic_lb, issued_by(fleet)) == (1, name)


def test_connection_ids_for_aws_are_sixteen_octets_with_the_name_in_clear(make_fleet):
    keys = FleetKeys.new().current
    secrets = keys.key("a"), keys.key("b"), keys.key("c")
    profile = _native.FleetMember([(_native.QuicLbConfig.aws_nlb(), *secrets)], server_id=b"serverid")
    fleet = make_fleet(0)
    endpoint = _native.EndpointKeys(fleet=profile)
    identity = fleet.certificate.identity
    listening = _native.Endpoint.listen([("127.0.0.1", 0)], identity, fleet.settings, endpoint)
    fleet.servers.insert(0, type(fleet.client)(listening))
    ids = {issued_by(fleet) for _ in range(3)}
    assert len(ids) == 3
    assert all(len(each) == 16 and each.startswith(b"\x00serverid") for each in ids)
    listening.set_fleet(profile)


def test_servers_see_clients_and_balancers_see_servers(make_fleet):
    fleet = make_fleet()
    seen = set()
    for _ in range(16):
        ours, number, theirs = fleet.call()
        fleet.ask(ours, number, b"question")
        at_server = fleet.servers[number].endpoint.stats(theirs).remote
        assert at_server == fleet.client.endpoint.stats(ours).local
        seen.add(number)
    counters = fleet.balancer.counters()
    assert seen == {0, 1}
    assert sum(counters.drops.values()) == 0
    assert counters.routes["connection_id"] > 16
    # Of the names that clients make up for their first packets, one in a few hundred looks like a server's.
    assert counters.routes["hash_unknown_server"] < 10


def test_names_are_the_addresses_of_tunnels(make_fleet):
    [server] = make_fleet(1).servers
    address = server.endpoint.tunnel_addresses()[0]
    assert server.endpoint.server_id() == _native.derived_server_id(address)
    assert server.endpoint.local_addresses()[0] != address


def test_a_given_name_is_kept(make_fleet):
    [server] = make_fleet(1, server_id=b"server-1").servers
    assert server.endpoint.server_id() == b"server-1"


def test_calls_outlive_other_addresses_and_other_balancers(make_fleet):
    fleet = make_fleet(3)
    calls = [fleet.call()[:2] for _ in range(6)]
    for ours, _ in calls:
        fleet.client.endpoint.migrate(ours)
    for ours, number in calls:
        fleet.ask(ours, number, b"from a new port")
    fleet.balancer.close()
    fleet.balancer = _native.Forwarder([("127.0.0.1", fleet.port)], fleet.view(), threads=1)
    for ours, number in calls:
        fleet.ask(ours, number, b"through a new balancer")


def test_a_dead_servers_calls_are_reset_by_the_others(make_fleet):
    fleet = make_fleet(2)
    ours, number, _ = fleet.call()
    fleet.balancer.set_view(fleet.view({number: "dead"}))
    fleet.client.endpoint.send_datagram(ours, b"are you there?")
    _, _, (by, _, _) = fleet.client.has(_native.SESSION_CLOSED)
    assert by == "transport"


def test_live_connections_move_to_a_new_generation(make_fleet):
    announced = FleetKeys.new().rotated()
    fleet = make_fleet(1, keys=announced, cid_lifetime_ms=300)
    ours, number, _ = fleet.call()
    switched = announced.rotated()
    fleet.servers[0].endpoint.set_fleet(member(switched))
    limit = time.monotonic() + PATIENCE_S
    while not fleet.balancer.counters().configs[switched.current.codepoint]:
        fleet.ask(ours, number, b"still there")
        assert time.monotonic() < limit
    settled = switched.rotated()
    before = fleet.balancer.counters().configs[announced.current.codepoint]
    while True:
        fleet.ask(ours, number, b"still there")
        now = fleet.balancer.counters().configs[announced.current.codepoint]
        if now == before:
            break
        before = now
        assert time.monotonic() < limit
    fleet.servers[0].endpoint.set_fleet(member(settled))
    fleet.balancer.set_view(fleet.view(keys=settled))
    fleet.ask(ours, number, b"and without the former keys")


def test_a_codepoint_is_not_used_for_two_keys_at_once(make_fleet):
    fleet = make_fleet(1)
    with pytest.raises(SettingsError, match="codepoint 1 is in use"):
        fleet.servers[0].endpoint.set_fleet(member(FleetKeys.new()))
    fleet.ask(*fleet.call()[:2], b"as before")


def test_a_server_takes_callers_without_a_balancer_too(make_fleet):
    fleet = make_fleet(1)
    ours, number, _ = fleet.call(fleet.servers[0].endpoint.local_addresses()[0][1])
    fleet.ask(ours, number, b"direct")
    assert fleet.balancer.counters().received == 0


def test_versions_are_told_through_the_tunnel_and_only_to_balancers(make_fleet):
    fleet = make_fleet(1)
    address = fleet.servers[0].endpoint.tunnel_addresses()[0]
    stranger = FleetKeys.new().encapsulation
    for wrong in (
        PROBE,
        stranger.request(("127.0.0.1", 9), PROBE),
        fleet.keys.encapsulation.reply(("127.0.0.1", 9), PROBE),
        fleet.keys.encapsulation.request(("127.0.0.1", 9), b"x")[:-1],
    ):
        answer = probe(address, fleet.keys, wrong)
        # Version 0, then the probe's IDs in the other order, one of them perhaps without a single octet.
        assert answer[0] & 0x80
        assert answer[1:15] == b"\x00\x00\x00\x00\x08probe id\x08"


def test_what_a_tunnel_does_not_take_is_counted_by_reason(make_fleet):
    fleet = make_fleet(1)
    server = fleet.servers[0].endpoint
    for wrong in (PROBE, FleetKeys.new().encapsulation.request(("127.0.0.1", 9), PROBE)):
        probe(server.tunnel_addresses()[0], fleet.keys, wrong)
    assert server.tunnel_declined() == {"not encapsulated": 1, "wrong tag": 1}


def test_a_probe_of_a_client_without_connection_id_is_answered(make_fleet):
    fleet = make_fleet(1)
    nameless = PROBE[:14] + b"\x00" + bytes(1185)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        opened.bind(("127.0.0.1", 0))
        opened.settimeout(PATIENCE_S)
        opened.sendto(nameless, ("127.0.0.1", fleet.port))
        answer, balancer = opened.recvfrom(2000)
    assert balancer == ("127.0.0.1", fleet.port)
    assert answer[1:6] == b"\x00\x00\x00\x00\x00"


def test_packets_fit_the_tunnel(make_fleet):
    fleet = make_fleet(1)
    ours, number, theirs = fleet.call()
    fleet.ask(ours, number, bytes(300_000))
    assert fleet.servers[number].endpoint.stats(theirs).mtu <= 1400
    assert fleet.balancer.counters().drops["too_large"] == 0


def test_processes_on_one_port_keep_their_calls(make_fleet):
    key = b"workers!"
    group = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(3)]
    for each in group:
        each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        each.bind(("127.0.0.1", group[0].getsockname()[1]))
    _native.steer_workers(group[0].fileno(), len(group), key, 17)
    fleet = make_fleet(0)
    for number, each in enumerate(group):
        keys = _native.EndpointKeys(fleet=member(fleet.keys, tunnel=[], worker=(number, len(group), key)))
        identity = fleet.certificate.identity
        endpoint = _native.Endpoint.inherit([each.dup().detach()], identity, fleet.settings, keys)
        fleet.servers.append(type(fleet.client)(endpoint))
    port = group[0].getsockname()[1]
    calls = [fleet.call(port)[:2] for _ in range(12)]
    assert len({number for _, number in calls}) > 1
    for ours, number in calls:
        fleet.client.endpoint.migrate(ours)
        fleet.ask(ours, number, b"from a new port")
    for each in group:
        each.close()


def test_mistakes_are_told(make_fleet, pair):
    keys = FleetKeys.new()
    with pytest.raises(SettingsError, match="needs keys"):
        _native.Endpoint.listen(
            [("127.0.0.1", 0)],
            pair.certificate.identity,
            SimpleNamespace(),
            _native.EndpointKeys(fleet=_native.FleetMember([])),
        )
    with pytest.raises(SettingsError, match="cannot be derived from"):
        make_fleet(1, tunnel=[("0.0.0.0", 0)])
    with pytest.raises(SettingsError, match="no network"):
        member(keys, balancers=["somewhere"])
    with pytest.raises(SettingsError, match="server ID of 3 octets"):
        make_fleet(1, server_id=b"abc")
    with pytest.raises(SettingsError, match="worker 2 of 2"):
        member(keys, worker=(2, 2, bytes(8)))
    with pytest.raises(LocalProtocolError, match="started in a fleet"):
        pair.server.endpoint.set_fleet(member(keys))
    with pytest.raises(TransportError, match="no UDP socket"), socket.socket() as tcp:
        _native.Endpoint.inherit([tcp.detach()], pair.certificate.identity, SimpleNamespace())
    with pytest.raises(LocalProtocolError, match="no open file descriptor"):
        _native.steer_workers(-1, 2, bytes(8), 17)
    assert pair.server.endpoint.server_id() is None
