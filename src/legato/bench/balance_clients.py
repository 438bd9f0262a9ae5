"""Clients of a measurement of the balancer, as many as wished: each sends a packet from its own address.

Owns making them up. One socket stands for all: the kernel lets a packet leave from any loopback address
(IP_PKTINFO, ip(7)), and there are sixteen million. Must not know what is measured.
"""

import os
import socket
import struct
import time

__all__ = ["send_from"]

PAYLOAD = 120
TOGETHER = 64
"""Packets sent before the balancer gets a moment to take them."""
LOOPBACK = int.from_bytes(socket.inet_aton("127.1.0.0"), "big")
IP_PKTINFO = 8
"""Linux; `socket` has no name for it before Python 3.12."""


def send_from(balancer: tuple[str, int], clients: int) -> int:
    """Send a packet from each of so many clients; returns how many."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind(("0.0.0.0", 0))
        for client in range(clients):
            source = struct.pack("=I4s4s", 0, struct.pack(">I", LOOPBACK + client), bytes(4))
            # A connection ID of the reserved codepoint: a new connection of a client.
            packet = b"\x40\xe7" + os.urandom(16) + bytes(PAYLOAD - 18)
            sender.sendmsg([packet], [(socket.IPPROTO_IP, IP_PKTINFO, source)], 0, balancer)
            if client % TOGETHER == 0:
                time.sleep(0)
    return clients
