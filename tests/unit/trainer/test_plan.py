"""The planner: what it chooses, why, and what it refuses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune_api.base import quantity_value
from finetune_api.errors import OutOfMemoryError, UserError
from finetune_api.estimate import ModelShape, Pass, checkpoint_bytes, estimate
from finetune_api.job import FineTuneJob
from finetune_api.jobconfig import build
from finetune_trainer.plan import make_needs, make_plan

SMALL = ModelShape(22_700_000, 1_000_000)
LARGE = ModelShape(7_000_000_000, 7_000_000_000)
NOTHING = Pass(0, 0)


def keeping(row_bytes, checkpointed=0.1):
    """Passes that keep so many bytes a row, and a share of them with checkpointing."""

    def passes(rows, *, checkpointing, half):
        kept = int(rows * row_bytes * (checkpointed if checkpointing else 1) / (2 if half else 1))
        return Pass(kept, kept)

    return passes


def job(nodes=1, gpus=0, training=None, **spec):
    manifest = {
        "metadata": {"name": "plan"},
        "spec": {
            "task": "TextClassification",
            "model": {"uri": "s3://b/m/"},
            "dataset": {"train": {"uri": "s3://b/rows.jsonl"}},
            "method": {"lora": {}},
            "training": training or {},
            "resources": {"nodes": nodes, "gpusPerNode": gpus} | spec.pop("resources", {}),
            "output": {"uri": "s3://b/out/"},
        }
        | spec,
    }
    return build(FineTuneJob.from_manifest(manifest))


def plan(config, shape=SMALL, row_bytes=12_000_000, **options):
    settings = {"train_rows": 1000, "max_length": 64, "max_length_reason": "test"} | options
    return make_plan(config, shape, keeping(row_bytes), **settings)


@given(st.integers(1, 8), st.integers(0, 4), st.integers(1, 40), st.integers(8, 512))
def test_shares_multiply_to_the_global_batch(nodes, gpus, times, length):
    ranks = nodes * max(1, gpus)
    made = plan(job(nodes, gpus, {"globalBatchSize": ranks * times}), max_length=length)
    assert made.ranks * made.micro_batch * made.accumulation == made.global_batch == ranks * times
    assert made.checkpoint_every <= made.steps
    assert all(len(reason) <= 200 for reason in made.reasons)


@pytest.mark.parametrize(
    ("batch", "hint"), [(10, "9 or 12"), (2, "for example 3"), (32, "30 or 33")]
)
def test_global_batch_must_divide(batch, hint):
    with pytest.raises(UserError) as caught:
        plan(job(3, training={"globalBatchSize": batch}))
    assert f"training.globalBatchSize {batch} cannot be shared evenly" in caught.value.message
    assert hint in caught.value.remedy


def test_default_global_batch_adapts_to_the_ranks():
    assert plan(job(2)).global_batch == 32
    assert plan(job(3)).global_batch == 33


def test_per_device_batch_must_divide():
    made = plan(job(2, training={"globalBatchSize": 32, "perDeviceBatchSize": 4}))
    assert (made.micro_batch, made.accumulation) == (4, 4)
    with pytest.raises(UserError, match="does not divide a rank's share") as caught:
        plan(job(2, training={"globalBatchSize": 32, "perDeviceBatchSize": 5}))
    assert "1, 2, 4, 8, 16" in caught.value.remedy


def test_strategy_and_precision():
    assert (plan(job(1)).strategy, plan(job(1)).zero_stage) == ("DDP", 0)
    assert (plan(job(2)).strategy, plan(job(2)).zero_stage) == ("DeepSpeed", 2)
    assert plan(job(2, distribution={"strategy": "DDP"})).strategy == "DDP"
    assert plan(job(1, distribution={"strategy": "DeepSpeed"})).zero_stage == 2
    assert plan(job(1, distribution={"deepspeed": {"zeroStage": 3}})).strategy == "DDP"
    assert plan(job(1, 1)).precision == "bf16"
    assert plan(job(1, 1), pretend_gpus=True).precision == "fp32"
    assert plan(job(1)).precision == "fp32"


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
@pytest.mark.parametrize("strategy", ["Auto", "DeepSpeed"])
def test_a_stage_that_is_asked_for_is_taken(strategy, stage):
    made = plan(job(2, distribution={"strategy": strategy, "deepspeed": {"zeroStage": stage}}))
    assert (made.strategy, made.zero_stage) == ("DeepSpeed", stage)


def test_zero_3_is_chosen_only_when_one_row_does_not_fit_otherwise():
    made = plan(job(2, 8), LARGE)
    assert made.zero_stage == 3
    (reason,) = [reason for reason in made.reasons if "ZeRO-3" in reason]
    assert "GiB a rank with ZeRO-2, 14.0 GiB are there" in reason
    smaller = ModelShape(2_000_000_000, 2_000_000_000)
    assert plan(job(2, 8), smaller).zero_stage == 2
    with pytest.raises(OutOfMemoryError) as caught:
        plan(job(2, 8, distribution={"strategy": "DDP"}), LARGE)
    assert "zeroStage to 3" in caught.value.remedy
    with pytest.raises(OutOfMemoryError) as caught:
        plan(job(1, 2), LARGE)
    assert "zeroStage" not in caught.value.remedy


def test_on_a_cpu_the_whole_model_must_fit_while_it_is_loaded():
    model = ModelShape(1_000_000_000, 1_000_000)
    four = {"memory": "5600Mi"}
    made = plan(job(4, resources=four, training={"perDeviceBatchSize": 1}), model)
    assert made.memory_bytes >= 4 * 1_000_000_000


def test_steps():
    assert plan(job(training={"epochs": 2}), train_rows=100).steps == 7
    assert plan(job(training={"epochs": 0.1}), train_rows=100).steps == 1
    assert plan(job(training={"maxSteps": 9}), train_rows=100).steps == 9
    assert plan(job(training={"maxSteps": 100})).checkpoint_every == 10
    by_steps = plan(job(checkpointing={"everySteps": 7}))
    assert (by_steps.checkpoint_every, by_steps.checkpoint_seconds) == (7, None)
    by_time = plan(job(training={"maxSteps": 100}, checkpointing={"everyMinutes": 7}))
    assert (by_time.checkpoint_every, by_time.checkpoint_seconds) == (10, 420)
    chosen = plan(job(2))
    assert chosen.checkpoint_seconds is not None
    assert "one of 2 pods is assumed lost in 12.0 h" in " ".join(chosen.reasons)


def test_less_memory_means_smaller_micro_batches_then_refusal():
    small = plan(job(resources={"memory": "1500Mi"}))
    assert small.micro_batch < plan(job()).micro_batch
    assert small.global_batch == 32
    with pytest.raises(OutOfMemoryError, match="one row at a time needs"):
        plan(job(gpus=1), LARGE)


def test_needs():
    config = job(2)
    made = plan(config)
    needs = make_needs(config, made, SMALL, model_bytes=92_000_000, data_bytes=10**6)
    assert needs.cpu == "1"
    assert quantity_value(needs.memory) > made.memory_bytes
    assert needs.grace_seconds == 60
    assert make_needs(
        job(2, resources={"cpu": "3", "memory": "9Gi"}), made, SMALL, model_bytes=1, data_bytes=1
    ).memory == "9Gi"  # fmt: skip
    big = make_needs(config, made, LARGE, model_bytes=1, data_bytes=1)
    assert big.grace_seconds == pytest.approx(3 * big.checkpoint_bytes / 50e6, rel=0.01)


def test_memory_by_component():
    alone = estimate(SMALL, NOTHING, world=1, zero_stage=None)
    assert (alone.weights, alone.gradients, alone.optimizer) == (90_800_000, 4_000_000, 8_000_000)
    by_stage = [estimate(SMALL, NOTHING, world=4, zero_stage=stage) for stage in range(4)]
    assert [m.weights for m in by_stage] == [90_800_000] * 3 + [44_400_000]
    assert [m.gradients for m in by_stage] == [4_000_000] * 2 + [1_000_000] * 2
    assert [m.optimizer for m in by_stage] == [8_000_000] + [3_000_000] * 3
    assert len({m.activations for m in by_stage}) == 1
    saved = [
        checkpoint_bytes(SMALL, zero_stage=stage, with_best=False) - 2**20
        for stage in (None, 0, 1, 2, 3)
    ]
    assert saved == [12_000_000, 12_000_000, 16_000_000, 16_000_000, 12_000_000]
    assert checkpoint_bytes(SMALL, zero_stage=2, compute_bytes=2) == 18_000_000 + 2**20


def test_a_large_model_needs_less_with_every_stage():
    options = {"world": 8, "compute_bytes": 2}
    totals = [estimate(LARGE, NOTHING, zero_stage=stage, **options).total for stage in range(4)]
    assert totals == sorted(totals, reverse=True)
    assert totals[3] < totals[0] / 4


def test_gradients_that_stay_and_activations_are_not_both_at_their_largest():
    sizes = {"world": 2, "compute_bytes": 4}
    one_pass = Pass(alone=50_000_000, with_gradients=52_000_000)
    whole = estimate(SMALL, one_pass, zero_stage=None, **sizes)
    assert whole.gradients + whole.activations == 52_000_000
    shared = estimate(SMALL, one_pass, zero_stage=2, **sizes)
    assert shared.activations == 50_000_000


@pytest.mark.parametrize(
    ("method", "split"), [({"full": {}}, True), ({"prefixTuning": {}}, False)], ids=str
)
def test_zero_3_is_not_taken_by_itself_for_a_method_that_it_cannot_train(method, split):
    resources = {"memory": "36Gi"}
    config = job(8, method=method, resources=resources)
    if split:
        assert plan(config, LARGE).zero_stage == 3
    else:
        with pytest.raises(OutOfMemoryError) as caught:
            plan(config, LARGE)
        assert "zeroStage" not in caught.value.remedy


def test_quantised_weights_take_less():
    quantised = ModelShape(7_000_000_000, 40_000_000, quantized=6_500_000_000, quantized_bytes=0.53)
    plain = ModelShape(7_000_000_000, 40_000_000)
    sizes = {"world": 1, "zero_stage": 2, "compute_bytes": 2}
    need = [estimate(shape, NOTHING, **sizes).weights for shape in (plain, quantised)]
    assert need[0] == 14_000_000_000
    assert need[1] == pytest.approx(0.53 * 6.5e9 + 2 * 0.5e9)


def test_a_checkpoint_of_a_partly_trained_model_holds_the_frozen_weights_too():
    part = ModelShape(100, 10, saved_frozen=90)
    adapter = ModelShape(100, 10)
    sizes = [checkpoint_bytes(shape, zero_stage=None) for shape in (part, adapter)]
    assert sizes[0] - sizes[1] == 90 * 4


def test_gradient_checkpointing_comes_only_when_one_row_does_not_fit_without():
    roomy, tight = {"memory": "12Gi"}, {"memory": "4Gi"}
    shape, row = ModelShape(100_000_000, 1_000_000), 5_000_000_000
    plans = [plan(job(1, resources=r), shape, row) for r in (roomy, tight)]
    assert [made.gradient_checkpointing for made in plans] == [False, True]
    assert any(reason.startswith("gradientCheckpointing") for reason in plans[1].reasons)
    with pytest.raises(OutOfMemoryError):
        plan(
            job(1, training={"gradientCheckpointing": False}, resources=tight),
            shape,
            row,
        )


def test_the_optimizer_decides_how_much_state_there_is():
    sizes = {"world": 1, "zero_stage": None}
    full = ModelShape(1000, 1000)
    states = [estimate(full, NOTHING, **sizes, state_bytes=b).optimizer for b in (8.0, 2.1, 0.0)]
    assert states == [8000, 2100, 0]


def test_precision_is_what_was_asked_for():
    asked = {name: plan(job(1, 1, {"precision": name})).precision for name in ("BF16", "FP32")}
    assert asked == {"BF16": "bf16", "FP32": "fp32"}


def test_an_optimizer_that_needs_whole_weights_runs_with_ddp():
    made = plan(job(2, training={"optimizer": "Adafactor"}))
    assert made.strategy == "DDP"
    assert "strategy DDP: Adafactor needs whole weights" in made.reasons


def test_dpo_moves_in_small_steps_unless_told():
    assert plan(job(task="TextGeneration", objective="DPO")).learning_rate == pytest.approx(1e-5)
    assert plan(job(task="TextGeneration", objective="ORPO")).learning_rate == 2e-4
    asked = job(task="TextGeneration", objective="DPO", training={"learningRate": 1e-3})
    assert plan(asked).learning_rate == 1e-3


def test_a_row_of_two_texts_takes_the_memory_of_two():
    made = job(training={"perDeviceBatchSize": 4})
    twice = job(training={"perDeviceBatchSize": 8})
    assert plan(made, sequences=2).memory_bytes == plan(twice).memory_bytes
    assert plan(made).memory_bytes < plan(twice).memory_bytes


WRITTEN = {"strategy": "DeepSpeed", "zeroStage": 2, "precision": "fp32", "worldSize": 2}


@pytest.mark.parametrize(("nodes", "shares"), [(1, 12), (3, 4), (12, 1)])
def test_a_run_keeps_the_batch_and_the_layout_of_its_checkpoints(nodes, shares):
    made = plan(job(nodes), written=WRITTEN | {"globalBatch": 12})
    assert (made.strategy, made.zero_stage, made.global_batch) == ("DeepSpeed", 2, 12)
    assert made.micro_batch * made.accumulation == shares
    assert "strategy DeepSpeed ZeRO-2: that of the checkpoint" in " ".join(made.reasons)
    ddp = plan(job(nodes), written={"strategy": "DDP", "globalBatch": 12})
    assert (ddp.strategy, ddp.global_batch) == ("DDP", 12)


def test_another_runs_checkpoint_binds_the_layout_alone():
    assert plan(job(3), written=WRITTEN).global_batch == 33


@pytest.mark.parametrize(
    ("changes", "written", "sentence"),
    [
        ({"nodes": 5}, {"globalBatch": 12}, "made with 12 rows a step, which 5 ranks cannot share"),
        ({"distribution": {"strategy": "DDP"}}, {}, "was written with DeepSpeed ZeRO-2, and dist"),
        ({"distribution": {"deepspeed": {"zeroStage": 3}}}, {}, "was written with DeepSpeed ZeRO"),
        ({"gpus": 1}, {}, "written with DeepSpeed ZeRO-2 in fp32, and this plan computes in bf16"),
        ({"training": {"optimizer": "AdamW8bit"}}, {}, "split over 2 ranks in blocks, which 1 r"),
        ({"distribution": {"strategy": "DeepSpeed"}}, {"strategy": "DDP"}, "was written with DDP"),
    ],
)
def test_what_the_checkpoint_cannot_be_read_with_is_refused(changes, written, sentence):
    with pytest.raises(UserError) as caught:
        plan(job(**changes), written=WRITTEN | written)
    assert sentence in caught.value.message


def test_states_in_blocks_go_on_with_as_many_ranks():
    config = job(2, training={"optimizer": "AdamW8bit"})
    assert plan(config, written=WRITTEN).zero_stage == 2
