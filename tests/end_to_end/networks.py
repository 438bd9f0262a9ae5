"""Networks of one's own (namespaces), joined by cables (veth), for the tests of the plane in the kernel.

Owns making and removing them; all of it needs root. Nothing has a name outside, so tests do not meet. Must
not know what runs there.
"""

import asyncio
import ctypes
import fcntl
import os
import shutil
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from tests.end_to_end.fleet import PATIENCE_S

Result = TypeVar("Result")

CLONE_NEWNET = 0x40000000
SIOCETHTOOL = 0x8946
SET_SEND_CHECKSUMS = 0x17
SET_JOINING = 0x2C
SLACK_S = 150.0
"""For a whole test on a busy machine."""


class Network:
    """One network: processes and threads can be in it."""

    def __init__(self) -> None:
        self._keeper = subprocess.Popen(
            ["unshare", "--net", "--", "sh", "-c", "echo; exec sleep infinity"], stdout=subprocess.PIPE
        )
        assert self._keeper.stdout is not None
        # Without the right to make networks it says nothing.
        self.is_made = bool(self._keeper.stdout.readline())

    @property
    def command(self) -> list[str]:
        """What runs a program here: only the network is another, files stay."""
        return ["nsenter", f"--net={self._file}", "--"]

    @property
    def number(self) -> str:
        """What `ip` knows it by."""
        return str(self._keeper.pid)

    @property
    def _file(self) -> str:
        return f"/proc/{self._keeper.pid}/ns/net"

    def ip(self, words: str) -> None:
        """Run `ip` here."""
        subprocess.run([*self.command, "ip", *words.split()], check=True, timeout=PATIENCE_S)

    def set(self, name: str, value: str) -> None:
        """Write a setting of the kernel's network."""
        self.run(lambda: Path("/proc/sys/net", name).write_text(value))

    def finish_frames(self, interface: str) -> None:
        """Let an interface send whole checksums, and take frames as a driver gives them (NAPI).

        Cables between networks do neither by themselves, as no network card has to be reached.
        """
        self.run(lambda: _ethtool(interface, SET_SEND_CHECKSUMS, 0))
        self.run(lambda: _ethtool(interface, SET_JOINING, 1))

    def run(self, act: Callable[[], Result]) -> Result:
        """Do something in a thread that is here; what it starts is, too."""
        done: list[Result | BaseException] = []

        def there() -> None:
            try:
                with open(self._file) as network:
                    if ctypes.CDLL(None, use_errno=True).setns(network.fileno(), CLONE_NEWNET) != 0:
                        raise OSError(ctypes.get_errno(), "setns")
                done.append(act())
            except BaseException as error:
                done.append(error)

        thread = threading.Thread(target=there)
        thread.start()
        thread.join(SLACK_S)
        assert done, "it takes too long"
        if isinstance(done[0], BaseException):
            raise done[0]
        return done[0]

    def run_async(self, work: Callable[[], Coroutine[None, None, Result]]) -> Result:
        """The same with a loop."""
        return self.run(lambda: asyncio.run(work()))

    def end(self) -> None:
        """Remove it; its cables go with it."""
        self._keeper.kill()
        self._keeper.communicate()


def _ethtool(interface: str, command: int, value: int) -> None:
    wanted = ctypes.create_string_buffer(struct.pack("=II", command, value))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("=16sQ", interface.encode(), ctypes.addressof(wanted))
        fcntl.ioctl(any_socket, SIOCETHTOOL, request.ljust(40, b"\0"))


def join(left: Network, name: str, right: Network, other: str) -> None:
    """Lay a cable: an interface here, and one there."""
    left.ip(f"link add {name} type veth peer name {other} netns {right.number}")
    for network, interface in ((left, name), (right, other)):
        network.ip(f"link set {interface} up")


@contextmanager
def networks(count: int) -> Iterator[list[Network]]:
    """So many networks, each with a loopback interface."""
    made = [Network() for _ in range(count)]
    try:
        for network in made:
            network.ip("link set lo up")
        yield made
    finally:
        for network in made:
            network.end()


@contextmanager
def bpf_files(folder: Path) -> Iterator[Path]:
    """A BPF file system in a folder."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "bpf", "bpf", str(folder)], check=True, timeout=PATIENCE_S)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True, timeout=PATIENCE_S)


def obstacle(folder: Path) -> str | None:
    """Why networks and programs in the kernel cannot be had here."""
    if os.geteuid() != 0:
        return "networks of one's own and programs in the kernel need root"
    for program in ("ip", "unshare", "nsenter", "mount"):
        if shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") is None:
            return f"there is no program {program}"
    network = Network()
    network.end()
    if not network.is_made:
        return "this system lets nobody make networks"
    try:
        with bpf_files(folder):
            return None
    except subprocess.CalledProcessError:
        return "this system has no BPF file system"
