"""Helm itself, and what the chart becomes under given values."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from localcluster.build import HELM, build

CHART = Path(__file__).resolve().parents[2] / "charts" / "finetune-operator"
NAMESPACE = "finetune-system"
RELEASE = "finetune-operator"

Objects = dict[tuple[str, str], dict[str, Any]]
"""Rendered objects by kind and name; with `namespace/` before the name outside the release's."""
Render = Callable[..., Objects]


class Helm:
    """Runs Helm with folders of its own, so that nobody's settings reach the tests."""

    def __init__(self, folder: Path) -> None:
        build(HELM)
        self._environment = {"PATH": "", "HOME": str(folder), "HELM_NAMESPACE": NAMESPACE}

    def run(self, *words: str | Path, values: dict[str, Any] | None = None, **how: Any) -> str:
        """What Helm prints; fails the test when Helm fails."""
        result = self.attempt(*words, values=values, **how)
        assert result.returncode == 0, result.stderr
        return result.stdout

    def attempt(
        self,
        *words: str | Path,
        values: dict[str, Any] | None = None,
        kubeconfig: Path | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run it whatever comes of it; ``values`` stand in for a file of values."""
        how = ["--values", "-"] if values is not None else []
        access = {"KUBECONFIG": str(kubeconfig)} if kubeconfig else {}
        return subprocess.run(
            [HELM.binary, *words, *how],
            input=json.dumps(values), env=self._environment | access,
            capture_output=True, text=True,
        )  # fmt: skip


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    return Helm(tmp_path_factory.mktemp("helm"))


@pytest.fixture(scope="session")
def render(helm: Helm) -> Render:
    # libyaml's loader: the CRD alone takes the pure one longer than Helm needs for everything
    def rendered(values: dict[str, Any] | None = None, *options: str) -> Objects:
        text = helm.run("template", RELEASE, CHART, *options, values=values or {})
        objects: Objects = {}
        for item in filter(None, yaml.load_all(text, yaml.CSafeLoader)):
            place = item["metadata"].get("namespace", NAMESPACE)
            prefix = "" if place == NAMESPACE else f"{place}/"
            key = (item["kind"], prefix + item["metadata"]["name"])
            assert key not in objects, f"rendered twice: {key}"
            objects[key] = item
        return objects

    return rendered
