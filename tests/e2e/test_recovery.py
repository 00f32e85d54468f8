"""What dies is replaced, what lives stays, and the result is the uninterrupted run's."""

import hashlib
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from localcluster.cluster import wait_for
from tests.e2e.conftest import EVERY, HELLO, RUN_SECONDS, Finished, Site

pytestmark = pytest.mark.timeout(2 * RUN_SECONDS)


def adapter_hash(site: Site, name: str, folder: Path) -> str:
    site.download(name, "adapter/adapter_model.safetensors", folder / name)
    (file,) = [path for path in folder.rglob("*") if path.is_file() and name in path.parts]
    return hashlib.sha256(file.read_bytes()).hexdigest()


def processes(site: Site, pod: dict[str, Any]) -> dict[str, list[psutil.Process]]:
    """Supervisor and ranks of a pod, found by the pod's uid in their environment."""
    found: dict[str, list[psutil.Process]] = {"supervise": [], "rank": []}
    for process in psutil.process_iter():
        try:
            if process.environ().get("FINETUNE_POD_UID") == pod["metadata"]["uid"]:
                words = process.cmdline()
                for role, members in found.items():
                    if words and words[-1] == role and "python" in words[0]:
                        members.append(process)
        except psutil.Error:
            continue
    return found


def wait_progress(site: Site, name: str, reached: Callable[[dict[str, Any]], bool]) -> None:
    """Poll index 0 itself: the status is refreshed too seldom to meet a step."""

    def is_reached() -> bool:
        leader = site.pods(name).get(0)
        try:
            return leader is not None and reached(site.progress(leader))
        except OSError:
            return False

    wait_for(is_reached, what=f"{name} where the test acts", seconds=RUN_SECONDS, interval=0.1)


def between_checkpoints(report: dict[str, Any]) -> bool:
    durable = (report.get("checkpoint") or {}).get("step", 0)
    return durable >= EVERY and report["step"] > durable


def model_file(process: psutil.Process) -> Path:
    return Path(process.environ()["FINETUNE_WORKDIR"]) / "model" / "model.safetensors"


@pytest.fixture(scope="module")
def uninterrupted(site: Site, hello: Finished, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Hash of the adapter of the run that nobody disturbed."""
    return adapter_hash(site, HELLO, tmp_path_factory.mktemp("hello"))


def test_a_killed_pod_is_replaced_and_the_survivor_stays_in_place(
    site: Site, uninterrupted: str, tmp_path: Path
) -> None:
    name = "pod-killed"
    site.apply(site.short_job(name))
    wait_progress(site, name, between_checkpoints)
    pods = site.pods(name)
    before = processes(site, pods[0])
    (supervisor,) = before["supervise"]
    inode = model_file(supervisor).stat().st_ino
    lost = processes(site, pods[1])
    for process in [*lost["supervise"], *lost["rank"]]:
        process.send_signal(signal.SIGKILL)

    wait_for(
        lambda: len(site.status(name).get("attempts", [])) >= 2,
        what="a second attempt", seconds=RUN_SECONDS, interval=0.5,
    )  # fmt: skip
    wait_for(lambda: processes(site, pods[0])["rank"], what="new ranks", seconds=60)
    after = processes(site, pods[0])
    assert site.pods(name)[0]["metadata"]["uid"] == pods[0]["metadata"]["uid"]
    assert [p.pid for p in after["supervise"]] == [supervisor.pid]
    assert model_file(supervisor).stat().st_ino == inode
    assert {p.pid for p in after["rank"]}.isdisjoint(p.pid for p in before["rank"])

    status = site.wait_finished(name)
    attempts = status["attempts"]
    assert [a["number"] for a in attempts] == [1, 2]
    assert attempts[1]["fromStep"] >= EVERY
    assert attempts[1]["fromStep"] % EVERY == 0
    assert adapter_hash(site, name, tmp_path) == uninterrupted


def test_a_killed_index_0_is_replaced_and_its_peer_stays_in_place(
    site: Site, uninterrupted: str, tmp_path: Path
) -> None:
    name = "leader-killed"
    site.apply(site.short_job(name))
    wait_progress(site, name, between_checkpoints)
    pods = site.pods(name)
    reached = site.progress(pods[0])["step"]
    survivor = processes(site, pods[1])
    (supervisor,) = survivor["supervise"]
    inode = model_file(supervisor).stat().st_ino
    lost = processes(site, pods[0])
    for process in [*lost["supervise"], *lost["rank"]]:
        process.send_signal(signal.SIGKILL)

    wait_for(lambda: not processes(site, pods[1])["rank"], what="ranks stop", seconds=60)
    wait_for(
        lambda: (new := site.pods(name).get(0)) and new["metadata"]["uid"] != _uid(pods[0]),
        what="a new index 0", seconds=120, interval=0.5,
    )  # fmt: skip
    wait_for(lambda: processes(site, pods[1])["rank"], what="new ranks", seconds=120)
    after = processes(site, pods[1])
    assert _uid(site.pods(name)[1]) == _uid(pods[1])
    assert [p.pid for p in after["supervise"]] == [supervisor.pid]
    assert model_file(supervisor).stat().st_ino == inode
    assert {p.pid for p in after["rank"]}.isdisjoint(p.pid for p in survivor["rank"])

    attempts = site.wait_finished(name)["attempts"]
    assert [a["reason"] for a in attempts] == ["PodLost", "Completed"]
    assert attempts[0]["message"] == "index 0 was lost"
    assert attempts[0]["pod"] == pods[0]["metadata"]["name"]
    assert attempts[0]["toStep"] >= reached > attempts[1]["fromStep"] >= EVERY
    ended = site.read_json(name, "attempts/0001.end.json")
    assert ended["seconds"] > 1  # its peer told how long it had run
    accounting = site.read_json(name, "report/report.json")["accounting"]
    assert accounting["gpuSeconds"] > ended["seconds"]
    assert 0 < accounting["wastedGpuSeconds"] < accounting["gpuSeconds"]
    assert adapter_hash(site, name, tmp_path) == uninterrupted


def _uid(pod: dict[str, Any]) -> str:
    uid: str = pod["metadata"]["uid"]
    return uid


def test_a_killed_rank_costs_no_pod_and_a_suspended_run_goes_on_from_its_checkpoint(
    site: Site, uninterrupted: str, tmp_path: Path
) -> None:
    name = "rank-killed"
    site.apply(site.short_job(name))
    wait_progress(site, name, between_checkpoints)
    pods = site.pods(name)
    (rank,) = processes(site, pods[1])["rank"]
    os.kill(rank.pid, signal.SIGKILL)
    wait_progress(
        site,
        name,
        lambda told: told["attempt"] == 2 and told["step"] > told["attempts"][-1]["fromStep"],
    )
    uids = {index: pod["metadata"]["uid"] for index, pod in pods.items()}
    assert {i: pod["metadata"]["uid"] for i, pod in site.pods(name).items()} == uids

    site.patch(name, {"suspend": True})
    wait_for(
        lambda: site.condition(name, "Suspended")["status"] == "True",
        what="suspended", seconds=120,
    )  # fmt: skip
    assert site.pods(name) == {}
    assert site.status(name)["display"]["status"] == "Suspended"
    saved = site.status(name)["checkpoint"]["step"]
    site.patch(name, {"suspend": False})
    attempts = site.wait_finished(name)["attempts"]
    assert [a["reason"] for a in attempts] == ["RankFailed", "Preempted", "Completed"]
    assert attempts[1]["fromStep"] % EVERY == 0
    assert attempts[2]["fromStep"] >= saved
    assert attempts[2]["fromStep"] > attempts[1]["fromStep"] >= EVERY
    assert adapter_hash(site, name, tmp_path) == uninterrupted
