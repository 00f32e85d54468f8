"""Measured on real runs: equal curves, recovery time, API writes, memory of the operator.

Prints one line a number; run with `make bench`.
"""

import json
import re
import signal
import time
import urllib.request
from typing import Any

import psutil
import pytest

from localcluster.cluster import wait_for
from localcluster.product import OPERATOR
from tests.e2e.conftest import RUN_SECONDS, Site
from tests.e2e.test_recovery import processes

pytestmark = [pytest.mark.bench, pytest.mark.timeout(4 * RUN_SECONDS)]

ACCOUNT = "system:serviceaccount:finetune-system:finetune-operator"
QUIET_SECONDS = 60
STEPS = 30


def curve(site: Site, name: str) -> list[tuple[int, float]]:
    report = site.read_json(name, "report/report.json")
    return [(point["step"], float(point["loss"])) for point in report["series"]]


def test_one_pod_and_two_pods_have_the_same_loss_curve(site: Site) -> None:
    curves = []
    for nodes in (1, 2):
        name = f"curve-{nodes}"
        training = {"maxSteps": STEPS, "learningRate": 1e-3, "dropout": 0}
        resources = {"nodes": nodes, "gpusPerNode": 1}
        site.apply(site.job(name, training=training, resources=resources))
        site.wait_finished(name)
        curves.append(curve(site, name))
    one, two = curves
    assert [step for step, _ in one] == [step for step, _ in two] == list(range(1, STEPS + 1))
    difference = max(abs(a - b) for (_, a), (_, b) in zip(one, two, strict=True))
    print(
        f"\nlargest difference of the loss, 1 pod against 2 pods, {STEPS} steps: {difference:.1e}"
    )
    assert difference <= 1e-5


def test_a_killed_pods_cost(site: Site) -> None:
    name = "bench-killed"
    site.apply(
        site.job(
            name,
            training={"maxSteps": 60, "learningRate": 1e-3},
            checkpointing={"everySteps": 15},
        )
    )
    wait_for(lambda: len(site.pods(name)) == 2, what="two pods", seconds=RUN_SECONDS)
    leader = wait_for(lambda: site.pods(name).get(0), what="pod 0", seconds=60)

    def in_between() -> bool:
        report = site.progress(leader)
        return (report.get("checkpoint") or {}).get("step", 0) >= 15 and report["step"] % 15 >= 5

    wait_for(lambda: quietly(in_between), what="a step between", seconds=RUN_SECONDS, interval=0.2)
    reached = site.progress(leader)["step"]
    lost = processes(site, site.pods(name)[1])
    killed = time.monotonic()
    for process in [*lost["supervise"], *lost["rank"]]:
        process.send_signal(signal.SIGKILL)

    def resumed() -> bool:
        report = site.progress(leader)
        newest = report["attempts"][-1]
        return report["attempt"] == 2 and report["step"] > newest["fromStep"]

    wait_for(lambda: quietly(resumed), what="a step of attempt 2", seconds=300, interval=0.2)
    seconds = time.monotonic() - killed
    status = site.wait_finished(name)
    again = reached - status["attempts"][1]["fromStep"]
    print(f"\nkilled pod: next optimizer step after {seconds:.1f} s, {again} steps repeated")


def quietly(question: Any) -> Any:
    """False instead of a connection error: a pod that does not answer yet has not got there."""
    try:
        return question()
    except OSError:
        return False


def test_writes_of_a_job_and_the_quiet_operator(site: Site) -> None:
    name = "bench-writes"
    before = len(site.cluster.audited(user=ACCOUNT, namespace="default"))
    site.apply(site.job(name, training={"maxSteps": 10}))
    site.wait_finished(name)
    writes = site.cluster.audited(user=ACCOUNT, namespace="default")[before:]
    kinds: dict[str, int] = {}
    for write in writes:
        kind = f"{write['verb']} {write['resource']}"
        kinds[kind] = kinds.get(kind, 0) + 1
    print(f"\nAPI writes of one job, creation to end: {json.dumps(kinds, sort_keys=True)}")
    time.sleep(QUIET_SECONDS)
    assert len(site.cluster.audited(user=ACCOUNT, namespace="default")) == before + len(writes)
    text = urllib.request.urlopen(f"{site.operator}/metrics", timeout=5).read().decode()
    resident = float(re.search(r"^process_resident_memory_bytes (\S+)", text, re.M)[1])
    pid = json.loads((site.cluster.root / "state.json").read_text())["processes"][OPERATOR]["pid"]
    assert psutil.Process(pid).memory_info().rss == pytest.approx(resident, rel=0.2)
    print(f"operator's resident memory, idle: {resident / 2**20:.0f} MiB")
    assert resident <= 100 * 2**20
    print(site.cluster.kubectl("version"), end="")
