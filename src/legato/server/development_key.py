"""The API key of who runs a server for themselves: made once, kept in the state directory.

Owns the file's making; what a client does with it is in `trust`. Must not know who is admitted.
"""

import os
import stat
from pathlib import Path

from legato.core.errors import SettingsError
from legato.server.state_files import exclusive, write_atomically
from legato.trust import DEVELOPMENT_KEY, is_api_key, new_api_key, state_directory

__all__ = ["keep_development_key"]

_LOCK_FILE = "development-key.lock"


def keep_development_key(directory: Path | None = None) -> str:
    """The development key of this user: the kept one, or a new one if there is none to trust.

    Safe with several servers starting at once: they end up with the same key. A file that others may read or
    write, or that belongs to another user, or holds no key, is replaced. Raises `SettingsError` when the
    state directory cannot be used.
    """
    place = directory or state_directory()
    path = place / DEVELOPMENT_KEY
    try:
        with exclusive(place / _LOCK_FILE):
            kept = _kept_key(path)
            if kept is not None:
                return kept
            fresh = new_api_key()
            write_atomically(path, f"{fresh}\n".encode(), 0o600)
            return fresh
    except OSError as error:
        raise SettingsError(
            f"cannot keep the development key in {place} ({error.strerror}): set XDG_STATE_HOME to a writable"
            " directory, or list keys in auth.keys (`legato api-key new`)"
        ) from None


def _kept_key(path: Path) -> str | None:
    """The key in `path`, or None if it cannot be relied on."""
    try:
        # A link is not followed: the key is where this user's server has put it.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        facts = os.fstat(file.fileno())
        private = stat.S_ISREG(facts.st_mode) and not facts.st_mode & 0o077 and facts.st_uid == os.geteuid()
        text = file.read(128).decode("ascii", "replace").strip() if private else ""
    return text if is_api_key(text) else None
