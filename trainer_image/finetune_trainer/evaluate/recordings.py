"""Prepared recordings of all parts."""

import pyarrow.compute as pc

from finetune_trainer.data.audio_encoder import SAMPLES
from finetune_trainer.evaluate.forward import Rows


def longest(parts: dict[str, Rows]) -> int:
    """Samples of the longest recording of all parts."""
    columns = (rows.dataset.data.table.column(SAMPLES.name) for rows in parts.values())
    return max(pc.max(pc.binary_length(column)).as_py() for column in columns) // 2
