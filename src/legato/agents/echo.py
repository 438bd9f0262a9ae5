"""An agent that says what it hears: frames pass through untouched, without being decoded.

Needs equal input and output formats. It does nothing for each frame itself, which makes it the measured path.
"""

from legato.agents.base import Agent, Call
from legato.core.errors import AgentError

__all__ = ["build", "echo"]


async def echo(call: Call) -> None:
    """Answer with the caller's own audio for as long as the call lasts. What is lost on the way in is left
    out."""
    if call.input_format != call.output_format:
        raise AgentError(f"echo needs one format both ways, not {call.input_format} and {call.output_format}")
    await call.say(call.audio).finished


def build(settings: object = None) -> Agent:
    """The agent; there is nothing to set."""
    return echo
