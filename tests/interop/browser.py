"""Plays scenes in a browser and brings back what it saw, and what the server of `scenes.py` saw.

Owns the scenes' page and how long it may take. Must not know what is expected of a scene.
"""

import asyncio
import functools
import json
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from tests.interop.driving import driver, node, page_server, program
from tests.interop.scenes import SessionRecord, stage

FOLDER = Path(__file__).parent / "browsers"
LIMIT_SECONDS = 55.0


@dataclass
class Performance:
    """What the page saw in each scene, and what the server saw of each session by its path."""

    browser: str
    page: dict[str, Any]
    server: dict[str, SessionRecord]


class _Files(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Stay quiet."""


@asynccontextmanager
async def played(browser: str, module: str, parameters: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    """Let a browser play all scenes of a module of `browsers/`; it stays alive as long as the context."""
    with page_server(functools.partial(_Files, directory=str(FOLDER))) as page_url:
        arguments = (browser, program(browser), page_url, module, json.dumps(parameters))
        command = (node(FOLDER), str(FOLDER / "drive.mjs"), *arguments)
        async with driver(command, PIPE) as process, _limit(browser):
            assert process.stdin is not None
            assert process.stdout is not None
            assert process.stderr is not None
            seen = await process.stdout.readline()
            if not seen:
                errors = await process.stderr.read()
                pytest.fail(f"driving {browser} failed:\n{errors.decode(errors='replace')}")
            yield json.loads(seen)
            process.stdin.close()
            await process.wait()


@asynccontextmanager
async def _limit(browser: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(LIMIT_SECONDS):
            yield
    except TimeoutError:
        pytest.fail(f"{browser} did not play all scenes within {LIMIT_SECONDS:.0f} s")


async def _perform(browser: str) -> Performance:
    async with stage() as running:
        parameters = {"port": running.port, "certificateHash": list(running.identity.hash)}
        async with played(browser, "scenes.mjs", parameters) as page:
            # A session that stays open shows in its test.
            with suppress(TimeoutError):
                await asyncio.wait_for(running.all_ended(), 60)
        return Performance(browser, page, {record.path: record for record in running.sessions})


def perform(browser: str) -> Performance:
    """Play all scenes in a browser, within a minute."""
    return asyncio.run(_perform(browser))
