"""The operators' side of a balancer: metrics, status and drain over HTTP, meant for this machine only.

Owns the routes and their server. Must not know how a balancer works.

    GET /metrics                      Prometheus
    GET /status                       JSON, what `legato balance status` shows
    GET /healthz                      200 while it forwards
    PUT, DELETE /servers/{address}/drain    take a server out, and back in

Nothing that changes anything is a request that a web page of another origin could make a browser send.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from legato._guest_uvicorn import GuestUvicorn
from legato.core.errors import SettingsError, TransportError
from legato.lb.balancer import Balancer
from legato.lb.discovery.static import parse_address
from legato.lb.metrics import CONTENT_TYPE
from legato.lb.settings import AdminSettings
from legato.lb.status import metrics_of, status_of

__all__ = ["Admin"]

Endpoint = Callable[[Request], Awaitable[Response]]


class Admin:
    """Serves the operators' side of one balancer inside the running loop."""

    def __init__(self, balancer: Balancer, settings: AdminSettings) -> None:
        """Listen. Raises `TransportError` or `SettingsError` if that is not possible."""
        self._socket = _listening(settings)
        routes = [
            Route("/metrics", _answering(lambda: Response(metrics_of(balancer), media_type=CONTENT_TYPE))),
            Route("/status", _answering(lambda: JSONResponse(status_of(balancer)))),
            Route("/healthz", _answering(lambda: _health(balancer))),
            Route("/servers/{address}/drain", _drain(balancer), methods=["PUT", "DELETE"]),
        ]
        self._server = GuestUvicorn(Starlette(routes=routes))
        self._task: asyncio.Task[None] | None = None

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        host, port = self._socket.getsockname()[:2]
        return host, port

    def start(self) -> None:
        """Begin to answer; connections that came before have waited."""
        self._task = asyncio.create_task(self._server.serve([self._socket]), name="admin")

    async def close(self) -> None:
        """Finish what is being answered, and close."""
        if self._task is None:
            self._socket.close()
            return
        self._server.should_exit = True
        await self._task


def _answering(make: Callable[[], Response]) -> Endpoint:
    """What answers a request in the loop's own thread, where everything lives that is shown."""

    async def answer(_: Request) -> Response:
        return make()

    return answer


def _health(balancer: Balancer) -> Response:
    counters = balancer.forwarder.counters()
    healthy = counters.working == counters.threads
    status = {"status": "forwarding" if healthy else "a thread failed"}
    return JSONResponse(status, status_code=200 if healthy else 503)


def _drain(balancer: Balancer) -> Endpoint:
    async def drain(request: Request) -> Response:
        if "origin" in request.headers:
            # A browser says so with every such request, even if a name was bent to this machine.
            return JSONResponse({"error": "web pages may not drain servers"}, status_code=403)
        try:
            address = parse_address(request.path_params["address"])
        except SettingsError as error:
            return JSONResponse({"error": str(error)}, status_code=400)
        if not balancer.drain(address, wanted=request.method == "DELETE"):
            return JSONResponse({"error": "no such server is known"}, status_code=404)
        return JSONResponse(status_of(balancer))

    return drain


def _listening(settings: AdminSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((settings.host.strip("[]"), settings.port))
        bound.listen(64)
    except (OSError, UnicodeError) as error:
        bound.close()
        if isinstance(error, (socket.gaierror, UnicodeError)):
            raise SettingsError(f"admin.host = {settings.host!r} is no address of this machine") from None
        raise TransportError(
            f"cannot listen on TCP {settings.host}:{settings.port} for operators: {error.strerror}: choose"
            " another with --admin-port, 0 takes a free one"
        ) from None
    return bound
