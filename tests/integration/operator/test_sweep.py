"""A watch that hides things: the sweep finds what is gone, what is new and what has changed."""

from typing import Any

import pytest
from fault_proxy import FaultProxy
from scripted_node import Stage
from world import Operator, World

from localcluster.cluster import Cluster

DIFFERENCES = "finetune_operator_sweep_differences_total"


@pytest.mark.usefixtures("quiet")
def test_what_the_watch_hid_is_found_mended_and_counted(
    crd: Cluster, node: Stage, namespace: str
) -> None:
    def is_hidden(event: dict[str, Any]) -> bool:
        metadata = event["object"].get("metadata", {})
        name, kind = metadata.get("name", ""), event["object"].get("kind")
        is_going = event["type"] == "DELETED" or "deletionTimestamp" in metadata
        return (name.startswith("gone-train") and is_going) or (
            kind == "FineTuneJob" and name in ("unseen", "changed")
        )

    with (
        FaultProxy(crd) as proxy,
        Operator(crd, system=namespace, namespaces=(namespace,), server=proxy.address) as operator,
    ):
        world = World(crd, operator, node, namespace)
        for name in ("gone", "changed"):
            world.create(name)
        for name in ("gone", "changed"):
            world.wait_reason("PodsReady", "AllReady", name)
        before = world.jobs()
        world.wait(
            lambda: operator.metric("finetune_operator_sweeps_total", result="ok"), "a sweep"
        )
        assert operator.metric(DIFFERENCES) == 0

        proxy.hides = is_hidden
        world.batch.delete_namespaced_job("gone-train", namespace, propagation_policy="Foreground")
        world.change("changed", suspend=True)
        world.create("unseen")
        world.wait(lambda: "gone-train" not in world.jobs(), "the Job is gone")
        assert "unseen-prepare" not in world.jobs()
        proxy.hides = lambda _: False

        world.wait(lambda: world.jobs().get("gone-train"), "the Job made anew")
        world.wait_word("Suspended", "changed")
        world.wait_reason("PodsReady", "AllReady", "unseen")
        after = world.jobs()
        assert after["gone-train"] != before["gone-train"]
        assert after["gone-prepare"] == before["gone-prepare"]
        world.wait(lambda: operator.metric(DIFFERENCES) >= 5, "the end of the sweep")
        assert operator.metric(DIFFERENCES, resource="jobs", kind="ghost") == 1
        assert operator.metric(DIFFERENCES, resource="pods", kind="ghost") == 2
        assert operator.metric(DIFFERENCES, resource="finetunejobs", kind="unknown") == 1
        assert operator.metric(DIFFERENCES, resource="finetunejobs", kind="stale") == 1
        assert operator.metric("finetune_operator_sweep_age_seconds") < 20
        assert operator.answers("/healthz") == "ok"
