"""Every source of servers keeps the contract of discovery; a new file in the folder is found by itself."""

from pathlib import Path

from tests.lb.stages import DnsStage, FileStage, KubernetesStage

from legato._plugins import names
from legato.testing.discovery import check_discovery


async def test_a_file_keeps_the_contract(tmp_path: Path) -> None:
    await check_discovery(FileStage(tmp_path))


async def test_dns_keeps_the_contract() -> None:
    stage = DnsStage()
    await stage.start()
    try:
        await check_discovery(stage)
    finally:
        stage.close()


async def test_kubernetes_keeps_the_contract() -> None:
    stage = KubernetesStage()
    await stage.start()
    try:
        await check_discovery(stage)
    finally:
        await stage.close()


def test_every_source_is_put_to_it() -> None:
    assert names("lb.discovery") == ["dns", "kubernetes", "static"]
