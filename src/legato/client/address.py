"""From a URL to whom to connect to, whom to trust and which key to show; must not know sessions or audio."""

from __future__ import annotations

import asyncio
import socket
from urllib.parse import SplitResult, urlsplit

from legato.client.settings import ClientSettings
from legato.core.errors import ConnectError, SettingsError
from legato.core.wire.codes import SESSION_PATH
from legato.transports.webtransport import ConnectTarget
from legato.trust import development_hashes, development_key

__all__ = ["DEFAULT_URL", "resolve_target", "token_for"]

DEFAULT_PORT = 4433
DEFAULT_URL = f"https://localhost:{DEFAULT_PORT}"


async def resolve_target(url: str, settings: ClientSettings) -> ConnectTarget:
    """Look the host of `url` up. Raises `SettingsError` for a bad URL, `ConnectError` for an unknown host."""
    try:
        parts = _split(url)
        scheme, host, port = parts.scheme, parts.hostname, parts.port or DEFAULT_PORT
    except ValueError:
        scheme, host, port = "", None, 0
    if scheme != "https" or not host:
        raise SettingsError(f"{url!r} is no address of a voice server: use https://host:port")
    path = parts.path if parts.path not in ("", "/") else SESSION_PATH
    if parts.query:
        path += f"?{parts.query}"
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    except OSError as error:
        raise ConnectError(f"cannot find {host}: {error.strerror or error}") from None
    except UnicodeError:
        raise SettingsError(f"{host!r} cannot be the name of a host") from None
    addresses = list(dict.fromkeys((str(entry[4][0]), port) for entry in found))
    return ConnectTarget(
        addresses=addresses,
        server_name=host,
        authority=f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
        path=path,
        certificate_hashes=settings.certificate_hashes or development_hashes(host),
    )


def token_for(url: str, settings: ClientSettings) -> str | None:
    """The token to show to the server at `url`: the given one or, on this machine, the development key."""
    if settings.token is not None:
        return settings.token
    try:
        return development_key(_split(url).hostname or "")
    except ValueError:
        # `resolve_target` says what is wrong with the URL.
        return None


def _split(url: str) -> SplitResult:
    return urlsplit(url if "//" in url else f"https://{url}")
