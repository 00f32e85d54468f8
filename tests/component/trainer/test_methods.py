"""Every method: trains what it says and nothing else, with equal curves, and loads back."""

import json

import numpy as np
import pytest

METHODS = {
    "freeze": {"freeze": {"trainable": ["*.layer*.1"]}},
    "headOnly": {"headOnly": {}},
    "RsLoRA": {"lora": {"rank": 4, "variant": "RsLoRA"}},
    "DoRA": {"lora": {"rank": 4, "variant": "DoRA"}},
    "PiSSA": {"lora": {"rank": 4, "variant": "PiSSA"}},
    "NF4": {"qlora": {"rank": 4}},
    "Int8": {"qlora": {"rank": 4, "quantization": "Int8"}},
    "ia3": {"ia3": {}},
    "promptTuning": {"promptTuning": {"tokens": 4}},
    "prefixTuning": {"prefixTuning": {"tokens": 4}},
    "pTuning": {"pTuning": {"tokens": 4}},
    "LOHA": {"peft": {"type": "LOHA", "config": {"r": 4}}},
    "LOKR": {"peft": {"type": "LOKR", "config": {"r": 4}}},
    "VERA": {"peft": {"type": "VERA", "config": {"r": 4}}},
    "OFT": {"peft": {"type": "OFT", "config": {"oft_block_size": 8}}},
    "MISS": {"peft": {"type": "MISS", "config": {"r": 4}}},
    "HRA": {"peft": {"type": "HRA", "config": {"r": 4}}},
}
LAYOUTS = [(2, 2, None), (2, 4, 2), (2, 1, 3)]
"""ranks, micro-batch, ZeRO stage or none for DDP."""
UNSPLIT = {"NF4", "Int8", "promptTuning", "prefixTuning", "pTuning"}

RARE = {"LOKR", "VERA", "MISS", "HRA"}
"""Types of PEFT that are the matrix's alone: what is ours is the same for all of them."""
ROUNDING = {"Int8": 0.1}
"""Int8 rounds activations batch by batch, and outliers among them are found in a whole batch."""


def cells():
    """Each method on each task and layout. In the usual run each method has one task and layout,
    dealt out in turn; the rest is the matrix."""
    for number, name in enumerate(METHODS):
        possible = [one for one in LAYOUTS if one[2] != 3 or name not in UNSPLIT]
        tasks = ["classifying", "writing"] if name != "headOnly" else ["classifying"]
        every = [(task, layout) for task in tasks for layout in possible]
        dealt = (tasks[number % len(tasks)], possible[number % len(possible)])
        for task, layout in every:
            usual = (task, layout) == dealt and name not in RARE
            marks = [] if usual else [pytest.mark.matrix]
            how = "DDP" if layout[2] is None else f"ZeRO-{layout[2]}"
            yield pytest.param(task, name, layout, id=f"{name}-{task}-{how}", marks=marks)


@pytest.fixture(scope="module")
def classifying(bench_of):
    return bench_of(hidden=64)


@pytest.fixture(scope="module")
def wide_writing(writing_of):
    return writing_of(hidden=64)


@pytest.mark.parametrize(("task", "name", "layout"), list(cells()))
def test_method(request, cases, forkserver, task, name, layout):
    bench = request.getfixturevalue("wide_writing" if task == "writing" else task)
    ranks, micro, zero = layout
    method, training = METHODS[name], {"maxSteps": 4}
    reference = bench.run(
        method, ranks=1, micro=8, training=training, function=cases.run_watched,
        arguments=lambda rank, folder: {"watched": str(folder / "watched.json")},
    )  # fmt: skip
    assert reference.codes == [0], reference.output
    run = bench.run(method, ranks=ranks, micro=micro, zero=zero, training=training)
    assert run.codes == [0] * ranks, run.output
    rounding = ROUNDING.get(name, 1e-5)
    for curve in ("loss", "grad_norm"):
        assert run.curve(curve) == pytest.approx(reference.curve(curve), rel=rounding), curve
    assert len(set(run.curve().values())) > 2

    seen = json.loads((reference.folders[0] / "watched.json").read_text())
    trainable = set(seen["trainable"])
    changed = {name for name in seen["after"] if seen["after"][name] != seen["before"][name]}
    # A key's bias has no gradient: softmax does not see a shift of all scores.
    assert changed <= trainable
    assert {n for n in trainable - changed if not n.endswith("key.bias")} == set()
    assert all(seen["gradients"][n] is None for n in seen["before"] if n not in trainable)
    assert any(seen["gradients"][n] for n in trainable)
    if task == "classifying":
        assert_loads_back(bench, cases, forkserver, run, name)


def assert_loads_back(bench, cases, forkserver, run, name):
    """Plain PEFT or transformers in a new process gives the logits that the run told."""
    folder = run.folders[0]
    told = np.load(folder / "output" / "report" / "predictions.npz")["tuned_logits"]
    arguments = {"prepared": str(folder / "prepared")}
    if name in {"freeze", "headOnly"}:
        function, arguments["model"] = cases.load_full, str(folder / "output" / "model")
    else:
        function = cases.load_adapter
        arguments |= {"base": str(bench.model), "adapter": str(folder / "output" / "adapter")}
        arguments |= {"quantization": name} if name in {"NF4", "Int8"} else {}
    (loaded,) = bench.server.call(function, [forkserver.Child({}, arguments)])
    assert loaded.code == 0, loaded.output
    np.testing.assert_allclose(np.array(loaded.value), told, atol=0.05 if name == "Int8" else 5e-5)


@pytest.mark.parametrize(
    ("method", "sentence"),
    [
        ({"freeze": {"trainable": ["*.layer*.7"]}}, "method.freeze.trainable: '*.layer*.7' matches "
         "no layer; from first to last they are bert.embeddings.word_embeddings, "),
        ({"lora": {"targetModules": ["quary"]}}, "method.lora.targetModules: no linear layer is "
         "called 'quary'; use some of dense, key, query, value, or leave it out for all"),
        ({"peft": {"type": "LOHAA"}}, "method.peft.type 'LOHAA' is no method of PEFT; did you mean "
         "LOHA?"),
        ({"peft": {"type": "LORA"}}, "method.peft.type LORA: it is method.lora; choose another "
         "method"),
        ({"peft": {"type": "ADALORA"}}, "method.peft.type ADALORA: its ranks would have to be "
         "shared out anew at each step; choose another method"),
        ({"peft": {"type": "LOHA", "config": {"rank_droput": 0.1}}}, "method.peft.config: "
         "LoHaConfig has no field rank_droput; did you mean rank_dropout?"),
        ({"peft": {"type": "MISS", "config": {"r": 640}}}, "method.peft does not fit this model: "
         "`r` (640) must be less than or equal to in_features (64); correct method.peft.config"),
    ],
)  # fmt: skip
def test_a_method_that_does_not_fit_is_told_by_prepare(classifying, method, sentence):
    outcome, message = classifying.prepare(classifying.job(method))
    assert outcome.code == 40, outcome.output
    assert sentence in f"{message['message']}; {message['remedy']}"


def test_virtual_tokens_count_against_the_models_limit(classifying):
    job = classifying.job({"promptTuning": {"tokens": 40}}, dataset={"maxLength": 32})
    outcome, message = classifying.prepare(job)
    assert outcome.code == 40, outcome.output
    assert message["message"] == "dataset.maxLength 32 is more than the model's limit of 24 tokens"
