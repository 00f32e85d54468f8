"""Checkpoints on this pod's disk: written under a temporary name, renamed when all ranks wrote.

Every pod has the files of its own ranks only; rank 0's pod also has the common ones. A folder
with its final name is complete.
"""

import shutil
from pathlib import Path

from finetune_trainer.config import step_folder

KEPT = 2
"""Newest complete folders that stay: one may be on its way to the bucket while the next is made."""


def temporary(checkpoints: Path) -> Path:
    """Where checkpoints are written before they are complete."""
    return checkpoints / ".tmp"


def publish(written: Path, checkpoints: Path, step: int) -> Path:
    """Give a complete folder its final name; called once a pod, after a barrier."""
    final = checkpoints / step_folder(step)
    if final.exists():
        shutil.rmtree(final)
    written.rename(final)
    return final


def forget_old(checkpoints: Path) -> None:
    """Remove all but the newest complete folders."""
    complete = sorted(path for path in checkpoints.glob("step-*") if path.is_dir())
    for path in complete[:-KEPT]:
        shutil.rmtree(path, ignore_errors=True)


def size(folder: Path) -> int:
    """Bytes of all files of a checkpoint on this disk."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
