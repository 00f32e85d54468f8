"""What a failed rank's last words mean: the class that decides what follows, and what to do."""

import re

from finetune_api.exits import ExitClass

Finding = tuple[ExitClass, str]

UNKNOWN: Finding = (ExitClass.RANK_FAILED, "see this rank's log for the traceback")
_FOUND = (
    (
        ExitClass.OUT_OF_MEMORY,
        r"OutOfMemoryError|CUDA error: out of memory|CUBLAS_STATUS_ALLOC_FAILED|"
        r"can't allocate memory|^MemoryError",
        "shorten dataset.maxLength, use lora or qlora, a higher distribution.deepspeed.zeroStage, "
        "or ask for more memory",
    ),
    (
        ExitClass.HARDWARE_FAULT,
        r"uncorrectable (ECC|NVLink) error|\bXid\b|hardware stack error|fallen off the bus|"
        r"GPU is lost|devices?(\(s\))? (is|are|is/are) busy or unavailable|unhandled cuda error|"
        r"CUDA driver initialization failed",
        "look at the GPUs of this node; a train Job that is made anew avoids it",
    ),
    (
        ExitClass.RANK_FAILED,
        r"No space left on device",
        "the pod's local disk is full: save less often, or keep less on the node",
    ),
)
_TABLE = [(kind, re.compile(pattern, re.MULTILINE), remedy) for kind, pattern, remedy in _FOUND]


def diagnose(words: str) -> Finding:
    """Class and remedy of an exception's last line, or of the end of a log."""
    for kind, pattern, remedy in _TABLE:
        if pattern.search(words):
            return kind, remedy
    return UNKNOWN
