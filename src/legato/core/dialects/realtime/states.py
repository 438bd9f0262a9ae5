"""Which states a response, its items and the input go through; must not know which events say so.

Theory of operation. All legal moves are the tables below and nothing else moves a state. A *cause* is an
operation of the owner or something a client or a detector did. A pair that is missing from its table is an
operation at the wrong place, for which the caller of `response_after` has the better sentence.

Response. BETWEEN means that no item is open; SPEAKING, WRITING and CALLING that a spoken message, a written
message or a function call is. Opening an item ends the one before it. OVER swallows everything: a client may
have cancelled the response while its maker was still at it.

    BETWEEN ──open spoken──► SPEAKING      transcript
       │  ◄────close item──────┘
       ├──────open written─► WRITING    text
       └──────open call────► CALLING    arguments
     (any) ──end──► OVER

Item. IN_PROGRESS while a response has it open; then COMPLETED, or INCOMPLETE if the response broke off. All
others are COMPLETED from the beginning. These three are `Entry.status`.

Input. QUIET until a detector finds speech, SPEAKING until it finds the end of it or the client commits.
Committing and clearing are always allowed and end what goes on; a voice that goes on starts speech anew.

    QUIET ──speech starts──► SPEAKING ──speech stops, commit, clear──► QUIET
"""

from enum import Enum, auto


class ResponseState(Enum):
    """Where a response stands."""

    BETWEEN = auto()
    SPEAKING = auto()
    WRITING = auto()
    CALLING = auto()
    OVER = auto()


class ResponseCause(Enum):
    """What moves a response."""

    OPEN_SPOKEN = auto()
    OPEN_WRITTEN = auto()
    OPEN_CALL = auto()
    TRANSCRIPT = auto()
    TEXT = auto()
    ARGUMENTS = auto()
    CLOSE_ITEM = auto()
    END = auto()


class InputState(Enum):
    """Whether somebody speaks."""

    QUIET = auto()
    SPEAKING = auto()


class InputCause(Enum):
    """What moves the input."""

    SPEECH_STARTS = auto()
    SPEECH_STOPS = auto()
    COMMIT = auto()
    CLEAR = auto()


_OPENED = {
    ResponseCause.OPEN_SPOKEN: ResponseState.SPEAKING,
    ResponseCause.OPEN_WRITTEN: ResponseState.WRITING,
    ResponseCause.OPEN_CALL: ResponseState.CALLING,
}

RESPONSE_MOVES: dict[tuple[ResponseState, ResponseCause], ResponseState] = {
    **{(ResponseState.BETWEEN, cause): state for cause, state in _OPENED.items()},
    (ResponseState.SPEAKING, ResponseCause.TRANSCRIPT): ResponseState.SPEAKING,
    (ResponseState.WRITING, ResponseCause.TEXT): ResponseState.WRITING,
    (ResponseState.CALLING, ResponseCause.ARGUMENTS): ResponseState.CALLING,
    (ResponseState.SPEAKING, ResponseCause.CLOSE_ITEM): ResponseState.BETWEEN,
    (ResponseState.WRITING, ResponseCause.CLOSE_ITEM): ResponseState.BETWEEN,
    (ResponseState.CALLING, ResponseCause.CLOSE_ITEM): ResponseState.BETWEEN,
    (ResponseState.BETWEEN, ResponseCause.END): ResponseState.OVER,
}

INPUT_MOVES: dict[tuple[InputState, InputCause], InputState] = {
    (InputState.QUIET, InputCause.SPEECH_STARTS): InputState.SPEAKING,
    (InputState.SPEAKING, InputCause.SPEECH_STOPS): InputState.QUIET,
    (InputState.QUIET, InputCause.COMMIT): InputState.QUIET,
    (InputState.SPEAKING, InputCause.COMMIT): InputState.QUIET,
    (InputState.QUIET, InputCause.CLEAR): InputState.QUIET,
    (InputState.SPEAKING, InputCause.CLEAR): InputState.QUIET,
}


def response_after(state: ResponseState, cause: ResponseCause) -> ResponseState | None:
    """The state that follows, or None for an operation at the wrong place."""
    return RESPONSE_MOVES.get((state, cause))


def input_after(state: InputState, cause: InputCause) -> InputState | None:
    """The state that follows, or None where the cause does not matter now."""
    return INPUT_MOVES.get((state, cause))
