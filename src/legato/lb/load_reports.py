"""Asks servers over HTTPS how many calls they have, and whether they drain.

Owns the requests and reading the answers: `GET /readyz` of `legato serve` (docs/guides/serving.md). Must not
know what follows from a report.
"""

import asyncio
import json
import ssl
from collections.abc import Callable, Iterable
from typing import Any

import httpx

from legato.core.errors import SettingsError
from legato.lb.servers import Address
from legato.lb.settings import HealthSettings
from legato.lb.weights import Load

__all__ = ["LoadReports", "read_report"]

AT_ONCE = 64
"""Questions under way at the same time."""

MAX_OCTETS = 16_384
TIMEOUT_S = 2.0


class LoadReports:
    """Asks all servers again and again. `on_report` is called with each readable answer."""

    def __init__(self, settings: HealthSettings, on_report: Callable[[Address, Load], None]) -> None:
        """Raises `SettingsError` if the settings name a file that is none."""
        self._settings = settings
        self._on_report = on_report
        self._trust = _trust(settings)

    def url(self, address: Address, own: str | None) -> str | None:
        """Where a server tells its load; None if it does not."""
        pattern = own or self._settings.load_url
        host = f"[{address[0]}]" if ":" in address[0] else address[0]
        return None if pattern is None else pattern.replace("{host}", host)

    async def run(self, servers: Callable[[], Iterable[tuple[Address, str | None]]]) -> None:
        """Ask until cancelled; `servers` tells whom, with the URL of those that have their own."""
        places = asyncio.Semaphore(AT_ONCE)
        limits = httpx.Limits(max_connections=AT_ONCE)
        async with httpx.AsyncClient(
            verify=self._trust,
            timeout=TIMEOUT_S,
            limits=limits,
            headers={"accept-encoding": "identity"},
            trust_env=False,
        ) as client:
            while True:
                asked = [(address, url) for address, own in servers() if (url := self.url(address, own))]
                await asyncio.gather(*(self._ask(client, places, address, url) for address, url in asked))
                await asyncio.sleep(self._settings.load_seconds)

    async def _ask(
        self, client: httpx.AsyncClient, places: asyncio.Semaphore, address: Address, url: str
    ) -> None:
        name = self._settings.load_server_name
        try:
            async with (
                places,
                asyncio.timeout(2 * TIMEOUT_S),
                client.stream("GET", url, extensions={"sni_hostname": name} if name else {}) as response,
            ):
                body = b""
                # As it came: what is packed small may be of any size when it is unpacked.
                async for octets in response.aiter_raw():
                    body += octets
                    if len(body) > MAX_OCTETS:
                        return
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, OSError):
            # Whether a server is there is asked in another way; without a report lists decide.
            return
        report = read_report(response.status_code, body)
        if report is not None:
            self._on_report(address, report)


def read_report(status: int, body: bytes) -> Load | None:
    """What an answer says; None if nothing can be read from it.

    A server that says it is not ready because it drains or stops is believed without figures; one that is
    overloaded is full.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict) or status not in (200, 503):
        return None
    calls, capacity = _count(document, "calls"), _count(document, "capacity")
    if status == 503:
        if document.get("reason") in ("draining", "stopped"):
            return Load(calls=calls or 0, capacity=capacity or 0, draining=True)
        return Load(calls=capacity or 0, capacity=capacity or 0)
    return None if calls is None or capacity is None else Load(calls=calls, capacity=capacity)


def _count(document: dict[str, Any], key: str) -> int | None:
    value = document.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 31 else None


def _trust(settings: HealthSettings) -> ssl.SSLContext | bool:
    if settings.load_ca_file is None:
        return False
    try:
        return ssl.create_default_context(cafile=settings.load_ca_file)
    except OSError as error:
        raise SettingsError(f"health.load_ca_file {settings.load_ca_file} cannot be used: {error}") from None
