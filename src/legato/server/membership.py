"""A server's place in its fleet: what the fleet's keys mean for the packet engine and the doors for callers.

Owns reading the keys, again when their file changes, and handing them on. It must not know how they are used.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

import structlog
from pydantic import SecretStr

from legato import _native
from legato.core.errors import SettingsError
from legato.fleet_keys import FleetKeys, Generation
from legato.server.fleet_settings import FleetSettings, host_and_port
from legato.server.settings import ServerSettings
from legato.server.worker import Orders

__all__ = ["Membership"]

LOOK_EVERY_S = 1.0
"""How often the file with the keys is looked at."""

log = structlog.get_logger(__name__)


class Membership:
    """The fleet's keys at one server, and who is told of new ones."""

    def __init__(self, settings: ServerSettings, worker: Orders | None = None) -> None:
        """Read the keys that the settings name; a worker gets them from its parent otherwise.

        Raises `SettingsError`.
        """
        self._settings = settings.fleet
        self._worker = worker
        self._seen = _stamp(self._settings.keys)
        self.keys: FleetKeys | None = None
        if self._settings.keys is not None:
            self.keys = FleetKeys.load(self._settings.keys)
        elif worker is not None:
            self.keys = FleetKeys.parse(worker.keys, "what the workers share")
        self._noticed: set[str] = set()
        self._callers_secrets = not settings.auth.secrets
        self._tickets = not settings.resume.keys

    @property
    def changes(self) -> bool:
        """Whether there can be new keys."""
        return self._settings.keys is not None

    def applied(self, settings: ServerSettings) -> ServerSettings:
        """The settings with the fleet's keys where the operator gave none of his own."""
        keys = self.keys
        if keys is None:
            return settings
        auth, resume = settings.auth, settings.resume
        if self._callers_secrets:
            auth = auth.model_copy(update={"secrets": _texts(self.client_secrets)})
        if self._tickets:
            resume = resume.model_copy(update={"keys": _texts(self.tickets)})
        if self._worker is not None and resume.server_id is not None:
            name = f"{resume.server_id}/{self._worker.number}"
            resume = resume.model_copy(update={"server_id": name})
        return settings.model_copy(update={"auth": auth, "resume": resume})

    @property
    def client_secrets(self) -> list[bytes] | None:
        """What signs client secrets, if the fleet's keys do."""
        return self._derived("client secrets") if self._callers_secrets else None

    @property
    def tickets(self) -> list[bytes] | None:
        """What seals resume tickets, if the fleet's keys do."""
        return self._derived("resume tickets") if self._tickets else None

    def engine_keys(self) -> _native.EndpointKeys | None:
        """What the packet engine begins with; None for a server that stands alone."""
        member = self.member()
        return None if member is None else _native.EndpointKeys(fleet=member)

    def member(self) -> _native.FleetMember | None:
        """What the packet engine has to know of the fleet now."""
        if self.keys is None:
            return None
        fleet, worker = self._settings, self._worker
        number = worker.number if worker is not None else 0
        tunnel = []
        if fleet.tunnel is not None:
            host, port = host_and_port(fleet.tunnel)
            tunnel = [(host, port + number if port else 0)]
        return _native.FleetMember(
            [_generation(each, fleet) for each in self.keys.generations][: _generations(fleet)],
            server_id=_numbered(fleet.server_id_octets, number if tunnel else 0),
            tunnel=tunnel,
            balancers=fleet.balancers,
            encapsulation=self.keys.encapsulation,
            worker=None if worker is None else (worker.number, worker.count, worker.steering),
            cid_lifetime_ms=round(fleet.cid_lifetime_seconds * 1000),
        )

    async def watch(self, changed: Callable[[], None], declined: Callable[[], Mapping[str, int]]) -> None:
        """Look after the file for ever, and call `changed` when there are new keys that can follow.

        `declined` counts, by reason, what balancers sent in vain; the log is told once when that begins.
        """
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            self.look(changed)
            self.notice(declined())

    def notice(self, declined: Mapping[str, int]) -> None:
        """Tell the log of reasons that were not there before: balancers may have other keys or addresses."""
        for reason in declined.keys() - self._noticed:
            self._noticed.add(reason)
            log.warning("packets at the tunnel are not taken", reason=reason, packets=declined[reason])

    def look(self, changed: Callable[[], None]) -> None:
        """Read the file if it has changed. What is wrong with it is logged, and the former keys stay."""
        stamp = _stamp(self._settings.keys)
        if self.keys is None or self._settings.keys is None or stamp == self._seen:
            return
        self._seen = stamp
        former = self.keys
        try:
            keys = FleetKeys.load(self._settings.keys)
            if keys == former:
                return
            warning = former.check_successor(keys)
            self.keys = keys
            changed()
        except SettingsError as error:
            self.keys = former
            log.error("the fleet's new keys are not used", reason=str(error))
            return
        if warning is not None:
            log.warning(warning)
        log.info("new keys", generation=keys.generation, fingerprint=keys.fingerprint)

    def _derived(self, purpose: str) -> list[bytes] | None:
        """Keys for one purpose as texts: what settings hold."""
        if self.keys is None:
            return None
        return [each.key(purpose).hex().encode() for each in self.keys.generations]


def _texts(keys: list[bytes] | None) -> tuple[SecretStr, ...]:
    return tuple(SecretStr(key.decode()) for key in keys or ())


def _stamp(path: Path | None) -> tuple[int, ...] | None:
    """Tells one version of a file from another, and one that others may read from one that they may not."""
    try:
        facts = path.stat() if path is not None else None
    except OSError:
        return None
    return None if facts is None else (facts.st_ino, facts.st_mtime_ns, facts.st_size, facts.st_mode)


def _generation(each: Generation, fleet: FleetSettings) -> tuple[_native.QuicLbConfig, bytes, bytes, bytes]:
    config = _native.QuicLbConfig.aws_nlb() if fleet.profile == "aws-nlb" else each.quic_lb
    return config, each.key("stateless resets"), each.key("address tokens"), each.key("session tickets")


def _generations(fleet: FleetSettings) -> int | None:
    """How many generations the engine takes: AWS knows one codepoint, which always means the newest keys."""
    return 1 if fleet.profile == "aws-nlb" else None


def _numbered(server_id: bytes | None, number: int) -> bytes | None:
    """The name of a worker that balancers tell from the others: the given one plus its number."""
    if server_id is None:
        return None
    return ((int.from_bytes(server_id) + number) % (1 << 8 * len(server_id))).to_bytes(len(server_id))
