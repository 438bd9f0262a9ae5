"""What deploy/ holds is what the programs take: schemas of Kubernetes, command lines, settings."""

import json
import shlex
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from typer.main import get_command

from legato.cli.__main__ import application
from legato.lb.discovery.static import read_entries
from legato.lb.settings import load_balancer_settings
from legato.server.settings_sources import load_settings

DEPLOY = Path(__file__).parents[2] / "deploy"
CHART = DEPLOY / "helm" / "legato"
KUBERNETES = "1.34"
MANIFESTS = DEPLOY / "kubernetes" / "legato.yaml"

Document = dict[str, Any]


def documents(text: str) -> list[Document]:
    return [document for document in yaml.safe_load_all(text) if document]


def taken(words: list[str]) -> dict[str, Any]:
    """What the program makes of a command line; it fails on a flag that it does not know."""
    group = get_command(application())
    name, *rest = words
    command = group.commands[name]  # type: ignore[attr-defined]
    context = command.make_context(name, rest, resilient_parsing=False)
    return dict(context.params)


def rendered(*flags: str) -> list[Document]:
    helm = shutil.which("helm")
    if helm is None:
        pytest.skip("helm is not installed: the committed rendering is checked instead")
    place = ["--namespace", "default", "--kube-version", KUBERNETES]
    command = [helm, "template", "legato", str(CHART), *place, *flags]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return documents(done.stdout)


@pytest.mark.parametrize("document", documents(MANIFESTS.read_text()), ids=lambda one: one["kind"])
def test_manifests_are_what_kubernetes_takes(document: Document) -> None:
    kubernetes_validate.validate(document, KUBERNETES, strict=True)


def test_a_mistake_in_a_manifest_would_be_noticed() -> None:
    (daemons,) = of_kind("DaemonSet")
    daemons["spec"]["template"]["spec"]["hostNetwrk"] = True
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(daemons, KUBERNETES, strict=True)


def of_kind(kind: str) -> list[Document]:
    return [document for document in documents(MANIFESTS.read_text()) if document["kind"] == kind]


def containers() -> Iterator[Document]:
    for workload in (*of_kind("Deployment"), *of_kind("DaemonSet")):
        yield from workload["spec"]["template"]["spec"]["containers"]


def test_pods_start_the_programs_with_flags_that_exist() -> None:
    serve, balance = (taken(container["args"]) for container in containers())
    assert serve["tunnel"] == "$(POD_IP):4434"
    assert str(serve["keys"]) == str(balance["keys"]) == "/etc/legato/fleet/fleet.keys"
    assert balance["discovery"] == "kubernetes"


def test_balancers_watch_the_service_that_is_there_and_may() -> None:
    _, balance = (taken(container["args"]) for container in containers())
    service = next(one for one in of_kind("Service") if one["metadata"]["name"] == balance["name"])
    (port,) = service["spec"]["ports"]
    assert (port["name"], port["protocol"]) == ("tunnel", "UDP")
    (deployment,) = of_kind("Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()
    (role,) = of_kind("Role")
    assert role["rules"] == [
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]}
    ]


def test_nothing_runs_with_privileges() -> None:
    for workload in (*of_kind("Deployment"), *of_kind("DaemonSet")):
        pod = workload["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        for container in pod["containers"]:
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        # The program refuses keys that others of the machine may read.
        (fleet,) = (volume for volume in pod["volumes"] if volume["name"] == "fleet")
        assert fleet["secret"]["defaultMode"] == 0o440


def test_values_keep_to_their_schema() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    jsonschema.validate(values, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(values | {"server": {"replicas": 0}}, schema)


def test_the_chart_renders_what_is_committed() -> None:
    def ordered(found: list[Document]) -> list[Document]:
        return sorted(found, key=lambda one: (one["kind"], one["metadata"]["name"]))

    assert ordered(rendered()) == ordered(documents(MANIFESTS.read_text()))


def test_the_chart_renders_with_a_certificate_too() -> None:
    for document in rendered("--set", "tlsSecret=certificate", "--set", "balancer.nodeSelector.edge=yes"):
        kubernetes_validate.validate(document, KUBERNETES, strict=True)


def test_the_chart_is_without_lint() -> None:
    helm = shutil.which("helm")
    if helm is None:
        pytest.skip("helm is not installed")
    done = subprocess.run([helm, "lint", "--strict", str(CHART)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout


def test_compose_starts_the_programs_with_flags_that_exist() -> None:
    compose = yaml.safe_load((DEPLOY / "compose" / "compose.yaml").read_text())
    services = compose["services"]
    commands = {
        name: taken(shlex.split(one["command"])) for name, one in services.items() if "command" in one
    }
    balancer = services["balancer"]["networks"]["fleet"]["ipv4_address"]
    tunnels = []
    for name, facts in services.items():
        if name.startswith("server"):
            tunnels.append(commands[name]["tunnel"])
            assert tunnels[-1] == f"{facts['networks']['fleet']['ipv4_address']}:4434"
            assert list(commands[name]["balancer"]) == [f"{balancer}/32"]
    assert list(commands["balancer"]["server"]) == tunnels
    for volume in (volume for one in services.values() for volume in one["volumes"]):
        source = volume.partition(":")[0]
        assert source == "./fleet.keys" or (DEPLOY / "compose" / source).exists()
    load_settings(config=DEPLOY / "compose" / "legato.toml")


def unit(name: str) -> dict[str, list[str]]:
    """The assignments of a unit file."""
    found: dict[str, list[str]] = {}
    for line in (DEPLOY / "systemd" / name).read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


@pytest.mark.parametrize("name", ["legato-server.service", "legato-balancer@.service"])
def test_units_start_the_programs_with_flags_that_exist(name: str) -> None:
    (line,) = unit(name)["ExecStart"]
    program, *words = shlex.split(line)
    assert program == "/usr/local/bin/legato"
    assert str(taken(words)["keys"]) == "/etc/legato/fleet.keys"


def test_the_unit_of_a_server_waits_for_its_calls() -> None:
    facts = unit("legato-server.service")
    drain = taken(shlex.split(facts["ExecStart"][0])[1:])["drain_seconds"]
    assert int(facts["TimeoutStopSec"][0]) > drain


@pytest.mark.parametrize("name", ["legato-server.service", "legato-balancer@.service"])
def test_systemd_takes_the_units(name: str, tmp_path: Path) -> None:
    systemd = shutil.which("systemd-analyze")
    if systemd is None:
        pytest.skip("systemd is not installed")
    # Everything but whether the program and the user are there.
    text = (DEPLOY / "systemd" / name).read_text().replace("/usr/local/bin/legato", "/bin/true")
    (tmp_path / name).write_text(text.replace("User=legato", "User=daemon"))
    command = [systemd, "verify", "--man=no", str(tmp_path / name)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert name not in done.stderr, done.stderr


def test_the_settings_beside_the_units_are_settings(tmp_path: Path) -> None:
    settings = load_balancer_settings({}, DEPLOY / "systemd" / "balancer.toml")
    assert settings.discovery.static.file == Path("/etc/legato/servers.toml")
    listed = tomllib.loads((DEPLOY / "systemd" / "servers.toml").read_text())
    snapshot = read_entries(listed["servers"])
    assert snapshot.problems == ()
    assert [server.weight for server in snapshot.servers] == [2, 2, 1]
