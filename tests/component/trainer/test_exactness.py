"""Interrupted twice at drawn steps, a run ends with the numbers of one that was never interrupted:
raw losses, and the bytes of its result. Whatever trains has its cell here."""

import random
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.component.trainer.kinds import KINDS

LAST = 12
FULL, LORA, NF4 = {"full": {}}, {"lora": {"rank": 4, "dropout": 0.1}}, {"qlora": {"rank": 4}}
DROPPING = {"maxSteps": LAST, "dropout": 0.1}
ROWS = {"validation": {"fraction": 0.3}}


@dataclass(frozen=True)
class Cell:
    """What is trained; `zero` None is DDP."""

    kind: str
    method: dict[str, Any]
    zero: int | None = None
    micro: int = 2
    training: dict[str, Any] = field(default_factory=dict)
    spec: dict[str, Any] = field(default_factory=dict)


CELLS = {
    **{f"full-{zero}": Cell("classes", FULL, zero) for zero in (None, 0, 1, 2, 3)},
    **{f"lora-{zero}": Cell("sft", LORA, zero) for zero in (None, 0, 1, 2, 3)},
    **{f"NF4-{zero}": Cell("sft", NF4, zero) for zero in (None, 1, 2)},
    **{f"packing-{zero}": Cell("sft", LORA, zero, 4, {"packing": True}) for zero in (None, 2, 3)},
    **{f"dpo-{zero}": Cell("dpo", LORA, zero) for zero in (None, 2, 3)},
    **{
        f"early-stopping-{zero}": Cell(
            "classes", FULL, zero, 4,
            {"learningRate": 0.02, "scheduler": "Constant", "earlyStopping": {"patience": 3}},
            {"dataset": ROWS},
        )
        for zero in (None, 2, 3)
    },
    **{
        f"{optimizer}-2": Cell("classes", FULL, 2, 4, {"optimizer": optimizer})
        for optimizer in ("AdamW8bit", "AdEMAMix", "Lion", "RMSprop", "SGD")
    },
    "kto-2": Cell("kto", LORA, 2),
    "reward-3": Cell("reward", FULL, 3),
    "tags-3": Cell("tags", FULL, 3),
    "checkpointing-2": Cell("sft", FULL, 2, 2, {"gradientCheckpointing": True, "neftuneAlpha": 5}),
    "l1-l2sp-2": Cell("classes", FULL, 2, 2, {"l1": 0.01, "l2sp": 0.1}),
}  # fmt: skip
ALWAYS = {"NF4-None", "packing-3"}
SEEDS = (1, 2)


def drawn(name: str, seed: int) -> list[int]:
    """Two steps after which a pod is asked to leave, one in each half; all leave a step later."""
    lot = random.Random(f"{name} {seed}")
    return [lot.randint(1, LAST // 2 - 2), lot.randint(LAST // 2, LAST - 2)]


@pytest.mark.parametrize(
    ("name", "seed"),
    [
        pytest.param(
            name, seed,
            marks=[] if name in ALWAYS and seed == SEEDS[0] else [pytest.mark.matrix],
        )
        for name in CELLS for seed in SEEDS
    ],
)  # fmt: skip
def test_interruptions_at_any_step_leave_no_trace(bench_of_kind, name, seed):
    cell = CELLS[name]
    bench, kind = bench_of_kind(cell.kind), KINDS[cell.kind]
    spec = kind.spec | cell.spec
    training = DROPPING | spec.pop("training", {}) | cell.training
    shape = {
        "ranks": 2, "micro": cell.micro, "zero": cell.zero, "plan": {"checkpoint_every": 2},
        "training": training, **spec,
    }  # fmt: skip
    whole = bench.run(cell.method, **shape)
    assert whole.codes == [0, 0], whole.output
    losses, validations, parts, before = {}, {}, [], None
    for step in (*drawn(name, seed), None):
        asked = bench.at_step(step, "stop") if step else None
        before = bench.run(cell.method, **shape, resume=before, arguments=asked)
        parts.append(before.codes[0])
        losses |= before.curve()
        validations |= before.curve("eval_loss")
        if before.codes[0] != 50:
            break
    assert parts[0] == 50, before.output
    assert before.codes == [0, 0], before.output
    assert losses == whole.curve()
    assert validations == whole.curve("eval_loss")
    assert before.curve("grad_norm").items() <= whole.curve("grad_norm").items()
    assert before.events("best") == whole.events("best")
    assert before.events("evaluation") == whole.events("evaluation")
    result = "adapter" if "full" not in cell.method else "model"
    assert before.digest(result) == whole.digest(result)
