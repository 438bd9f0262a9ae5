"""`legato balance`: a balancer in front of servers, and what its operator asks of it.

Owns flags, signals and what the terminal shows. The work is `legato.lb`'s.
"""

import asyncio
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from legato.cli._loop import run

if TYPE_CHECKING:
    from legato.lb.balancer import Balancer
    from legato.lb.settings import BalancerSettings

command = typer.Typer()

Admin = Annotated[str, typer.Option(help="Where the balancer's operators' side is, HOST:PORT.")]
ADMIN = "127.0.0.1:4480"

Plane = Annotated[str | None, typer.Option(help="auto, xdp (in the kernel; needs root) or userspace.")]
Interfaces = Annotated[
    list[str] | None, typer.Option(help="Network interface for the plane in the kernel; repeatable.")
]
Allowed = Annotated[list[str] | None, typer.Option(help="Network that servers may be in; repeatable.")]
Listen = Annotated[list[str] | None, typer.Option(help="UDP address:port that clients reach; repeatable.")]


@command.callback(invoke_without_command=True)
def balance(  # noqa: PLR0913 - one parameter per flag
    context: typer.Context,
    listen: Listen = None,
    keys: Annotated[Path | None, typer.Option(help="The fleet's secrets, from `legato keys new`.")] = None,
    server: Annotated[
        list[str] | None, typer.Option(help="A server: address:port of its tunnel, *weight; repeatable.")
    ] = None,
    servers: Annotated[Path | None, typer.Option(help="TOML file with servers; watched.")] = None,
    discovery: Annotated[
        str | None, typer.Option(help="static, dns, kubernetes, package.module:attribute.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="The servers' name in DNS or Kubernetes.")] = None,
    allow: Allowed = None,
    load_url: Annotated[
        str | None, typer.Option(help="Where servers tell their load, such as https://{host}:4433/readyz.")
    ] = None,
    threads: Annotated[int | None, typer.Option(help="Threads that forward; 0 is one per core.")] = None,
    plane: Plane = None,
    interface: Interfaces = None,
    admin_port: Annotated[
        int | None, typer.Option(help="TCP port of metrics and status; 0 takes a free one.")
    ] = None,
    handover: Annotated[
        Path | None, typer.Option(help="Unix socket over which a running balancer hands over its sockets.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file with settings.")] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.")] = None,
    log_format: Annotated[str | None, typer.Option(help="auto, console or json.")] = None,
) -> int:
    """Balance calls over servers by their connection IDs, and remember nothing.

    Runs until it is interrupted; without root, or faster with it. See docs/guides/load-balancing.md.
    """
    if context.invoked_subcommand is not None:
        return 0
    from legato.lb.settings import load_balancer_settings
    from legato.server.logging import configure_logging

    flags = {
        "listen": listen or None,
        "threads": threads,
        "plane": plane,
        "xdp.interfaces": interface or None,
        "keys_file": keys,
        "handover": handover,
        "discovery.source": discovery,
        "discovery.static.servers": server or None,
        "discovery.static.file": servers,
        "discovery.dns.name": name,
        "discovery.kubernetes.service": name,
        "routing.allowed": allow or None,
        "health.load_url": load_url,
        "admin.port": admin_port,
        "log.level": log_level,
        "log.format": log_format,
    }
    settings = load_balancer_settings(flags, config)
    configure_logging(settings.log)
    return run(_balance(settings))


@command.command()
def status(
    admin: Admin = ADMIN,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")] = False,
) -> int:
    """Show a running balancer: servers, shares of new calls, packets and what is wrong."""
    from legato.cli.balancing.view import show_status

    document, text = _ask("GET", admin, "/status")
    if json:
        typer.echo(text)
    else:
        show_status(document)
    return 0


@command.command()
def drain(
    server: Annotated[str, typer.Argument(help="The server's address:port, as `status` shows it.")],
    undo: Annotated[bool, typer.Option("--undo", help="Give it new calls again.")] = False,
    admin: Admin = ADMIN,
) -> int:
    """Give a server no new calls; those it has go on. It counts until the balancer is restarted."""
    _ask("DELETE" if undo else "PUT", admin, f"/servers/{server}/drain")
    typer.echo(f"{server} gets {'its share of' if undo else 'no'} new calls")
    return 0


def _ask(method: str, admin: str, path: str) -> tuple[dict[str, Any], str]:
    """What a running balancer answers. Raises `TransportError` if there is none, or if it says no."""
    import httpx

    from legato.core.errors import TransportError

    try:
        answer = httpx.request(method, f"http://{admin}{path}", timeout=5, trust_env=False)
        document = answer.json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise TransportError(
            f"no balancer answers at {admin} ({error}): is it running, and is --admin its operators' side?"
        ) from None
    if answer.is_error:
        raise TransportError(f"the balancer refuses: {document.get('error')}")
    return document, answer.text


async def _balance(settings: "BalancerSettings") -> int:
    """Balance until the first signal, or until a successor takes over."""
    import structlog

    from legato.lb.admin import Admin as AdminSide
    from legato.lb.balancer import Balancer
    from legato.lb.handover import Handover, take_over
    from legato.lb.servers import shown

    log = structlog.get_logger(__name__)
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, over.set)
    balancer = Balancer(settings)
    replaced = asyncio.Event()
    predecessor = await take_over(settings.handover)
    admin: AdminSide | None = None
    handover: Handover | None = None
    try:
        await balancer.start(predecessor.descriptors if predecessor else None)
        if predecessor is not None:
            await predecessor.release()
        await balancer.take_plane()
        admin = AdminSide(balancer, settings.admin)
        admin.start()
        log.info("operators", address=shown(admin.address))
        if settings.handover is not None:
            handover = await Handover.listen(settings.handover, balancer.forwarder.descriptors, replaced.set)
        if sys.stdout.isatty():
            _announce(balancer, admin.address)
        await _first(over.wait(), replaced.wait(), balancer.ended())
    finally:
        if admin is not None:
            await admin.close()
        await balancer.close(leave_kernel=replaced.is_set())
        # Last of all: it tells a successor that every name is free.
        if handover is not None:
            handover.close()
    return 0


async def _first(*works: Any) -> None:
    """Wait until one of them is done, and end the others. Raises what it raised."""
    tasks = [asyncio.ensure_future(work) for work in works]
    done, rest = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in rest:
        task.cancel()
    for task in done:
        task.result()


def _announce(balancer: "Balancer", admin: tuple[str, int]) -> None:
    from rich.console import Console
    from rich.table import Table

    from legato.lb.servers import shown

    facts = Table.grid(padding=(0, 2))
    facts.add_row("[bold]legato[/] balances", ", ".join(shown(address) for address in balancer.addresses))
    facts.add_row("servers", f"{len(balancer.fleet.members)}, from {balancer.settings.discovery.source}")
    facts.add_row("keys", balancer.keys.fingerprint)
    facts.add_row("plane", f"{balancer.plane.title}: {balancer.plane.why}")
    facts.add_row("status", f"legato balance status --admin {shown(admin)}")
    Console().print(facts, soft_wrap=True)
