"""Callers of the OpenAI Realtime API: audio appended as JSON every 20 ms, deltas read back.

Owns the few messages that make a spoken call of that kind, written and read as bytes so that the callers cost
next to nothing; must not be taken for a client. The first bytes of each frame's audio tell it apart.
"""

from __future__ import annotations

import base64
import ssl
from collections.abc import Iterable, Sequence

from legato.bench.websocket_caller import WebSocketCaller, upgrade

__all__ = ["FRAME_BYTES", "RealtimeCalls"]

FRAME_BYTES = 960
"""20 ms of `audio/pcm`: 16 bits at 24 kHz."""

MARK_BYTES = 15
"""Bytes of a payload that are carried: a multiple of three, so that their base64 stands alone."""

_MARK_CHARACTERS = MARK_BYTES * 4 // 3
_FILLER = base64.b64encode(bytes(FRAME_BYTES - MARK_BYTES)).decode()
_APPEND = '{{"type":"input_audio_buffer.append","audio":"{}' + _FILLER + '"}}'
_DELTA, _AUDIO = b'"delta":"', b'"audio":"'
_IS_DELTA = b'"response.output_audio.delta"'


class RealtimeCalls:
    """Many calls, none of which ever waits; implements `Calls`."""

    def __init__(self, port: int, certificate: str, sessions: int, baseline: bool = False) -> None:
        """Open them one after the other; with `baseline` to a server that echoes what it is sent."""
        context = ssl.create_default_context(cafile=certificate)
        request = upgrade("/v1/realtime?model=bench")
        self._baseline = baseline
        self._callers = [WebSocketCaller(port, context, request) for _ in range(sessions)]
        self._who = {caller.fileno(): who for who, caller in enumerate(self._callers)}
        if not baseline:
            for caller in self._callers:
                caller.wait()  # session.created: the call has begun
        for caller in self._callers:
            caller.become_quick()

    @property
    def count(self) -> int:
        """Return how many calls there are."""
        return len(self._callers)

    def filenos(self) -> Sequence[int]:
        """Return their descriptors."""
        return list(self._who)

    def send(self, who: int, number: int, payload: bytes) -> None:
        """Append one frame that begins with the first bytes of `payload`."""
        self._callers[who].send_text(_APPEND.format(base64.b64encode(payload[:MARK_BYTES]).decode()))

    def receive(self, fileno: int) -> Iterable[tuple[int, bytes]]:
        """Return the first bytes of every frame that has come back."""
        who = self._who[fileno]
        key = _AUDIO if self._baseline else _DELTA
        found: list[tuple[int, bytes]] = []
        for message in self._callers[who].receive():
            if self._baseline or _IS_DELTA in message:
                at = message.index(key) + len(key)
                found.append((who, base64.b64decode(message[at : at + _MARK_CHARACTERS])))
        return found

    def close(self) -> None:
        """Hang up."""
        for caller in self._callers:
            caller.close()
