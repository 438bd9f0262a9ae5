"""Which plane forwards, and what an operator is told where it is not the one in the kernel.

What needs the kernel runs in a network of its own, as root; elsewhere it is skipped with the reason.
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.end_to_end.networks import Network, bpf_files, join, networks, obstacle
from tests.lb.stages import FileStage
from tests.lb.tunnels import WAIT_S, scene, settings

from legato import _native
from legato.core.errors import SettingsError, TransportError
from legato.fleet_keys import FleetKeys
from legato.lb import plane as planes
from legato.lb.balancer import Balancer
from legato.lb.plane import PROGRAM, choose_plane, is_left
from legato.lb.settings import BalancerSettings, load_balancer_settings
from legato.lb.view import make_view

AT = "10.80.0.1"


def a_view() -> _native.ForwarderView:
    return make_view(FleetKeys.new(), [], BalancerSettings().routing)


def wanted(pins: Path, plane: str = "xdp", **xdp: Any) -> BalancerSettings:
    return BalancerSettings.model_validate({"plane": plane, "xdp": {"pins": pins, **xdp}})


@dataclass
class Place:
    """A network with a cable that has an address, and a folder for what outlives a process."""

    network: Network
    pins: Path

    def choosing(self, settings: BalancerSettings, host: str = AT) -> Any:
        """What is chosen for a forwarder at this address, and the forwarder."""

        def act() -> tuple[planes.Plane, _native.Forwarder]:
            forwarder = _native.Forwarder([(host, 0)], a_view(), 1)
            try:
                return choose_plane(forwarder, a_view(), settings), forwarder
            except BaseException:
                forwarder.close()
                raise

        return self.network.run(act)

    def choose(self, settings: BalancerSettings, host: str = AT) -> planes.Plane:
        """The same for a moment."""
        plane, forwarder = self.choosing(settings, host)
        forwarder.close()
        assert isinstance(plane, planes.Plane)
        return plane

    def shown(self) -> str:
        """What the system says of the interfaces, the number of each program included."""
        words = [*self.network.command, "ip", "link"]
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout

    def programs(self) -> int:
        return self.shown().count("prog/xdp")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("place")
    if not PROGRAM.exists():
        pytest.skip("the program for the kernel is not built: there is no clang")
    why = obstacle(folder / "trial")
    if why is not None:
        pytest.skip(why)
    with bpf_files(folder / "bpf") as pins, networks(2) as (network, other):
        join(network, "wire", other, "end")
        network.ip(f"addr add {AT}/24 dev wire")
        network.set("ipv4/conf/wire/forwarding", "1")
        yield Place(network, pins / "legato")


def test_a_cable_gets_the_generic_mode_unless_one_knows_better(place: Place) -> None:
    plane, forwarder = place.choosing(wanted(place.pins, "auto"))
    assert place.programs() == 1
    assert (plane.name, plane.mode, plane.interfaces) == ("xdp", "generic", ("wire",))
    assert "wire is a veth" in plane.why
    assert plane.title == "xdp, generic mode on wire"
    assert forwarder.counters().passed == 0
    forwarder.close()
    assert place.programs() == 0
    plane = place.choose(wanted(place.pins, mode="native"))
    assert (plane.mode, plane.why) == ("native", "the drivers take it")
    assert not is_left(place.pins)


def test_a_plane_is_taken_over_or_taken_away(place: Place) -> None:
    for mode in ("native", "generic"):
        _, first = place.choosing(wanted(place.pins, mode=mode))
        first.close(leave_kernel=True)
        assert place.programs() == 1
        assert is_left(place.pins)
        plane, second = place.choosing(wanted(place.pins, mode=mode))
        assert (plane.mode, place.programs()) == (mode, 1)
        # In another mode it cannot be replaced in one step, but it is.
        second.close(leave_kernel=True)
        plane, third = place.choosing(wanted(place.pins, mode="generic" if mode == "native" else "native"))
        assert (plane.mode != mode, place.programs()) == (True, 1)
        third.close(leave_kernel=True)
        # A balancer that does without takes it away, or it would decide for ever by what it knew.
        plane = place.choose(wanted(place.pins, "userspace"))
        assert (plane.name, plane.why, place.programs()) == ("userspace", "it was asked for", 0)
        assert not is_left(place.pins)


def test_who_knows_no_server_leaves_the_kernel_to_one_that_did(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A balancer was killed, and the source of servers is away when the next one starts."""
    monkeypatch.setattr("legato.lb.balancer.FIRST_WAIT_S", 0.05)
    stage = FileStage(tmp_path)

    async def scenario() -> None:
        async with scene(tmp_path, servers=1) as (_, servers):
            balancer = Balancer(
                settings(
                    tmp_path,
                    listen=(f"{AT}:0",),
                    discovery={"static": {"file": stage.file, "poll_seconds": 0.01}},
                    plane="xdp",
                    xdp={"pins": place.pins},
                )
            )
            try:
                await balancer.start()
                before = place.shown()
                await balancer.take_plane()
                assert (balancer.plane.name, place.shown()) == ("userspace", before)
                assert "until a server answers" in balancer.plane.why
                await stage.publish([servers[0].address])
                async with asyncio.timeout(WAIT_S):
                    await balancer.until(lambda: balancer.plane.name == "xdp")
                assert (place.programs(), place.shown() != before) == (1, True)
            finally:
                await balancer.close()

    _, killed = place.choosing(wanted(place.pins))
    killed.close(leave_kernel=True)
    place.network.run_async(scenario)
    assert place.programs() == 0


def test_what_belongs_to_others_is_left_alone(place: Place) -> None:
    _, first = place.choosing(wanted(place.pins))
    try:
        for pins, sentence in (
            (place.pins, "another balancer forwards on wire by XDP"),
            (place.pins.with_name("elsewhere"), "another program is attached to wire: take it off"),
        ):
            with pytest.raises(TransportError, match=sentence):
                place.choose(wanted(pins))
            assert sentence in place.choose(wanted(pins, "auto")).why
        place.choose(wanted(place.pins, "userspace"))
        assert place.programs() == 1
    finally:
        first.close()


@contextmanager
def a_short_lived_cable(place: Place) -> Iterator[str]:
    """Another interface, which somebody removes; its address."""
    place.network.ip("link add brief type veth peer name brief-end")
    for words in ("addr add 10.81.0.1/24 dev brief", "link set brief up", "link set brief-end up"):
        place.network.ip(words)
    place.network.set("ipv4/conf/brief/forwarding", "1")
    yield "10.81.0.1"


def test_what_was_left_on_an_interface_that_is_gone_is_removed(place: Place) -> None:
    with a_short_lived_cable(place) as host:
        _, killed = place.choosing(wanted(place.pins), host)
        killed.close(leave_kernel=True)
        place.network.ip("link del brief")
    assert is_left(place.pins)
    place.choose(wanted(place.pins))
    assert not is_left(place.pins)
    assert list(place.pins.iterdir()) == []


def test_that_an_interface_is_gone_is_told_with_the_next_view(place: Place) -> None:
    with a_short_lived_cable(place) as host:
        _, forwarder = place.choosing(wanted(place.pins), host)
        forwarder.set_view(a_view())
        place.network.ip("link del brief")
    try:
        with pytest.raises(TransportError, match="the program is no longer at brief"):
            forwarder.set_view(a_view())
        forwarder.set_view(a_view())
    finally:
        forwarder.close()
    assert not is_left(place.pins)


def refusals(place: Place) -> list[tuple[str, Callable[[], object]]]:
    pins = place.pins
    network = place.network

    def not_forwarding() -> None:
        network.set("ipv4/conf/wire/forwarding", "0")
        try:
            place.choose(wanted(pins))
        finally:
            network.set("ipv4/conf/wire/forwarding", "1")

    return [
        ("there is no interface eth7", lambda: place.choose(wanted(pins, interfaces=("eth7",)))),
        ("there is no interface ", lambda: place.choose(wanted(pins, interfaces=("a\0b",)))),
        ("lo is the loopback interface", lambda: place.choose(wanted(pins), "127.0.0.9")),
        ("name the interfaces that packets come by", lambda: place.choose(wanted(pins), "0.0.0.0")),
        (r"sysctl -w net\.ipv4\.conf\.wire\.forwarding=1", not_forwarding),
        ("mount -t bpf bpf /sys/fs/bpf", lambda: place.choose(wanted(pins.parents[1] / "no-bpf"))),
    ]


@pytest.mark.parametrize("number", range(6))
def test_what_is_in_the_way_is_one_sentence(place: Place, number: int) -> None:
    sentence, act = refusals(place)[number]
    with pytest.raises(TransportError, match=f"^no plane in the kernel: .*{sentence}") as told:
        act()
    assert "\n" not in str(told.value)
    assert place.programs() == 0


def test_all_addresses_are_those_of_named_interfaces(place: Place) -> None:
    assert place.choose(wanted(place.pins, interfaces=("wire",)), "0.0.0.0").name == "xdp"


def test_a_program_that_is_missing_or_old_is_told(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planes, "PROGRAM", tmp_path / "program.o")
    assert "apt-get install clang" in place.choose(wanted(place.pins, "auto")).why
    planes.PROGRAM.write_bytes(b"nothing")
    assert "is damaged" in place.choose(wanted(place.pins, "auto")).why
    # The section that tells the version is found by its first number.
    old = PROGRAM.read_bytes().replace(bytes([1, 0, 0, 0, 0xA8]), bytes([9, 0, 0, 0, 0xA8]))
    planes.PROGRAM.write_bytes(old)
    assert "another version" in place.choose(wanted(place.pins, "auto")).why


def test_without_root_it_says_so(place: Place) -> None:
    """A process of nobody's asks for a plane in the kernel."""
    script = f"""
import os, sys
sys.path[:] = {sys.path!r}
from legato import _native
from tests.lb.test_plane import a_view, wanted
from legato.lb import plane
from pathlib import Path
# Seen from its own folder, so that it does not matter who may look into those above.
os.chdir(plane.PROGRAM.parent)
plane.PROGRAM = Path(plane.PROGRAM.name)
forwarder = _native.Forwarder([({AT!r}, 0)], a_view(), 1)
os.setgid(65534); os.setuid(65534)
print(plane.choose_plane(forwarder, a_view(), wanted(Path({str(place.pins)!r}), "auto")).why)
forwarder.close()
"""
    words = [*place.network.command, sys.executable, "-c", script]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, cwd=Path(__file__).parents[2])
    assert done.stdout == (
        "not in the kernel: no permission: XDP needs root, or the capabilities BPF, NET_ADMIN and PERFMON\n"
    ), done.stderr


def test_on_the_loopback_address_nothing_is_asked_of_the_machine(tmp_path: Path) -> None:
    forwarder = _native.Forwarder([("127.0.0.1", 0)], a_view(), 1)
    try:
        plane = choose_plane(forwarder, a_view(), wanted(tmp_path, "auto"))
        assert (plane.name, plane.mode, plane.interfaces) == ("userspace", None, ())
        assert plane.why.startswith("not in the kernel: ")
        with pytest.raises(SettingsError, match="auto, native or generic"):
            forwarder.accelerate(b"", a_view(), [], "fast", str(tmp_path))
    finally:
        forwarder.close()
    assert not is_left(tmp_path / "nowhere")
    assert os.listdir(tmp_path) == []


def test_a_plane_that_does_not_exist_is_a_mistake() -> None:
    with pytest.raises(SettingsError, match="plane = 'dpdk' cannot be used"):
        load_balancer_settings({"plane": "dpdk"})
