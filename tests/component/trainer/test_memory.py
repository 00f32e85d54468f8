"""The memory estimate against the bytes that a rank's tensors really take."""

import json

import pytest

from finetune_api.estimate import ModelShape, checkpoint_bytes, estimate

METHODS = {"full": {"full": {}}, "lora": {"lora": {"rank": 8}}}
SETTINGS = [("full", None), *(("full", stage) for stage in range(4)), ("lora", None), ("lora", 3)]
WIDTH, RANKS, MICRO = 512, 2, 2


@pytest.fixture(scope="module")
def wide(bench_of):
    return bench_of(hidden=WIDTH)


@pytest.mark.parametrize(("name", "zero"), SETTINGS)
def test_estimate_is_near_the_measured_peak(wide, cases, name, zero):
    run = wide.run(
        METHODS[name], ranks=RANKS, micro=MICRO, zero=zero, training={"maxSteps": 2},
        function=cases.run_measured,
        arguments=lambda rank, folder: {"measured": str(folder / "measured.json")},
    )  # fmt: skip
    assert run.codes == [0, 0], run.output
    seen = json.loads((run.folders[0] / "measured.json").read_text())
    shape = ModelShape(
        seen["parameters"], seen["trained"], layers=2, hidden=WIDTH, intermediate=2 * WIDTH,
        heads=2, largest=2 * WIDTH**2,
    )  # fmt: skip
    expected = estimate(shape, micro_batch=MICRO, length=17, world=RANKS, zero_stage=zero).total
    saved = sum(
        file.stat().st_size
        for folder in run.folders
        for file in (folder / "checkpoints" / "step-00000002").rglob("*")
        if file.is_file()
    )
    assert 0.85 < seen["peak"] / expected < 1.15
    stored = checkpoint_bytes(shape, zero_stage=zero)
    assert 0.9 * (stored - 2**20) < saved < stored
