"""Fixtures of every test that needs the real cluster, and the book of bad inputs."""

import os
from collections.abc import Iterator

import hypothesis
import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from localcluster.cluster import Cluster, running_cluster
from localcluster.product import install_resource
from tests.bad_input.book import Book
from tests.component.trainer.of_the_day import of_the_day

hypothesis.settings.register_profile("tests", deadline=None)
hypothesis.settings.load_profile("tests")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--write-book", action="store_true", help="write docs/bad-input.md as the tests tell it"
    )


def pytest_report_header() -> str:
    return f"examples of the day: {', '.join(example.name for example in of_the_day())}"


SHARED = {"e2e": "e2e", "component": "component"} | dict.fromkeys(
    ("integration", "localcluster", "chart"), "cluster"
)
"""Folder → the group of tests that one process runs, for they share clusters and warm processes."""


class SideBySide(LoadScopeScheduling):
    """Runs groups of tests side by side: what waits for a cluster beside what computes."""

    def _split_scope(self, nodeid: str) -> str:
        file, _, name = nodeid.partition("::")
        if file.endswith("test_matrix.py") and "matrix" in self.config.option.markexpr.split()[:1]:
            return name.split("-")[0]
        return SHARED.get(file.split("/")[1], file)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> SideBySide:
    return SideBySide(config, log)


@pytest.fixture(scope="module")
def book(request: pytest.FixtureRequest) -> Iterator[Book]:
    """The section of docs/bad-input.md that this module tells (its ``SECTION``)."""
    config = request.config
    told = Book(request.module.SECTION, config.getoption("write_book"))
    failed = request.session.testsfailed
    yield told
    is_part = config.option.keyword or any("::" in argument for argument in config.args)
    told.close(whole=not is_part and request.session.testsfailed == failed)


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
