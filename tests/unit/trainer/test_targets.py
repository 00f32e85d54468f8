"""Losses, probes and metrics of labels and numbers, against the libraries' own."""

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score, mean_absolute_error, r2_score
from torch.nn import functional

from finetune_trainer.evaluate import f1, label_probe, quantities
from finetune_trainer.losses import labels_loss, number_bits, number_loss, token_loss

RNG = np.random.default_rng(4)


def test_f1_of_labels_is_scikit_learns():
    truth, told = RNG.integers(0, 2, (2, 50, 4))
    counts, every = f1.Counts(truth * told, truth + told), np.arange(50)
    assert counts.micro(every) == pytest.approx(f1_score(truth, told, average="micro"))
    assert counts.macro(every) == pytest.approx(f1_score(truth, told, average="macro"))
    nothing = np.zeros((3, 4), np.int64)
    assert f1.Counts(nothing, nothing).by_row().tolist() == [1.0, 1.0, 1.0]


def test_numbers_are_compared_by_r2_ranks_and_errors():
    truth = RNG.normal(size=80)
    base, tuned = truth + RNG.normal(size=80), truth + 0.1 * RNG.normal(size=80)
    found = quantities.compare(truth, base, tuned, seed=1)
    by_name = {result.metric: result for result in found.results}
    assert by_name["r2"].base == f"{r2_score(truth, base):.4f}"
    assert by_name["mae"].tuned == f"{mean_absolute_error(truth, tuned):.4f}"
    assert float(by_name["spearman"].tuned) > 0.95
    assert by_name["mae"].interval.startswith("-")
    assert found.wins > found.losses
    assert quantities.spearman(truth, np.zeros(80)) == 0.0
    assert quantities.r2(np.ones(3), truth[:3]) == 0.0


def test_losses_are_sums_over_the_items_of_the_step():
    logits = torch.from_numpy(RNG.normal(size=(6, 3))).float()
    labels = torch.from_numpy(RNG.integers(0, 2, (6, 3)))
    outputs = {"logits": logits}
    whole = functional.binary_cross_entropy_with_logits(logits, labels.float())
    assert labels_loss(outputs, labels) == pytest.approx(float(whole))
    assert labels_loss(outputs, labels, 36) == pytest.approx(float(whole) / 2)
    smooth = functional.binary_cross_entropy_with_logits(logits, labels.float() * 0.8 + 0.1)
    assert labels_loss(outputs, labels, smoothing=0.2) == pytest.approx(float(smooth))
    numbers = [-100.0, 0.1, 1e9, -3.0, 2.0, 1.0]
    wanted = functional.mse_loss(logits[:, 0], torch.tensor(numbers))
    bits = number_bits(numbers)
    assert not (bits == -100).any(), "transformers would not count such a row"
    assert number_loss(outputs, bits) == pytest.approx(float(wanted))
    tags = torch.tensor([[0, -100, 2], [1, -100, -100]])
    scores = torch.from_numpy(RNG.normal(size=(2, 5, 3))).float()
    learnt = functional.cross_entropy(scores[:, 2:].flatten(0, 1), tags.flatten())
    assert token_loss({"logits": scores}, tags) == pytest.approx(float(learnt))
    assert token_loss({"logits": scores}, tags, 6) == pytest.approx(float(learnt) / 2)


def test_the_probe_of_labels_finds_each_and_is_sure_of_constant_ones():
    rows = RNG.normal(size=(300, 8)).astype(np.float32)
    labels = np.stack([rows[:, 0] > 0, rows[:, 1] > 1, np.ones(300), np.zeros(300)], axis=1)
    found = label_probe.fit_labels(rows, labels.astype(np.int64), classes=4, seed=1)
    told = found.scores(rows) > 0
    assert (told == labels).mean(axis=0).tolist() == pytest.approx([1, 1, 1, 1], abs=0.05)


def test_the_probe_of_numbers_is_in_their_unit():
    rows = RNG.normal(size=(300, 8)).astype(np.float32)
    numbers = 500.0 + 70 * rows[:, 0] - 20 * rows[:, 3]
    found = label_probe.fit_numbers(rows, numbers.astype(np.float64), classes=1, seed=1)
    assert r2_score(numbers, found.scores(rows)[:, 0]) > 0.999
    plain = label_probe.fit_numbers(rows, numbers - 500, classes=1, intercept=False, seed=1)
    assert plain.bias.tolist() == [0.0]
