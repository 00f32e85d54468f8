"""A dry-running client of the API server, and how many examples hypothesis tries."""

import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from kubernetes import config

sys.path.insert(0, str(Path(__file__).parent))

from dry_run import DryRun

from localcluster.cluster import Cluster

SLOW = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
NAMESPACE = "agreement".ljust(63, "x")
"""As long as a name gets: what derives from it must still be short enough."""
COMMON = {
    "deadline": None,
    "suppress_health_check": SLOW,
    "phases": (Phase.explicit, Phase.generate, Phase.shrink),
    "database": None,
}
settings.register_profile("repeat", derandomize=True, **COMMON)
settings.register_profile("search", print_blob=True, **COMMON)
"""`search` tries other examples each time and prints how to repeat one that fails."""


@pytest.fixture(scope="session", autouse=True)
def profile() -> None:
    """The same examples each time, unless FINETUNE_SEARCH asks for other ones."""
    settings.load_profile("search" if os.environ.get("FINETUNE_SEARCH") else "repeat")


@pytest.fixture(scope="session")
def dry_run(crd: Cluster) -> DryRun:
    """The API server's verdicts, over one connection."""
    crd.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    return DryRun(config.new_client_from_config(str(crd.kubeconfig)), NAMESPACE)
