"""Recognition and speech behind an OpenAI-compatible endpoint, over real sockets."""

import pytest
from tests.agents.openai_endpoint import FixedAnswer, recognised, settings_for, spoken

from legato.agents.stages import openai_http, stt_openai, tts_openai
from legato.agents.stages.base import Delivery, Hints
from legato.core.errors import AgentError
from legato.testing.scripted_endpoint import Break


async def test_speech_is_sent_as_one_wav_when_it_ends(endpoint, recognition) -> None:
    endpoint.transcripts.append(" good day ")
    recogniser = recognition.open("someone")
    assert await recogniser.feed(b"\x01\x00" * 800) is None
    assert await recogniser.feed(b"\x02\x00" * 800) is None
    assert endpoint.heard == []
    assert await recogniser.finish() == "good day"
    assert endpoint.heard == [b"\x01\x00" * 800 + b"\x02\x00" * 800]
    assert endpoint.keys == ["k-stt"]
    await recogniser.close()
    with pytest.raises(AgentError, match="closed"):
        await recogniser.feed(b"")


async def test_hints_go_along_with_the_speech(endpoint, recognition) -> None:
    await recognised(recognition, bytes(3_200))
    await recognised(recognition, bytes(3_200), Hints("pl", "Łódź"))
    assert [(fields["language"], fields.get("prompt")) for fields in endpoint.transcriptions] == [
        ("de", None),
        ("pl", "Łódź"),
    ]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"words": "a"}', b"\xff\xfe\x00"])
async def test_transcripts_that_make_no_sense(body: bytes) -> None:
    async with FixedAnswer(b"application/json", body) as url:
        recognition = stt_openai.build(settings_for(url))
        with pytest.raises(AgentError, match="has no text"):
            await recognised(recognition, bytes(3_200))
        await recognition.close()


async def test_a_transcript_with_half_a_character() -> None:
    async with FixedAnswer(b"application/json", b'{"text": "hello \\ud83d"}') as url:
        recognition = stt_openai.build(settings_for(url))
        assert await recognised(recognition, bytes(3_200)) == "hello \ufffd"
        await recognition.close()


async def test_a_transcript_without_end_is_given_up(monkeypatch) -> None:
    monkeypatch.setattr(openai_http, "MOST_BYTES", 10_000)
    async with FixedAnswer(b"application/json", b'{"text": "' + b"x" * 50_000) as url:
        recognition = stt_openai.build(settings_for(url))
        with pytest.raises(AgentError, match="speech recognition answers with more than 10000 bytes"):
            await recognised(recognition, bytes(3_200))
        await recognition.close()


@pytest.mark.parametrize("kind", ["pcm", "wav"])
async def test_sound_comes_in_either_form(endpoint, voice, kind: str) -> None:
    endpoint.speeches.append(kind)
    pieces = await spoken(voice, "Good day.")
    assert len(pieces) > 1
    assert pieces[0].text == "Good day."
    assert {piece.rate for piece in pieces} == {24_000}
    assert sum(piece.samples for piece in pieces) == 24_000 * 60 * 9 // 1000
    assert endpoint.keys == [""]


async def test_voice_and_speed_are_asked_of_the_endpoint(endpoint, voice) -> None:
    usual = await spoken(voice, "Good day.")
    fast = [piece async for piece in voice.speak("Good day.", Delivery("marin", 1.5))]
    assert sum(piece.samples for piece in fast) == sum(piece.samples for piece in usual) * 2 // 3
    assert [(asked["voice"], asked.get("speed")) for asked in endpoint.speech_requests] == [
        ("nova", None),
        ("marin", 1.5),
    ]


async def test_sound_that_breaks_off_is_heard_so_far(endpoint, voice) -> None:
    endpoint.speeches.append(Break())
    pieces = []
    with pytest.raises(AgentError) as caught:
        async for piece in voice.speak("A rather long sentence, which never ends."):
            pieces.append(piece)
    assert pieces
    assert caught.value.retryable


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"", "no audio"),
        (b"\x00", "no audio"),
        (
            b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x02\0\x80>\0\0\0\xfa\0\0\x04\0\x10\0data\0\0\0\0\1\0",
            "2 channels of 16",
        ),
        (
            b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x80>\0\0\x80>\0\0\x01\0\x08\0data\0\0\0\0\1\0",
            "1 channels of 8",
        ),
        (
            b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\xff\xff\xff\x7f\0\0\0\0\x02\0\x10\0data\0\0\0\0\1\0",
            "2147483647 samples per second",
        ),
        (
            b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x05\0\0\0\0\0\0\0\x02\0\x10\0data\0\0\0\0\1\0",
            "5 samples per second",
        ),
        (b"RIFF\0\0\0\0WAVEJUNK\x04\0\0\0", "no audio"),
        (b"RIFF\0\0\0\0WAVEJUNK\xff\xff\0\0" + bytes(9_000), "without samples"),
    ],
)
async def test_sound_that_makes_no_sense(body: bytes, complaint: str) -> None:
    async with FixedAnswer(b"audio/wav", body) as url:
        voice = tts_openai.build(settings_for(url))
        with pytest.raises(AgentError, match=complaint):
            await spoken(voice, "a")
        await voice.close()


async def test_a_wav_of_known_length_ends_where_it_says() -> None:
    head = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x80>\0\0\0}\0\0\x02\0\x10\0"
    async with FixedAnswer(b"audio/wav", head + b"data\x04\0\0\0abcdLISTtrailer") as url:
        voice = tts_openai.build(settings_for(url))
        (piece,) = await spoken(voice, "a")
        assert (piece.pcm, piece.rate) == (b"abcd", 16_000)
        await voice.close()
