"""Error rates: those of jiwer over all rows, and of any rows drawn."""

import jiwer
import numpy as np
import pytest

from finetune_trainer.evaluate import transcripts

REFERENCES = ["a red car", "the sea", "sun and moon", "x"]
BASE = ["a car red", "", "sun and moon", "y y"]
TUNED = ["a red car", "the see", "sun moon", "x"]


def test_rates_are_those_of_the_whole_corpus():
    results = transcripts.compare(REFERENCES, BASE, TUNED, seed=1)
    told = {result.metric: (float(result.base), float(result.tuned)) for result in results.results}
    for name, rate in (("wer", jiwer.wer), ("cer", jiwer.cer)):
        wanted = tuple(rate(REFERENCES, written) for written in (BASE, TUNED))
        assert told[name] == pytest.approx(wanted, abs=1e-4)
    assert (results.wins, results.ties, results.losses) == (3, 0, 1)


def test_counts_add_up_over_any_rows():
    each = transcripts.counts(jiwer.process_words, REFERENCES, TUNED)
    assert each.tolist() == [[0, 3], [1, 2], [1, 3], [0, 1]]
    drawn = np.array([1, 1, 2])
    assert transcripts.rate(each[drawn]) == pytest.approx(3 / 7)
