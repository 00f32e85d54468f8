"""Task × objective × method × layout: a job is refused with its reason, or trains exactly what its
method says, with equal curves however ranks share a batch.

`make test` runs pairs: each kind with each family of methods and with each layout, the methods of a
family in turn. `make matrix` runs every cell."""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from tests.component.trainer.kinds import FAMILIES, KINDS, LAYOUTS, METHODS, cells, pairs, refusal

ROUNDING = {"Int8": 0.1}
"""Int8 rounds activations batch by batch, and outliers among them are found in a whole batch."""
STEEP = {"spectrograms": 1e-3}
"""The features of this base hardly differ, so that the head that its probe becomes is steep, and
rounding of features grows in the gradient."""
CURVES = ("loss", "grad_norm", "eval_loss", "reward", "reward_spread")


def marked() -> Iterator[Any]:
    usual = pairs()
    for cell in cells():
        marks = [] if cell in usual else [pytest.mark.matrix]
        yield pytest.param(*cell, id="-".join(cell), marks=marks)


class Matrix:
    """The benches of all kinds and their runs on one rank, made when a cell needs them."""

    def __init__(self, bench: Any, watched: Any) -> None:
        self.bench, self.watched = bench, watched
        self.references: dict[tuple[str, str], Any] = {}

    def method(self, kind: str, method: str) -> dict[str, Any]:
        if method == "freeze":
            return {"freeze": {"trainable": [KINDS[kind].layers]}}
        return METHODS[method]

    def spec(self, kind: str, zero: int | None) -> dict[str, Any]:
        spec = KINDS[kind].spec
        training = {"maxSteps": 4} | spec.get("training", {})
        stage = {"strategy": "DDP"} if zero is None else {"deepspeed": {"zeroStage": zero}}
        return spec | {"training": training, "distribution": stage}

    def reference(self, kind: str, method: str) -> Any:
        """One rank that takes the whole batch at once, and what became of each weight."""
        if (kind, method) not in self.references:
            run = self.bench(kind).run(
                self.method(kind, method), micro=8, function=self.watched,
                arguments=lambda rank, folder: {"watched": str(folder / "watched.json")},
                **self.spec(kind, None),
            )  # fmt: skip
            self.references[kind, method] = run
        run = self.references[kind, method]
        assert run.codes == [0], run.output
        return run

    def refused(self, kind: str, method: str, layout: str) -> str:
        """What a user is told by the API or by prepare."""
        ranks, _, zero = LAYOUTS[layout]
        bench = self.bench(kind)
        try:
            job = bench.job(self.method(kind, method), ranks, **self.spec(kind, zero))
        except ValidationError as error:
            return "; ".join(each["msg"].removeprefix("Value error, ") for each in error.errors())
        outcome, message = bench.prepare(job)
        assert outcome.code == 40, outcome.output
        return str(message["message"])


@pytest.fixture(scope="session")
def matrix(bench_of_kind: Any, cases: Any) -> Matrix:
    return Matrix(bench_of_kind, cases.run_watched)


@pytest.mark.parametrize(("kind", "method", "layout"), list(marked()))
def test_cell(matrix, cases, forkserver, record_property, kind, method, layout):
    if wanted := refusal(kind, method, layout):
        sentence = matrix.refused(kind, method, layout)
        record_property("refused", sentence)
        assert wanted in sentence
        return
    reference = matrix.reference(kind, method)
    assert_only_what_is_meant_has_changed(reference)
    ranks, micro, zero = LAYOUTS[layout]
    run = matrix.bench(kind).run(
        matrix.method(kind, method), ranks=ranks, micro=micro, zero=zero, **matrix.spec(kind, zero)
    )
    assert run.codes == [0] * ranks, run.output
    for name in CURVES:
        ours, theirs = (
            [event["values"][name] for event in made.events("metrics") if name in event["values"]]
            for made in (run, reference)
        )
        rounding = ROUNDING.get(method, STEEP.get(kind, 1e-5))
        assert ours == pytest.approx(theirs, rel=rounding, abs=1e-6), name
    assert len(set(run.curve().values())) > 2
    if method not in ROUNDING:
        assert of_base(run) == of_base(reference)
    if kind == "classes":
        assert_loads_back(matrix.bench(kind), cases, forkserver, run, method)


def of_base(run: Any) -> dict[str, str]:
    (told,) = run.events("evaluation")
    return {result["metric"]: result["base"] for result in told["results"]}


def assert_only_what_is_meant_has_changed(run: Any) -> None:
    seen = json.loads((run.folders[0] / "watched.json").read_text())
    trainable = set(seen["trainable"])
    changed = {name for name in seen["after"] if seen["after"][name] != seen["before"][name]}
    assert changed <= trainable
    # A key's bias has no gradient: softmax does not see a shift of all scores.
    assert {
        name for name in trainable - changed if not name.endswith(("key.bias", "k_proj.bias"))
    } == set()
    assert all(seen["gradients"][name] is None for name in seen["before"] if name not in trainable)
    assert any(seen["gradients"][name] for name in trainable)


def assert_loads_back(bench: Any, cases: Any, forkserver: Any, run: Any, name: str) -> None:
    """Plain PEFT or transformers in a new process gives the logits that the run told."""
    folder = run.folders[0]
    told = np.load(folder / "output" / "report" / "predictions.npz")["tuned_logits"]
    arguments = {"prepared": str(folder / "prepared")}
    if name in FAMILIES["whole"]:
        function, arguments["model"] = cases.load_full, str(folder / "output" / "model")
    else:
        function = cases.load_adapter
        arguments |= {"base": str(bench.model), "adapter": str(folder / "output" / "adapter")}
        arguments |= {"quantization": name} if name in FAMILIES["quantised"] else {}
    (loaded,) = bench.server.call(function, [forkserver.Child({}, arguments)])
    assert loaded.code == 0, loaded.output
    np.testing.assert_allclose(np.array(loaded.value), told, atol=0.05 if name == "Int8" else 5e-5)
