"""What a balancer tells its operator: document, metrics, HTTP."""

import asyncio
import socket
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.lb.tunnels import WAIT_S, balancing, calling, first_packet, listed, scene, settings, short_packet

from legato.core.errors import SettingsError, TransportError
from legato.lb.admin import Admin
from legato.lb.balancer import Balancer
from legato.lb.metrics import Family
from legato.lb.servers import shown
from legato.lb.settings import AdminSettings
from legato.lb.states import State
from legato.lb.status import metrics_of, status_of
from legato.lb.weights import Load


async def all_ready(balancer: Balancer) -> None:
    async with asyncio.timeout(WAIT_S):
        await balancer.until(lambda: set(balancer.states.values()) == {State.READY})


async def test_the_document_has_servers_packets_and_keys(tmp_path: Path) -> None:
    async with (
        scene(tmp_path) as (keys, servers),
        balancing(settings(tmp_path, discovery=listed(servers))) as balancer,
        calling(balancer.addresses[0]) as client,
    ):
        await all_ready(balancer)
        one, other = servers
        await client.ask(short_packet(keys, one.name))
        balancer._reported(one.address, Load(calls=3, capacity=10))
        balancer.drain(other.address, wanted=False)
        document = status_of(balancer)
    assert document["listen"] == [shown(address) for address in [client_of(document)]]
    assert document["keys"]["fingerprint"] == keys.fingerprint
    assert document["keys"]["generations"] == [{"number": 1, "stage": "current", "config": 1}]
    plane = {"name": "userspace", "mode": None, "interfaces": [], "threads": 1, "working": 1}
    assert document["plane"] == {**plane, "why": "the choice is not made yet"}
    by_address = {each["address"]: each for each in document["servers"]}
    mine = by_address[shown(one.address)]
    assert (mine["state"], mine["share"], mine["calls"], mine["capacity"]) == ("ready", 1.0, 3, 10)
    assert mine["server_ids"] == [one.name.hex()]
    assert mine["requests"] >= 1
    theirs = by_address[shown(other.address)]
    assert (theirs["state"], theirs["share"]) == ("draining", 0.0)
    assert theirs["drains_because"] == "an operator said so"
    assert document["packets"]["routes"]["connection_id"] >= 1


def client_of(document: dict[str, object]) -> tuple[str, int]:
    listen = document["listen"]
    assert isinstance(listen, list)
    host, _, port = listen[0].rpartition(":")
    return host, int(port)


async def test_prometheus_reads_the_metrics(tmp_path: Path) -> None:
    async with (
        scene(tmp_path, servers=1) as (keys, servers),
        balancing(settings(tmp_path, discovery=listed(servers))) as balancer,
        calling(balancer.addresses[0]) as client,
    ):
        await all_ready(balancer)
        await client.ask(short_packet(keys, servers[0].name))
        await client.ask(first_packet())
        balancer._reported(servers[0].address, Load(calls=3, capacity=10))
        text = metrics_of(balancer)
    samples = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    prefix, server = "legato_balancer_", ("server", shown(servers[0].address))
    assert samples[f"{prefix}routed_total", (("route", "connection_id"),)] >= 1
    assert samples[f"{prefix}routed_total", (("route", "hash_reserved_codepoint"),)] >= 1
    assert samples[f"{prefix}config_packets_total", (("config", "1"),)] >= 1
    assert samples[f"{prefix}dropped_total", (("reason", "loop"),)] == 0
    assert samples[f"{prefix}server_state", (server, ("state", "ready"))] == 1
    assert samples[f"{prefix}server_state", (server, ("state", "dead"))] == 0
    assert samples[f"{prefix}server_calls", (server,)] == 3
    assert samples[f"{prefix}server_packets_total", (("direction", "to_server"), server)] >= 2
    assert samples[f"{prefix}problems", ()] == 0


def test_labels_are_escaped_and_numbers_exact() -> None:
    text = Family("many", "counter", "About.").add(2**60 + 1, reason='a "b"\\\n').text()
    (family,) = text_string_to_metric_families(text.replace("many", "many_total"))
    assert family.samples[0].labels == {"reason": 'a "b"\\\n'}
    assert str(2**60 + 1) in text


async def test_operators_ask_and_drain_over_http(tmp_path: Path) -> None:
    async with (
        scene(tmp_path) as (_, servers),
        balancing(settings(tmp_path, discovery=listed(servers))) as balancer,
    ):
        await all_ready(balancer)
        admin = Admin(balancer, AdminSettings(port=0))
        admin.start()
        out = shown(servers[0].address)
        async with httpx.AsyncClient(base_url=f"http://{shown(admin.address)}", trust_env=False) as http:
            assert (await http.get("/healthz")).json() == {"status": "forwarding"}
            metrics = await http.get("/metrics")
            assert metrics.headers["content-type"].startswith("text/plain; version=0.0.4")
            for method, state in (("PUT", "draining"), ("DELETE", "ready")):
                answer = await http.request(method, f"/servers/{out}/drain")
                states = {each["address"]: each["state"] for each in answer.json()["servers"]}
                assert states == {out: state, shown(servers[1].address): "ready"}
            assert (await http.put("/servers/127.0.0.9:1/drain")).status_code == 404
            assert (await http.put("/servers/nowhere/drain")).status_code == 400
            page = {"origin": "https://page.example"}
            assert (await http.put(f"/servers/{out}/drain", headers=page)).status_code == 403
            assert (await http.get(f"/servers/{out}/drain")).status_code == 405
            assert (await http.get("/status")).json()["discovery"] == "static"
        await admin.close()


async def test_a_port_in_use_and_a_strange_host_are_told(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(TransportError, match=f"TCP 127.0.0.1:{port}.*--admin-port"):
            Admin(Balancer.__new__(Balancer), AdminSettings(port=port))
    with pytest.raises(SettingsError, match=r"admin\.host"):
        Admin(Balancer.__new__(Balancer), AdminSettings(host="no such host", port=0))
