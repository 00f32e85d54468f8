"""Tries an image as its pods use it: uid, read-only root, no compiler, exactly the locked packages,
and for the trainer a whole run from the containers that the operator renders."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from finetune_api import names
from finetune_api.job import FineTuneJob
from finetune_api.progress import Prepared, ProgressReport
from finetune_operator.render.metadata import Owner
from finetune_operator.render.prepare_job import prepare_job
from finetune_operator.render.train_job import train_job
from finetune_operator.settings import Settings
from hack.images.build import CONTEXT
from hack.images.chroot import Chroot
from hack.images.dockerfile import ImageConfig
from hack.images.root import ImageError, Process, Root, checked

OURS = "finetune-operator"
OPERATOR_LOCK = "locks/operator.lock"
CUDA_LOCK = "trainer_image/requirements-cuda.lock"
POD_IP = "127.66.0.1"
STEPS = 4
PIN = re.compile(r"^([A-Za-z0-9._-]+==[^\\\n]+)", re.MULTILINE)


@dataclass(frozen=True)
class Image:
    """A finished root and what it says about itself; ``work`` takes logs and volumes."""

    root: Root
    config: ImageConfig
    work: Path

    def run(
        self, arguments: list[str], env: Mapping[str, str] | None = None,
        binds: Mapping[str, Path] | None = None, *, entrypoint: tuple[str, ...] | None = None,
    ) -> str:  # fmt: skip
        """The output of a container of this image; ``arguments`` stand where a pod's stand."""
        first = self.config.entrypoint if entrypoint is None else entrypoint
        command = [*first, *arguments]
        process = Process(
            command, {**self.config.env, **(env or {})}, self.config.workdir, self.config.user,
            binds or {}, as_pod=True,
        )  # fmt: skip
        shown = " ".join(command)[:80]
        return checked(lambda log: self.root.run(process, log), self.work / "try.log", shown)


def locked(path: str, python: str) -> dict[str, str]:
    """Name and version of everything that a lock installs for this Python."""
    environment = {"python_full_version": python, "python_version": python.rpartition(".")[0]}
    found = {}
    for line in PIN.findall((CONTEXT / path).read_text(encoding="utf-8")):
        wanted = Requirement(line)
        if wanted.marker is None or wanted.marker.evaluate(environment):
            found[canonicalize_name(wanted.name)] = str(wanted.specifier).removeprefix("==")
    return found


def inspect(image: Image, lock: str, *, only: Callable[[str], bool] = lambda _: True) -> None:
    """Who the process is, what it can write, and that exactly the packages of ``lock`` that
    ``only`` lets through are installed, in its versions."""
    script = Path(__file__).with_name("inspection.py").read_text(encoding="utf-8")
    said = image.run(["-I", "-c", script], entrypoint=("/app/bin/python",))
    found = json.loads(said.splitlines()[-1])
    expected = {n: v for n, v in locked(lock, found["python"]).items() if only(n)}
    packages = {canonicalize_name(n): v.partition("+")[0] for n, v in found["packages"].items()}
    del packages[OURS]
    if packages != expected:
        differing = dict(expected.items() ^ packages.items())
        raise ImageError(f"packages differ from {lock}: {sorted(differing)}")
    told = f"  Python {found['python']}, {len(packages)} packages as locked"
    if isinstance(image.root, Chroot):
        if found["uid"] != int(image.config.user.partition(":")[0]):
            raise ImageError(f"runs as uid {found['uid']}, not {image.config.user}")
        for what in ("compilers", "writable"):
            if found[what]:
                raise ImageError(f"{what} in the image: {found[what]}")
        told += f"; uid {found['uid']}, no compiler, nothing of the root is writable"
    print(told, flush=True)


def try_operator(image: Image) -> None:
    """The entry point takes a pod's arguments, and every part of the operator can be imported."""
    inspect(image, OPERATOR_LOCK)
    if "usage: finetune-operator" not in image.run(["--help"]):
        raise ImageError("`finetune-operator --help` does not print its usage")
    print("  `finetune-operator --help` answers", flush=True)


def try_trainer(image: Image, *, has_cpu_torch: bool) -> None:
    """The containers that the operator renders: prepare, then training with ZeRO-2, to the end.
    The ordinary index's torch brings the CUDA libraries; a CPU build brings none of them."""
    inspect(
        image,
        CUDA_LOCK,
        only=lambda name: not (has_cpu_torch and name.startswith(("cuda-", "nvidia-", "triton"))),
    )
    volume = image.work / "volume"
    make_inputs(volume)
    own(volume, image.config.user)
    seen = image.root.seen("/work")
    job = FineTuneJob.from_manifest(manifest(seen))
    owner, settings = Owner("default", job.metadata.name, "uid", 1), Settings()

    said = run_pod(image, prepare_job(job, owner, settings), volume)
    prepared = Prepared.model_validate(said["prepared"], extra="ignore")
    print(f"  prepare pod: {said['data']}"[:100], flush=True)

    training = train_job(job, owner, prepared, "token", settings)
    report = ProgressReport.read(run_pod(image, training, volume))
    weights = volume / "out" / "adapter" / "adapter_model.safetensors"
    if report.step != STEPS or not weights.is_file():
        raise ImageError(f"trained {report.step} of {STEPS} steps; {weights} is missing")
    print(f"  training pod: {report.step} steps with ZeRO-2, {weights.stat().st_size} bytes")


def run_pod(image: Image, job: dict[str, Any], volume: Path) -> dict[str, Any]:
    """Run the container of a rendered Job; its termination message."""
    container = job["spec"]["template"]["spec"]["containers"][0]
    fields = {names.ENV_POD_IP: POD_IP, names.ENV_POD_INDEX: "0"}
    env = {e["name"]: e.get("value", fields.get(e["name"], "smoke")) for e in container["env"]}
    if names.ENV_GANG_HOSTS in env:
        env[names.ENV_GANG_HOSTS] = POD_IP  # there is no cluster's DNS here
    message = image.work / "termination-log"
    message.write_text("")
    own(message, image.config.user)
    binds = {names.WORK_PATH: volume, names.TERMINATION_PATH: message}
    started = time.monotonic()
    image.run(container["args"], env, binds)
    print(f"        {time.monotonic() - started:.1f} s", flush=True)
    answer: dict[str, Any] = json.loads(message.read_text())
    return answer


def manifest(work: str) -> dict[str, Any]:
    """A job on folders; ``work`` is what its pods call the work volume."""
    return {
        "metadata": {"name": "smoke"},
        "spec": {
            "task": "TextClassification",
            "model": {"uri": f"file://{work}/inputs/model/"},
            "dataset": {
                "train": {"uri": f"file://{work}/inputs/rows.jsonl"},
                "test": {"fraction": 0.2},
            },
            "method": {"lora": {"rank": 4}},
            "training": {"globalBatchSize": 8, "maxSteps": STEPS, "learningRate": 1e-3},
            "distribution": {"strategy": "DeepSpeed"},
            "resources": {"nodes": 1, "gpusPerNode": 0},
            "output": {"uri": f"file://{work}/out/"},
        },
    }


def make_inputs(volume: Path) -> None:
    """The tiny model and rows of the component tests, made with the development environment."""
    inputs = volume / "inputs"
    inputs.mkdir(parents=True)
    script = (
        "import pathlib, sys; from tests.component.trainer import cases;"
        "folder = pathlib.Path(sys.argv[1]); cases.write_rows(folder / 'rows.jsonl');"
        "cases.make_model(str(folder / 'model'))"
    )
    subprocess.run([sys.executable, "-c", script, inputs], cwd=CONTEXT, check=True)


def own(path: Path, user: str) -> None:
    """Hand a volume to the image's user, as fsGroup does; without root everything is ours."""
    if os.geteuid() == 0:
        subprocess.run(["chown", "--recursive", user, path], check=True)
