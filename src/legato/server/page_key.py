"""`POST /page/key`: the page of this server asks for a key, and gets one where that gives nothing away.

Owns who gets one. Must not know how keys are made or checked.

Whoever runs `legato serve` for themselves has a development key, in a file that only they can read. Their own
browser may have what they have. So the page gets a client secret if and only if

- the server lives on the development key: where an operator has listed keys, people have theirs;
- the connection comes from a loopback address, and the kernel says that its other end belongs to the user who
  runs the server, who could read the file as well. Somebody else on the same machine does not, nor does a
  proxy that brings strangers from elsewhere and runs as a user of its own;
- no proxy says that it stands in between;
- the page itself asks: under a loopback name, which a page whose name was rebound to this machine does not
  have, and from that same origin, which no other page can claim.

Everybody else is told to enter a key. A server that asks for none says so.
"""

from __future__ import annotations

import asyncio
import os
import struct
from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

import structlog
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from legato.server.auth import MAX_SECRET_SECONDS, Authority, Unauthorized
from legato.trust import is_loopback

__all__ = ["PAGE_KEY_PATH", "owner_of_peer", "page_key_route"]

PAGE_KEY_PATH = "/page/key"

OwnerOf = Callable[[tuple[str, int], tuple[str, int]], int | None]
"""The user at the other end of a connection on this machine, by both addresses; None if that is not known."""

_PROXIED = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip")
_TABLES = {4: "tcp", 6: "tcp6"}
_ESTABLISHED = "01"

log = structlog.get_logger(__name__)


def page_key_route(
    authority: Authority, development_key: str | None, owner_of: OwnerOf | None = None
) -> Route:
    """The route; `development_key` is None where the operator has listed keys or asks for none."""
    return Route(
        PAGE_KEY_PATH, _endpoint(authority, development_key, owner_of or owner_of_peer), methods=["POST"]
    )


def _endpoint(
    authority: Authority, development_key: str | None, owner_of: OwnerOf
) -> Callable[[Request], Awaitable[Response]]:
    async def give(request: Request) -> Response:
        if not authority.required:
            return JSONResponse({"required": False, "key": None})
        if development_key is None or not await _is_own_page(request, owner_of):
            return JSONResponse({"required": True, "key": None})
        try:
            grant = authority.admit(development_key, request.headers.get("origin"))
            secret = authority.issue(grant, None, MAX_SECRET_SECONDS)
        except Unauthorized as refusal:
            return JSONResponse(refusal.as_json(), refusal.status)
        log.info("client secret made for the page", caller=grant.name)
        return JSONResponse({"required": True, "key": secret.value})

    return give


async def _is_own_page(request: Request, owner_of: OwnerOf) -> bool:
    """Whether the page of this server asks, in a browser of the user who runs it."""
    client, server = request.scope.get("client"), request.scope.get("server")
    if client is None or server is None or not (_loopback(client[0]) and _loopback(server[0])):
        return False
    if any(name in request.headers for name in _PROXIED) or not _same_origin(request):
        return False
    owner = await asyncio.to_thread(owner_of, (client[0], client[1]), (server[0], server[1]))
    return owner == os.geteuid()


def _same_origin(request: Request) -> bool:
    host = request.headers.get("host", "")
    try:
        name = urlsplit(f"https://{host}").hostname or ""
    except ValueError:
        return False
    fetched = request.headers.get("sec-fetch-site", "same-origin")
    asked_by = request.headers.get("origin", "")
    return is_loopback(name) and asked_by == f"https://{host}" and fetched == "same-origin"


def _loopback(address: str) -> bool:
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False


def owner_of_peer(peer: tuple[str, int], here: tuple[str, int]) -> int | None:
    """Who has the other end of a TCP connection within this machine, as Linux tells it; else None.

    `peer` and `here` are the connection's addresses; the peer's socket is one of this machine too.
    """
    try:
        table = Path("/proc/net", _TABLES[ip_address(peer[0]).version]).read_text()
        wanted = (_entry(*peer), _entry(*here), _ESTABLISHED)
    except (OSError, ValueError):
        return None
    for line in table.splitlines()[1:]:
        fields = line.split()
        if tuple(fields[1:4]) == wanted:
            return int(fields[7])
    return None


def _entry(host: str, port: int) -> str:
    """An address as the kernel's table has it: words of four bytes in this machine's order, then the port."""
    packed = ip_address(host).packed
    words = struct.unpack(f"={len(packed) // 4}I", packed)
    return "".join(f"{word:08X}" for word in words) + f":{port:04X}"
