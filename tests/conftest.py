"""Fixtures of every test that needs the real cluster: one control plane for the whole session."""

import os
from collections.abc import Iterator

import pytest

from localcluster.cluster import Cluster, running_cluster
from localcluster.product import install_resource


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A real control plane and S3 server without nodes, shared by all tests."""
    with running_cluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


@pytest.fixture(scope="session")
def crd(cluster: Cluster) -> Cluster:
    """The cluster with the FineTuneJob resource installed and served."""
    install_resource(cluster)
    return cluster


@pytest.fixture
def namespace(cluster: Cluster, request: pytest.FixtureRequest) -> str:
    """A namespace of this test's own."""
    digest = f"{abs(hash(request.node.nodeid)) % 10**8:08d}-{os.getpid()}"
    name = f"t{digest}"
    cluster.kubectl("create", "namespace", name)
    return name
