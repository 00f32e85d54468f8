"""Two examples that change from day to day, each from its scripts to its comparison.

They are shrunk to fit: few rows and steps, one rank, no cluster, bases that are hardly trained, and
in place of the sentence encoder a tiny one. So they show that scripts, job and trainer fit
together; `make e2e` runs all of them whole, and shows what they gain.
"""

import pytest
from ruamel.yaml import YAML

from finetune_api.learning import METRICS, Objective, Task, learnt
from tests.component.trainer import example_cases
from tests.component.trainer.of_the_day import EVERY, of_the_day, skip_unless_spoken

STEPS, ROWS = 4, 200
ENCODER, WRITER = "all-minilm-l6-v2", "tiny-writer"
"""Bases that examples share."""


def test_all_examples_have_their_day() -> None:
    days = [of_the_day(day) for day in range(len(EVERY))]
    assert {example for pair in days for example in pair} == set(EVERY)
    assert all(first != second for first, second in days)


def last(uri):
    return uri.rstrip("/").rpartition("/")[2]


def run_script(server, forkserver, script, *arguments):
    told = {"script": str(script), "arguments": [*map(str, arguments)], "steps": 2}
    (made,) = server.call(example_cases.run_script, [forkserver.Child({}, told)])
    assert made.code == 0, made.output


@pytest.fixture
def bench(bench_of):
    """A bench whose model is the stand-in of the sentence encoder."""
    return bench_of()


def shrunk(bench, forkserver, example):
    """The example on a bench: its own base and rows, a few steps."""
    spec = YAML(typ="safe").load((example / "job.yaml").read_text())["spec"]
    base, uri = last(spec["model"]["uri"]), spec["dataset"]["train"]["uri"]
    if base != ENCODER:
        place = example if base != WRITER else example.parent / "02-sft-json"
        run_script(bench.server, forkserver, place / "make_base.py", bench.model)
    rows = bench.folder / "example" / last(uri)
    further = [bench.folder / "further.jsonl"] if example.name == "07-review-stars" else []
    run_script(bench.server, forkserver, example / "make_data.py", rows, *further)
    if rows.suffix == ".jsonl":
        lines = rows.read_text(encoding="utf-8").splitlines(keepends=True)
        rows.write_text("".join(lines[:ROWS]), encoding="utf-8")
    bench.task, bench.rows = spec["task"], f"{rows}/" if rows.is_dir() else rows
    training = {key: value for key, value in spec["training"].items() if key != "epochs"}
    dataset = {key: value for key, value in spec["dataset"].items() if key != "train"}
    fields = {"objective": spec["objective"]} if "objective" in spec else {}
    training |= {"maxSteps": STEPS, "globalBatchSize": 8}
    return bench.run(spec["method"], training=training, dataset=dataset, **fields)


@pytest.mark.parametrize(
    "number", [0, 1, *(pytest.param(n, marks=pytest.mark.matrix) for n in range(2, len(EVERY)))]
)
def test_an_example_runs(bench, forkserver, number):
    """The head of pytest's output names today's two; the matrix runs all."""
    today = of_the_day()
    example = [*today, *(other for other in EVERY if other not in today)][number]
    skip_unless_spoken(example)
    run = shrunk(bench, forkserver, example)
    assert run.codes == [0], f"{example.name}: {run.output}"
    (told,) = run.events("evaluation")
    job = YAML(typ="safe").load((example / "job.yaml").read_text())["spec"]
    objective = Objective(job["objective"]) if "objective" in job else None
    known = METRICS[learnt(Task(job["task"]), objective)]
    assert {result["metric"] for result in told["results"]} & set(known)
    assert all(result["rows"] > 0 for result in told["results"])
    assert max(run.curve()) == STEPS
    (card,) = (run.folders[0] / "output").glob("*/README.md")
    assert f"for {job['task']}" in card.read_text()
