"""Ask a voice server what a recording says, print both sides, and keep what was heard.

python examples/ask.py question.wav answer.wav [https://localhost:4433]
"""

import asyncio
import sys

import legato
from legato.audio.resample import Resampler
from legato.audio.wav import read_wav, write_wav
from legato.client.devices import VirtualSpeaker
from legato.client.events import PlaybackChanged, ServerEvent


async def main(question: str, answer: str, url: str) -> None:
    """Hold a call of one turn."""
    wav = read_wav(question)
    heard = bytearray()
    async with legato.connect(url, speaker=VirtualSpeaker(record=heard.extend)) as call:
        resampler = Resampler(wav.rate, call.settings.input.rate)
        call.send_audio(resampler.process(wav.pcm) + resampler.flush())
        call.send_audio(bytes(2 * call.settings.input.rate))  # silence: the question is over
        async for event in call.events:
            match event:
                case ServerEvent(event={"transcript": str(text)}) if "input" in event.type:
                    print("asked:   ", text)
                case ServerEvent(event={"transcript": str(text)}):
                    print("answered:", text)
                case PlaybackChanged(state="done"):
                    break
    write_wav(answer, bytes(heard), call.playback.rate)


if __name__ == "__main__":
    asyncio.run(
        main(sys.argv[1], sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else "https://localhost:4433")
    )
