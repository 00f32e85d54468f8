"""The memory estimate against the bytes that tensors really take."""

import json

import pytest

from finetune_api.estimate import ModelShape, checkpoint_bytes
from tests.component.trainer import cases_memory

METHODS = {"full": {"full": {}}, "lora": {"lora": {"rank": 8}}}
SETTINGS = [("full", None), *(("full", stage) for stage in range(4)), ("lora", None), ("lora", 3)]
WIDTH, RANKS, MICRO, LENGTH = 512, 2, 2, 17

ARCHITECTURES = ("bert", "distilbert", "llama", "qwen2", "gpt2", "t5")
SIZES = ((2, 32), (4, 128))
QUICK = {
    ("llama", "lora", False, (4, 128)), ("llama", "full", True, (4, 128)),
    ("bert", "full", False, (4, 128)), ("gpt2", "lora", True, (2, 32)),
    ("t5", "full", False, (2, 32)),
}  # fmt: skip
PASSES = [
    pytest.param(*cell, marks=[] if cell in QUICK else [pytest.mark.matrix], id=str(cell))
    for name in ARCHITECTURES
    for method in METHODS
    for checkpointing in (False, True)
    for size in SIZES
    for cell in [(name, method, checkpointing, size)]
]


@pytest.mark.parametrize(("name", "method", "checkpointing", "size"), PASSES)
def test_a_step_takes_what_was_expected(server, forkserver, name, method, checkpointing, size):
    arguments = {
        "name": name, "method": method, "checkpointing": checkpointing, "rows": size[0],
        "length": size[1],
    }  # fmt: skip
    child = forkserver.Child({"OMP_NUM_THREADS": "1"}, arguments)
    (found,) = server.call(cases_memory.peak_and_estimate, [child])
    assert found.code == 0, found.output
    peak, expected = found.value
    assert 0.95 <= expected / peak <= 1.15


@pytest.fixture(scope="module")
def wide(bench_of):
    return bench_of(hidden=WIDTH)


@pytest.mark.parametrize(("name", "zero"), SETTINGS)
def test_estimate_is_near_the_measured_peak(wide, cases, forkserver, name, zero):
    run = wide.run(
        METHODS[name], ranks=RANKS, micro=MICRO, zero=zero,
        training={"maxSteps": 2, "earlyStopping": {"restoreBest": False}},
        function=cases.run_measured,
        arguments=lambda rank, folder: {"measured": str(folder / "measured.json")},
    )  # fmt: skip
    assert run.codes == [0, 0], run.output
    seen = json.loads((run.folders[0] / "measured.json").read_text())
    arguments = {"folder": str(wide.model), "zero": zero, "rows": MICRO, "length": LENGTH}
    child = forkserver.Child({"FINETUNE_JOB": wide.job(METHODS[name], RANKS).to_env()}, arguments)
    (found,) = wide.server.call(cases_memory.estimate_of_job, [child])
    assert found.code == 0, found.output
    saved = sum(
        file.stat().st_size
        for folder in run.folders
        for file in (folder / "checkpoints" / "step-00000002").rglob("*")
        if file.is_file()
    )
    (expected,) = found.value
    assert 0.95 < expected / seen["peak"] < 1.15
    shape = ModelShape(seen["parameters"], seen["trained"])
    stored = checkpoint_bytes(shape, zero_stage=zero, with_best=False)
    assert 0.9 * (stored - 2**20) < saved < stored
