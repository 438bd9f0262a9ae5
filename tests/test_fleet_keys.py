"""The fleet's secrets: versions of the file, what each lets pass, and what is wrong with the others."""

import itertools
import json
from pathlib import Path

import pytest

from legato import _native
from legato.core.errors import SettingsError
from legato.fleet_keys import FleetKeys

SERVER = bytes(range(8))


def versions(count: int) -> list[FleetKeys]:
    made = [FleetKeys.new()]
    while len(made) < count:
        made.append(made[-1].rotated())
    return made


def issued_by(keys: FleetKeys) -> bytes:
    return keys.quic_lb[0].encode(SERVER, bytes(8))


class TestRotation:
    def test_three_steps_lead_to_the_next_generation(self) -> None:
        shown = [[(each.number, each.stage) for each in keys.generations] for keys in versions(5)]
        assert shown == [
            [(1, "current")],
            [(1, "current"), (2, "next")],
            [(2, "current"), (1, "previous")],
            [(2, "current")],
            [(2, "current"), (3, "next")],
        ]

    def test_neighbouring_versions_understand_each_other(self) -> None:
        made = versions(25)
        for one, other in itertools.pairwise(made):
            for issuer, reader in ((one, other), (other, one)):
                decoded = _native.decode_connection_id(reader.quic_lb, issued_by(issuer))
                assert decoded == (issuer.current.codepoint, SERVER)
                datagram = issuer.encapsulation.request(("192.0.2.1", 1), b"x")
                assert reader.encapsulation.open(datagram)[2] == b"x"
                assert issuer.current.key("tickets") in [each.key("tickets") for each in reader.generations]

    def test_a_dropped_generation_is_not_read_any_more(self) -> None:
        made = versions(4)
        assert _native.decode_connection_id(made[3].quic_lb, issued_by(made[0])) is None

    def test_a_generation_that_was_not_announced_is_told(self) -> None:
        made = versions(22)
        assert made[0].check_successor(made[1]) is None
        assert made[1].check_successor(made[2]) is None
        assert "announced" in str(made[0].check_successor(made[2]))
        with pytest.raises(SettingsError, match="same codepoint"):
            made[0].check_successor(made[21])

    def test_another_fleets_file_is_refused(self) -> None:
        with pytest.raises(SettingsError, match="another fleet's"):
            FleetKeys.new().check_successor(FleetKeys.new())

    def test_all_keys_differ(self) -> None:
        keys = FleetKeys.new()
        generation = keys.current
        derived = {
            generation.quic_lb_key,
            keys.hash_key,
            generation.key("tickets", 16),
            generation.secret[:16],
        }
        derived.add(generation.key("encapsulation", 16))
        assert len(derived) == 5


class TestFiles:
    def test_what_is_written_is_read(self, tmp_path: Path) -> None:
        for number, keys in enumerate(versions(4)):
            path = tmp_path / str(number)
            path.write_bytes(keys.dump())
            path.chmod(0o600)
            assert FleetKeys.load(path) == keys
            assert FleetKeys.load(path).fingerprint == keys.fingerprint

    def test_no_secret_is_shown(self) -> None:
        keys = FleetKeys.new()
        assert keys.current.secret.hex() not in repr(keys)
        assert repr(keys.current.secret) not in repr(keys)

    @pytest.mark.parametrize("mode", [0o604, 0o660, 0o640 | 0o010])
    def test_a_file_that_others_can_use_is_refused(self, tmp_path: Path, mode: int) -> None:
        path = tmp_path / "keys"
        path.write_bytes(FleetKeys.new().dump())
        path.chmod(mode)
        with pytest.raises(SettingsError, match="chmod 600"):
            FleetKeys.load(path)

    def test_a_file_that_is_not_there_is_told_with_a_way_out(self, tmp_path: Path) -> None:
        with pytest.raises(SettingsError, match="legato keys new"):
            FleetKeys.load(tmp_path / "keys")
        with pytest.raises(SettingsError, match="cannot read"):
            FleetKeys.load(tmp_path)
        with pytest.raises(SettingsError, match="is no file with"):
            FleetKeys.load(Path("/dev/null"))

    @pytest.mark.parametrize(
        ("spoil", "words"),
        [
            (lambda file: file.update(format=2), "format 2"),
            (lambda file: file.update(more=1), "no file with"),
            (lambda file: file["keys"].clear(), "half rotated"),
            (lambda file: file["keys"].pop(0), "half rotated"),
            (lambda file: file["keys"].append(file["keys"][1]), "half rotated"),
            (lambda file: file["keys"][1].update(stage="previous"), "half rotated"),
            (lambda file: file["keys"][1].update(generation=5), "half rotated"),
            (lambda file: file["keys"][1].update(secret=file["keys"][0]["secret"]), "half rotated"),
            (lambda file: file["keys"][0].update(secret="ab"), "64 hexadecimal"),
            (lambda file: file["keys"][0].update(secret="x" * 64), "64 hexadecimal"),
            (lambda file: file["keys"][0].update(generation=0), "number from 1"),
            (lambda file: file["keys"][0].update(stage="old"), "no file with"),
        ],
    )
    def test_what_is_wrong_with_a_file_is_told(self, spoil, words: str) -> None:  # type: ignore[no-untyped-def]
        file = json.loads(FleetKeys.new().rotated().dump())
        spoil(file)
        with pytest.raises(SettingsError, match=words):
            FleetKeys.parse(json.dumps(file).encode(), "keys.json")

    def test_no_part_of_a_file_passes_for_a_file(self) -> None:
        whole = FleetKeys.new().rotated().dump().rstrip()
        for length in range(len(whole)):
            with pytest.raises(SettingsError):
                FleetKeys.parse(whole[:length], "keys.json")
