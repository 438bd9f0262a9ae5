"""Endpoints on real sockets: what crosses, what is refused, what ends."""

import array
import os
import socket
import time
from types import SimpleNamespace

import pytest

from legato import _native
from legato.core.errors import ConnectError, LocalProtocolError, SettingsError, TransportError


def test_streams_and_datagrams_cross_both_ways(pair):
    theirs, ours = pair.session()
    stream = pair.client.endpoint.open_stream(ours, True)
    pair.client.endpoint.send(stream, b"question", True)
    _, received, _ = pair.server.has(_native.STREAM_FIN)
    assert pair.server.data(received) == b"question"
    pair.server.endpoint.send(received, b"answer", fin=True)
    pair.client.has(_native.STREAM_FIN)
    assert pair.client.data(stream) == b"answer"
    pair.client.endpoint.send_datagram(ours, b"up")
    assert pair.server.has(_native.DATAGRAM) == (theirs, 0, b"up")
    pair.server.endpoint.send_datagram(theirs, b"down")
    assert pair.client.has(_native.DATAGRAM) == (ours, 0, b"down")


def test_a_request_tells_what_is_asked_for(pair):
    pair.session(origin="https://app.example", headers=[("X-Call", "7")], path="/legato/v1?a=b")
    _, _, request = pair.server.has(_native.SESSION_REQUESTED)
    assert (request.path, request.origin) == ("/legato/v1?a=b", "https://app.example")
    assert request.authority == f"localhost:{pair.port}"
    assert ("x-call", "7") in request.headers
    assert request.local[1] == pair.port
    assert request.remote[0] in {"127.0.0.1", "::1"}


def test_a_refusal_carries_status_and_fields(pair):
    pair.server.accepts = False
    ours = pair.client.endpoint.connect(pair.target())
    theirs, _, _ = pair.server.has(_native.SESSION_REQUESTED)
    pair.server.endpoint.reject(theirs, 429, [("retry-after", "3")])
    session, _, (status, headers) = pair.client.has(_native.SESSION_REFUSED)
    assert (session, status) == (ours, 429)
    assert ("retry-after", "3") in headers


def test_both_address_families_answer_on_one_port(pair):
    assert {host for host, _ in pair.server.endpoint.local_addresses()} == {"127.0.0.1", "::1"}
    for host in ("127.0.0.1", "::1"):
        _, ours = pair.session(addresses=[(host, pair.port)])
        assert pair.client.endpoint.stats(ours).remote == (host, pair.port)


def test_a_wildcard_answers_from_the_address_that_was_hit(make_pair):
    pair = make_pair(host="")
    for host in ("127.0.0.1", "127.0.0.53", "::1"):
        pair.session(addresses=[(host, pair.port)])
        _, _, request = pair.server.of(_native.SESSION_REQUESTED)[-1]
        assert request.local == (host, pair.port)


def test_a_dead_address_costs_nothing_when_another_one_lives(make_pair):
    pair = make_pair(host="127.0.0.1")
    begin = time.monotonic()
    pair.session(addresses=[("::1", pair.port), ("127.0.0.1", pair.port)])
    assert time.monotonic() - begin < 5


def test_nobody_listening_is_told_at_once(pair):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ours = pair.client.endpoint.connect(pair.target(addresses=[("127.0.0.1", port)]))
    session, _, (reason, kind) = pair.client.has(_native.CONNECT_FAILED)
    assert (session, kind) == (ours, "refused"), reason


@pytest.mark.parametrize(
    ("first", "last", "right_hash", "good"),
    [(-1, 10, True, True), (-1, 10, False, False), (-9, -1, True, False), (1, 9, True, False)],
)
def test_the_pinned_certificate_must_be_the_one_and_valid(
    pair, certificate, party, first, last, right_hash, good
):
    presented = certificate(first, last)
    server = party(_native.Endpoint.listen([("127.0.0.1", 0)], presented.identity, SimpleNamespace(), None))
    _, port = server.endpoint.local_addresses()[0]
    pinned = presented.hash if right_hash else bytes(32)
    pair.client.endpoint.connect(pair.target(addresses=[("127.0.0.1", port)], certificate_hashes=[pinned]))
    if good:
        server.has(_native.SESSION_REQUESTED)
        pair.client.has(_native.SESSION_OPENED)
    else:
        _, _, (_, kind) = pair.client.has(_native.CONNECT_FAILED)
        assert kind == "certificate"
    server.endpoint.shutdown()


def test_named_roots_are_trusted_and_the_systems_are_not_enough(pair):
    pair.session(certificate_hashes=[], roots=[pair.certificate.der])
    pair.client.endpoint.connect(pair.target(certificate_hashes=[], system_roots=True))
    _, _, (_, kind) = pair.client.has(_native.CONNECT_FAILED)
    assert kind == "certificate"


def test_a_new_certificate_takes_over(pair, certificate):
    fresh = certificate()
    pair.server.endpoint.set_identity(fresh.identity)
    pair.session(certificate_hashes=[fresh.hash])


def test_the_end_of_a_session_carries_code_and_reason(pair):
    theirs, ours = pair.session()
    pair.client.endpoint.close(ours, 10, "that is all")
    assert pair.server.has(_native.SESSION_CLOSED) == (theirs, 0, ("peer", 10, "that is all"))
    assert pair.client.has(_native.SESSION_CLOSED) == (ours, 0, ("local", 10, "that is all"))


def test_a_client_changes_its_port_and_its_address_in_mid_stream(make_pair):
    pair = make_pair(host="127.0.0.1")
    _, ours = pair.session(addresses=[("127.0.0.1", pair.port)])
    stream = pair.client.endpoint.open_stream(ours, False)
    sent = os.urandom(300_000)
    for position in range(0, len(sent), 50_000):
        pair.client.endpoint.send(stream, sent[position : position + 50_000])
        pair.client.endpoint.migrate(ours, None if position % 100_000 else ("127.0.0.9", 0))
    pair.client.endpoint.send(stream, b"", True)
    _, received, _ = pair.server.has(_native.STREAM_FIN)
    assert pair.server.data(received) == sent
    pair.server.has(_native.PATH_CHANGED)
    assert pair.client.endpoint.stats(ours).path_changes == 6


def test_figures_are_plausible(pair):
    _, ours = pair.session()
    stream = pair.client.endpoint.open_stream(ours, False)
    pair.client.endpoint.send(stream, bytes(200_000), True)
    pair.server.has(_native.STREAM_FIN)
    pair.client.until(lambda client: client.endpoint.stats(ours).bytes_sent > 200_000)
    stats = pair.client.endpoint.stats(ours)
    assert 0 < stats.min_rtt_us <= stats.rtt_us < 1_000_000
    assert stats.bytes_received > 1000
    assert stats.sent_packets > 100
    assert 1200 <= stats.mtu <= 1452
    assert stats.local[1] != stats.remote[1] == pair.port
    assert 1000 <= pair.client.endpoint.max_datagram_size(ours) <= 1452


@pytest.mark.parametrize(
    "buffer",
    [
        bytearray(b"abcd"),
        memoryview(b"xabcdx")[1:5],
        array.array("h", [0x6261, 0x6463]),
        memoryview(array.array("h", [0x6261, 0x6463])),
    ],
)
def test_any_contiguous_buffer_can_be_sent(pair, buffer):
    _, ours = pair.session()
    stream = pair.client.endpoint.open_stream(ours, False)
    pair.client.endpoint.send(stream, buffer, True)
    _, received, _ = pair.server.has(_native.STREAM_FIN)
    assert pair.server.data(received) == b"abcd"


def test_mistakes_raise_the_errors_of_legato(pair, certificate):
    theirs, ours = pair.session()
    client, server = pair.client.endpoint, pair.server.endpoint
    stream = client.open_stream(ours, False)
    with pytest.raises(LocalProtocolError, match="contiguous"):
        client.send(stream, memoryview(b"abcd")[::2])
    with pytest.raises(TypeError):
        client.send(stream, "text")
    with pytest.raises(LocalProtocolError, match="no such"):
        client.send(12345, b"")
    with pytest.raises(LocalProtocolError, match="300 to 599"):
        server.reject(theirs, 200)
    with pytest.raises(LocalProtocolError, match="only a client"):
        server.migrate(theirs)
    with pytest.raises(LocalProtocolError, match="only a server"):
        client.set_identity(certificate().identity)
    with pytest.raises(TransportError, match="in use"):
        _native.Endpoint.listen([("127.0.0.1", pair.port)], certificate().identity, SimpleNamespace(), None)
    with pytest.raises(SettingsError, match="private key"):
        _native.Endpoint.listen([("::1", 0)], _native.Identity([b"x"], b"y"), SimpleNamespace(), None)
    with pytest.raises(SettingsError, match="initial_mtu"):
        _native.Endpoint.client(SimpleNamespace(initial_mtu=5))
    with pytest.raises(SettingsError, match="congestion"):
        _native.Endpoint.client(SimpleNamespace(congestion="bbr"))
    with pytest.raises(SettingsError, match="32 bytes"):
        _native.EndpointKeys(reset_key=b"short")
    with pytest.raises(ConnectError, match="resolved"):
        pair.target(addresses=[("voice.example", 4433)])
    with pytest.raises(ConnectError, match="path"):
        client.connect(pair.target(path="relative"))
    with pytest.raises(ConnectError, match="trust"):
        client.connect(pair.target(certificate_hashes=[]))


def test_keys_and_connection_ids_are_taken(make_pair):
    keys = _native.EndpointKeys(bytes(32), bytes(32), bytes(32), (17, b"\x07"))
    make_pair(keys=keys, settings=SimpleNamespace(retry_threshold=0)).session()


def test_logs_for_analysers_are_written(make_pair, tmp_path):
    pair = make_pair(settings=SimpleNamespace(qlog_dir=tmp_path, key_log_path=tmp_path / "keys.txt"))
    pair.session()
    pair.close()
    assert "SERVER_TRAFFIC_SECRET_0" in (tmp_path / "keys.txt").read_text()
    logs = sorted(path.name.split("-")[1] for path in tmp_path.glob("*.sqlog"))
    assert logs == ["client", "server"]
    assert all(path.stat().st_size > 100 for path in tmp_path.glob("*.sqlog"))
