"""A site for e2e tests: cluster, two nodes, S3, the operator, a base model and a dataset.

The example is applied as it is; only its dataset is smaller, so that several runs fit.
"""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from examples.base_model import base_model, put_base_model
from localcluster import product
from localcluster.cluster import Cluster, running_cluster, wait_for

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
EXAMPLE = EXAMPLES / "01-hello-lora"
ROWS = 600
RUN_SECONDS = 600
HELLO = "hello-lora"
STEPS = 40
EVERY = 10


@dataclass(frozen=True)
class Site:
    """What a test sees of the site."""

    cluster: Cluster
    operator: str
    model: Path

    def job(self, name: str, **spec: Any) -> dict[str, Any]:
        """The example's job under another name and output; ``spec`` replaces whole blocks."""
        manifest: dict[str, Any] = YAML(typ="safe").load((EXAMPLE / "job.yaml").read_text())
        manifest["metadata"]["name"] = name
        manifest["spec"] |= {"output": {"uri": f"s3://models/{name}/"}, **spec}
        return manifest

    def short_job(self, name: str) -> dict[str, Any]:
        """The example's job cut to a few steps, with checkpoints between."""
        return self.job(
            name,
            training={"maxSteps": STEPS, "learningRate": 1e-3},
            checkpointing={"everySteps": EVERY},
        )

    def apply(self, manifest: dict[str, Any]) -> None:
        self.cluster.kubectl("apply", "-f", "-", text=json.dumps(manifest))

    def patch(self, name: str, spec: dict[str, Any]) -> None:
        patch = json.dumps({"spec": spec})
        self.cluster.kubectl("patch", "ftj", name, "--type=merge", "-p", patch)

    def status(self, name: str) -> dict[str, Any]:
        text = self.cluster.kubectl("get", "ftj", name, "-o", "json")
        status: dict[str, Any] = json.loads(text).get("status", {})
        return status

    def condition(self, name: str, kind: str) -> dict[str, Any]:
        conditions = self.status(name).get("conditions", [])
        return next((c for c in conditions if c["type"] == kind), {"status": "absent"})

    def pods(self, name: str) -> dict[int, dict[str, Any]]:
        """The live training pods of a job by index."""
        selector = f"finetune.dev/job={name},finetune.dev/role=train"
        found = json.loads(self.cluster.kubectl("get", "pods", "-l", selector, "-o", "json"))
        key = "batch.kubernetes.io/job-completion-index"
        return {
            int(pod["metadata"]["annotations"][key]): pod
            for pod in found["items"]
            if pod["status"].get("phase") == "Running"
            and "deletionTimestamp" not in pod["metadata"]
        }

    def progress(self, pod: dict[str, Any]) -> dict[str, Any]:
        """What a pod tells the operator."""
        document: dict[str, Any] = json.loads(
            fetch(f"http://{pod['status']['podIP']}:9300/progress")
        )
        return document

    def wait_finished(self, name: str) -> dict[str, Any]:
        """The status once the run has ended; fails the test with the sentence if it ended badly."""
        wait_for(
            lambda: self.condition(name, "Succeeded")["status"] in {"True", "False"},
            what=f"{name} finished", seconds=RUN_SECONDS, interval=1,
        )  # fmt: skip
        ended = self.condition(name, "Succeeded")
        assert ended["status"] == "True", ended["message"]
        return self.status(name)

    def objects(self, name: str) -> dict[str, int]:
        """Keys below a run's folder and their sizes."""
        pages = self.cluster.s3.client().get_paginator("list_objects_v2")
        prefix = f"{name}/"
        return {
            item["Key"].removeprefix(prefix): item["Size"]
            for page in pages.paginate(Bucket="models", Prefix=prefix)
            for item in page.get("Contents", [])
        }

    def read_json(self, name: str, key: str) -> dict[str, Any]:
        body = self.cluster.s3.client().get_object(Bucket="models", Key=f"{name}/{key}")["Body"]
        document: dict[str, Any] = json.loads(body.read())
        return document

    def download(self, name: str, prefix: str, folder: Path) -> Path:
        """Everything below a prefix of a run's folder."""
        for key in self.objects(name):
            if key.startswith(prefix):
                target = folder / key.removeprefix(prefix)
                target.parent.mkdir(parents=True, exist_ok=True)
                self.cluster.s3.client().download_file("models", f"{name}/{key}", str(target))
        return folder


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("e2e")
    rows = folder / "docstrings.jsonl"
    subprocess.run([sys.executable, EXAMPLE / "make_data.py", rows], check=True)
    few = rows.read_text(encoding="utf-8").splitlines(keepends=True)[:ROWS]
    with running_cluster(folder / "cluster") as cluster:
        for index in range(2):
            cluster.add_node(f"node-{index}", gpus=4)
        operator = product.install(cluster)
        product.add_credentials(cluster)
        for bucket in ("models", "datasets"):
            cluster.s3.make_bucket(bucket)
        put_base_model(cluster.s3, "models", "all-minilm-l6-v2/")
        cluster.s3.client().put_object(
            Bucket="datasets", Key="docstrings.jsonl", Body="".join(few).encode()
        )
        yield Site(cluster, operator, base_model())


@dataclass(frozen=True)
class Finished:
    """A run that nobody disturbed: its status, and what both pods told Prometheus in training."""

    status: dict[str, Any]
    scraped: tuple[str, str]


def fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as response:
        text: str = response.read().decode()
        return text


@pytest.fixture(scope="session")
def hello(site: Site) -> Finished:
    site.apply(site.short_job(HELLO))

    def training_metrics() -> tuple[str, str] | None:
        pods = site.pods(HELLO)
        if len(pods) < 2 or (site.status(HELLO).get("progress") or {}).get("step", 0) < 3:
            return None
        first, second = (fetch(f"http://{pods[i]['status']['podIP']}:9300/metrics") for i in (0, 1))
        return first, second

    scraped = wait_for(training_metrics, what="training", seconds=RUN_SECONDS, interval=0.5)
    return Finished(site.wait_finished(HELLO), scraped)
