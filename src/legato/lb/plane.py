"""Which plane forwards: the one in the kernel where the machine allows it, else the one in userspace alone.

Owns the choice and its reasons. Must not know how either plane works: the forwarder has both.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from legato import _native
from legato.core.errors import TransportError
from legato.lb.settings import BalancerSettings

__all__ = ["PROGRAM", "Plane", "choose_plane", "is_left", "only_userspace"]

PROGRAM = Path(_native.__file__).with_name("_balance.bpf.o")
"""The program for the kernel; `make setup` builds it where there is clang."""


@dataclass(frozen=True)
class Plane:
    """What forwards, and why."""

    name: str
    """`xdp` or `userspace`."""

    why: str
    """A sentence for the operator."""

    mode: str | None = None
    """How a program in the kernel is attached: `native` by the driver, `generic` by the kernel."""

    interfaces: tuple[str, ...] = ()
    """Where."""

    @property
    def title(self) -> str:
        """Name, mode and place in a few words."""
        if self.mode is None:
            return self.name
        return f"{self.name}, {self.mode} mode on {', '.join(self.interfaces)}"


def only_userspace(why: str) -> Plane:
    """The plane that is always there."""
    return Plane(name="userspace", why=why)


def is_left(pins: Path) -> bool:
    """Whether a balancer that was killed may have left its plane in the kernel."""
    try:
        return any(pins.glob("*/*"))
    except OSError:
        return False


def choose_plane(
    forwarder: _native.Forwarder, view: _native.ForwarderView, settings: BalancerSettings
) -> Plane:
    """Put the plane in the kernel before the forwarder's sockets if it is wanted and possible.

    Raises `TransportError` if it is demanded and not possible.
    """
    xdp = settings.xdp
    if settings.plane != "userspace":
        try:
            mode, interfaces, note = forwarder.accelerate(
                _program(), view, xdp.interfaces, xdp.mode, str(xdp.pins)
            )
        except TransportError as error:
            if settings.plane == "xdp":
                raise TransportError(f"no plane in the kernel: {error}") from None
            plane = only_userspace(f"not in the kernel: {error}")
        else:
            why = "the drivers take it" if mode == "native" else "generic mode was asked for"
            return Plane("xdp", note or why, mode, tuple(interfaces))
    else:
        plane = only_userspace("it was asked for")
    # A program that a killed balancer left would decide by a view that nobody replaces.
    forwarder.clear_kernel(xdp.interfaces, str(xdp.pins))
    return plane


def _program() -> bytes:
    try:
        return PROGRAM.read_bytes()
    except PermissionError:
        raise TransportError(f"its program cannot be read by this user: {PROGRAM}") from None
    except OSError:
        raise TransportError(
            "its program is not built: install clang (Debian: apt-get install clang) and run make setup"
        ) from None
