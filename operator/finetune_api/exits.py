"""How a pod ends: exit classes, their codes, and the termination message.

Codes 40-49 are final, 50-59 free, everything else counts against the retry fuse. Only index 0
leaves with a final code, carrying the message of the first rank that failed.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from finetune_api.base import Document


class ExitClass(StrEnum):
    """Why a pod or an attempt ended."""

    COMPLETED = "Completed"
    USER_ERROR = "UserError"
    DATA_ERROR = "DataError"
    OUT_OF_MEMORY = "OutOfMemory"
    NON_FINITE = "NonFinite"
    RETRIES_EXHAUSTED = "RetriesExhausted"
    GATE_NOT_MET = "GateNotMet"
    NO_PROGRESS = "NoProgress"
    STORAGE_LOST = "StorageLost"
    STORAGE_UNREACHABLE = "StorageUnreachable"
    PREEMPTED = "Preempted"
    HARDWARE_FAULT = "HardwareFault"
    INTERNAL_ERROR = "InternalError"
    RANK_FAILED = "RankFailed"
    POD_LOST = "PodLost"


EXIT_CODES: dict[ExitClass, int] = {
    ExitClass.COMPLETED: 0,
    ExitClass.USER_ERROR: 40,
    ExitClass.DATA_ERROR: 41,
    ExitClass.OUT_OF_MEMORY: 42,
    ExitClass.NON_FINITE: 43,
    ExitClass.RETRIES_EXHAUSTED: 44,
    ExitClass.GATE_NOT_MET: 45,
    ExitClass.NO_PROGRESS: 46,
    ExitClass.STORAGE_LOST: 47,
    ExitClass.PREEMPTED: 50,
    ExitClass.HARDWARE_FAULT: 60,
    ExitClass.INTERNAL_ERROR: 61,
    ExitClass.STORAGE_UNREACHABLE: 62,
}
"""Exit code of a pod by class. RankFailed and PodLost end an attempt, never a pod."""

FINAL_CODES = tuple(range(40, 50))
FREE_CODES = tuple(range(50, 60))
FREE_CLASSES = frozenset({ExitClass.PREEMPTED, ExitClass.POD_LOST})
"""Classes of attempts that spend no retry."""

TERMINATION_LIMIT = 4000
"""Bytes of a termination message; the kubelet keeps 4096."""


class Failure(Document):
    """The reason of a failed run, told by the first rank that failed."""

    exit_class: Annotated[ExitClass, Field(alias="class")]
    """Class of the failure."""
    message: Annotated[str, Field(max_length=1500)]
    """One sentence: what, where, which value."""
    remedy: Annotated[str, Field(max_length=500)] = ""
    """One sentence: what to do next."""
    rank: int | None = None
    """The rank that failed first."""
    step: int | None = None
    """The optimizer step it had reached."""
    checkpoint_step: int | None = None
    """Step of the newest verified checkpoint."""

    @property
    def code(self) -> int:
        """Exit code of a pod that ends with this failure."""
        return EXIT_CODES.get(self.exit_class, EXIT_CODES[ExitClass.INTERNAL_ERROR])

    def sentence(self) -> str:
        """What happened and what to do, as people read it everywhere."""
        return f"{self.message}; {self.remedy}" if self.remedy else self.message
