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


class Watched:
    """Pods and processes of one pod that must survive what befalls its peer."""

    def __init__(self, site: Site, name: str, index: int) -> None:
        self.site, self.name, self.index = site, name, index
        self.pod = site.pods(name)[index]
        found = processes(site, self.pod)
        (self.supervisor,) = found["supervise"]
        self.ranks = {rank.pid for rank in found["rank"]}
        self.inode = model_file(self.supervisor).stat().st_ino

    def kill(self) -> None:
        """SIGKILL to everything of this pod at once."""
        found = processes(self.site, self.pod)
        for process in [*found["supervise"], *found["rank"]]:
            process.send_signal(signal.SIGKILL)

    def assert_in_place(self) -> None:
        """The same pod, supervisor and model file, with new ranks."""
        wait_for(self._new_ranks, what=f"new ranks of pod {self.index}", seconds=RUN_SECONDS)
        assert _uid(self.site.pods(self.name)[self.index]) == _uid(self.pod)
        assert [p.pid for p in processes(self.site, self.pod)["supervise"]] == [self.supervisor.pid]
        assert model_file(self.supervisor).stat().st_ino == self.inode

    def _new_ranks(self) -> bool:
        ranks = {rank.pid for rank in processes(self.site, self.pod)["rank"]}
        return bool(ranks) and ranks.isdisjoint(self.ranks)


def _uid(pod: dict[str, Any]) -> str:
    uid: str = pod["metadata"]["uid"]
    return uid


def attempt_under_way(number: int) -> Callable[[dict[str, Any]], bool]:
    """Has this attempt gone beyond the step it began with, with a checkpoint behind it?"""

    def reached(report: dict[str, Any]) -> bool:
        if report["attempt"] != number or not report["attempts"]:
            return False
        return between_checkpoints(report) and report["step"] > report["attempts"][-1]["fromStep"]

    return reached


def test_deaths_in_turn_leave_survivors_in_place_and_the_uninterrupted_result(
    site: Site, hello: Finished, tmp_path: Path
) -> None:
    """A pod, then index 0, then a rank, then the user's suspension, in one run."""
    name = "deaths-in-turn"
    site.apply(site.short_job(name))
    wait_progress(site, name, attempt_under_way(1))
    first, second = Watched(site, name, 0), Watched(site, name, 1)
    second.kill()
    first.assert_in_place()

    wait_progress(site, name, attempt_under_way(2))
    first, second = Watched(site, name, 0), Watched(site, name, 1)
    leader, reached = first.pod["metadata"]["name"], site.progress(first.pod)["step"]
    first.kill()
    wait_for(lambda: not processes(site, second.pod)["rank"], what="ranks stop", seconds=60)
    second.assert_in_place()
    assert _uid(site.pods(name)[0]) != _uid(first.pod)

    wait_progress(site, name, attempt_under_way(3))
    first, second = Watched(site, name, 0), Watched(site, name, 1)
    os.kill(next(iter(second.ranks)), signal.SIGKILL)
    first.assert_in_place()
    second.assert_in_place()

    wait_progress(site, name, attempt_under_way(4))
    site.patch(name, {"suspend": True})
    wait_for(
        lambda: site.condition(name, "Suspended")["status"] == "True",
        what="suspended", seconds=120,
    )  # fmt: skip
    assert site.pods(name) == {}
    status = site.status(name)
    assert status["display"]["status"] == "Suspended"
    saved = status["checkpoint"]["step"]
    site.patch(name, {"suspend": False})

    attempts = site.wait_finished(name)["attempts"]
    assert [a["number"] for a in attempts] == [1, 2, 3, 4, 5]
    assert [a["reason"] for a in attempts] == [
        "PodLost", "PodLost", "RankFailed", "Preempted", "Completed",
    ]  # fmt: skip
    began = [a["fromStep"] for a in attempts]
    assert began == sorted(began)
    assert all(step >= EVERY and step % EVERY == 0 for step in began[1:4])
    assert began[4] >= saved
    assert began[4] > began[3]
    assert attempts[1]["message"] == "index 0 was lost"
    assert attempts[1]["pod"] == leader
    assert attempts[1]["toStep"] >= reached
    ended = site.read_json(name, "attempts/0002.end.json")
    assert ended["seconds"] > 1  # its peer told how long it had run
    accounting = site.read_json(name, "report/report.json")["accounting"]
    assert accounting["gpuSeconds"] > ended["seconds"]
    assert 0 < accounting["wastedGpuSeconds"] < accounting["gpuSeconds"]
    assert adapter_hash(site, name, tmp_path) == adapter_hash(site, HELLO, tmp_path)
