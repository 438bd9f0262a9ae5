"""`legato keys`: a file that is made, turned and shown, and never given away."""

import json
import re
import resource
import signal
import stat
from pathlib import Path

import pytest

from legato.cli.__main__ import main
from legato.fleet_keys import FleetKeys


def test_a_rotation_takes_three_steps_and_says_what_is_next(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "fleet.json"
    assert main(["keys", "new", str(path)]) == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert FleetKeys.load(path).fingerprint in capsys.readouterr().out
    for words in ("announced", "still accepted", "nothing else is accepted"):
        assert main(["keys", "rotate", str(path)]) == 0
        assert words in capsys.readouterr().out
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert FleetKeys.load(path).generation == 2


def test_a_file_in_use_is_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "fleet.json"
    main(["keys", "new", str(path)])
    before = path.read_bytes()
    assert main(["keys", "new", str(path)]) == 2
    assert "exists" in capsys.readouterr().err
    assert path.read_bytes() == before


def test_secrets_are_shown_only_when_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "fleet.json"
    main(["keys", "new", str(path)])
    keys = FleetKeys.load(path)
    capsys.readouterr()
    for arguments in (["keys", "show", str(path)], ["keys", "show", str(path), "--json"]):
        assert main(arguments) == 0
        printed = capsys.readouterr().out
        assert keys.fingerprint in printed
        assert not re.search("[0-9a-f]{32}", printed)
    assert main(["keys", "show", str(path), "--quic-lb", "--json"]) == 0
    [generation] = json.loads(capsys.readouterr().out)["generations"]
    assert generation["quic_lb_key"] == keys.current.quic_lb_key.hex()
    assert main(["keys", "show", str(path), "--quic-lb"]) == 0
    assert keys.current.quic_lb_key.hex() in capsys.readouterr().out


def test_what_cannot_be_done_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["new", str(tmp_path / "no" / "file")], ["rotate", str(tmp_path / "none")]):
        assert main(["keys", *arguments]) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_full_disk_leaves_no_empty_file_behind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "fleet.json"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))
    try:
        code = main(["keys", "new", str(path)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert code == 2
    assert "cannot write the fleet's keys" in capsys.readouterr().err
    assert not path.exists()
    assert main(["keys", "new", str(path)]) == 0
