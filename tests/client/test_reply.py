"""Replies on their way to the player: no payload, however bad, moves what follows it."""

import pytest

from legato.audio.codecs import codec_for
from legato.client.playback import PlaybackBuffer
from legato.client.reply import LONGEST_GAP_S, IncomingReply
from legato.core.audio import AudioFormat
from legato.core.errors import RemoteProtocolError
from legato.core.wire.codes import SessionCode
from legato.core.wire.messages import ReplyHeader

PCM = AudioFormat("pcm16", 24_000)


def incoming(form: AudioFormat = PCM) -> IncomingReply:
    item = PlaybackBuffer(form.rate).begin("i", 0, 1)
    assert item is not None
    return IncomingReply(
        ReplyHeader(response_id="r", item_id="i", content_index=0, generation=1, format=form), item
    )


def test_what_is_lost_is_silence_of_its_length() -> None:
    reply = incoming()
    assert reply.take(0, b"\1\1" * 10) == b"\1\1" * 10
    assert reply.take(15, b"\2\2" * 5) == bytes(10) + b"\2\2" * 5
    assert reply.received == 20
    assert reply.end(20) == b""
    assert reply.whole == 20


def test_a_gap_that_no_loss_explains_is_a_violation() -> None:
    reply = incoming()
    assert len(reply.take(LONGEST_GAP_S * PCM.rate, b"\1\1")) == 2 * (LONGEST_GAP_S * PCM.rate + 1)
    with pytest.raises(RemoteProtocolError) as raised:
        reply.take(1 << 50, b"\1\1")
    assert raised.value.code == SessionCode.PROTOCOL_VIOLATION


def test_a_packet_that_cannot_be_decoded_is_silence_of_its_length() -> None:
    form = AudioFormat("opus", 24_000)
    encoder = codec_for(form).encoder()
    packets = [*encoder.encode(bytes(2 * 24_000)), *encoder.flush()]
    broken = packets[5][:1] + b"\xff" * 3
    assert form.samples(broken) == form.samples(packets[5])
    whole, hurt = incoming(form), incoming(form)
    lengths = []
    for reply, fifth in ((whole, packets[5]), (hurt, broken)):
        pcm, offset = b"", 0
        for number, packet in enumerate(packets):
            pcm += reply.take(offset, fifth if number == 5 else packet)
            offset += form.samples(packet)
        lengths.append(len(pcm + reply.end(offset)))
    assert lengths[0] == lengths[1]
