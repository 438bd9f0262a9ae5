"""A server's place in its fleet: what it takes from the keys, and what becomes of new ones."""

import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from legato import Call, Server, ServerSettings, _native
from legato.core.errors import SettingsError
from legato.fleet_keys import FleetKeys
from legato.server.membership import Membership
from legato.server.worker import Orders, Worker


def written(path: Path, keys: FleetKeys) -> Path:
    path.write_bytes(keys.dump())
    path.chmod(0o600)
    return path


def settings(path: Path | None = None, **more: Any) -> ServerSettings:
    tunnel = {"tunnel": "127.0.0.1:0", "balancers": ["127.0.0.1"]}
    fleet = {} if path is None else {"keys": path, **tunnel}
    return ServerSettings.model_validate({"fleet": fleet, "listen": {"port": 0}, **more})


def orders(**changes: Any) -> Orders:
    fields: dict[str, Any] = {
        "number": 2,
        "count": 3,
        "udp": (),
        "tcp": (),
        "steering": bytes(8),
        "keys": FleetKeys.new().dump(),
        "flags": {"listen.port": 0},
        "config": None,
        "announce": False,
    }
    return Orders(**(fields | changes))


async def silent(call: Call) -> None:
    async for _ in call.events:
        pass


@pytest.fixture
async def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Server, Path]]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    path = written(tmp_path / "fleet.json", FleetKeys.new())
    async with Server(settings(path), silent) as started:
        yield started, path


class TestWhatIsTakenFromTheKeys:
    def test_a_server_without_a_fleet_takes_nothing(self) -> None:
        alone = settings()
        membership = Membership(alone)
        assert membership.applied(alone) is alone
        assert membership.engine_keys() is None
        assert (membership.tickets, membership.client_secrets) == (None, None)

    def test_two_servers_open_each_others_tickets_and_secrets(self, tmp_path: Path) -> None:
        path = written(tmp_path / "fleet.json", FleetKeys.new())
        one, other = (Membership(settings(path)).applied(settings(path)) for _ in range(2))
        assert one.resume.keys == other.resume.keys != ()
        assert one.auth.secrets == other.auth.secrets != ()
        assert one.auth.secrets != one.resume.keys

    def test_what_the_operator_gives_stays(self, tmp_path: Path) -> None:
        path = written(tmp_path / "fleet.json", FleetKeys.new())
        own = settings(path, resume={"keys": ["x" * 32]}, auth={"secrets": ["y" * 32]})
        membership = Membership(own)
        assert membership.applied(own) == own
        assert (membership.tickets, membership.client_secrets) == (None, None)

    def test_workers_share_the_keys_of_their_parent_and_no_name(self) -> None:
        named = settings(resume={"server_id": "here"})
        whole = orders()
        applied = Membership(named, whole).applied(named)
        assert applied.resume.server_id == "here/2"
        other = Membership(named, orders(keys=whole.keys, number=1)).applied(named)
        assert other.resume.keys == applied.resume.keys
        assert other.resume.server_id == "here/1"

    def test_wrong_keys_are_told_before_anything_is_served(self, tmp_path: Path) -> None:
        with pytest.raises(SettingsError, match="legato keys new"):
            Server(settings(tmp_path / "none"), silent)


class TestNewKeys:
    async def test_a_new_version_is_taken_up(self, server: tuple[Server, Path]) -> None:
        started, path = server
        keys = FleetKeys.load(path)
        for _ in range(7):
            keys = keys.rotated()
            written(path, keys)
            with capture_logs() as logs:
                started._membership.look(started._new_keys)
            assert [line["event"] for line in logs] == ["new keys"]
            assert started._membership.keys == keys

    async def test_an_unchanged_file_is_not_read_again(self, server: tuple[Server, Path]) -> None:
        started, path = server
        with capture_logs() as logs:
            started._membership.look(started._new_keys)
            written(path, FleetKeys.load(path))
            started._membership.look(started._new_keys)
        assert logs == []

    async def test_a_bad_version_is_told_once_and_not_used(self, server: tuple[Server, Path]) -> None:
        started, path = server
        keys = FleetKeys.load(path)
        for bad, words in [(b"{", "only a part"), (FleetKeys.new().dump(), "another fleet's")]:
            path.write_bytes(bad)
            with capture_logs() as logs:
                started._membership.look(started._new_keys)
                started._membership.look(started._new_keys)
            assert len(logs) == 1
            assert words in logs[0]["reason"]
            assert started._membership.keys == keys

    async def test_a_version_that_others_could_read_is_taken_up_once_it_is_closed_to_them(
        self, server: tuple[Server, Path]
    ) -> None:
        started, path = server
        keys = FleetKeys.load(path).rotated()
        path.write_bytes(keys.dump())
        path.chmod(0o644)
        with capture_logs() as logs:
            started._membership.look(started._new_keys)
            assert "chmod 600" in logs[0]["reason"]
            path.chmod(0o600)
            started._membership.look(started._new_keys)
        assert started._membership.keys == keys

    async def test_a_step_that_was_left_out_is_told(self, server: tuple[Server, Path]) -> None:
        started, path = server
        written(path, FleetKeys.load(path).rotated().rotated())
        with capture_logs() as logs:
            started._membership.look(started._new_keys)
        assert "without having been announced" in logs[0]["event"]

    async def test_a_file_that_is_gone_leaves_the_keys(self, server: tuple[Server, Path]) -> None:
        started, path = server
        keys = FleetKeys.load(path)
        path.unlink()
        with capture_logs() as logs:
            started._membership.look(started._new_keys)
        assert "cannot read" in logs[0]["reason"]
        assert started._membership.keys == keys

    async def test_packets_in_vain_are_told_once_for_each_reason(self, server: tuple[Server, Path]) -> None:
        started, _ = server
        membership = started._membership
        with capture_logs() as logs:
            for declined in ({}, {"wrong tag": 3}, {"wrong tag": 9}, {"wrong tag": 9, "a reply": 1}):
                membership.notice(declined)
        assert [(line["reason"], line["packets"]) for line in logs] == [("wrong tag", 3), ("a reply", 1)]

    async def test_what_a_server_is_called_follows_its_tunnel(self, server: tuple[Server, Path]) -> None:
        started, _ = server
        place = started._place()
        host, _, port = str(place["tunnel"][0]).rpartition(":")  # type: ignore[index]
        assert place["server_id"] == _native.derived_server_id((host, int(port))).hex()


class TestOrders:
    def test_what_a_parent_says_is_what_a_worker_hears(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours:
            Worker.order(ours, orders(udp=(3, 4)))
            worker = Worker.answer(theirs.detach())
            assert worker.orders.udp == (3, 4)
            worker.ready()
            assert ours.recv(64) == b"ready"
        worker.ready()
        worker.line.close()

    @pytest.mark.parametrize("text", [b"", b"{}", b"nonsense"])
    def test_nobody_else_makes_a_worker(self, text: bytes) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with ours:
            ours.sendall(text)
            ours.shutdown(socket.SHUT_WR)
            with pytest.raises(SettingsError, match="starts its workers itself"):
                Worker.answer(theirs.detach())
