"""The process group of the ranks, and what they agree on.

DeepSpeed's group must exist before any model is built, or ZeRO believes that it is alone. Its
shared-memory op would be compiled at the first use: it is switched off, so no image needs a
compiler; gloo is as fast here.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Self

import torch
import torch.distributed as dist

from finetune_api.errors import UserError
from finetune_api.jobconfig import Device
from finetune_api.names import ENV_PRETEND_GPUS
from finetune_trainer.uncompiled import uncompiled

COLLECTIVE_TIMEOUT = timedelta(minutes=30)
"""A lost peer is noticed by its supervisor long before."""


@dataclass(frozen=True)
class Gang:
    """This rank among the others; collectives work for one rank as well."""

    rank: int
    world: int
    local_rank: int
    device: torch.device

    @classmethod
    def join(cls, asked: Device, *, deepspeed: bool, environ: Mapping[str, str]) -> Self:
        """Start the process group; UserError when GPUs are asked for and none is there."""
        rank, world = int(environ.get("RANK", "0")), int(environ.get("WORLD_SIZE", "1"))
        local_rank = int(environ.get("LOCAL_RANK", "0"))
        device = choose_device(asked, local_rank, pretend=bool(environ.get(ENV_PRETEND_GPUS)))
        threads = int(environ.get("OMP_NUM_THREADS", "0"))
        if threads:
            torch.set_num_threads(threads)
        backend = "nccl" if device.type == "cuda" else "gloo"
        if device.type == "cuda":
            torch.cuda.set_device(device)
        if deepspeed:
            _init_deepspeed(backend)
        elif world > 1:
            dist.init_process_group(backend, timeout=COLLECTIVE_TIMEOUT)
        return cls(rank, world, local_rank, device)

    @property
    def is_main(self) -> bool:
        """Rank 0 speaks for all."""
        return self.rank == 0

    @property
    def is_local_main(self) -> bool:
        """The first rank of each pod speaks for the pod's disk."""
        return self.local_rank == 0

    def barrier(self) -> None:
        """Wait for all ranks."""
        if self.world > 1:
            dist.barrier()

    def gather_rows(self, values: list[int]) -> list[list[int]]:
        """The ``values`` of every rank, in rank order; the same count everywhere."""
        mine = torch.tensor(values, dtype=torch.int64, device=self.device)
        if self.world == 1:
            return [values]
        theirs = [torch.empty_like(mine) for _ in range(self.world)]
        dist.all_gather(theirs, mine)
        return [other.tolist() for other in theirs]

    def any(self, flag: bool) -> bool:
        """True on every rank when it is true on one."""
        return any(row[0] for row in self.gather_rows([int(flag)]))

    def gather_objects(self, value: Any) -> list[Any]:
        """The ``value`` of every rank, in rank order (pickled: for results, not for steps)."""
        if self.world == 1:
            return [value]
        everyone: list[Any] = [None] * self.world
        dist.all_gather_object(everyone, value)
        return everyone

    def from_main(self, value: Any) -> Any:
        """Rank 0's ``value``, everywhere."""
        if self.world == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]

    def leave(self) -> None:
        """End the process group; peers that still wait get an error."""
        if dist.is_initialized():
            dist.destroy_process_group()


def choose_device(asked: Device, local_rank: int, *, pretend: bool) -> torch.device:
    """The device of a rank. ``pretend``: the local cluster has GPUs in name only."""
    if asked is Device.CPU or pretend:
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise UserError(
            "the job asks for GPUs and CUDA is not available in this pod",
            "use an image with CUDA on nodes with a driver, or set resources.gpusPerNode to 0",
        )
    if local_rank >= torch.cuda.device_count():
        raise UserError(
            f"rank {local_rank} of this pod has no GPU: {torch.cuda.device_count()} are visible",
            "check resources.gpusPerNode and the device plugin of the node",
        )
    return torch.device("cuda", local_rank)


def bf16_works(device: torch.device) -> bool:
    """bfloat16 has hardware support from Ampere on."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device)[0] >= 8


def without_compiler() -> None:
    """Keep DeepSpeed from compiling its shared-memory op (CPU)."""
    import deepspeed.ops

    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False


def without_inductor() -> None:
    """Import DeepSpeed's Muon optimizer without compiling it: ZeRO imports it to compare types, and
    it is never used here."""
    with uncompiled():
        import deepspeed.runtime.zero.muon.original_muon  # noqa: F401


def keep_gradient_norm() -> None:
    """Have DeepSpeed keep the norm that it clips by at stage 0, as it does at every other stage."""
    from deepspeed.runtime.engine import DeepSpeedEngine
    from deepspeed.runtime.utils import clip_grad_norm_

    def clip(engine: Any) -> None:
        engine._global_grad_norm = clip_grad_norm_(
            engine.module.parameters(), max_norm=engine.gradient_clipping(), mpu=engine.mpu
        )

    DeepSpeedEngine.clip_fp32_gradients = clip


def _init_deepspeed(backend: str) -> None:
    if backend == "gloo":
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    import deepspeed

    without_inductor()
    keep_gradient_norm()
    if backend == "gloo":
        without_compiler()
    deepspeed.init_distributed(dist_backend=backend, timeout=COLLECTIVE_TIMEOUT, verbose=False)
