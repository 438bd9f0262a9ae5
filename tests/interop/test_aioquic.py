"""The server against a WebTransport client on aioquic."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.interop.aioquic_client import FIRST_APPLICATION_CODE, AioquicClient, aioquic_client
from tests.interop.scenes import CLOSE_CODE, CLOSE_REASON, RESET_CODE, SPEECH, STOP_CODE, Stage, stage

CLOSE_SEVENTEEN = b"\x68\x43\x0d" + (17).to_bytes(4) + b"done here"
DRAIN = b"\x80\x00\x78\xae\x00"


@pytest.fixture
async def server() -> AsyncIterator[Stage]:
    async with stage() as running:
        yield running


@pytest.fixture
async def client(server: Stage) -> AsyncIterator[AioquicClient]:
    async with aioquic_client(server.port, server.identity.chain_pem()) as connected:
        yield connected


async def open_session(client: AioquicClient, path: str) -> None:
    assert (await client.request(path))[b":status"] == b"200"


async def test_bidirectional_streams_are_echoed(client: AioquicClient) -> None:
    await open_session(client, "/echo")
    streams = {client.open(text := f"stream {number}".encode()): text for number in range(20)}
    for stream, text in streams.items():
        assert (await client.ended(stream)).data == text


async def test_a_large_stream_survives_flow_control(client: AioquicClient) -> None:
    await open_session(client, "/echo")
    data = SPEECH * 10
    assert (await client.ended(client.open(data))).data == data


async def test_a_unidirectional_stream_comes_back_on_another(client: AioquicClient) -> None:
    await open_session(client, "/echo")
    client.open(b"one way", unidirectional=True)
    answer = await client.server_streams.get()
    assert (await client.ended(answer)).data == b"one way"


async def test_datagrams_are_echoed(client: AioquicClient) -> None:
    await open_session(client, "/echo")
    client.send_datagram(b"beat")
    assert await client.datagrams.get() == b"beat"


async def test_the_server_may_speak_first(client: AioquicClient) -> None:
    await open_session(client, "/speaks")
    assert (await client.ended(await client.server_streams.get())).data == SPEECH


async def test_the_client_ends_the_session(server: Stage, client: AioquicClient) -> None:
    await open_session(client, "/echo")
    client.send_capsules(CLOSE_SEVENTEEN, fin=True)
    await server.all_ended()
    assert server.of("/echo").ended == ("peer", 17, "done here")
    await client.capsules.ended.wait()
    assert client.capsules.data == b""


async def test_the_end_of_the_request_stream_ends_the_session(server: Stage, client: AioquicClient) -> None:
    await open_session(client, "/echo")
    client.send_capsules(b"", fin=True)
    await server.all_ended()
    assert server.of("/echo").ended == ("peer", 0, "")


async def test_the_server_ends_the_session(server: Stage, client: AioquicClient) -> None:
    await open_session(client, "/closes")
    client.open(b"please")
    await client.capsules.ended.wait()
    length = 4 + len(CLOSE_REASON)
    expected = b"\x68\x43" + bytes([length]) + CLOSE_CODE.to_bytes(4) + CLOSE_REASON.encode()
    assert client.capsules.data == expected
    await server.all_ended()
    assert server.of("/closes").ended == ("local", CLOSE_CODE, CLOSE_REASON)


async def test_both_sides_may_ask_for_an_end(server: Stage, client: AioquicClient) -> None:
    await open_session(client, "/drains")
    client.send_capsules(DRAIN)
    assert (await client.ended(client.open(b"still here"))).data == b"still here"
    assert client.capsules.data == DRAIN
    assert server.of("/drains").drained


async def test_codes_of_streams_from_the_server(client: AioquicClient) -> None:
    await open_session(client, "/resets")
    speech = await client.server_streams.get()
    answer = client.open(b"reset", fin=False)
    unwanted = client.open(b"stop", fin=False)
    assert (await client.ended(speech)).reset == FIRST_APPLICATION_CODE + RESET_CODE
    assert (await client.ended(answer)).reset == FIRST_APPLICATION_CODE + RESET_CODE
    assert await client.stopped(unwanted) == FIRST_APPLICATION_CODE + STOP_CODE


async def test_codes_of_streams_to_the_server(server: Stage, client: AioquicClient) -> None:
    await open_session(client, "/echo")
    stream = client.open(b"x", fin=False)
    await client.arrived(stream)
    # 30 is the first code behind one that HTTP/3 reserves.
    client.reset(stream, FIRST_APPLICATION_CODE + 31)
    assert (await client.ended(client.open(b"afterwards"))).data == b"afterwards"
    assert server.of("/echo").resets == [30]


async def test_requests_that_are_refused(client: AioquicClient) -> None:
    for path, status in [("/nowhere", b"404"), ("/busy", b"429")]:
        answer = await client.request(path)
        assert answer[b":status"] == status
        assert answer[b"retry-after"] == b"5"
    await open_session(client, "/echo")


async def test_an_ordinary_request_leaves_the_connection_alive(client: AioquicClient) -> None:
    assert (await client.request("/", method=b"GET"))[b":status"] in (b"404", b"405")
    await open_session(client, "/echo")


async def test_streams_before_the_answer(client: AioquicClient) -> None:
    """aioquic may write streams of a session that the server has not seen."""
    answer = asyncio.ensure_future(client.request("/echo"))
    await asyncio.sleep(0)
    stream = client.open(b"early")
    assert (await client.ended(stream)).data == b"early"
    assert (await answer)[b":status"] == b"200"


async def test_a_server_that_goes_says_so(server: Stage, client: AioquicClient) -> None:
    await open_session(client, "/echo")
    await server.endpoint.close()
    code, _ = await client.terminated
    assert code == 0x100, "H3_NO_ERROR"
