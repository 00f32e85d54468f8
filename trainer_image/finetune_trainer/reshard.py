"""A checkpoint of one number of ranks made into one of another.

DeepSpeed refuses optimizer states that were split over other ranks, and its converter knows AdamW
alone. Here the flat states of all ranks are cut anew, whatever they are named: each rank writes
the file that it would have saved itself. What DDP and stage 0 save is whole already.
"""

import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from finetune_api.errors import JobError
from finetune_trainer import zero
from finetune_trainer.session import Session
from finetune_trainer.storage.manifest import MANIFEST

Share = Callable[[int, list[torch.Tensor]], torch.Tensor]
"""This rank's numbers of a group, from those of all ranks that wrote it."""
START_ALIGNMENT = 2
"""Elements that DeepSpeed aligns each rank's share to, at stages 1 and 2."""
OPTIMIZER, MODEL = "optim_states.pt", "model_states.pt"
FROZEN = "frozen_param_fragments"
COMMON_MODEL = f"mp_rank_00_{MODEL}"


def fitted(resume: Path, session: Session) -> Path:
    """The checkpoint for this run's ranks: itself, or beside it one that was cut anew."""
    written, world = _world_size(resume, session.gang.world), session.gang.world
    if written == world:
        return resume
    target = resume.with_name(f"{resume.name}-for-{world}")
    if session.gang.is_local_main:
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(resume, target, copy_function=os.link, ignore=_of_single_ranks)
    session.gang.barrier()
    if session.plan.with_deepspeed:
        (source,) = resume.glob("global_step*")
        _write(source, target / source.name, session, written)
    session.gang.barrier()
    return target


def _world_size(resume: Path, default: int) -> int:
    try:
        manifest = json.loads((resume / MANIFEST).read_text())
    except FileNotFoundError:
        return default
    return int(manifest.get("worldSize", default))


def _of_single_ranks(folder: str, names: list[str]) -> list[str]:
    """Files that only ranks of the old number can read; random states go with them."""
    starts = ("rng_state", "zero_pp_rank_", "bf16_zero_pp_rank_")
    return [name for name in names if name.startswith(starts) or name == COMMON_MODEL]


def _write(source: Path, target: Path, session: Session, written: int) -> None:
    rank, world = session.gang.rank, session.gang.world
    prefix = "bf16_" if session.autocast else ""
    if session.plan.zero_stage:
        name = f"{prefix}zero_pp_rank_{{}}_mp_rank_00_{OPTIMIZER}"
        shards = [_load(source / name.format(old)) for old in range(written)]
        inner = [shard["optimizer_state_dict"] for shard in shards]
        if zero.splits(session):
            groups = _load(source / f"zero_pp_rank_0_{COMMON_MODEL}")["param_shapes"]
            mine = split_weights(inner, [_numels(group) for group in groups], rank, world)
        else:
            mine = split_groups(inner, rank, world)
        torch.save({**shards[0], "optimizer_state_dict": mine}, target / name.format(rank))
    if zero.splits(session):
        name = f"zero_pp_rank_{{}}_{COMMON_MODEL}"
        models = [_load(source / name.format(old)) for old in range(written)]
        frozen = {
            weight: _share(
                [m["frozen_param_fragments"][weight] for m in models], numel, rank, world
            )
            for weight, numel in _numels(models[0].get("frozen_param_shapes") or {}).items()
        }
        if frozen:
            models[0][FROZEN] = frozen
        torch.save({**models[0], "dp_world_size": world}, target / name.format(rank))
    elif session.gang.is_local_main:
        model = _load(source / COMMON_MODEL)
        torch.save({**model, "dp_world_size": world}, target / COMMON_MODEL)


def split_groups(shards: Sequence[dict[str, Any]], rank: int, world: int) -> dict[str, Any]:
    """Stages 1 and 2: each group of weights is one flat row of numbers, cut into equal shares."""
    fp32 = _by_group(shards, "single_partition_of_fp32_groups")
    totals = [sum(part.numel() for part in parts) for parts in fp32]
    sizes = [START_ALIGNMENT * -(-total // (START_ALIGNMENT * world)) for total in totals]
    bounds = [
        (min(rank * size, total), min((rank + 1) * size, total))
        for size, total in zip(sizes, totals, strict=True)
    ]
    written = [
        parts[0].numel() + padding
        for parts, padding in zip(fp32, shards[0]["group_paddings"], strict=True)
    ]
    paddings = [size - (end - start) for size, (start, end) in zip(sizes, bounds, strict=True)]

    def share(group: int, parts: list[torch.Tensor]) -> torch.Tensor:
        return _padded(_cut(parts, *bounds[group]), sizes[group])

    mine = {name: value for name, value in shards[0].items() if name != "param_slice_mappings"}
    return mine | {
        "base_optimizer_state": _states(
            [s["base_optimizer_state"] for s in shards], written, share
        ),
        "single_partition_of_fp32_groups": [
            _cut(parts, *limits) for parts, limits in zip(fp32, bounds, strict=True)
        ],
        "group_paddings": paddings,
        "partition_count": [world] * len(totals),
    }


def split_weights(
    shards: Sequence[dict[str, Any]], groups: list[dict[str, int]], rank: int, world: int
) -> dict[str, Any]:
    """Stage 3: each weight is cut by itself; a group is what a rank has of its weights in a row."""
    written = len(shards)

    def share(group: int, parts: list[torch.Tensor]) -> torch.Tensor:
        mine, offset = [], 0
        for numel in groups[group].values():
            size = -(-numel // written)
            slices = [part[offset : offset + size] for part in parts]
            mine.append(_share(slices, numel, rank, world))
            offset += size
        return torch.cat(mine)

    fp32 = _by_group(shards, "fp32_flat_groups")
    return {
        **shards[0],
        "optimizer_state_dict": _states(
            [s["optimizer_state_dict"] for s in shards], [p[0].numel() for p in fp32], share
        ),
        "fp32_flat_groups": [share(group, parts) for group, parts in enumerate(fp32)],
        "partition_count": world,
    }


def _by_group(shards: Sequence[dict[str, Any]], name: str) -> list[list[torch.Tensor]]:
    """For each group, what each rank has of it."""
    return [list(parts) for parts in zip(*(shard[name] for shard in shards), strict=True)]


def _states(shards: list[dict[str, Any]], sizes: Sequence[int], share: Share) -> dict[str, Any]:
    """An optimizer's state of all ranks, cut anew. ``sizes``: of each group's share as it was."""
    states = {
        group: _anew([s["state"][group] for s in shards], int(group), sizes[int(group)], share)
        for group in shards[0]["state"]
    }
    return {**shards[0], "state": states}


def _anew(values: list[Any], group: int, size: int, share: Share) -> Any:
    """A value of all ranks: numbers of each weight, in one row or several, are cut anew, whatever
    it is named and however deep it lies; what all ranks share stays."""
    first = values[0]
    if isinstance(first, dict):
        return {name: _anew([v[name] for v in values], group, size, share) for name in first}
    if not torch.is_tensor(first) or first.numel() <= 1:
        return first
    if first.shape[-1] != size:
        raise JobError(
            f"the optimizer's states of shape {tuple(first.shape)} cannot be shared by another "
            "number of ranks",
            "go on with as many ranks as wrote the checkpoint",
        )
    rows = [value.reshape(-1, size) for value in values]
    cut = [share(group, [row[n] for row in rows]) for n in range(rows[0].shape[0])]
    return torch.stack(cut).reshape(*first.shape[:-1], cut[0].numel())


def _share(parts: list[torch.Tensor], numel: int, rank: int, world: int) -> torch.Tensor:
    """A rank's share of one weight; the last shares are filled up with zeros."""
    size = -(-numel // world)
    return _padded(_cut(parts, min(rank * size, numel), min((rank + 1) * size, numel)), size)


def _cut(parts: list[torch.Tensor], start: int, end: int) -> torch.Tensor:
    """Numbers ``start`` to ``end`` of what the parts are in a row."""
    pieces, before = [], 0
    for part in parts:
        flat = part.detach().flatten()
        low, high = max(start - before, 0), min(end - before, flat.numel())
        if low < high:
            pieces.append(flat[low:high])
        before += flat.numel()
    return torch.cat(pieces) if pieces else parts[0].detach().flatten()[:0].clone()


def _padded(values: torch.Tensor, size: int) -> torch.Tensor:
    return torch.cat([values, values.new_zeros(size - values.numel())])


def _numels(shapes: dict[str, Any]) -> dict[str, int]:
    return {name: torch.Size(shape).numel() for name, shape in shapes.items()}


def _load(path: Path) -> dict[str, Any]:
    """A file of the checkpoint, whose hash has been checked; its numbers are read when they are
    needed."""
    loaded: dict[str, Any] = torch.load(path, map_location="cpu", mmap=True, weights_only=False)
    return loaded
