"""The joint between the engine's thread and Python: batches, blocked loops, late readers, forks, the end."""

import asyncio
import os
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from legato import _native
from legato.core.errors import LocalProtocolError, TransportError


def threads() -> set[str]:
    return {path.name for path in Path("/proc/self/task").iterdir()}


async def test_an_event_loop_is_woken_once_per_batch(pair):
    _, ours = pair.session()
    pair.server.drain()
    loop = asyncio.get_running_loop()
    finished = loop.create_future()
    wakes = 0

    def on_readable() -> None:
        nonlocal wakes
        wakes += 1
        pair.server.drain()
        if len(pair.server.of(_native.STREAM_FIN)) == 50 and not finished.done():
            finished.set_result(None)

    loop.add_reader(pair.server.endpoint.fileno(), on_readable)
    for number in range(50):
        stream = pair.client.endpoint.open_stream(ours, False)
        pair.client.endpoint.send(stream, b"%d" % number, True)
    time.sleep(0.2)  # noqa: ASYNC251 - the loop is blocked on purpose while everything arrives
    await asyncio.wait_for(finished, 60)
    loop.remove_reader(pair.server.endpoint.fileno())
    assert wakes < 50
    received = sorted(int(data) for _, _, data in pair.server.of(_native.STREAM_DATA))
    assert received == list(range(50))


def test_a_blocked_interpreter_does_not_hold_up_acknowledgements(pair):
    _, ours = pair.session()
    stream = pair.client.endpoint.open_stream(ours, False)
    before = pair.client.endpoint.stats(ours)
    pair.client.endpoint.send(stream, bytes(500_000), True)
    until = time.monotonic() + 20
    after = before  # nothing is drained on either side
    while after.bytes_sent - before.bytes_sent <= 500_000 and time.monotonic() < until:
        after = pair.client.endpoint.stats(ours)
    assert after.bytes_sent - before.bytes_sent > 500_000
    assert after.bytes_received > before.bytes_received
    assert after.rtt_us < 200_000


def test_late_readers_find_everything_in_order(pair):
    theirs, ours = pair.session()
    sent = os.urandom(3_000_000)
    stream = pair.client.endpoint.open_stream(ours, False)
    pair.client.endpoint.send(stream, sent, True)
    while not pair.server.of(_native.STREAM_FIN):
        time.sleep(0.01)
        pair.server.drain()
    (_, received, _) = pair.server.has(_native.STREAM_FIN)
    assert pair.server.data(received) == sent
    assert theirs


def test_what_waits_for_a_reader_is_bounded(make_pair):
    pair = make_pair(settings=SimpleNamespace(event_buffer_bytes=100_000))
    _, ours = pair.session()
    stream = pair.client.endpoint.open_stream(ours, False)
    sent = os.urandom(5_000_000)
    pair.client.endpoint.send(stream, sent, True)
    time.sleep(0.3)
    first = sum(
        len(payload) for kind, _, _, payload in pair.server.endpoint.drain() if kind == _native.STREAM_DATA
    )
    assert first < 200_000
    (_, received, _) = pair.server.has(_native.STREAM_FIN)
    assert first + len(pair.server.data(received)) == len(sent)


def test_several_threads_may_send(pair):
    _, ours = pair.session()
    streams = [pair.client.endpoint.open_stream(ours, False) for _ in range(8)]

    def work(stream: int) -> None:
        for _ in range(200):
            pair.client.endpoint.send(stream, b"x" * 100)
        pair.client.endpoint.send(stream, b"", True)

    threads = [threading.Thread(target=work, args=(stream,)) for stream in streams]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pair.server.until(lambda party: len(party.of(_native.STREAM_FIN)) == 8)
    assert sum(len(data) for _, _, data in pair.server.of(_native.STREAM_DATA)) == 8 * 200 * 100


def test_two_servers_and_their_clients_share_a_process(make_pair):
    first, second = make_pair(), make_pair()
    for pair in (first, second):
        theirs, _ = pair.session()
        pair.server.endpoint.send_datagram(theirs, b"%d" % pair.port)
    for pair in (first, second):
        assert pair.client.has(_native.DATAGRAM)[2] == b"%d" % pair.port


def test_a_shutdown_is_quick_tells_the_peer_and_is_final(pair):
    _, ours = pair.session()
    begin = time.monotonic()
    pair.server.endpoint.shutdown()
    assert time.monotonic() - begin < 1
    assert pair.client.has(_native.SESSION_CLOSED)[0] == ours
    pair.server.endpoint.shutdown()
    pair.server.endpoint.drain()
    with pytest.raises(TransportError, match="shut down"):
        pair.server.endpoint.drain()
    with pytest.raises(TransportError, match="shut down"):
        pair.server.endpoint.refuse_new(503)


def test_dropping_an_endpoint_ends_its_thread(certificate):
    before = threads()
    endpoint = _native.Endpoint.listen([("127.0.0.1", 0)], certificate().identity, SimpleNamespace(), None)
    address = endpoint.local_addresses()[0]
    own = threads() - before
    assert own
    del endpoint
    # The kernel takes a joined thread off its list a moment after the join.
    deadline = time.monotonic() + 5
    while own & threads():
        assert time.monotonic() < deadline
        os.sched_yield()
    _native.Endpoint.listen([address], certificate().identity, SimpleNamespace(), None).shutdown()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_gets_an_error_and_no_hang(pair):
    _, ours = pair.session()
    child = os.fork()
    if child == 0:
        outcome = 1
        try:
            pair.client.endpoint.open_stream(ours, True)
        except LocalProtocolError as error:
            outcome = 0 if "fork" in str(error) else 2
        finally:
            os._exit(outcome)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    pair.client.endpoint.open_stream(ours, True)


def test_an_endpoint_on_a_virtual_clock_needs_no_sockets(certificate):
    presented = certificate()
    home = ("10.0.0.1", 4433)
    server = _native.InlineEndpoint.server([home], presented.identity, SimpleNamespace(), None, seed=1)
    client = _native.InlineEndpoint.client(SimpleNamespace(), seed=2)
    target = _native.ConnectTarget(
        [home], "localhost", "localhost", "/legato/v1", certificate_hashes=[presented.hash]
    )
    session = client.connect(target)
    stream = client.open_stream(session, True)
    client.send(stream, b"early", True)
    received = b""
    now = 0
    while not received and now < 1_000_000:
        now += 1000
        for here, there in ((client, server), (server, client)):
            for source, destination, data in here.poll_transmit(now):
                there.handle_datagram(now, source, destination, data)
            if (due := here.next_timeout()) is not None and due <= now:
                here.handle_timeout(now)
        for kind, number, _, payload in server.drain():
            if kind == _native.SESSION_REQUESTED:
                server.accept(number)
            elif kind == _native.STREAM_DATA:
                received += payload
    assert received == b"early"
    with pytest.raises(LocalProtocolError):
        server.fileno()
    server.shutdown_at(now)
    assert server.poll_transmit(now)


@pytest.mark.slow
def test_twenty_megabytes_arrive_whole(pair):
    theirs, _ = pair.session()
    stream = pair.server.endpoint.open_stream(theirs, False)
    block = os.urandom(1 << 20)
    for _ in range(20):
        pair.server.endpoint.send(stream, block)
    pair.server.endpoint.send(stream, b"", True)
    (_, received, _) = pair.client.has(_native.STREAM_FIN)
    assert pair.client.data(received) == block * 20
