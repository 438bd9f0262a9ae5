"""Names in connection IDs that are derived from a server's address, so that nobody has to hand names out.

Owns when such names may be used; the octets are those of `crates/quic-lb/src/address.rs`. Every balancer
derives the same names from the same addresses, so they agree without talking; a server computes its own.
"""

from collections.abc import Collection

from legato._native import derived_server_id
from legato.lb.servers import Address, Names

__all__ = ["DERIVED_OCTETS", "names_for"]

DERIVED_OCTETS = 8
"""Length of a derived name; configurations of another length need names that are listed."""


def names_for(lengths: Collection[int]) -> Names:
    """How servers without listed names are called while server IDs have these lengths: by their address, as
    far as a configuration has room for it."""

    def names(address: Address) -> tuple[bytes, ...]:
        return (derived_server_id(address),) if DERIVED_OCTETS in lengths else ()

    return names
