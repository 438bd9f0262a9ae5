"""`legato serve`: settings in, a running server, a clean end. Owns signals and what the terminal shows."""

import asyncio
import signal
import socket
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from legato.cli._loop import run

if TYPE_CHECKING:
    from legato.server.server import Server
    from legato.server.settings import ServerSettings
    from legato.server.worker import Worker

INTERRUPTED = 130


def command(  # noqa: PLR0913 - one parameter per flag
    host: Annotated[
        str | None, typer.Option(help="Address or name to listen on; * is every address.")
    ] = None,
    port: Annotated[int | None, typer.Option(help="Port for UDP and TCP; 0 takes a free one.")] = None,
    cert: Annotated[
        Path | None, typer.Option(help="Certificate chain (PEM) instead of a development one.")
    ] = None,
    key: Annotated[Path | None, typer.Option(help="Private key of the certificate (PEM).")] = None,
    agent: Annotated[
        str | None, typer.Option(help="Who answers: echo, assistant, package.module:attribute.")
    ] = None,
    no_auth: Annotated[
        bool, typer.Option("--no-auth", help="Ask callers for no key; listens on loopback only.")
    ] = False,
    config: Annotated[Path | None, typer.Option(help="TOML file with settings.")] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.")] = None,
    log_format: Annotated[str | None, typer.Option(help="auto, console or json.")] = None,
    drain_seconds: Annotated[float | None, typer.Option(help="Time running calls get when stopped.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that share the port.")] = None,
    keys: Annotated[Path | None, typer.Option(help="The fleet's secrets: see `legato keys`.")] = None,
    tunnel: Annotated[
        str | None, typer.Option(help="Address and port at which balancers reach this server.")
    ] = None,
    balancer: Annotated[
        list[str] | None, typer.Option(help="Network that balancers are in; may be given several times.")
    ] = None,
    worker: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> int:
    """Run the voice server until it is interrupted.

    All settings can also come from LEGATO_* variables or a TOML file: see `legato settings`.
    """
    from legato.server.logging import configure_logging
    from legato.server.settings_sources import load_settings

    flags = {
        "listen.host": host,
        "listen.port": port,
        "tls.cert": cert,
        "tls.key": key,
        "agent": agent,
        "auth.required": False if no_auth else None,
        "log.level": log_level,
        "log.format": log_format,
        "drain_seconds": drain_seconds,
        "workers": workers,
        "fleet.keys": keys,
        "fleet.tunnel": tunnel,
        "fleet.balancers": balancer or None,
    }
    if worker is not None:
        return _work(worker)
    settings = load_settings(flags, config)
    configure_logging(settings.log)
    if settings.workers == 1:
        return run(_serve(settings))
    from legato.server.workers import Workers

    return Workers(settings, flags, config).run()


def _work(descriptor: int) -> int:
    """Be one of several processes: what a parent's orders, waiting at `descriptor`, say."""
    import structlog

    from legato.server.logging import configure_logging
    from legato.server.settings_sources import load_settings
    from legato.server.worker import Worker

    worker = Worker.answer(descriptor)
    orders = worker.orders
    settings = load_settings(orders.flags, Path(orders.config) if orders.config is not None else None)
    configure_logging(settings.log)
    structlog.contextvars.bind_contextvars(worker=orders.number)
    return run(_serve(settings, worker))


async def _serve(settings: "ServerSettings", worker: "Worker | None" = None) -> int:
    """Serve until the first SIGINT or SIGTERM, then drain; a second one ends everything at once.

    For a worker the end of its parent is the first signal, too.
    """
    from legato.server.server import Server

    _import_from_here(settings)
    server = Server(settings, worker=None if worker is None else worker.orders)
    first, second = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, _in_turn(first, second))
    if not await _before(first, server.start()):
        return INTERRUPTED
    try:
        if sys.stdout.isatty() and (worker is None or worker.orders.announce):
            _announce(server)
        if worker is not None:
            worker.ready()
            loop.add_reader(worker.line, _once(loop, worker.line, first))
        await first.wait()
        if server.calls and sys.stdout.isatty():
            typer.echo(
                f"waiting up to {settings.drain_seconds:g} s for {server.calls} calls; Ctrl-C ends them now"
            )
        return 0 if await _before(second, server.drain()) else INTERRUPTED
    finally:
        await server.stop()


def _import_from_here(settings: "ServerSettings") -> None:
    """Find own code in the folder that we were started in, as `python -m legato` does.

    Not without need: a file there may have the name of a module that somebody else imports.
    """
    stages = settings.assistant
    named = (settings.agent, stages.vad, stages.stt, stages.llm, stages.tts)
    if any(":" in name for name in named) and not sys.flags.safe_path:
        sys.path.insert(0, "")


async def _before(event: asyncio.Event, work: Coroutine[None, None, None]) -> bool:
    """Do `work`, but give it up when `event` comes first; whether it was done. Raises what `work` raises."""
    working, waiting = asyncio.create_task(work), asyncio.create_task(event.wait())
    await asyncio.wait((working, waiting), return_when=asyncio.FIRST_COMPLETED)
    for task in (working, waiting):
        task.cancel()
    await asyncio.wait((working, waiting))
    if working.cancelled():
        return False
    working.result()
    return True


def _once(loop: asyncio.AbstractEventLoop, line: socket.socket, event: asyncio.Event) -> Callable[[], None]:
    """A function that sets the event when the line can be read, and then listens to it no more."""

    def act() -> None:
        loop.remove_reader(line)
        event.set()

    return act


def _in_turn(*events: asyncio.Event) -> Callable[[], None]:
    """A function that sets the first event that is not set yet."""

    def act() -> None:
        for event in events:
            if not event.is_set():
                event.set()
                return

    return act


def _announce(server: "Server") -> None:
    from rich.console import Console
    from rich.table import Table

    host = server.settings.listen.host
    shown = host if host not in ("*", "0.0.0.0", "::") else "localhost"
    url = f"https://{f'[{shown}]' if ':' in shown else shown}:{server.port}"
    identity = server.identity
    kind = "development certificate" if identity.development else "certificate"
    facts = Table.grid(padding=(0, 2))
    facts.add_column(no_wrap=True)
    facts.add_column(overflow="fold")
    facts.add_row("[bold]legato[/] listens", url)
    facts.add_row("its page", f"{url}/")
    facts.add_row("agent", server.settings.agent)
    facts.add_row("sha-256", identity.hash_hex)
    facts.add_row("", f"[dim]{kind}, valid until {identity.not_after:%Y-%m-%d}[/]")
    facts.add_row("callers need", _needed(server.settings))
    facts.add_row("talk to it", f"legato talk{'' if server.port == 4433 else f' --url {url}'}")
    Console().print(facts)


def _needed(settings: "ServerSettings") -> str:
    """What callers must show."""
    from legato.trust import DEVELOPMENT_KEY, state_directory

    if not settings.auth.required:
        return "no key; only this machine reaches the server"
    if settings.auth.keys:
        return f"one of {len(settings.auth.keys)} API keys"
    return f"the key in {state_directory() / DEVELOPMENT_KEY}, which `legato talk` finds by itself"
