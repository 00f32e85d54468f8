"""One operator process with exactly its rights, one scripted node, for all tests of this folder."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from scripted_node import Stage
from world import Operator, World

from localcluster.cluster import Cluster, wait_for

CRDS = Path(__file__).parents[3] / "crds"


@pytest.fixture(scope="session")
def crd(cluster: Cluster) -> Cluster:
    """The cluster, once it serves FineTuneJobs."""
    cluster.kubectl("apply", "-f", str(CRDS))
    wait_for(
        lambda: "No resources" in cluster.kubectl("get", "finetunejobs", check=False),
        what="the resource is served",
        seconds=20,
    )
    return cluster


@pytest.fixture(scope="session")
def node(crd: Cluster) -> Iterator[Stage]:
    """A node whose pods do what the tests say."""
    running = Stage(crd.kubeconfig)
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="session")
def operator(crd: Cluster) -> Iterator[Operator]:
    """The operator as a process of its own, serving all namespaces."""
    running = Operator(crd)
    running.start()
    yield running
    assert running.metric("finetune_operator_sweep_differences_total") == 0
    running.kill()


@pytest.fixture(scope="module")
def quiet(operator: Operator) -> Iterator[None]:
    """The operator of all namespaces is away, so that a test's own are the only ones."""
    operator.terminate()
    yield
    operator.start()


@pytest.fixture
def world(crd: Cluster, operator: Operator, node: Stage, namespace: str) -> World:
    """A namespace, and everything a test does and asks in it."""
    return World(crd, operator, node, namespace)


@pytest.fixture(scope="module")
def refusing(crd: Cluster, operator: Operator, node: Stage) -> World:
    """A namespace in which nothing is ever made."""
    crd.kubectl("create", "namespace", "refusing")
    return World(crd, operator, node, "refusing")
