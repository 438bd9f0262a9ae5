"""The page of the server: the files of `page/`, which the build of `clients/page` leaves there.

Owns how they are served: types, compression, caching, the policy of the page. Must not know calls or keys.

Names under `/assets/` contain a hash of what they name, so browsers keep them for ever; the document that
names them is asked for anew each time.
"""

from __future__ import annotations

import gzip
import mimetypes
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

__all__ = ["PAGE_FOLDER", "page_routes"]

PAGE_FOLDER = Path(__file__).parent / "page"
"""Where the build leaves the page, inside the package."""

_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "worker-src 'self'",
        "style-src 'self'",
        "font-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)

_DOCUMENT_HEADERS = {
    "content-security-policy": _POLICY,
    "permissions-policy": "microphone=(self), camera=(), geolocation=()",
    "cross-origin-opener-policy": "same-origin",
}
_ASSET_HEADERS = {
    # A worker lives by the policy of its own file, not by the page's.
    "content-security-policy": "default-src 'none'; connect-src 'self'",
    "cache-control": "public, max-age=31536000, immutable",
    "cross-origin-resource-policy": "same-origin",
}

# The system's table may say otherwise, and browsers run no script of the wrong type.
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
}
_COMPRESSIBLE = frozenset({".css", ".js", ".svg"})

_UNBUILT = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>legato</title></head><body>
<h1>legato</h1>
<p>This server runs, but its page was not built: run <code>make setup</code> and start it again, or talk to it
with <code>legato talk</code>.</p>
</body></html>
"""


@dataclass(frozen=True, slots=True)
class _Asset:
    media_type: str
    plain: bytes
    packed: bytes | None
    """The same in gzip, where that is smaller."""


def page_routes(folder: Path = PAGE_FOLDER) -> list[Route]:
    """The page at `/` and its files; without a build, `/` says so. Everything is read here and now."""
    document = folder / "index.html"
    text = document.read_text(encoding="utf-8") if document.is_file() else _UNBUILT
    assets = {path.name: _asset(path) for path in sorted(folder.glob("assets/*")) if path.is_file()}
    return [
        Route("/", _document(text)),
        Route("/assets/{name}", _assets(assets)),
    ]


def _document(text: str) -> Callable[[Request], Awaitable[Response]]:
    async def document(_: Request) -> Response:
        return HTMLResponse(text, headers=_DOCUMENT_HEADERS)

    return document


def _assets(assets: dict[str, _Asset]) -> Callable[[Request], Awaitable[Response]]:
    async def asset(request: Request) -> Response:
        found = assets.get(request.path_params["name"])
        if found is None:
            raise HTTPException(404)
        if found.packed is None:
            return Response(found.plain, headers=_ASSET_HEADERS, media_type=found.media_type)
        packed = _takes_gzip(request.headers.get("accept-encoding", ""))
        headers = _ASSET_HEADERS | {"vary": "accept-encoding"}
        if packed:
            headers["content-encoding"] = "gzip"
        return Response(found.packed if packed else found.plain, headers=headers, media_type=found.media_type)

    return asset


def _asset(path: Path) -> _Asset:
    plain = path.read_bytes()
    media_type = _TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    packed = gzip.compress(plain, mtime=0) if path.suffix in _COMPRESSIBLE else None
    return _Asset(media_type, plain, packed if packed is not None and len(packed) < len(plain) else None)


def _takes_gzip(accept_encoding: str) -> bool:
    """Whether a client takes gzip (RFC 9110 §12.5.3); `gzip;q=0` says that it does not."""
    for part in accept_encoding.split(","):
        name, _, weight = part.partition(";")
        if name.strip().lower() == "gzip":
            return weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False
