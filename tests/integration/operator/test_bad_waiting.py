"""What keeps a run from going on in the cluster: told in one sentence, and mended without loss.

All cases wait at the same time, each in a namespace of its own; then all are mended at once.
"""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from scripted_node import Stage
from world import Operator, World

from localcluster.cluster import Cluster
from localcluster.node.scripted import Fate
from tests.bad_input import book as pages
from tests.bad_input.book import Book

SECTION = "Waiting in the cluster"
TOLD_WITHIN = 30.0
MENDED_WITHIN = 75.0
SEEN_WITHIN = 60.0
"""How soon a mended refusal of a Job is seen: the operator's longest pause between two tries."""
JOB = "tickets"

Objects = tuple[dict[str, Any], ...]


def thing(kind: str, name: str, version: str = "v1", **parts: Any) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}, **parts}


def a_quota(**hard: str) -> dict[str, Any]:
    return thing("ResourceQuota", "team-budget", spec={"hard": hard})


def a_limit_range(**limit: Any) -> dict[str, Any]:
    return thing("LimitRange", "sizes", spec={"limits": [{"type": "Container", **limit}]})


def a_foreign_job(name: str) -> dict[str, Any]:
    container = {"name": "c", "image": "i"}
    template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    return thing("Job", name, "batch/v1", spec={"suspend": True, "template": template})


def a_policy(name: str, group: str, resource: str, namespace: str) -> Objects:
    version = "admissionregistration.k8s.io/v1"
    rule = {
        "apiGroups": [group], "apiVersions": ["v1"],
        "operations": ["CREATE"], "resources": [resource],
    }  # fmt: skip
    check = {
        "expression": "'cost-centre' in object.metadata.labels",
        "message": "every workload names its cost-centre",
    }
    selector = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    constraints = {"resourceRules": [rule], "namespaceSelector": selector}
    spec = {"matchConstraints": constraints, "validations": [check]}
    binding = {"policyName": name, "validationActions": ["Deny"]}
    return (
        thing("ValidatingAdmissionPolicy", name, version, spec=spec),
        thing("ValidatingAdmissionPolicyBinding", name, version, spec=binding),
    )


@dataclass(frozen=True)
class Case:
    """One thing that is missing or in the way, and how a person puts it right."""

    condition: str
    reason: str
    mend: Callable[[World], None]
    spec: dict[str, Any] = field(default_factory=dict)
    objects: Callable[[str], Objects] = lambda namespace: ()
    before: Callable[[World], None] = lambda world: None


def deleting(*words: str) -> Callable[[World], None]:
    return lambda world: drop(world, *words)


def drop(world: World, *words: str) -> None:
    world.cluster.kubectl("delete", *words, "-n", world.namespace, "--wait=false")


def creating(*objects: dict[str, Any]) -> Callable[[World], None]:
    return lambda world: add(world, objects)


def add(world: World, objects: Objects) -> None:
    document = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
    world.cluster.kubectl("apply", "-n", world.namespace, "-f", "-", text=json.dumps(document))


def editing(**spec: Any) -> Callable[[World], None]:
    """Suspend, edit, resume, as the sentences say."""

    def edit(world: World) -> None:
        world.change(suspend=True)
        world.wait_word("Suspended")
        world.change(**spec)
        world.change(suspend=False)

    return edit


def on_node(*words: str) -> Callable[[World], None]:
    return lambda world: print(world.cluster.kubectl(*words))


CASES = {
    "the Secret does not exist": Case(
        "DataReady", "MissingSecret",
        spec={"storage": {"secretName": "s3-credentials"}},
        mend=creating(thing("Secret", "s3-credentials", stringData={"AWS_ACCESS_KEY_ID": "a"})),
    ),
    "the image does not exist": Case(
        "DataReady", "ImagePullFailed",
        before=lambda w: w.node.show(w.namespace, JOB, "prepare", Fate(image_pending=True)),
        mend=lambda w: w.node.show_nothing(w.namespace, JOB, "prepare"),
    ),
    "no node has that much CPU": Case(
        "PodsReady", "Unschedulable",
        spec={"resources": {"nodes": 1, "gpusPerNode": 0, "cpu": "2000"}},
        mend=lambda w: w.node.join("large", cpu="4000"),
    ),
    "no node has that kind of GPU": Case(
        "PodsReady", "Unschedulable",
        spec={"resources": {"nodes": 2, "gpusPerNode": 4, "gpuResource": "amd.com/gpu"}},
        mend=editing(resources={"gpuResource": "nvidia.com/gpu"}),
    ),
    "no node carries the label": Case(
        "PodsReady", "Unschedulable",
        spec={"scheduling": {"nodeSelector": {"gpu": "h900"}}},
        mend=on_node("label", "node", "scripted", "gpu=h900"),
    ),
    "the nodes have a taint": Case(
        "PodsReady", "Unschedulable",
        spec={"scheduling": {"nodeSelector": {"pool": "guarded"}}},
        mend=editing(scheduling={"tolerations": [{"key": "team", "operator": "Exists"}]}),
    ),
    "the quota leaves no room for pods": Case(
        "DataReady", "QuotaExceeded",
        objects=lambda _: (a_quota(pods="0"),),
        mend=deleting("quota", "team-budget"),
    ),
    "the quota leaves no room for GPUs": Case(
        "PodsReady", "QuotaExceeded",
        objects=lambda _: (a_quota(**{"requests.nvidia.com/gpu": "1"}),),
        mend=creating(a_quota(**{"requests.nvidia.com/gpu": "2"})),
    ),
    "the quota leaves no room for Jobs": Case(
        "DataReady", "QuotaExceeded",
        objects=lambda _: (a_quota(**{"count/jobs.batch": "0"}),),
        mend=deleting("quota", "team-budget"),
    ),
    "the quota wants a limit that our pods leave out": Case(
        "DataReady", "QuotaExceeded",
        objects=lambda _: (a_quota(**{"limits.cpu": "8"}),),
        mend=creating(a_limit_range(default={"cpu": "2"}, defaultRequest={"cpu": "1"})),
    ),
    "a LimitRange is below what prepare asks for": Case(
        "DataReady", "LimitRange",
        objects=lambda _: (a_limit_range(max={"memory": "1Gi"}),),
        mend=editing(resources={"prepare": {"memory": "1Gi"}}),
    ),
    "a policy of the cluster denies our pods": Case(
        "DataReady", "PolicyDenied",
        objects=lambda namespace: a_policy("pods-have-owners", "", "pods", namespace),
        mend=deleting("validatingadmissionpolicybinding", "pods-have-owners"),
    ),
    "a policy of the cluster denies our Jobs": Case(
        "DataReady", "PolicyDenied",
        objects=lambda namespace: a_policy("jobs-have-owners", "batch", "jobs", namespace),
        mend=deleting("validatingadmissionpolicybinding", "jobs-have-owners"),
    ),
    "the PriorityClass does not exist": Case(
        "PodsReady", "MissingPriorityClass",
        spec={"scheduling": {"priorityClassName": "urgent"}},
        mend=creating(thing("PriorityClass", "urgent", "scheduling.k8s.io/v1", value=1000)),
    ),
    "the ServiceAccount does not exist": Case(
        "DataReady", "MissingServiceAccount",
        spec={"scheduling": {"serviceAccountName": "trainer"}},
        mend=creating(thing("ServiceAccount", "trainer")),
    ),
    "the ServiceAccount is another one": Case(
        "DataReady", "MissingServiceAccount",
        spec={"scheduling": {"serviceAccountName": "tariner"}},
        mend=editing(scheduling={"serviceAccountName": "default"}),
    ),
    "somebody's Service has our name": Case(
        "PodsReady", "ChildConflict",
        objects=lambda _: (thing("Service", f"{JOB}-train", spec={"ports": [{"port": 1}]}),),
        mend=deleting("service", f"{JOB}-train"),
    ),
    "somebody's Job has the name of our prepare Job": Case(
        "DataReady", "ChildConflict",
        objects=lambda _: (a_foreign_job(f"{JOB}-prepare"),),
        mend=deleting("job", f"{JOB}-prepare"),
    ),
    "somebody's Job has the name of our train Job": Case(
        "PodsReady", "ChildConflict",
        objects=lambda _: (a_foreign_job(f"{JOB}-train"),),
        mend=deleting("job", f"{JOB}-train"),
    ),
}  # fmt: skip
TOLD_TWICE = "the ServiceAccount is another one"
"""Differs from another case only in how it is mended."""


@dataclass(frozen=True)
class Told:
    """What a person saw while the case waited."""

    status: dict[str, Any]
    described: str
    seconds: float


@pytest.fixture(scope="module")
def worlds(crd: Cluster, operator: Operator, node: Stage) -> Iterator[dict[str, World]]:
    """A namespace for each case, with everything in it but the job."""
    found = {
        case: World(crd, operator, node, f"t{number:08d}-1") for number, case in enumerate(CASES)
    }
    crd.apply(*(thing("Namespace", world.namespace) for world in found.values()))
    node.join("guarded", gpus=8, pool="guarded")
    crd.kubectl("taint", "node", "guarded", "team=vision:NoSchedule")
    for case, world in found.items():
        CASES[case].before(world)
        if objects := CASES[case].objects(world.namespace):
            add(world, objects)
    for case in CASES:
        if CASES[case].reason == "PolicyDenied":
            wait_for_policy(found[case], case)
    yield found
    for world in found.values():
        world.delete(JOB)
    for world in found.values():
        world.wait(lambda w=world: not ours(w), f"nothing left of {world.namespace}", seconds=40)
    for name in ("guarded", "large"):
        node.leave(name)
    crd.kubectl("label", "node", "scripted", "gpu-")
    crd.kubectl("delete", "priorityclass", "urgent")


def ours(world: World) -> str:
    words = ("get", "jobs,pods,services", "-n", world.namespace, "-l", "finetune.dev/job")
    return world.cluster.kubectl(*words, "-o", "name")


def wait_for_policy(world: World, case: str) -> None:
    """The API server takes a moment to know a policy."""
    kind = "job" if "Jobs" in case else "pod"
    words = {"job": ("create", "job", "probe"), "pod": ("run", "probe")}[kind]
    command = (*words, "--image=i", "--dry-run=server", "-n", world.namespace)
    world.wait(lambda: "denied" in world.cluster.kubectl(*command, check=False), f"{case} works")


@pytest.fixture(scope="module")
def told(worlds: dict[str, World]) -> dict[str, Told]:
    """Every case, once its condition says why it waits."""
    started = time.monotonic()
    for case, world in worlds.items():
        world.create(JOB, **CASES[case].spec)
    found: dict[str, Told] = {}
    while len(found) < len(CASES) and time.monotonic() - started < TOLD_WITHIN + 30:
        for case in CASES.keys() - found.keys():
            world, expected = worlds[case], CASES[case]
            if world.condition(expected.condition, JOB).get("reason") == expected.reason:
                words = ("describe", "ftj", JOB, "-n", world.namespace)
                described = world.cluster.kubectl(*words)
                seconds = time.monotonic() - started
                found[case] = Told(world.status(JOB), described, seconds)
        time.sleep(0.3)
    return found


@pytest.fixture(scope="module")
def mended(worlds: dict[str, World], told: dict[str, Told]) -> dict[str, float]:
    """Every case is put right; seconds until its gang was complete, by case."""
    since: dict[str, float] = {}
    for case in told:
        since[case] = time.monotonic()
        CASES[case].mend(worlds[case])
    found: dict[str, float] = {}
    end = time.monotonic() + MENDED_WITHIN
    while len(found) < len(told) and time.monotonic() < end:
        for case in told.keys() - found.keys():
            if worlds[case].condition("PodsReady", JOB).get("status") == "True":
                found[case] = time.monotonic() - since[case]
        time.sleep(0.3)
    return found


@pytest.mark.parametrize("case", CASES)
def test_it_is_told_and_nothing_is_lost(told: dict[str, Told], book: Book, case: str) -> None:
    assert case in told, "nothing was said"
    seen = told[case]
    assert seen.seconds < TOLD_WITHIN
    state, sentence = pages.seen(seen.status, CASES[case].condition)
    assert sentence in seen.described
    assert f"Warning  {CASES[case].reason}" in seen.described
    succeeded = next(c for c in seen.status["conditions"] if c["type"] == "Succeeded")
    assert succeeded["status"] == "Unknown", "a run that waits is not over"
    if case != TOLD_TWICE:
        book.tell(case, state, sentence)


@pytest.mark.parametrize("case", CASES)
def test_it_goes_on_once_it_is_mended(
    worlds: dict[str, World], told: dict[str, Told], mended: dict[str, float], case: str
) -> None:
    assert case in mended, worlds[case].status(JOB)["conditions"]
    world = worlds[case]
    assert mended[case] < SEEN_WITHIN
    assert sorted(name for name in ours(world).split() if "jobs" in name or "job." in name) == [
        f"job.batch/{JOB}-prepare",
        f"job.batch/{JOB}-train",
    ]


def test_refused_creations_are_not_hammered(
    told: dict[str, Told], worlds: dict[str, World]
) -> None:
    world = worlds["the quota leaves no room for Jobs"]
    refused = world.operator.log().count(f'"job": "{world.namespace}/{JOB}"')
    assert refused < 60
