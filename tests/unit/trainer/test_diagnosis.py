"""What last words mean. Those of torch and of the system are provoked, those of GPUs are known."""

import errno
import os
import signal
import traceback
from pathlib import Path

import pytest

from finetune_api.exits import ExitClass
from finetune_trainer.diagnosis import diagnose
from finetune_trainer.gang.failures import of_exit
from finetune_trainer.gang.host_memory import kills


def last_line(error: BaseException) -> str:
    return traceback.format_exception_only(error)[-1].strip()


def test_memory_that_torch_cannot_get_is_told() -> None:
    import torch

    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 62, dtype=torch.uint8)
    kind, remedy = diagnose(last_line(caught.value))
    assert kind is ExitClass.OUT_OF_MEMORY
    assert "qlora" in remedy


def test_a_full_disk_is_told() -> None:
    error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/work/checkpoints")
    kind, remedy = diagnose(last_line(error))
    assert kind is ExitClass.RANK_FAILED
    assert "disk is full" in remedy


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate", ExitClass.OUT_OF_MEMORY),
        ("torch.AcceleratorError: CUDA error: out of memory", ExitClass.OUT_OF_MEMORY),
        ("RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED when", ExitClass.OUT_OF_MEMORY),
        ("MemoryError", ExitClass.OUT_OF_MEMORY),
        ("CUDA error: uncorrectable ECC error encountered", ExitClass.HARDWARE_FAULT),
        ("NVRM: Xid (PCI:0000:3b:00): 79, GPU has fallen off the bus.", ExitClass.HARDWARE_FAULT),
        ("CUDA error: CUDA-capable device(s) is/are busy or unavailable", ExitClass.HARDWARE_FAULT),
        ("all CUDA-capable devices are busy or unavailable", ExitClass.HARDWARE_FAULT),
        ("ncclUnhandledCudaError: unhandled cuda error", ExitClass.HARDWARE_FAULT),
        ("CUDA error: device-side assert triggered", ExitClass.RANK_FAILED),
        ("CUDA error: an illegal memory access was encountered", ExitClass.RANK_FAILED),
        ("ValueError: the memory of the model's decoder", ExitClass.RANK_FAILED),
    ],
)
def test_last_words_have_a_class(words: str, kind: ExitClass) -> None:
    assert diagnose(words)[0] is kind


def test_a_silent_end_is_judged_by_its_log_and_by_the_kernel() -> None:
    tail = ["step 7", "CUDA error: uncorrectable ECC error encountered"]
    assert of_exit(1, -signal.SIGABRT, 7, tail).exit_class is ExitClass.HARDWARE_FAULT
    killed = of_exit(1, -signal.SIGKILL, 7, [], host_memory=True)
    assert killed.exit_class is ExitClass.OUT_OF_MEMORY
    assert "resources.memory" in killed.remedy
    assert of_exit(1, -signal.SIGKILL, 7, []).exit_class is ExitClass.RANK_FAILED
    assert of_exit(1, -signal.SIGSEGV, 7, [], host_memory=True).exit_class is ExitClass.RANK_FAILED


def test_kills_are_counted_where_the_kernel_tells(tmp_path: Path) -> None:
    second, first = tmp_path / "memory.oom_control", tmp_path / "memory.events"
    assert kills((first, second)) == 0
    second.write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 2\n")
    assert kills((first, second)) == 2
    first.write_text("low 0\nhigh 4\nmax 9\noom 3\noom_kill 1\noom_group_kill 0\n")
    assert kills((first, second)) == 1
