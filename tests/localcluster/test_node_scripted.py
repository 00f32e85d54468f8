"""The scripted node under the real Job controller: replacement, failure, eviction, silence."""

import asyncio
import json

from localcluster.cluster import wait_for
from localcluster.node.scripted import Fate, ScriptedNode

NODE = "node-scripted"


def job(namespace: str, node: str = NODE, **spec) -> dict:
    """An Indexed Job with stable host names, placed on one node."""
    template = {
        "restartPolicy": "Never",
        "subdomain": "gang",
        "nodeSelector": {"kubernetes.io/hostname": node},
        "containers": [{"name": "main", "image": "any", "command": ["true"]}],
    }
    base = {"completionMode": "Indexed", "completions": 2, "parallelism": 2}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "job", "namespace": namespace},
        "spec": base | spec | {"template": {"spec": template}},
    }


def on_exit_42(action: str) -> dict:
    return {"action": action, "onExitCodes": {"operator": "In", "values": [42]}}


async def until(pods, condition, what: str, seconds: float = 40):
    """Poll without stopping the node, which lives in this event loop."""
    return await asyncio.to_thread(wait_for, condition, what=what, seconds=seconds)


def read(pods, *words: str) -> dict:
    return json.loads(pods.kubectl("get", *words, "-o", "json"))


def finished(pods) -> dict[str, dict]:
    conditions = read(pods, "job", "job")["status"].get("conditions", [])
    return {c["type"]: c for c in conditions if c["type"] in ("Complete", "Failed")}


def addresses(pods) -> dict[str, str]:
    items = read(pods, "pods")["items"]
    return {p["metadata"]["name"]: p["status"].get("podIP") for p in items}


async def test_a_replaced_pod_of_an_indexed_job_keeps_its_address(cluster, pods_on) -> None:
    pods = pods_on(NODE)
    firsts: dict[str, str] = {}

    def script(pod: dict) -> Fate:
        index = pod["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"]
        uid = pod["metadata"]["uid"]
        if firsts.setdefault(index, uid) == uid and index == "0":
            return Fate(after=2, exit_code=1)
        return Fate()

    async with ScriptedNode(cluster.kubeconfig, NODE, 4, script=script):
        await asyncio.to_thread(cluster.apply, job(pods.namespace, backoffLimit=5))
        await until(pods, lambda: len([a for a in addresses(pods).values() if a]) == 2, "two pods")
        before = await asyncio.to_thread(addresses, pods)
        await until(pods, lambda: len(addresses(pods)) == 3, "the replacement")
        await until(pods, lambda: all(addresses(pods).values()), "its address")
        after = await asyncio.to_thread(addresses, pods)
        (fresh,) = set(after) - set(before)
        old = next(n for n in before if n.rsplit("-", 1)[0] == fresh.rsplit("-", 1)[0])
        assert after[fresh] == before[old]
        assert len(set(after.values())) == 2
        await asyncio.to_thread(pods.kubectl, "delete", "job", "job", "--timeout=30s")


async def test_an_exit_code_fails_the_job_by_its_policy(cluster, pods_on) -> None:
    pods = pods_on(NODE)

    def script(pod: dict) -> Fate:
        index = pod["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"]
        if index == "1":
            return Fate(after=1, exit_code=42, message="bad data")
        return Fate()

    policy = {"rules": [on_exit_42("FailJob")]}
    async with ScriptedNode(cluster.kubeconfig, NODE, 4, script=script):
        await asyncio.to_thread(cluster.apply, job(pods.namespace, podFailurePolicy=policy))
        ends = await until(pods, lambda: finished(pods), "the end of the job")
        assert ends["Failed"]["reason"] == "PodFailurePolicy"
        assert "42" in ends["Failed"]["message"]


async def test_a_disrupted_pod_is_replaced_without_counting(cluster, pods_on) -> None:
    pods = pods_on(NODE)
    policy = {"rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}]}
    lives: list[dict] = []

    def script(pod: dict) -> Fate:
        if pod["metadata"]["uid"] not in {seen["metadata"]["uid"] for seen in lives}:
            lives.append(pod)
        return Fate()

    spec = {"podFailurePolicy": policy, "backoffLimit": 0, "completions": 1, "parallelism": 1}
    async with ScriptedNode(cluster.kubeconfig, NODE, 4, script=script) as node:
        await asyncio.to_thread(cluster.apply, job(pods.namespace, **spec))
        await until(pods, lambda: any(addresses(pods).values()), "the first pod")
        evicted = Fate(exit_code=143, disruption="EvictionByEvictionAPI")
        name = lives[0]["metadata"]["name"]
        await until(pods, lambda: node.running(name), "the container")
        assert node.end(name, evicted) == 1
        await until(pods, lambda: len(lives) == 2, "the replacement")
        status = (await asyncio.to_thread(read, pods, "job", "job"))["status"]
        assert not status.get("failed")
        assert not finished(pods)
        await asyncio.to_thread(pods.kubectl, "delete", "job", "job", "--timeout=30s")


async def test_a_pod_that_ignores_sigterm_ends_after_its_grace(cluster, pods_on) -> None:
    pods = pods_on(NODE)
    async with ScriptedNode(
        cluster.kubeconfig, NODE, 4, script=lambda pod: Fate(obeys_sigterm=False)
    ):
        await asyncio.to_thread(pods.run, "deaf", "true", None, terminationGracePeriodSeconds=2)
        await asyncio.to_thread(pods.until_phase, "deaf", "Running")
        began = asyncio.get_running_loop().time()
        await asyncio.to_thread(pods.kubectl, "delete", "pod", "deaf", "--timeout=20s")
        assert asyncio.get_running_loop().time() - began > 1.5


async def test_a_silent_node_says_nothing_of_an_end(cluster, pods_on) -> None:
    pods = pods_on(NODE)
    async with ScriptedNode(cluster.kubeconfig, NODE, 4, script=lambda pod: Fate(after=3)) as node:
        await asyncio.to_thread(pods.run, "unheard", "true")
        await asyncio.to_thread(pods.until_phase, "unheard", "Running")
        node.silence()
        await asyncio.sleep(5)
        assert not node.running("unheard")
        assert (await asyncio.to_thread(pods.get, "unheard"))["status"]["phase"] == "Running"
        node.speak()
        await asyncio.to_thread(pods.until_phase, "unheard", "Succeeded")


async def test_an_image_error_is_shown(cluster, pods_on) -> None:
    pods = pods_on(NODE)
    async with ScriptedNode(
        cluster.kubeconfig, NODE, 4, script=lambda pod: Fate(image_pending=True)
    ):
        await asyncio.to_thread(pods.run, "unpulled", "true")
        waits = lambda pod: "Pull" in pods.state(pod).get("waiting", {}).get("reason", "")  # noqa: E731
        await asyncio.to_thread(pods.until, "unpulled", waits)
        await asyncio.to_thread(pods.kubectl, "delete", "pod", "unpulled", "--timeout=20s")
