"""The node program dies; its pods don't, and what they did meanwhile is told afterwards."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from localcluster.build import FOLDER
from localcluster.cluster import wait_for

NAME = "node-restarted"


@pytest.fixture
def start(cluster, tmp_path: Path) -> Iterator[Callable[[], subprocess.Popen]]:
    """Starts the same node again and again; at the end nothing of it is left."""
    state = tmp_path / "state"
    module = [sys.executable, "-m", "localcluster.node", "--state", str(state)]
    options = ["--kubeconfig", str(cluster.layout.kubeconfig("node")), "--name", NAME]
    images = ["--images", str(cluster.root / "images.json")]
    started: list[subprocess.Popen] = []

    def once() -> subprocess.Popen:
        program = subprocess.Popen([*module, *options, *images], cwd=FOLDER.parent)
        started.append(program)
        return program

    yield once
    for program in started:
        program.kill()
        program.wait()
    subprocess.run([*module, "--reap"], cwd=FOLDER.parent, check=True)
    cluster.kubectl("delete", "node", NAME, "--ignore-not-found")


def test_pods_are_taken_over_with_their_true_exit_codes(start, pods_on, tmp_path: Path) -> None:
    pods = pods_on(NAME)
    go = tmp_path / "go"
    node = start()
    pods.run("ends-alone", f"until test -e {go}; do sleep 0.1; done; exit 17")
    pods.run("goes-on", "trap 'exit 23' TERM; echo $$$$; while :; do sleep 0.1; done")
    pods.until_phase("ends-alone", "Running")
    pods.until_phase("goes-on", "Running")
    pid = int(wait_for(lambda: pods.kubectl("logs", "goes-on").strip(), what="a pid", seconds=10))
    node.send_signal(signal.SIGKILL)
    node.wait()
    go.touch()
    os.kill(pid, 0)

    start()
    assert pods.ended("ends-alone")["exitCode"] == 17
    again = pods.get("goes-on")["status"]
    assert again["phase"] == "Running"
    assert again["containerStatuses"][0]["restartCount"] == 0
    os.kill(pid, 0)
    pods.kubectl("delete", "pod", "goes-on", "--timeout=20s")
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_polite_end_of_the_node_spares_its_pods_and_reaping_does_not(start, pods_on) -> None:
    pods = pods_on(NAME)
    node = start()
    pods.run("survives", "echo $$$$; while :; do sleep 0.1; done")
    pods.until_phase("survives", "Running")
    pid = int(wait_for(lambda: pods.kubectl("logs", "survives").strip(), what="a pid", seconds=10))
    node.terminate()
    node.wait(timeout=15)
    os.kill(pid, 0)
    subprocess.run(
        [sys.executable, "-m", "localcluster.node", "--state", str(node.args[4]), "--reap"],
        cwd=FOLDER.parent, check=True,
    )  # fmt: skip
    wait_for(lambda: not Path(f"/proc/{pid}").exists(), what="the end", seconds=5)
    pods.kubectl("delete", "pod", "survives", "--force", "--grace-period=0")
