"""What a training pod costs beside training: its start, and supervisor and telemetry meanwhile.

A real supervisor with one rank on folders, against the plain script under torchrun.
"""

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from finetune_api import names
from tests.bench.test_throughput import CONTESTS, GLOBAL_BATCH, STEPS, Arena
from tests.component.gang.gang import free_address

pytestmark = [pytest.mark.bench, pytest.mark.timeout(1800)]

ROUNDS = 3
MEASURED_STEPS = 30
POLL_SECONDS = 0.05
MIB = 2**20


@pytest.fixture(scope="module")
def arena(tmp_path_factory: pytest.TempPathFactory) -> Arena:
    (of,) = (contest for contest in CONTESTS if contest.task == "TextClassification")
    made = Arena(of, tmp_path_factory.mktemp("pod"))
    made.prepare([128] * GLOBAL_BATCH * STEPS, held_out=16)
    return made


class Pod:
    """A supervisor that was started just now."""

    def __init__(self, arena: Arena, number: int) -> None:
        self.address, work = free_address(), arena.folder / f"pod-{number}"
        work.mkdir()
        environment = arena.environment | {
            names.ENV_JOB: (arena.folder / "job.json").read_text(),
            names.ENV_WORKDIR: str(work), names.ENV_POD_INDEX: "0", names.ENV_POD_NAME: "pod-0",
            names.ENV_POD_IP: self.address, names.ENV_GANG_HOSTS: self.address,
            names.ENV_GANG_TOKEN: "token", names.ENV_TERMINATION: str(work / "message"),
        }  # fmt: skip
        self.begun = time.monotonic()
        self.process = psutil.Popen(
            [sys.executable, "-m", "finetune_trainer", "supervise"], env=environment,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def wait_step(self, step: int, interval: float = POLL_SECONDS) -> float:
        """Seconds from the start to the end of an optimizer step."""
        while self.process.poll() is None:
            with suppress(OSError):
                url = f"http://{self.address}:{names.PORT_HTTP}/progress"
                with urllib.request.urlopen(url, timeout=2) as answer:
                    told: dict[str, Any] = json.loads(answer.read())
                if told["step"] >= step:
                    return time.monotonic() - self.begun
            time.sleep(interval)
        raise AssertionError(f"the supervisor left with {self.process.returncode}")

    @property
    def ranks(self) -> list[psutil.Process]:
        return [p for p in self.process.children(recursive=True) if p.cmdline()[-1:] == ["rank"]]

    def processor_seconds(self) -> tuple[float, float]:
        """Of the ranks, and of all else in the pod, so far."""
        ranks = self.ranks
        others = [self.process, *self.process.children(recursive=True)]
        return used(ranks), used([one for one in others if one not in ranks])


def used(processes: list[psutil.Process]) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in processes)


@contextmanager
def pod(arena: Arena, number: int) -> Iterator[Pod]:
    started = Pod(arena, number)
    try:
        yield started
    finally:
        for process in [*started.process.children(recursive=True), started.process]:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        started.process.wait()


def plain_start(arena: Arena, number: int) -> float:
    """Seconds from torchrun's start to the end of the plain script's first step."""
    out = arena.folder / f"torchrun-{number}"
    out.mkdir()
    script = str(Path(__file__).parent / "plain" / arena.contest.script)
    arguments = [arena.folder / "model", arena.folder / "train.jsonl", out, GLOBAL_BATCH]
    begun = time.monotonic()
    subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=1", "--standalone",
         "-m", "tests.bench.stopwatch", str(out / "steps.json"), "1", script,
         *map(str, arguments)],
        env=arena.environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    steps = json.loads((out / "steps.json").read_text())
    return float(steps[-1]["clock"]) - begun


def test_supervisor_and_telemetry_cost_next_to_nothing(arena: Arena) -> None:
    with pod(arena, 100) as running:
        running.wait_step(2)
        first = running.processor_seconds()
        supervisor = running.process.memory_info().rss / MIB
        running.wait_step(2 + MEASURED_STEPS, interval=1)
        last = running.processor_seconds()
    ranks, others = (after - before for before, after in zip(first, last, strict=True))
    print(
        f"\nsupervisor and storage agent: {others / ranks:.2%} of the rank's processor time over "
        f"{MEASURED_STEPS} steps of {ranks / MEASURED_STEPS:.2f} s; the supervisor is "
        f"{supervisor:.0f} MiB"
    )
    assert others / ranks <= 0.01
    assert supervisor <= 60


def test_a_pod_starts_about_as_fast_as_torchrun(arena: Arena) -> None:
    with pod(arena, 200) as first:
        first.wait_step(1)  # leaves its baseline in the bucket
        while not list((arena.folder / "out").glob("baseline/*/baseline.json")):
            time.sleep(POLL_SECONDS)
    ours, plain = [], []
    for number in range(ROUNDS):
        plain.append(plain_start(arena, number))
        with pod(arena, 201 + number) as warm:
            ours.append(warm.wait_step(1))
    print(
        f"\nfrom a pod's start to its first optimizer step: {min(ours):.1f} s; plain script under "
        f"torchrun: {min(plain):.1f} s; {min(ours) / min(plain):.2f} times, best of {ROUNDS}"
    )
    assert min(ours) <= 1.3 * min(plain)
