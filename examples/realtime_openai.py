"""Ask a voice server what a recording says, with nothing but the stock `openai` package to talk to it.

python examples/realtime_openai.py question.wav answer.wav [https://localhost:4433/v1]

The key is in OPENAI_API_KEY. docs/guides/realtime.md says how a development server's key and certificate get
there.
"""

import base64
import sys

from openai import OpenAI

from legato.audio.resample import Resampler
from legato.audio.wav import read_wav, write_wav

RATE = 24_000
"""Samples per second of the Realtime API, both ways."""


def main(question: str, answer: str, url: str) -> None:
    """Hold a call of one turn."""
    wav = read_wav(question)
    speech = Resampler(wav.rate, RATE).process(wav.pcm) + bytes(2 * RATE)  # silence: the question is over
    heard = b""
    with OpenAI(base_url=url) as client, client.realtime.connect(model="assistant") as call:
        call.input_audio_buffer.append(audio=base64.b64encode(speech).decode())
        for event in call:
            match event.type:
                case "conversation.item.input_audio_transcription.completed":
                    print("asked:   ", event.transcript)
                case "response.output_audio_transcript.done":
                    print("answered:", event.transcript)
                case "response.output_audio.delta":
                    heard += base64.b64decode(event.delta)
                case "error":
                    sys.exit(event.error.message)
                case "response.done":
                    break
    write_wav(answer, heard, RATE)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else "https://localhost:4433/v1")
