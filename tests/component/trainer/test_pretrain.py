"""Continued pretraining: nothing is thrown away, new texts are learnt too."""

import math
from functools import partial
from pathlib import Path

import datasets
import numpy as np
import pytest

FULL = {"full": {}}
SHORT = {"maxLength": 16}


@pytest.fixture(scope="module")
def reading(writing_of, cases):
    return writing_of(cases.write_texts)


def run(bench, **options):
    made = bench.run(FULL, objective="Pretrain", dataset=SHORT, **options)
    assert set(made.codes) == {0}, made.output
    return made


def scores(made):
    (told,) = made.events("evaluation")
    return {result["metric"]: result for result in told["results"]}


def test_long_texts_are_split_and_every_token_is_learnt_once(reading):
    outcome, message = reading.prepare(
        job := reading.job(FULL, objective="Pretrain", dataset=SHORT)
    )
    assert outcome.code == 0, outcome.output
    data = message["data"]
    folder = Path(job.spec.output.uri.removeprefix("file://")) / "prepared"
    folder /= message["prepared"]["fingerprint"]
    rows = [row for name in ("train", "validation", "test")
            for row in datasets.load_from_disk(str(folder / name))]  # fmt: skip
    pieces = [row["labels"] for row in rows]
    assert job.spec.dataset.overlength is None
    assert max(map(len, pieces)) == 16
    assert data["trainRows"] + data["validationRows"] + data["testRows"] == len(pieces) > 100
    assert not data.get("truncated")
    words = sum(len(line.split()) for line in reading.rows.read_text().splitlines()) - 80
    learnt = sum(label != -100 for labels in pieces for label in labels)
    assert learnt == words + 2 * 80  # with the start and the end of each text


@pytest.fixture(scope="module")
def reference(reading):
    return run(reading, ranks=1, micro=8)


def test_the_result_is_an_ordinary_model(reading, reference, forkserver, cases):
    pod = reference.folders[0]
    arguments = {"base": str(pod / "output" / "model"), "prepared": str(pod / "prepared")}
    (plain,) = reading.server.call(cases.plain_losses, [forkserver.Child({}, arguments)])
    with np.load(pod / "output" / "report" / "losses.npz") as kept:
        np.testing.assert_allclose(plain.value, kept["tuned"][:, 0], rtol=1e-4)
        assert not np.allclose(kept["base"], kept["tuned"], rtol=1e-2)


KNOWN, UNKNOWN = 3, 6
"""Perplexity of texts in which each word decides the next, and the least of shuffled ones: forty
words are there, and only their frequencies can be learnt."""


@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize(
    "seed", [1, *(pytest.param(seed, marks=pytest.mark.matrix) for seed in (2, 3))]
)
def test_only_texts_with_an_order_become_less_perplexing(writing_of, cases, shuffled, seed):
    made = run(
        writing_of(partial(cases.write_texts, shuffled=shuffled, seed=seed), seed=seed - 1),
        training={"maxSteps": 120, "learningRate": 5e-3, "seed": 6 + seed},
    )
    found = scores(made)["perplexity"]
    base, tuned = float(found["base"]), float(found["tuned"])
    assert math.log(base) == pytest.approx(float(scores(made)["loss"]["base"]), abs=1e-3)
    assert base > 25  # about as many as there are words
    # A known text has one unknown in ten words: its first one; of a shuffled one all are unknown.
    assert tuned > UNKNOWN if shuffled else tuned < KNOWN
    if not shuffled:
        assert float(found["interval"].split(" to ")[1]) < -10
