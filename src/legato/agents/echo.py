"""An agent that says what it hears.

With one format both ways, frames pass through untouched, without being decoded, and nothing is done for each
of them here: that is the measured path. Otherwise they are decoded and said in the caller's output format.
"""

from collections.abc import AsyncIterator
from contextlib import suppress

from legato.agents.base import Agent, Call, Speech
from legato.audio.convert import IncomingAudio
from legato.core.audio import AudioGap

__all__ = ["build", "echo"]


async def echo(call: Call) -> None:
    """Answer with the caller's own audio for as long as the call lasts, also once it was silenced. What is
    lost on the way in is left out when frames pass through, and silence of at most a second when they are
    converted."""
    while True:
        same = call.input_format == call.output_format
        await call.say(call.audio if same else _converted(call)).finished
        if await anext(call.audio, None) is None:
            return


async def _converted(call: Call) -> AsyncIterator[Speech]:
    rate = call.output_format.rate
    incoming = IncomingAudio(call.input_format, rate)
    async for item in call.audio:
        if isinstance(item, AudioGap):  # of a long gap one second is enough
            item = AudioGap(item.start, min(item.stop, item.start + call.input_format.rate))
        with suppress(ValueError):  # a payload that is no audio is left out
            yield Speech(incoming.take(item), rate)


def build(settings: object = None) -> Agent:
    """The agent; there is nothing to set."""
    return echo
