"""An agent that says which process it runs in. Must not know tests."""

import os

from legato import Agent, Call


def build(_settings: object) -> Agent:
    """What `legato serve --agent` asks for."""

    async def agent(call: Call) -> None:
        async for event in call.events:
            call.send({"type": "test.process", "process": os.getpid(), "number": event["number"]})

    return agent
