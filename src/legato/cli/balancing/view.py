"""The tables of `legato balance status`.

Owns words and layout; takes the document of a balancer's operators' side (`legato.lb.status`).
"""

from typing import Any

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

__all__ = ["show_status"]

_STYLES = {"ready": "green", "joining": "cyan", "draining": "yellow", "dead": "red"}


def show_status(document: dict[str, Any], console: Console | None = None) -> None:
    """Print what a balancer says of itself."""
    out = console or Console()
    out.print(
        Group(_head(document), Text(), _servers(document["servers"]), Text(), _packets(document["packets"]))
    )
    for problem in document["problems"]:
        out.print(Text.assemble(("problem ", "bold red"), problem))


def _head(document: dict[str, Any]) -> Table:
    plane, keys = document["plane"], document["keys"]
    working = f"{plane['working']} of {plane['threads']} threads"
    stages = ", ".join(
        f"{each['number']} {each['stage']} (config {each['config']})" for each in keys["generations"]
    )
    table = Table.grid(padding=(0, 2))
    table.add_row("[bold]balancer[/]", ", ".join(document["listen"]))
    where = f", {plane['mode']} mode on {', '.join(plane['interfaces'])}, before" if plane["mode"] else ","
    table.add_row("plane", f"{plane['name']}{where} {working}")
    table.add_row("", Text(plane["why"], style="dim"))
    table.add_row("keys", f"{keys['fingerprint']}, generation {stages}")
    table.add_row("discovery", document["discovery"])
    table.add_row("up", _span(document["uptime_seconds"]))
    return table


def _servers(servers: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("server", "state", "for"):
        table.add_column(title, no_wrap=True)
    for title in ("new calls", "calls", "probe", "packets to", "packets from"):
        table.add_column(title, justify="right")
    table.add_column("")
    for one in servers:
        calls = "–" if one["calls"] is None else f"{one['calls']} of {one['capacity']}"
        table.add_row(
            one["address"],
            Text(one["state"], style=_STYLES.get(one["state"], "")),
            _span(one["state_seconds"]),
            f"{100 * one['share']:.0f} %",
            calls,
            "–" if one["probe_ms"] is None else f"{one['probe_ms']:.1f} ms",
            f"{one['requests']:,}",
            f"{one['replies']:,}",
            Text(one["drains_because"] or "", style="dim"),
        )
    if not servers:
        table.add_row("none", *[""] * 8)
    return table


def _packets(packets: dict[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("packets")
    table.add_column("", justify="right")
    table.add_row("received", f"{packets['received']:,}")
    table.add_row("to clients", f"{packets['replies']:,}")
    for route, count in packets["routes"].items():
        if count:
            table.add_row(f"to servers, by {route.replace('_', ' ')}", f"{count:,}")
    for config, count in packets["configs"].items():
        if count:
            table.add_row(f"of these under config {config}", f"{count:,}")
    for reason, count in packets["drops"].items():
        if count:
            table.add_row(Text(f"dropped, {reason.replace('_', ' ')}", style="yellow"), f"{count:,}")
    if packets["passed"]:
        table.add_row("left to userspace by the kernel", f"{packets['passed']:,}")
    if packets["overflows"]:
        table.add_row(Text("dropped by the system", style="red"), f"{packets['overflows']:,}")
    return table


def _span(seconds: float) -> str:
    """A length of time in its two largest units."""
    whole = int(seconds)
    for unit, name, below, lower in ((86_400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= unit:
            return f"{whole // unit} {name} {whole % unit // below} {lower}"
    return f"{whole} s"
