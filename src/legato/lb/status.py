"""What a balancer tells about itself: a document for `legato balance status`, and metrics.

Owns the words and the layout of both. Must not change anything.
"""

import os
from typing import Any

from legato._version import __version__
from legato.lb.balancer import Balancer, now_us
from legato.lb.metrics import Family, exposition
from legato.lb.servers import shown
from legato.lb.states import State

__all__ = ["metrics_of", "status_of"]


def status_of(balancer: Balancer) -> dict[str, Any]:
    """Everything an operator may want to see, as JSON."""
    now = now_us()
    counters = balancer.forwarder.counters()
    return {
        "version": __version__,
        "pid": os.getpid(),
        "uptime_seconds": round((now - balancer.started_us) / 1e6, 1),
        "listen": [shown(address) for address in balancer.addresses],
        "plane": {
            "name": balancer.plane.name,
            "mode": balancer.plane.mode,
            "interfaces": list(balancer.plane.interfaces),
            "why": balancer.plane.why,
            "threads": counters.threads,
            "working": counters.working,
        },
        "discovery": balancer.settings.discovery.source,
        "keys": {
            "fingerprint": balancer.keys.fingerprint,
            "generations": [
                {"number": each.number, "stage": each.stage, "config": each.codepoint}
                for each in balancer.keys.generations
            ],
        },
        "problems": balancer.problems,
        "servers": _servers(balancer, now),
        "packets": {
            "received": counters.received,
            "octets": counters.octets,
            "replies": counters.replies,
            "overflows": counters.overflows,
            "passed": counters.passed,
            "routes": counters.routes,
            "drops": counters.drops,
            "configs": {str(config): count for config, count in counters.configs.items()},
        },
    }


def _servers(balancer: Balancer, now: int) -> list[dict[str, Any]]:
    backends = balancer.fleet.backends()
    total = sum(backend.weight for backend in backends) or 1
    traffic = {address: (there, back) for address, there, back in balancer.forwarder.counters().backends}
    servers = []
    for backend in backends:
        member = balancer.fleet.members[backend.address]
        requests, replies = traffic.get(backend.address, (0, 0))
        load = member.load
        servers.append(
            {
                "address": shown(backend.address),
                "server_ids": [name.hex() for name in backend.server_ids],
                "state": backend.state.value,
                "state_seconds": round((now - member.since_us) / 1e6, 1),
                "listed": member.is_listed,
                "drains_because": member.unwanted_because,
                "weight": backend.weight,
                "share": round(backend.weight / total, 4),
                "calls": load and load.calls,
                "capacity": load and load.capacity,
                "probe_ms": member.rtt_us and round(member.rtt_us / 1000, 2),
                "missed_probes": member.missed,
                "requests": requests,
                "replies": replies,
            }
        )
    return servers


def metrics_of(balancer: Balancer) -> str:
    """The same for Prometheus."""
    counters = balancer.forwarder.counters()
    received = Family("packets_received_total", "counter", "Datagrams that arrived.").add(counters.received)
    octets = Family("octets_received_total", "counter", "Octets that arrived.").add(counters.octets)
    replies = Family("replies_total", "counter", "Packets sent to clients.").add(counters.replies)
    overflows = Family(
        "overflows_total", "counter", "Datagrams that the system dropped because forwarding did not keep up."
    ).add(counters.overflows)
    routed = Family("routed_total", "counter", "Packets of clients, by what led them to their server.")
    for route, count in counters.routes.items():
        routed.add(count, route=route)
    dropped = Family("dropped_total", "counter", "Datagrams that were dropped, by reason.")
    for reason, count in counters.drops.items():
        dropped.add(count, reason=reason)
    configs = Family(
        "config_packets_total",
        "counter",
        "Packets led by a connection ID, by its configuration; one that stands still may go.",
    )
    for config, count in counters.configs.items():
        configs.add(count, config=str(config))
    threads = Family("threads", "gauge", "Threads that forward, and those that are at work.")
    threads.add(counters.threads, is_working="wanted").add(counters.working, is_working="yes")
    plane = Family("plane", "gauge", "1 for the plane that forwards.")
    for name in ("xdp", "userspace"):
        plane.add(int(balancer.plane.name == name), name=name)
    passed = Family(
        "passed_total", "counter", "Packets that the plane in the kernel left to the one in userspace."
    ).add(counters.passed)
    problems = Family("problems", "gauge", "Sentences that `legato balance status` shows as problems.").add(
        len(balancer.problems)
    )
    generation = Family("keys_generation", "gauge", "Generation of the fleet's keys that is in use.").add(
        balancer.keys.generation, fingerprint=balancer.keys.fingerprint
    )
    packets = (received, octets, replies, overflows, passed, routed, dropped, configs)
    return exposition((*packets, plane, threads, problems, generation, *_server_families(balancer)))


def _server_families(balancer: Balancer) -> list[Family]:
    state = Family("server_state", "gauge", "1 for the state that a server is in.")
    weight = Family("server_weight", "gauge", "Share of new calls, relative to the others'.")
    calls = Family("server_calls", "gauge", "Calls that a server reported.")
    capacity = Family("server_capacity", "gauge", "Calls that a server takes at most.")
    probe = Family("server_probe_seconds", "gauge", "How long the last answered probe took.")
    packets = Family("server_packets_total", "counter", "Packets to and from a server.")
    for backend in balancer.fleet.backends():
        server = shown(backend.address)
        member = balancer.fleet.members[backend.address]
        for each in (State.JOINING, State.READY, State.DRAINING, State.DEAD):
            state.add(int(backend.state is each), server=server, state=each.value)
        weight.add(backend.weight, server=server)
        if member.load is not None:
            calls.add(member.load.calls, server=server)
            capacity.add(member.load.capacity, server=server)
        if member.rtt_us is not None:
            probe.add(member.rtt_us / 1e6, server=server)
    for address, requests, replies in balancer.forwarder.counters().backends:
        packets.add(requests, server=shown(address), direction="to_server")
        packets.add(replies, server=shown(address), direction="to_client")
    return [state, weight, calls, capacity, probe, packets]
