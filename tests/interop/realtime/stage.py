"""`legato serve` with the assistant, a scripted model behind it, and all that a stock client needs.

Owns the process, the endpoint and the order in which scenes are played. Must not know any client.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.interop.realtime.recording import Recording

from legato.bench.processes import Child, child, free_port, module, wait_for_port
from legato.testing.scripted_endpoint import Answer, Hold, ScriptedEndpoint


class EndpointThread:
    """A scripted endpoint in an event loop of its own, also for tests that block."""

    def __init__(self) -> None:
        self.endpoint = ScriptedEndpoint()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="scripted endpoint")

    def start(self) -> None:
        """Serve."""
        self._thread.start()
        self._run(self.endpoint.__aenter__())

    def stop(self) -> None:
        """End; the loop goes with it."""
        self._run(self.endpoint.__aexit__())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def release(self, hold: Hold) -> None:
        """Let an answer that waits at `hold` go on."""
        self._loop.call_soon_threadsafe(hold.release)

    def _run(self, coroutine: Coroutine[Any, Any, object]) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(20)


@dataclass
class Stage:
    """A running server and its scripted model."""

    state: Path
    port: int
    server: Child
    model: EndpointThread
    played: dict[str, Recording] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """The base URL, as SDKs want it."""
        return f"https://localhost:{self.port}/v1"

    @property
    def key(self) -> str:
        """The key of this machine's user."""
        return (self.state / "legato" / "development-key").read_text().strip()

    @property
    def certificate(self) -> Path:
        """What programs are told to trust."""
        return self.state / "legato" / "development-certificate.pem"

    @property
    def chats(self) -> list[dict[str, Any]]:
        """What the model was asked, by the requests of the scene that is being played."""
        return self.model.endpoint.chats

    def script(self, *answers: Answer) -> None:
        """What the model will say in this scene, a request each; what was asked before is forgotten."""
        self.model.endpoint.answers.clear()
        self.model.endpoint.answers.extend(answers)
        self.chats.clear()

    async def play(self, scene: Callable[["Stage"], Awaitable[Recording]]) -> Recording:
        """Play a scene; only once, since what was recorded does not change."""
        name = getattr(scene, "__name__", str(scene))
        if name not in self.played:
            self.played[name] = await scene(self)
        return self.played[name]


@contextmanager
def stage(state: Path) -> Iterator[Stage]:
    """Run everything on free ports of the loopback addresses."""
    model = EndpointThread()
    model.start()
    try:
        port = free_port()
        with child(
            "the server",
            module("legato", "serve", "--port", str(port), "--drain-seconds", "0"),
            XDG_STATE_HOME=str(state),
            LEGATO_ASSISTANT__LLM="openai",
            LEGATO_ASSISTANT__LLM_URL=model.endpoint.url,
        ) as server:
            wait_for_port(server, port)
            yield Stage(state, port, server, model)
    finally:
        model.stop()
