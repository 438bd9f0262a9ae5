"""Servers, lists and a virtual clock for the tests of the control plane."""

from legato.lb.fleet import Fleet, FleetTerms
from legato.lb.servers import Address, Listed, Snapshot
from legato.lb.states import State

SECOND = 1_000_000
TERMS = FleetTerms(rise=1, fall=3)


def at(number: int) -> Address:
    """The address of a server."""
    return f"10.0.0.{number}", 4434


def name(number: int) -> bytes:
    """Its name, if it is listed without one."""
    return bytes([0xA0, number])


def named(address: Address) -> tuple[bytes, ...]:
    """Calls servers by the last part of their address."""
    return (name(int(address[0].rpartition(".")[2])),)


def one(number: int, **facts: object) -> Listed:
    """A server as a source lists it."""
    return Listed(address=at(number), **facts)  # type: ignore[arg-type]


def listing(*servers: Listed | int, problems: tuple[str, ...] = ()) -> Snapshot:
    """A whole list; a number stands for a server without special facts."""
    listed = tuple(one(server) if isinstance(server, int) else server for server in servers)
    return Snapshot(servers=listed, problems=problems)


def fleet_of(*numbers: int, terms: FleetTerms = TERMS) -> Fleet:
    """A fleet at time 0 whose servers have answered."""
    fleet = Fleet(terms, named)
    fleet.listed(listing(*numbers), 0)
    for number in numbers:
        fleet.answered(at(number), 500, 0)
    fleet.changes()
    return fleet


def states(fleet: Fleet) -> dict[int, State]:
    """The state of each server, by its number."""
    return {int(backend.address[0].rpartition(".")[2]): backend.state for backend in fleet.backends()}


def weights(fleet: Fleet) -> dict[int, int]:
    """The weight of each server, by its number."""
    return {int(backend.address[0].rpartition(".")[2]): backend.weight for backend in fleet.backends()}
