"""Hyperparameters do what they say, however a batch is shared."""

import numpy as np
import pytest

FULL, LORA = {"full": {}}, {"lora": {"rank": 4}}
TO_THE_END = {"maxSteps": 20, "earlyStopping": {"patience": 0}}
RATES = {"SGD": 0.1, "Lion": 1e-4, "Adagrad": 1e-2}


def matrices(run):
    return {name: w for name, w in run.weights().items() if w.ndim == 2}


@pytest.mark.parametrize(
    ("optimizer", "zero"),
    [("AdamW8bit", 2), ("Adafactor", None), ("Lion", 3), ("SGD", 2),
     pytest.param("AdEMAMix", 1, marks=pytest.mark.matrix),
     pytest.param("Adagrad", None, marks=pytest.mark.matrix),
     pytest.param("RMSprop", 1, marks=pytest.mark.matrix)],
)  # fmt: skip
def test_each_optimizer_learns_with_equal_curves(bench, optimizer, zero):
    training = {"optimizer": optimizer, "learningRate": RATES.get(optimizer, 1e-3)}
    alone = bench.run(FULL, ranks=1, micro=8, training=training)
    shared = bench.run(FULL, ranks=2, micro=2, zero=zero, training=training)
    assert alone.codes == [0], alone.output
    assert shared.codes == [0, 0], shared.output
    rounding = 1e-3 if optimizer == "AdamW8bit" else 1e-5  # blocks of eight bits are cut elsewhere
    assert shared.curve() == pytest.approx(alone.curve(), rel=rounding)
    others = bench.run(FULL, ranks=1, micro=8) if optimizer == "SGD" else None
    assert others is None or others.curve()[6] != pytest.approx(alone.curve()[6], rel=1e-3)


USUAL = {"Cosine", "CosineWithFloor", "WarmupStableDecay"}
SHAPES = {
    "Cosine": lambda t: (1 + np.cos(np.pi * t)) / 2,
    "CosineWithFloor": lambda t: 0.1 + 0.9 * (1 + np.cos(np.pi * t)) / 2,
    "CosineWithRestarts": lambda t: (1 + np.cos(np.pi * ((2 * t) % 1))) / 2,
    "Linear": lambda t: 1 - t,
    "Polynomial": lambda t: (1 - t) ** 2,
    "Constant": lambda t: np.ones_like(t),
    "WarmupStableDecay": lambda t: np.where(t < 0.9, 1.0, np.nan),
}


@pytest.mark.parametrize(
    "scheduler",
    [pytest.param(name, marks=[] if name in USUAL else [pytest.mark.matrix]) for name in SHAPES],
)
def test_the_learning_rate_falls_as_the_scheduler_says(bench, scheduler):
    training = TO_THE_END | {"scheduler": scheduler, "warmupRatio": 0, "learningRate": 1e-3}
    run = bench.run({"headOnly": {}}, ranks=1, micro=8, training=training)
    assert run.codes == [0], run.output
    told = np.array(list(run.curve("learning_rate").values())) / 1e-3
    expected = SHAPES[scheduler](np.arange(20) / 20)
    known = ~np.isnan(expected)
    np.testing.assert_allclose(told[known], expected[known], atol=0.002)
    if scheduler == "WarmupStableDecay":
        assert told[-1] < 0.6


def test_inverse_square_root_falls_after_warm_up(bench):
    training = TO_THE_END | {"scheduler": "InverseSqrt", "warmupRatio": 0.25}
    run = bench.run({"headOnly": {}}, ranks=1, micro=8, training=training)
    told = list(run.curve("learning_rate").values())
    assert told[4] < told[5] == max(told)
    assert told[-1] == pytest.approx(max(told) * np.sqrt(5 / 19), rel=0.05)


@pytest.mark.parametrize("zero", [None, 2, 3])
def test_l1_makes_matrices_sparse_and_nothing_else(bench, zero):
    training = {"l1": 1.0, "learningRate": 5e-3, "scheduler": "Constant"}
    run = bench.run(FULL, ranks=2, micro=4, zero=zero, training=training)
    assert run.codes == [0, 0], run.output
    share = {name: float((w == 0).mean()) for name, w in run.weights().items()}
    # An embedding's row is 0 where it pads; nothing else is by itself.
    sparse = [share[name] for name in matrices(run) if "embeddings" not in name]
    assert min(sparse) > 0.01
    assert max(share[n] for n, w in run.weights().items() if n.endswith("LayerNorm.weight")) == 0
    plain = bench.run(FULL, ranks=2, micro=4, zero=zero, training=training | {"l1": 0.0})
    assert all((w != 0).all() for n, w in matrices(plain).items() if "embeddings" not in n)
    assert run.curve()[1] == plain.curve()[1]


def test_l1_is_the_same_whole_and_sharded(bench):
    training = {"l1": 0.5, "learningRate": 5e-3}
    runs = [bench.run(LORA, ranks=2, micro=4, zero=z, training=training) for z in (None, 1)]
    assert runs[0].curve() == pytest.approx(runs[1].curve(), rel=1e-5)


def test_l2sp_keeps_weights_near_the_base_and_out_of_the_loss(bench):
    def run(strength, zero):
        training = {"l2sp": strength, "learningRate": 1e-3, "weightDecay": 0.0, "optimizer": "SGD"}
        made = bench.run(FULL, ranks=2, micro=2, zero=zero, training=training | {"maxSteps": 12})
        assert made.codes == [0, 0], made.output
        return made

    near, also_near, free = run(10.0, None), run(10.0, 2), run(0.0, None)
    assert near.curve() == pytest.approx(also_near.curve(), rel=1e-5)
    assert near.curve()[1] == free.curve()[1]

    def moved(made):
        start = bench.base_weights()
        pairs = [(w, start[n.removeprefix("bert.")]) for n, w in made.weights().items()
                 if n.removeprefix("bert.") in start]  # fmt: skip
        assert len(pairs) > 20
        return float(sum(np.square(a - b).sum() for a, b in pairs))

    assert moved(near) < 0.98 * moved(free)


def test_noise_on_embeddings_is_for_training_alone(bench):
    noisy = bench.run(LORA, ranks=1, micro=8, training={"neftuneAlpha": 5.0})
    plain = bench.run(LORA, ranks=1, micro=8)
    assert noisy.codes == [0], noisy.output
    assert noisy.curve()[1] != pytest.approx(plain.curve()[1], rel=1e-6)
    first = [run.events("metrics")[0]["values"]["eval_loss"] for run in (noisy, plain)]
    assert first[0] == pytest.approx(first[1], rel=0.05)


@pytest.mark.parametrize(
    ("task", "method", "zero"),
    [("bench", FULL, None), ("bench", LORA, 2), ("writing", LORA, 3)], ids=str,
)  # fmt: skip
def test_checkpointing_changes_nothing_but_memory(request, task, method, zero):
    bench = request.getfixturevalue(task)
    runs = [
        bench.run(method, ranks=2, micro=4, zero=zero, plan={"gradient_checkpointing": on})
        for on in (False, True)
    ]
    assert runs[1].codes == [0, 0], runs[1].output
    assert runs[1].curve() == pytest.approx(runs[0].curve(), rel=1e-6)
