"""The balancer's control plane: which servers there are, how they are, and who gets new connections.

Owns discovery, health, states, weights and what an operator sees. Never sees a client's packet, a call or
audio: packets are the forwarder's (`legato._native`), which is handed a whole view when something changes.

    discovery ──► snapshots ──┐
    probes    ──► answers   ──┼──► Fleet ──► backends with states and weights ──► forwarder
    servers   ──► reports   ──┘

Balancers do not talk to each other. Where they stand side by side they agree because they see the same
servers, and because everything that decides about packets is a function of what they see.

Connection IDs of QUIC-LB can be made and read from here, too: `QuicLbConfig`, `decode_connection_id`,
`derived_server_id`.
"""

from legato._native import QuicLbConfig, decode_connection_id, derived_server_id

__all__ = ["QuicLbConfig", "decode_connection_id", "derived_server_id"]
