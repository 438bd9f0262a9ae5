"""`legato bench`: what things cost and how exact they are, most beside a baseline of the same run.

Owns the flags; the measurements are `legato.bench`. Exit code 1 when a figure is outside its limit.
"""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

command = typer.Typer(
    no_args_is_help=True, help="Measure the server against a WebSocket server, here and now."
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")]
Baseline = Annotated[bool, typer.Option(help="Measure the WebSocket server too.")]


@command.callback()
def _prepare() -> None:
    from legato.bench.processes import end_when_terminated

    end_when_terminated()


@command.command()
def load(
    sessions: Annotated[int, typer.Option(min=1, max=2000, help="Calls at once.")] = 100,
    seconds: Annotated[float, typer.Option(min=1, max=3600, help="Length of the measured window.")] = 8,
    runs: Annotated[int, typer.Option(min=1, max=100, help="Runs of each server; the best one counts.")] = 5,
    baseline: Baseline = True,
    json: Json = False,
) -> int:
    """Echo a 20 ms frame every 20 ms on each call: CPU per frame, lost frames, delay, memory."""
    from legato.bench.load import load as measure

    report = measure(sessions, seconds, baseline, runs)
    report.print(json)
    return 0 if report.within else 1


@command.command()
def connect(
    rtt_ms: Annotated[float, typer.Option(min=1, max=2000, help="Emulated round-trip time.")] = 100,
    repeats: Annotated[int, typer.Option(min=1, max=1000, help="Connections of each kind.")] = 10,
    baseline: Baseline = True,
    json: Json = False,
) -> int:
    """Connect over a link with delay: round trips until the agent has the first audio."""
    from legato.bench.connect import connect as measure

    report = measure(rtt_ms, repeats, baseline)
    report.print(json)
    return 0 if report.within else 1


@command.command()
def stream(
    repeats: Annotated[int, typer.Option(min=1, max=1000, help="Replies of each kind.")] = 5,
    baseline: Baseline = True,
    json: Json = False,
) -> int:
    """Deliver one reply of 20 MB as fast as possible: megabytes per second of server CPU."""
    from legato.bench.stream import stream as measure

    report = measure(repeats, baseline)
    report.print(json)
    return 0 if report.within else 1


@command.command()
def realtime(
    sessions: Annotated[int, typer.Option(min=1, max=2000, help="Calls at once.")] = 100,
    seconds: Annotated[float, typer.Option(min=1, max=3600, help="Length of the measured window.")] = 9,
    turns: Annotated[bool, typer.Option(help="Measure spoken turns too.")] = True,
    json: Json = False,
) -> int:
    """Append 20 ms of audio as JSON every 20 ms on each call: CPU per frame, late frames, end of turns."""
    from legato.bench.realtime import realtime as measure

    report = measure(sessions, seconds, turns)
    report.print(json)
    return 0 if report.within else 1


@command.command()
def netem(
    packets: Annotated[int, typer.Option(min=100, max=100_000, help="Datagrams for each figure.")] = 2000,
    wire: Annotated[
        Literal["tun", "veth"] | None, typer.Option(help="By default what this user may use.")
    ] = None,
    json: Json = False,
) -> int:
    """Measure the emulated link of `legato netem`: error of delay, jitter, loss and rate."""
    from legato.bench.netem import netem as measure

    report = measure(packets, wire)
    report.print(json)
    return 0 if report.within else 1


@command.command()
def networks(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NETWORK...]", help="Which; by default all of them.")
    ] = None,
    quick: Annotated[
        bool, typer.Option(help="Only those that answer for a promise: under five minutes.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Decides every loss and delay.")] = 1,
    html: Annotated[Path | None, typer.Option(help="Write a page with plots here.")] = None,
    json: Json = False,
) -> int:
    """Hold calls through bad networks, over QUIC and over WebSockets: what is lost, late, silent.

    Needs Linux, but neither root nor a container, and the extra `assistant` for its voice and its ear.
    """
    from legato.bench.networks.report import networks as measure
    from legato.cli.showing.progress import progress

    with progress() as say:
        report = measure(tuple(names or ()), quick, seed, html, say)
    report.print(json)
    if html is not None:
        print(f"the page is {html}", file=sys.stderr)
    return 0 if report.within else 1


@command.command()
def balance(
    clients: Annotated[
        int,
        typer.Option(min=2, max=10_000_000, help="Clients whose packets the balancer has seen at the end."),
    ] = 1_000_000,
    json: Json = False,
) -> int:
    """Balance 120-byte packets: CPU and delay beside nginx's UDP proxy, memory up to a million clients."""
    from legato.bench.balance import balance as measure

    report = measure(clients)
    report.print(json)
    return 0 if report.within else 1
