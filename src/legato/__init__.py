"""legato: voice AI over QUIC.

The public door. Everything an application or an agent needs is here by name; `legato.agents`, `legato.core`,
`legato.audio`, `legato.transports` and `legato.testing` are the second doors for who builds on the parts.

Names are loaded when first used: who embeds the core, or prints a version, pays for no server and no engine.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from legato._version import __version__
    from legato.agents.base import Agent, Call, Speech, Tool, ToolSet, Utterance
    from legato.client.session import RealtimeSession, connect
    from legato.client.settings import ClientSettings
    from legato.core.audio import AudioFormat, AudioFrame, AudioGap
    from legato.core.errors import (
        AgentError,
        ConnectError,
        LegatoError,
        LocalProtocolError,
        ProtocolError,
        RemoteProtocolError,
        SessionClosed,
        SettingsError,
        StreamReset,
        TransportError,
    )
    from legato.server.server import Server
    from legato.server.settings import ServerSettings

__all__ = [
    "Agent",
    "AgentError",
    "AudioFormat",
    "AudioFrame",
    "AudioGap",
    "Call",
    "ClientSettings",
    "ConnectError",
    "LegatoError",
    "LocalProtocolError",
    "ProtocolError",
    "RealtimeSession",
    "RemoteProtocolError",
    "Server",
    "ServerSettings",
    "SessionClosed",
    "SettingsError",
    "Speech",
    "StreamReset",
    "Tool",
    "ToolSet",
    "TransportError",
    "Utterance",
    "__version__",
    "connect",
]

_HOMES = {
    "Agent": "legato.agents.base",
    "AgentError": "legato.core.errors",
    "AudioFormat": "legato.core.audio",
    "AudioFrame": "legato.core.audio",
    "AudioGap": "legato.core.audio",
    "Call": "legato.agents.base",
    "ClientSettings": "legato.client.settings",
    "ConnectError": "legato.core.errors",
    "LegatoError": "legato.core.errors",
    "LocalProtocolError": "legato.core.errors",
    "ProtocolError": "legato.core.errors",
    "RealtimeSession": "legato.client.session",
    "RemoteProtocolError": "legato.core.errors",
    "Server": "legato.server.server",
    "ServerSettings": "legato.server.settings",
    "SessionClosed": "legato.core.errors",
    "SettingsError": "legato.core.errors",
    "Speech": "legato.agents.base",
    "StreamReset": "legato.core.errors",
    "Tool": "legato.agents.base",
    "ToolSet": "legato.agents.base",
    "TransportError": "legato.core.errors",
    "Utterance": "legato.agents.base",
    "__version__": "legato._version",
    "connect": "legato.client.session",
}


def __getattr__(name: str) -> Any:
    """Load a public name from its home."""
    if name not in _HOMES:
        raise AttributeError(f"module 'legato' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return sorted({*globals(), *__all__})
