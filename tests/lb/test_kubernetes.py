"""EndpointSlices from a simulated API server (`stages.KubernetesStage`)."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path

import pytest
from tests.lb.stages import KubernetesStage, slice_of

from legato.core.errors import SettingsError
from legato.lb.discovery.kubernetes import build
from legato.lb.discovery_settings import DiscoverySettings, KubernetesSource
from legato.lb.endpoint_slices import Slices
from legato.lb.servers import Listed, Snapshot

ONE, TWO, THREE = (("192.0.2.1", 4434), ("192.0.2.2", 4434), ("192.0.2.3", 4434))
WAIT_S = 20


@pytest.fixture
async def stage() -> AsyncIterator[KubernetesStage]:
    stage = KubernetesStage()
    await stage.start()
    yield stage
    await stage.close()


async def until(snapshots: AsyncIterator[Snapshot], enough: Callable[[Snapshot], bool]) -> Snapshot:
    async with asyncio.timeout(WAIT_S):
        async for snapshot in snapshots:
            if enough(snapshot):
                return snapshot
    raise AssertionError("the watch ended")


def lists(*addresses: tuple[str, int]) -> Callable[[Snapshot], bool]:
    return lambda snapshot: [server.address for server in snapshot.servers] == list(addresses)


@pytest.mark.parametrize(
    ("conditions", "draining"),
    [
        ({}, False),
        ({"ready": False, "serving": True, "terminating": True}, True),
        ({"ready": False, "serving": False, "terminating": False}, True),
        ({"ready": None}, False),
    ],
)
def test_who_is_not_ready_drains(conditions: dict[str, bool], draining: bool) -> None:
    slices = Slices("tunnel")
    slices.apply("ADDED", slice_of("a", [ONE], **conditions))
    assert slices.snapshot().servers == (Listed(address=ONE, draining=draining),)


def test_an_endpoint_in_two_slices_is_one_server_and_takes_calls_if_one_says_so() -> None:
    slices = Slices("tunnel")
    slices.apply("ADDED", slice_of("a", [ONE, TWO], ready=False))
    slices.apply("ADDED", slice_of("b", [TWO]))
    assert slices.snapshot().servers == (Listed(address=ONE, draining=True), Listed(address=TWO))
    slices.apply("DELETED", slice_of("a", []))
    assert slices.snapshot().servers == (Listed(address=TWO),)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"addressType": "FQDN"}, "no IP addresses"),
        ({"ports": [{"name": "tunnel", "protocol": "TCP", "port": 4434}]}, "no UDP port named 'tunnel'"),
        ({"ports": None}, "no UDP port named 'tunnel'"),
        ({"endpoints": [{"addresses": []}]}, "an endpoint of EndpointSlice a"),
        ({"endpoints": [{}]}, "an endpoint of EndpointSlice a"),
        ({"endpoints": [7]}, "an endpoint of EndpointSlice a"),
        ({"endpoints": 7}, "EndpointSlice a has no list of endpoints"),
        ({"endpoints": [{"addresses": ["0.0.0.0"]}]}, "not the address of one host"),
    ],
)
def test_a_slice_that_cannot_be_used_harms_no_other(change: dict[str, object], reason: str) -> None:
    slices = Slices("tunnel")
    slices.apply("ADDED", slice_of("b", [TWO]))
    slices.apply("ADDED", slice_of("a", [ONE]) | change)
    assert slices.snapshot().servers == (Listed(address=TWO),)
    assert reason in slices.snapshot().problems[0]


async def test_a_watch_goes_on_where_the_last_one_ended(stage: KubernetesStage) -> None:
    await stage.publish([ONE])
    async with aclosing(stage.discovery().watch()) as snapshots:
        await until(snapshots, lists(ONE))
        stage.happen("MODIFIED", slice_of("legato-0", [ONE, TWO]))
        await until(snapshots, lists(ONE, TWO))
        stage.end_watches()
        stage.happen("ADDED", slice_of("legato-1", [THREE]))
        await until(snapshots, lists(ONE, TWO, THREE))
        assert stage.lists == 1


async def test_after_a_broken_connection_everything_is_listed_anew(stage: KubernetesStage) -> None:
    await stage.publish([ONE])
    async with aclosing(stage.discovery().watch()) as snapshots:
        await until(snapshots, lists(ONE))
        stage.hang_up()
        await stage.publish([ONE, TWO])
        await until(snapshots, lists(ONE, TWO))
        assert stage.lists > 1


async def test_what_the_api_forgot_is_listed_anew(stage: KubernetesStage) -> None:
    await stage.publish([ONE])
    async with aclosing(stage.discovery().watch()) as snapshots:
        await until(snapshots, lists(ONE))
        before = stage.lists
        stage.slices = {"legato-0": slice_of("legato-0", [TWO])}
        stage.version += 5
        stage.forget()
        stage.hang_up()
        await until(snapshots, lists(TWO))
        assert stage.lists > before


@pytest.mark.parametrize(
    ("status", "advice"), [(403, "may not list and watch"), (401, "token"), (404, "namespace"), (500, "500")]
)
async def test_an_api_that_refuses_says_why(stage: KubernetesStage, status: int, advice: str) -> None:
    stage.refuses = status
    async with aclosing(stage.discovery().watch()) as snapshots:
        snapshot = await until(snapshots, lambda one: bool(one.problems))
        assert advice in snapshot.problems[0]
        await stage.publish([ONE])
        assert (await until(snapshots, lists(ONE))).problems == ()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"[" * 100_000, "no JSON"),
        (b"[]", "no object of Kubernetes"),
        (b'{"items": 7}', "no list of objects"),
        (b'{"items": [7]}', "no list of objects"),
        (b'{"type": "ADDED"}\n', "has no object"),
    ],
)
async def test_an_answer_that_is_none_is_told_and_asked_for_again(
    stage: KubernetesStage, answer: bytes, reason: str
) -> None:
    stage.nonsense = answer
    async with aclosing(stage.discovery().watch()) as snapshots:
        snapshot = await until(snapshots, lambda one: bool(one.problems))
        assert reason in snapshot.problems[0]
        stage.nonsense = None
        await stage.publish([ONE])
        assert (await until(snapshots, lists(ONE))).problems == ()


async def test_a_slice_without_metadata_harms_no_other(stage: KubernetesStage) -> None:
    await stage.publish([ONE])
    async with aclosing(stage.discovery().watch()) as snapshots:
        await until(snapshots, lists(ONE))
        stage.version += 1
        stage.history.append((stage.version, {"type": "MODIFIED", "object": {"metadata": 7}}))
        stage.happen("MODIFIED", slice_of("legato-0", [ONE, TWO]))
        await until(snapshots, lists(ONE, TWO))


async def test_an_api_that_stalls_keeps_nobody_from_ending(stage: KubernetesStage) -> None:
    stage.stalls = True
    snapshots = stage.discovery().watch()
    waiting = asyncio.create_task(anext(snapshots))
    async with asyncio.timeout(WAIT_S):
        await stage.asked.wait()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting


async def test_an_api_that_is_not_there_is_tried_again() -> None:
    stage = KubernetesStage()
    await stage.start()
    discovery = stage.discovery()
    await stage.close()
    async with aclosing(discovery.watch()) as snapshots:
        assert "the Kubernetes API at http://127.0.0.1" in (await anext(snapshots)).problems[0]


def kubernetes(**source: object) -> DiscoverySettings:
    return DiscoverySettings(kubernetes=KubernetesSource(**source))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ({}, "service is missing"),
        ({"service": "legato"}, "namespace is needed"),
        ({"service": "legato", "namespace": "voice"}, "api_url is missing"),
        ({"service": "legato", "namespace": "voice", "api_url": "api"}, "no https:// URL"),
        ({"service": "legato", "namespace": "voice", "api_url": "https://api:99999"}, "no https:// URL"),
    ],
)
def test_outside_a_cluster_it_says_what_is_missing(
    source: dict[str, object], reason: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(SettingsError, match=reason):
        build(kubernetes(namespace_file=tmp_path / "none", **source))


async def test_inside_a_cluster_a_missing_token_is_a_problem_and_no_end(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "2001:db8::1")
    (tmp_path / "namespace").write_text("voice\n")
    source = kubernetes(
        service="legato", namespace_file=tmp_path / "namespace", token_file=tmp_path / "token"
    )
    async with aclosing(build(source).watch()) as snapshots:
        (problem,) = (await anext(snapshots)).problems
    assert "https://[2001:db8::1]:443/apis/discovery.k8s.io/v1/namespaces/voice/endpointslices" in problem
    assert "token_file is needed" in problem
    (tmp_path / "token").write_text("tökén")
    async with aclosing(build(source).watch()) as snapshots:
        (problem,) = (await anext(snapshots)).problems
    assert "holds no token" in problem
