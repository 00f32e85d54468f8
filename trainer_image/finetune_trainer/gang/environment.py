"""The environment of each rank: its place in the gang, its folders, its threads; no secrets."""

import math
import os
from collections.abc import Mapping
from pathlib import Path

from finetune_api import names
from finetune_api.base import quantity_value
from finetune_api.jobconfig import Device, JobConfig
from finetune_trainer.config import ENV_ATTEMPT, ENV_RESUME, Places
from finetune_trainer.gang.settings import Identity

SECRET_PREFIXES = ("AWS_",)
SECRETS = (names.ENV_GANG_TOKEN, names.ENV_CREDENTIALS, names.ENV_STORAGE_CA)


def processors() -> float:
    """CPU cores that this pod may use: the cgroup's quota, else what the kernel schedules on."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        if quota != "max":
            return int(quota) / int(period)
    except (OSError, ValueError):
        pass
    return float(len(os.sched_getaffinity(0)))


def threads(config: JobConfig, cores: float) -> int:
    """Threads a rank may use, so that the ranks of a pod do not fight for its cores."""
    asked = config.spec.resources.cpu
    if asked is not None:
        cores = min(cores, quantity_value(asked))
    return max(1, math.floor(cores / config.ranks_per_pod))


def rank_environment(
    base: Mapping[str, str],
    config: JobConfig,
    places: Places,
    me: Identity,
    *,
    local_rank: int,
    attempt: int,
    master: str,
    port: int,
    resume: Path | None,
) -> dict[str, str]:
    """Everything that a rank is told."""
    environment = {
        name: value
        for name, value in base.items()
        if name not in SECRETS and not name.startswith(SECRET_PREFIXES)
    }
    per_pod = config.ranks_per_pod
    home = places.home
    environment |= {
        "RANK": str(me.index * per_pod + local_rank),
        "LOCAL_RANK": str(local_rank),
        "WORLD_SIZE": str(config.world_size),
        "LOCAL_WORLD_SIZE": str(per_pod),
        "LOCAL_SIZE": str(per_pod),
        "CROSS_RANK": str(me.index),
        "CROSS_SIZE": str(config.pods),
        "MASTER_ADDR": master,
        "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": base.get("OMP_NUM_THREADS") or str(threads(config, processors())),
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(home / "huggingface"),
        "HOME": str(home),
        "TMPDIR": str(home / "tmp"),
        "PYTHONUNBUFFERED": "1",
        "PYTHONFAULTHANDLER": "1",
        names.ENV_JOB: config.to_env(),
        names.ENV_WORKDIR: str(places.root),
        names.ENV_POD_INDEX: str(me.index),
        ENV_ATTEMPT: str(attempt),
    }
    if me.ip.startswith("127."):
        environment["GLOO_SOCKET_IFNAME"] = "lo"
    if config.device is Device.CPU or base.get(names.ENV_PRETEND_GPUS):
        environment["DS_ACCELERATOR"] = "cpu"
    environment.pop(ENV_RESUME, None)
    if resume is not None:
        environment[ENV_RESUME] = str(resume)
    return environment
