"""Helm installs the chart on a real control plane; the operator runs as a pod with its own token.

The namespace enforces the *restricted* pod security standard, so a pod that runs here passes it.
"""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from finetune_operator.rights import LEASE_RULES, RULES
from localcluster.cluster import Cluster, running_cluster, wait_for
from localcluster.processes import answers

CHART = Path(__file__).resolve().parents[2] / "charts" / "finetune-operator"
NAMESPACE, RELEASE, JOB = "finetune-system", "finetune-operator", "hello-lora"
ACCOUNT = f"system:serviceaccount:{NAMESPACE}:{RELEASE}"
TEAMS = ("team-a", "team-b")
SECONDS = 40
VALUES = {
    "image": {"tag": "local"},
    "operator": {"http": {"host": "$(POD_IP)"}, "statusInterval": 5, "patience": 1},
    "jobs": {"images": {"cpu": "finetune-trainer:local", "cuda": "finetune-trainer:local"}},
}
"""Pods of the local cluster share one machine's ports: each must keep to its own address."""


Right = tuple[str, str, str]
"""Verb, resource, namespace."""
GROUPS = {
    resource: rule["apiGroups"][0] for rule in RULES for resource in rule["resources"]
} | {"secrets": ""}  # fmt: skip


class Site:
    """A cluster, and the release on it."""

    def __init__(self, cluster: Cluster, helm: Any) -> None:
        self.cluster, self._helm = cluster, helm

    def helm(self, *words: str | Path, values: dict[str, Any] | None = None) -> str:
        said: str = self._helm.run(
            *words, "--namespace", NAMESPACE, values=values, kubeconfig=self.cluster.kubeconfig
        )
        return said

    def install(self, **values: Any) -> str:
        """Install and wait until the operator leads; what Helm says afterwards."""
        said = self.helm(
            "install", RELEASE, CHART, "--wait", f"--timeout={SECONDS}s", values=VALUES | values
        )
        wait_for(self.leader, what="a leader", seconds=SECONDS)
        return said.partition("\nNOTES:\n")[2]

    def uninstall(self) -> str:
        """Uninstall and wait until the operator's pods are gone."""
        said = self.helm("uninstall", RELEASE)
        wait_for(lambda: not self.pods(), what="the end of the pods", seconds=SECONDS)
        return said

    def get(self, *words: str) -> Any:
        return json.loads(self.cluster.kubectl("get", *words, "-o", "json"))

    def pods(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get("pods", "-n", NAMESPACE)["items"]
        return found

    def leader(self) -> str:
        """The pod that says it works; empty while all stand by or start."""
        for pod in self.pods():
            address = f"http://{pod['status'].get('podIP')}:8080/readyz"
            if "deletionTimestamp" not in pod["metadata"] and answers(address, text="ok"):
                return str(pod["metadata"]["name"])
        return ""

    def condition(self, namespace: str, kind: str) -> dict[str, Any]:
        job = self.get("finetunejob", JOB, "-n", namespace)
        conditions = job.get("status", {}).get("conditions", [])
        return next((c for c in conditions if c["type"] == kind), {"reason": "", "message": ""})

    def wait_reason(self, namespace: str, kind: str, reason: str) -> dict[str, Any]:
        """A condition, once it has the reason."""
        wait_for(
            lambda: self.condition(namespace, kind)["reason"] == reason,
            what=f"{kind}: {reason}", seconds=SECONDS,
        )  # fmt: skip
        return self.condition(namespace, kind)

    def shell(self, command: str) -> subprocess.CompletedProcess[str]:
        """A command as somebody pastes it."""
        path = f"{self.cluster.kubectl_path}:{os.environ['PATH']}"
        environment = {
            "PATH": path,
            "HOME": str(self.cluster.root),
            "KUBECONFIG": str(self.cluster.kubeconfig),
        }
        return subprocess.run(
            ["bash", "-c", command], env=environment, capture_output=True, text=True
        )

    def granted(self, questions: set[Right]) -> set[Right]:
        """Which of these the operator's account may do, asked of the API server all at once."""
        reviews = [
            {
                "apiVersion": "authorization.k8s.io/v1",
                "kind": "SubjectAccessReview",
                "spec": {
                    "user": ACCOUNT,
                    "resourceAttributes": {
                        "verb": verb,
                        "group": GROUPS[resource],
                        "resource": resource.partition("/")[0],
                        "subresource": resource.partition("/")[2],
                        "namespace": namespace,
                    },
                },
            }
            for verb, resource, namespace in questions
        ]
        document = {"apiVersion": "v1", "kind": "List", "items": reviews}
        line = 'jsonpath={.status.allowed}{"\\n"}'
        said = self.cluster.kubectl("create", "-f", "-", "-o", line, text=json.dumps(document))
        answers = zip(questions, said.splitlines(), strict=True)
        return {question for question, answer in answers if answer == "true"}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster of this file's own: the chart, not a fixture, brings the resource."""
    with running_cluster(tmp_path_factory.mktemp("chart")) as running:
        running.add_node("node-chart")
        restricted = {"pod-security.kubernetes.io/enforce": "restricted"}
        for name, labels in ((NAMESPACE, restricted), *((team, {}) for team in TEAMS)):
            metadata = {"name": name, "labels": labels}
            running.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        yield running


@pytest.fixture
def site(cluster: Cluster, helm: Any) -> Iterator[Site]:
    """No release and no resource before, none left behind."""
    running = Site(cluster, helm)
    yield running
    if running.helm("list", "--short").strip():
        running.uninstall()
    cluster.kubectl("delete", "crd", "finetunejobs.finetune.dev", "--ignore-not-found")


def pasted(notes: str) -> str:
    """The command in the notes that applies a first job."""
    found = re.search(r"^kubectl apply .*?^EOF$", notes, re.M | re.S)
    assert found is not None
    return found[0]


def allowed() -> set[tuple[str, str]]:
    """Every verb on every resource that the operator declares."""
    return {
        (verb, resource)
        for rule in (*RULES, *LEASE_RULES)
        for verb in rule["verbs"]
        for resource in rule["resources"]
    }


def asked(cluster: Cluster, since: str = "") -> dict[tuple[str, str], set[int]]:
    """What the operator's account asked the API server for, and how it was answered."""
    answers: dict[tuple[str, str], set[int]] = {}
    for entry in cluster.requests(user=ACCOUNT):
        reference = entry.get("objectRef")
        if reference is not None and entry["requestReceivedTimestamp"] >= since:
            resource = "/".join(filter(None, (reference["resource"], reference.get("subresource"))))
            codes = answers.setdefault((entry["verb"], resource), set())
            codes.add(entry["responseStatus"]["code"])
    return answers


def check_requests(answers: dict[tuple[str, str], set[int]], used: set[tuple[str, str]]) -> None:
    """Only what is declared was asked for, nothing was refused, and all of ``used`` was needed."""
    assert set(answers) <= allowed()
    assert [request for request, codes in answers.items() if 403 in codes] == []
    assert used <= set(answers)


def test_a_release_from_its_first_job_to_the_end(site: Site) -> None:
    notes = site.install()
    (first,) = site.pods()
    assert first["metadata"]["name"] == site.leader()
    assert "WARNING: image.repository is finetune-operator" in notes

    command = pasted(notes)
    refused = site.shell(command.replace("nodes: 1", "nodes: 0"))
    assert refused.returncode != 0
    assert "spec.resources.nodes" in refused.stderr
    applied = site.shell(command)
    assert applied.returncode == 0, applied.stderr
    missing = site.wait_reason("default", "DataReady", "MissingSecret")
    assert "s3-credentials" in missing["message"]

    changed = VALUES | {"operator": VALUES["operator"] | {"statusInterval": 7}}
    site.helm("upgrade", RELEASE, CHART, "--wait", f"--timeout={SECONDS}s", values=changed)
    wait_for(lambda: len(site.pods()) == 1, what="the end of the first pod", seconds=SECONDS)
    (second,) = site.pods()
    assert second["metadata"]["uid"] != first["metadata"]["uid"]
    assert "--status-interval=7" in second["spec"]["containers"][0]["args"]
    wait_for(site.leader, what="the second pod leads", seconds=SECONDS)

    # An operator that is uninstalled has lost its rights when it wants to leave its lease.
    used = {("create", "jobs"), ("watch", "pods"), ("list", "events"), ("update", "leases")}
    check_requests(asked(site.cluster), used)
    said = site.uninstall()
    assert "[CustomResourceDefinition] finetunejobs.finetune.dev" in said
    assert site.get("finetunejob", JOB, "-n", "default")["status"]["conditions"]
    assert site.get("job", f"{JOB}-prepare", "-n", "default")
    assert site.granted({("list", "finetunejobs", "default")}) == set()

    again = datetime.now(UTC).isoformat()
    site.install()
    site.cluster.kubectl("patch", "ftj", JOB, "--type=merge", '-p={"spec":{"suspend":true}}')
    site.wait_reason("default", "Suspended", "SuspendedByUser")

    check_requests(
        asked(site.cluster, again), {("watch", "jobs"), ("patch", "finetunejobs/status")}
    )


def test_listed_namespaces_are_served_by_one_of_two_pods_and_no_others(site: Site) -> None:
    two = VALUES["operator"] | {"replicas": 2}
    notes = site.install(watch={"namespaces": ["team-a"]}, operator=two)
    addresses = [pod["status"]["podIP"] for pod in site.pods()]
    said = [answers(f"http://{at}:8080/readyz", text="standby") for at in addresses]
    assert sorted(said) == [False, True]

    command = pasted(notes)
    assert command.startswith("kubectl apply --namespace team-a ")
    for place in ("team-b", "team-a"):
        applied = site.shell(command.replace("--namespace team-a", f"--namespace {place}"))
        assert applied.returncode == 0, applied.stderr
    site.wait_reason("team-a", "DataReady", "MissingSecret")
    assert "status" not in site.get("finetunejob", JOB, "-n", "team-b")

    rights = {(verb, resource) for verb, resource in allowed() if resource != "leases"}
    questions = {(*right, at) for right in (*rights, ("get", "secrets")) for at in TEAMS}
    assert site.granted(questions) == {(*right, "team-a") for right in rights}


def test_the_operators_pod_passes_the_restricted_standard_and_just_so(
    cluster: Cluster, render: Any
) -> None:
    template = render()["Deployment", RELEASE]["spec"]["template"]["spec"]
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "alone", "namespace": NAMESPACE},
        "spec": template | {"serviceAccountName": "default"},
    }
    dry_run = ("create", "--dry-run=server", "-f", "-")
    assert "pod/alone created" in cluster.kubectl(*dry_run, text=json.dumps(pod))
    del template["containers"][0]["securityContext"]["capabilities"]
    said = cluster.kubectl(*dry_run, text=json.dumps(pod), check=False)
    assert 'violates PodSecurity "restricted:latest": unrestricted capabilities' in said
