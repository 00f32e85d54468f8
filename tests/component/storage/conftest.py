"""Stores over the real S3 server, directly and through a proxy that damages."""

from collections.abc import Callable, Iterator

import pytest

from finetune_api.job import Storage
from finetune_trainer.storage.objects import ObjectStore, open_store
from localcluster.s3 import S3
from tests.component.storage.proxy import FaultProxy

MakeStore = Callable[..., ObjectStore]


@pytest.fixture
def make_store(storage_server: S3, monkeypatch: pytest.MonkeyPatch) -> MakeStore:
    """Opens a store; ``endpoint`` may be the proxy's."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", storage_server.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", storage_server.secret_key)

    def make(endpoint: str | None = None) -> ObjectStore:
        return open_store(Storage(endpoint=endpoint or storage_server.endpoint))

    return make


@pytest.fixture
def store(make_store: MakeStore) -> ObjectStore:
    """A store over the real server."""
    return make_store()


@pytest.fixture
def proxy(storage_server: S3) -> Iterator[FaultProxy]:
    """A proxy before the server."""
    running = FaultProxy(storage_server.endpoint)
    yield running
    running.close()
