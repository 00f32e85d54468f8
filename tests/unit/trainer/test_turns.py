"""Turns of a forward pass: every row once, and as many passes on each rank."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from finetune_trainer.evaluate.turns import TOKENS_AT_ONCE, turns

LENGTHS = st.lists(st.integers(1, 2 * TOKENS_AT_ONCE), min_size=1, max_size=60)


@given(LENGTHS, st.integers(1, 5))
def test_ranks_make_equally_many_passes_over_all_rows(lengths, world):
    rows = np.array(lengths, np.int32)
    passes = [list(turns(rows, rank, world)) for rank in range(world)]
    assert len({len(mine) for mine in passes}) == 1
    counted = [row for mine in passes for chosen, count in mine for row in chosen[:count]]
    assert sorted(counted) == list(range(len(rows)))
    for chosen, count in (turn for mine in passes for turn in mine):
        assert len(chosen) >= max(1, count)
        assert len(chosen) == 1 or rows[chosen].max() * len(chosen) <= TOKENS_AT_ONCE
