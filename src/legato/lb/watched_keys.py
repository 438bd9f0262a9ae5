"""The fleet's secrets, read again when their file changes.

Owns looking at the file. Must not know what the secrets are for. A file that is missing or half written
changes nothing: the secrets in use stay, and the reason is told.
"""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

from legato.core.errors import SettingsError
from legato.fleet_keys import FleetKeys

__all__ = ["watch_keys"]


async def watch_keys(
    path: Path, known: FleetKeys, poll_s: float
) -> AsyncGenerator[FleetKeys | SettingsError, None]:
    """Yield secrets when they are others than before, and errors when the file cannot be used, once each."""
    before: str | None = None
    while True:
        await asyncio.sleep(poll_s)
        try:
            keys = await asyncio.to_thread(FleetKeys.load, path)
        except SettingsError as error:
            if str(error) != before:
                before = str(error)
                yield error
            continue
        if before is not None or keys.dump() != known.dump():
            before, known = None, keys
            yield keys
