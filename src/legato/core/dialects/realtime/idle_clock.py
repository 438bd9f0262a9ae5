"""When a silence has lasted too long after an answer (`idle_timeout_ms`).

Owns that one deadline. Must not know what is done about it. Times are microseconds.
"""


class IdleClock:
    """Counts from the end of an answer, or of the sound of it if that comes later.

    It does not run before the first answer. Speech stops it; the end of speech lets it count anew, so that
    speech nobody answers does not silence the call for ever.
    """

    __slots__ = ("_answered", "_playing_until", "_since")

    def __init__(self) -> None:
        self._answered = False
        self._since: int | None = None
        self._playing_until: int | None = None

    def answered(self, now: int) -> None:
        """An answer is complete."""
        self._answered = True
        self._since = now

    def stop(self) -> None:
        """Something goes on."""
        self._since = None

    def restart(self, now: int) -> None:
        """Nothing goes on any more."""
        if self._answered:
            self._since = now

    def playback_ends(self, at: int | None) -> None:
        """All sound will have been played at that time; None if there is none."""
        self._playing_until = at

    def deadline(self, timeout_ms: int) -> int | None:
        """When the silence will have lasted for `timeout_ms`; None while the clock stands."""
        if self._since is None:
            return None
        return max(self._since, self._playing_until or 0) + timeout_ms * 1_000
