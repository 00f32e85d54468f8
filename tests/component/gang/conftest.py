"""A gang of real supervisors with fake ranks, over S3 or a folder."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from localcluster.s3 import S3
from tests.component.gang.gang import GangRun
from tests.component.storage.proxy import FaultProxy


def keys(server: S3) -> dict[str, str]:
    return {
        "AWS_ACCESS_KEY_ID": server.access_key, "AWS_SECRET_ACCESS_KEY": server.secret_key,
    }  # fmt: skip


@pytest.fixture
def gang(tmp_path: Path) -> Iterator[Callable[..., GangRun]]:
    """Makes runs over a local folder; ends their processes."""
    runs: list[GangRun] = []

    def make(*, pods: int = 2, **options: Any) -> GangRun:
        folder = tmp_path / f"run-{len(runs)}"
        output = options.pop("output", None) or (folder / "bucket").as_uri() + "/"
        runs.append(GangRun(folder, output, pods=pods, **options))
        return runs[-1]

    yield make
    for run in runs:
        run.close()


@pytest.fixture
def s3_gang(
    gang: Callable[..., GangRun], storage_server: S3, bucket: str
) -> Callable[..., GangRun]:
    """The same over S3."""

    def make(**options: Any) -> GangRun:
        return gang(
            output=f"s3://{bucket}/runs/demo/",
            environment=keys(storage_server),
            storage={"endpoint": storage_server.endpoint},
            **options,
        )

    return make


@pytest.fixture
def proxy(storage_server: S3) -> Iterator[FaultProxy]:
    made = FaultProxy(storage_server.endpoint)
    yield made
    made.close()


@pytest.fixture
def proxied(
    gang: Callable[..., GangRun], storage_server: S3, bucket: str, proxy: FaultProxy
) -> Callable[..., GangRun]:
    """Runs that reach their storage through the proxy."""

    def make(*, environment: Mapping[str, str] = {}, **options: Any) -> GangRun:
        return gang(
            output=f"s3://{bucket}/runs/demo/", environment={**keys(storage_server), **environment},
            storage={"endpoint": proxy.endpoint}, **options,
        )  # fmt: skip

    return make
