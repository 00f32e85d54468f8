"""Fixtures of the trainer's component tests: real storage, no control plane."""

from collections.abc import Iterator

import pytest

from localcluster.s3 import S3
from tests.component.storage_server import new_bucket, s3_server


@pytest.fixture(scope="session")
def storage_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """One S3 server for the whole session."""
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def bucket(storage_server: S3) -> str:
    """A bucket of this test's own."""
    return new_bucket(storage_server)
