"""The command line of the server under measurement. Owns its flags; everything else is its own default."""

from __future__ import annotations

from legato.bench.processes import Identity, module

__all__ = ["serve_command"]


def serve_command(port: int, identity: Identity, agent: str) -> list[str]:
    """Return how to run `legato serve` on 127.0.0.1, open to this machine, with a temporary certificate."""
    return module(
        "legato.cli",
        "serve",
        *("--host", "127.0.0.1", "--port", str(port), "--agent", agent, "--no-auth"),
        *("--cert", str(identity.certificate), "--key", str(identity.key), "--drain-seconds", "0"),
    )
