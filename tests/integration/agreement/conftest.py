"""A dry-running client of the API server, and how many examples hypothesis tries."""

import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from kubernetes import config

sys.path.insert(0, str(Path(__file__).parent))

from dry_run import DryRun

from localcluster.cluster import Cluster

SLOW = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
settings.register_profile("repeat", derandomize=True, deadline=None, suppress_health_check=SLOW)
settings.register_profile("search", print_blob=True, deadline=None, suppress_health_check=SLOW)
"""`search` tries other examples each time and prints how to repeat one that fails."""


@pytest.fixture(scope="session", autouse=True)
def profile() -> None:
    """The same examples each time, unless FINETUNE_SEARCH asks for other ones."""
    settings.load_profile("search" if os.environ.get("FINETUNE_SEARCH") else "repeat")


@pytest.fixture
def dry_run(crd: Cluster, namespace: str) -> DryRun:
    """The API server's verdicts, in a namespace of the test's own."""
    return DryRun(config.new_client_from_config(str(crd.kubeconfig)), namespace)
