"""Text that can be sent: characters outside the basic plane are whole.

Owns the halves that some model endpoints and gateways make of them, who cut texts into units of UTF-16:
Python holds a half as a text, but nothing can encode it. Must not know what the text says, nor who sends it.
"""

__all__ = ["WholeText", "whole"]


def whole(text: str) -> str:
    """`text` with halves that meet joined, and others replaced (U+FFFD)."""
    return (
        text if text.isascii() else text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    )


class WholeText:
    """Joins the halves in a text that comes in pieces."""

    def __init__(self) -> None:
        self._half = ""

    def take(self, piece: str) -> str:
        """What can be sent of the text now: a half at its end waits for the other."""
        if piece.isascii() and not (self._half and piece):
            return piece
        piece, self._half = self._half + piece, ""
        if "\ud800" <= piece[-1] <= "\udbff":
            piece, self._half = piece[:-1], piece[-1]
        return whole(piece)
