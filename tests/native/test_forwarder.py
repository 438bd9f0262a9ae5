"""The balancer's data plane through the seam: values in, packets across, counters out."""

import os
import socket
import time

import pytest

from legato import _native
from legato.core.errors import LocalProtocolError, SettingsError, TransportError

KEY = bytes(range(16))
HASH_KEY = bytes(16)
CLIENT = ("192.0.2.1", 1234)
PATIENCE_S = 20.0


def config(codepoint: int = 0, key: bytes | None = KEY) -> _native.QuicLbConfig:
    return _native.QuicLbConfig(codepoint, 8, 8, key)


def keys(current: bytes = KEY, other: bytes | None = None) -> _native.EncapsulationKeys:
    return _native.EncapsulationKeys(current, other)


def view(*backends: _native.Backend, **more: object) -> _native.ForwarderView:
    return _native.ForwarderView([config()], backends, HASH_KEY, keys(), **more)  # type: ignore[arg-type]


def backend(number: int, state: str = "ready", weight: int = 1) -> _native.Backend:
    address = (f"10.0.0.{number}", 4434)
    return _native.Backend([_native.derived_server_id(address)], address, state, weight)


def short_header(cid: bytes) -> bytes:
    return b"\x40" + cid + bytes(30)


def udp() -> socket.socket:
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    opened.bind(("127.0.0.1", 0))
    opened.settimeout(PATIENCE_S)
    return opened


class TestConnectionIds:
    def test_a_server_id_comes_back_whatever_the_nonce(self) -> None:
        server = bytes(range(8))
        ids = {config(3).encode(server, nonce.to_bytes(8, "big")) for nonce in range(20)}
        assert len(ids) == 20
        for cid in ids:
            assert len(cid) == 17
            assert _native.decode_connection_id([config(), config(3)], cid) == (3, server)
            assert _native.decode_connection_id([config(3)], cid + b"more", long_header=False) == (3, server)

    def test_what_is_not_routable_says_nothing(self) -> None:
        cid = config(3).encode(bytes(8), bytes(8))
        assert _native.decode_connection_id([config(2)], cid) is None
        assert _native.decode_connection_id([config(3)], cid[:-1]) is None
        assert _native.decode_connection_id([config(3)], b"") is None

    def test_the_profile_of_aws_is_sixteen_octets_in_clear(self) -> None:
        profile = _native.QuicLbConfig.aws_nlb()
        cid = profile.encode(b"serverid", b"nonce.7")
        assert cid == b"\x00serveridnonce.7"
        assert (profile.cid_length, profile.encrypted, profile.codepoint) == (16, False, 0)

    def test_an_address_is_a_server_id(self) -> None:
        assert _native.derived_server_id(("192.0.2.7", 4433)).hex() == "c000020711512ca7"
        assert _native.derived_server_id(("2001:db8::3:4:5:6", 1)).hex() == "0003000400050006"

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ((7, 8, 8), "use 0 to 6"),
            ((0, 0, 8), "at least 1 and 4"),
            ((0, 12, 8), "at most 19"),
            ((0, 8, 8, bytes(15)), "must have 16 bytes, not 15"),
            ((0, 8, 8, None, 16), "use 17 to 20"),
        ],
    )
    def test_what_the_draft_forbids_is_told(self, arguments: tuple[int, int, int], words: str) -> None:
        with pytest.raises(SettingsError, match=words):
            _native.QuicLbConfig(*arguments)

    def test_no_key_is_shown(self) -> None:
        assert KEY.hex() not in repr(config())


class TestEncapsulation:
    def test_both_directions_open_under_both_keys(self) -> None:
        new = bytes(16)
        for client in (CLIENT, ("2001:db8::1", 443)):
            datagram = keys(KEY).request(client, b"packet")
            assert keys(new, KEY).open(datagram) == (False, client, b"packet")
            assert keys(KEY).open(keys(KEY).reply(client, b"answer")) == (True, client, b"answer")

    @pytest.mark.parametrize(
        ("datagram", "reason"),
        [
            (b"", "not encapsulated"),
            (b"\x40 packet", "not encapsulated"),
            (b"\x09", "truncated"),
            (_native.EncapsulationKeys(bytes(16)).request(CLIENT, b"x"), "wrong tag"),
        ],
    )
    def test_everything_else_is_refused_with_a_reason(self, datagram: bytes, reason: str) -> None:
        with pytest.raises(ValueError, match=reason):
            keys().open(datagram)


class TestViews:
    def test_a_connection_id_leads_to_its_server(self) -> None:
        known = view(backend(1), backend(2, "draining"), backend(3, "dead"))
        for number, answer in [(1, "10.0.0.1"), (2, "10.0.0.2")]:
            cid = config().encode(backend(number).server_ids[0], bytes(8))
            decided = known.decide(short_header(cid), CLIENT, 0)
            assert decided == ((answer, 4434), "connection_id", 0)
        dead = short_header(config().encode(backend(3).server_ids[0], bytes(8)))
        with pytest.raises(ValueError, match="dead_server"):
            known.decide(dead, CLIENT, 0)
        assert known.decide(dead, CLIENT, 4_000_000)[1] == "hash_dead_server"

    def test_new_connections_follow_the_weights(self) -> None:
        shares = view(backend(1, weight=3), backend(2), backend(3, "joining"), backend(4, weight=0)).shares()
        assert sum(shares) == 65537
        assert shares[2:] == [0, 0]
        assert 2.8 < shares[0] / shares[1] < 3.2

    def test_an_empty_view_drops_everything(self) -> None:
        with pytest.raises(ValueError, match="no_server"):
            view().decide(b"\xc0\x00\x00\x00\x01" + bytes(40), CLIENT, 0)

    def test_contradictions_are_told(self) -> None:
        with pytest.raises(SettingsError, match="listed twice"):
            view(backend(1), backend(1))
        with pytest.raises(SettingsError, match="outside the allowed networks"):
            view(backend(1), allowed=["192.0.2.0/24"])
        with pytest.raises(SettingsError, match="no network"):
            view(backend(1), allowed=["everywhere"])
        with pytest.raises(SettingsError, match="codepoint 0 is in use"):
            _native.ForwarderView([config(), config()], [], HASH_KEY, keys())
        with pytest.raises(SettingsError, match="joining, ready, draining or dead"):
            backend(1, "asleep")
        with pytest.raises(SettingsError, match="is not an IP address"):
            _native.Backend([bytes(8)], ("localhost", 1))


class TestForwarding:
    def test_packets_cross_both_ways_and_are_counted(self) -> None:
        with udp() as server, udp() as client:
            known = _native.Backend([b"serverid"], server.getsockname())
            forwarder = _native.Forwarder([("127.0.0.1", 0)], view(known), threads=1)
            [address] = forwarder.addresses()
            packet = short_header(config().encode(b"serverid", bytes(8)))
            client.sendto(packet, address)
            datagram, balancer = server.recvfrom(2000)
            assert balancer == address
            assert keys().open(datagram) == (False, client.getsockname(), packet)
            server.sendto(keys().reply(client.getsockname(), b"answer"), balancer)
            assert client.recvfrom(2000) == (b"answer", address)
            counters = _settled(forwarder, received=2)
            assert (counters.replies, counters.routes["connection_id"], counters.configs[0]) == (1, 1, 1)
            assert counters.backends == [(server.getsockname(), 1, 1)]
            assert (counters.threads, counters.working) == (1, 1)
            assert sum(counters.drops.values()) == 0
            forwarder.close()

    def test_another_view_decides_the_next_packet(self) -> None:
        with udp() as first, udp() as second, udp() as client:
            forwarder = _native.Forwarder(
                [("127.0.0.1", 0)], view(_native.Backend([b"serverid"], first.getsockname())), threads=1
            )
            packet = short_header(config().encode(b"serverid", bytes(8)))
            client.sendto(packet, forwarder.addresses()[0])
            first.recvfrom(2000)
            forwarder.set_view(view(_native.Backend([b"serverid"], second.getsockname())))
            client.sendto(packet, forwarder.addresses()[0])
            second.recvfrom(2000)
            forwarder.close()

    def test_its_sockets_go_on_under_another_one(self) -> None:
        with udp() as server, udp() as client:
            known = view(_native.Backend([b"serverid"], server.getsockname()))
            old = _native.Forwarder([("127.0.0.1", 0)], known, threads=2)
            copies = [os.dup(descriptor) for descriptor in old.descriptors()]
            new = _native.Forwarder.inherit(copies, known)
            assert new.addresses() == old.addresses()
            old.close()
            client.sendto(short_header(config().encode(b"serverid", bytes(8))), new.addresses()[0])
            server.recvfrom(2000)
            assert new.counters().threads == 2
            new.close()

    def test_a_closed_one_says_so(self) -> None:
        forwarder = _native.Forwarder([("127.0.0.1", 0)], view(), threads=1)
        forwarder.close()
        forwarder.close()
        with pytest.raises(TransportError, match="closed"):
            forwarder.addresses()

    def test_what_cannot_be_listened_on_is_told(self) -> None:
        with pytest.raises(TransportError, match=r"cannot listen on UDP 192\.0\.2\.1:1"):
            _native.Forwarder([("192.0.2.1", 1)], view())
        with pytest.raises(SettingsError, match="no address to listen on"):
            _native.Forwarder([], view())
        with pytest.raises(LocalProtocolError, match="no open file descriptor"):
            _native.Forwarder.inherit([1 << 20], view())


def _settled(forwarder: _native.Forwarder, received: int) -> _native.ForwarderCounters:
    """The counters when this many datagrams were counted; threads publish them after each batch."""
    limit = time.monotonic() + PATIENCE_S
    while True:
        counters = forwarder.counters()
        if counters.received >= received:
            return counters
        assert time.monotonic() < limit, counters.received
        time.sleep(0.001)
