"""One pocketsphinx decoder in a process of its own, served over its standard input and output.

pocketsphinx computes while holding Python's global lock (measured: 90 ms at the end of a sentence), so it
cannot live in a thread of a server. Owns the decoder and the pipe's framing; imports nothing of legato,
because it is run by path and should start quickly.

Requests and answers are a byte, a big-endian 32-bit length and that many bytes. Requests: S starts a stretch
of speech, F feeds mono s16le at 16 kHz, E ends it, X abandons it. Each is answered once, with "." and the
hypothesis so far, or "!" and why it failed; one answer comes first, unasked, when the decoder has been
loaded.
"""

import os
import re
import signal
import struct
import sys
from typing import Any, BinaryIO

HEADER = struct.Struct(">cI")
_VARIANT = re.compile(r"\(\d+\)")


def load(grammar: str) -> Any:
    """A decoder for any English, or for the JSGF grammar in the file `grammar` if it is not empty."""
    from pocketsphinx import Decoder

    options: dict[str, Any] = {"samprate": 16_000, "loglevel": "FATAL"}
    if grammar:
        options |= {"jsgf": grammar, "lm": None}
    return Decoder(**options)


def hypothesis(decoder: Any) -> str:
    """What was understood, in lower case, without the marks of alternative pronunciations."""
    found = decoder.hyp()
    return _VARIANT.sub("", found.hypstr).strip() if found is not None else ""


class Session:
    """Answers requests with one decoder."""

    def __init__(self, decoder: Any) -> None:
        self._decoder = decoder
        self._open = False

    def answer(self, request: bytes, payload: bytes) -> str:
        """The hypothesis after `request`."""
        if request == b"C":
            return str(self._decoder.get_cmn())
        if request == b"F":
            self._decoder.process_raw(payload)
            return hypothesis(self._decoder)
        if self._open:
            self._decoder.end_utt()
            self._open = False
        if request == b"S":
            self._decoder.set_cmn(payload.decode())
            self._decoder.start_utt()
            self._open = True
            return ""
        return hypothesis(self._decoder) if request == b"E" else ""


def serve(incoming: BinaryIO, outgoing: BinaryIO, grammar: str) -> None:
    """Load the decoder, then answer until the other side closes the pipe."""

    def send(status: bytes, text: str) -> None:
        data = text.encode()
        outgoing.write(HEADER.pack(status, len(data)) + data)
        outgoing.flush()

    try:
        session = Session(load(grammar))
    except Exception as error:
        send(b"!", str(error) or type(error).__name__)
        return
    send(b".", "")
    while len(head := incoming.read(HEADER.size)) == HEADER.size:
        request, length = HEADER.unpack(head)
        payload = incoming.read(length)
        try:
            send(b".", session.answer(request, payload))
        except Exception as error:
            send(b"!", str(error) or type(error).__name__)


if __name__ == "__main__":
    os.nice(5)  # frames of running calls come before recognition
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the server ends it by closing the pipe
    serve(sys.stdin.buffer, sys.stdout.buffer, sys.argv[1])
