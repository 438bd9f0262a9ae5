"""What a recogniser is told before it hears anything, and what is made of an error that it raises.

Must not know where speech begins or ends, nor what its words are for.
"""

import logging

from legato.agents.stages.base import NO_HINTS, Hints
from legato.core.dialects.realtime.session_settings import SessionSettings
from legato.core.errors import AgentError

__all__ = ["as_agent_error", "hints_of"]

log = logging.getLogger(__name__)


def hints_of(settings: SessionSettings) -> Hints:
    """What the session says about the speech to be recognised."""
    wanted = settings.transcription
    if wanted is None:
        return NO_HINTS
    only = wanted.languages[0] if wanted.languages and len(wanted.languages) == 1 else ""
    return Hints(
        wanted.language or only, ", ".join([*filter(None, [wanted.prompt]), *(wanted.keywords or ())])
    )


def as_agent_error(error: Exception) -> AgentError:
    """What a recogniser raised; nothing but `AgentError` is meant to leave one."""
    if isinstance(error, AgentError):
        return error
    log.error("a recogniser broke", exc_info=error)
    return AgentError("speech recognition failed")
