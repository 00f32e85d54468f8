"""Which entities a row of tags means, and how many of them are right (seqeval's reading: an I-
without its B- begins an entity, as in the CoNLL evaluation)."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from finetune_trainer.evaluate.f1 import Counts


def counts(
    truth: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]], kinds: list[str]
) -> Counts:
    """Entities of every row by kind: a predicted one is right when kind and both ends are."""
    from seqeval.metrics.sequence_labeling import get_entities

    place = {kind: number for number, kind in enumerate(kinds)}
    right = np.zeros((len(truth), len(kinds)), np.int64)
    both = np.zeros_like(right)
    for row, (true_tags, told_tags) in enumerate(zip(truth, predicted, strict=True)):
        true, told = set(get_entities(list(true_tags))), set(get_entities(list(told_tags)))
        for table, found in ((right, [*(true & told)]), (both, [*true, *told])):
            for kind, count in Counter(kind for kind, _, _ in found).items():
                table[row, place[kind]] = count
    return Counts(right, both)
