"""From what is known to what the forwarder decides by.

Owns putting a view together. Must not know how anything in it was learned.
"""

from collections.abc import Iterable

from legato import _native
from legato.fleet_keys import FleetKeys
from legato.lb.fleet import Backend
from legato.lb.server_ids import names_for
from legato.lb.servers import Names
from legato.lb.settings import RoutingSettings

__all__ = ["make_view", "names_under"]


def make_view(
    keys: FleetKeys, backends: Iterable[Backend], routing: RoutingSettings
) -> _native.ForwarderView:
    """The view of these servers. Raises `SettingsError` if they contradict the rest."""
    return _native.ForwarderView(
        keys.quic_lb,
        [
            _native.Backend(one.server_ids, one.address, one.state.value, one.weight, one.dead_since_us)
            for one in backends
        ],
        keys.hash_key,
        keys.encapsulation,
        allowed=routing.allowed,
        derived=routing.derived,
        balancers=routing.siblings,
        grace_us=round(routing.grace_seconds * 1_000_000),
        max_payload=routing.max_payload,
    )


def names_under(keys: FleetKeys) -> Names:
    """How servers without listed names are called under these keys."""
    return names_for({config.server_id_length for config in keys.quic_lb})
