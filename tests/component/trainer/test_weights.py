"""What is trained, what stays, what others can load, and where the head starts."""

import json

import numpy as np
import pytest

LORA = {"lora": {"rank": 4}}


def logits(run):
    return np.load(run.folders[0] / "output" / "report" / "predictions.npz")["tuned_logits"]


def watched(run_folder):
    return json.loads((run_folder / "watched.json").read_text())


@pytest.fixture(scope="module")
def run_watched(bench, cases):
    def run(method, zero):
        return bench.run(
            method, ranks=2, micro=4, zero=zero, function=cases.run_watched,
            arguments=lambda rank, folder: {"watched": str(folder / "watched.json")},
        )  # fmt: skip

    return run


@pytest.fixture(scope="module")
def lora(run_watched):
    return run_watched(LORA, None)


@pytest.mark.parametrize("zero", [None, 3])
def test_lora_trains_adapters_and_head_only(lora, run_watched, zero):
    lora = lora if zero is None else run_watched(LORA, zero)
    assert lora.codes == [0, 0], lora.output
    for folder in lora.folders:
        seen = watched(folder)
        trainable = set(seen["trainable"])
        assert trainable
        assert all("lora_" in n or "classifier.modules_to_save" in n for n in trainable)
        adapted = {n.split(".lora_")[0].rpartition(".")[2] for n in trainable if "lora_" in n}
        assert adapted == {"query", "key", "value", "dense"}
        assert any("pooler.dense.lora_A" in name for name in trainable)
        assert not any("classifier.lora" in name for name in trainable)
        changed = {n for n in seen["after"] if seen["after"][n] != seen["before"][n]}
        assert changed == trainable
        if zero is not None:  # gradients are split, too
            continue
        assert all(seen["gradients"][n] is None for n in seen["before"] if n not in trainable)
        # lora_A waits until lora_B has left zero.
        moving = [n for n in trainable if "lora_A" not in n]
        assert all(seen["gradients"][name] > 0 for name in moving)
    assert watched(lora.folders[0])["after"] == watched(lora.folders[1])["after"]


@pytest.mark.parametrize("zero", [2, 3])
def test_full_trains_everything(run_watched, zero):
    run = run_watched({"full": {}}, zero)
    assert run.codes == [0, 0], run.output
    seen = watched(run.folders[0])
    # A key's bias shifts all scores of a query alike: softmax does not see it.
    still = {n for n in seen["after"] if seen["after"][n] == seen["before"][n]}
    assert still <= {n for n in seen["after"] if n.endswith("key.bias")}
    assert watched(run.folders[1])["after"] == seen["after"]


def test_adapter_loads_in_plain_peft(bench, cases, forkserver, lora):
    folder = lora.folders[0]
    (loaded,) = bench.server.call(
        cases.load_adapter,
        [forkserver.Child({}, {"base": str(bench.model), "prepared": str(folder / "prepared"),
                               "adapter": str(folder / "output" / "adapter")})],
    )  # fmt: skip
    assert loaded.code == 0, loaded.output
    np.testing.assert_allclose(np.array(loaded.value), logits(lora), atol=2e-5)
    config = json.loads((folder / "output" / "adapter" / "config.json").read_text())
    assert list(config["id2label"].values()) == ["animal", "sky", "way"]
    adapter = json.loads((folder / "output" / "adapter" / "adapter_config.json").read_text())
    assert adapter["base_model_name_or_path"] == f"file://{bench.model}/"


def test_full_model_loads_in_plain_transformers(bench, cases, forkserver):
    run = bench.run({"full": {}}, ranks=2, micro=4, zero=2)
    folder = run.folders[0]
    arguments = {"prepared": str(folder / "prepared"), "model": str(folder / "output" / "model")}
    (loaded,) = bench.server.call(cases.load_full, [forkserver.Child({}, arguments)])
    assert loaded.code == 0, loaded.output
    np.testing.assert_allclose(np.array(loaded.value), logits(run), atol=2e-5)


def test_head_that_starts_from_the_probe_is_the_probe(bench, cases):
    run = bench.run({"full": {}}, ranks=2, micro=4, function=cases.probe_against_head)
    assert run.codes == [0, 0], run.output
    for outcome in run.outcomes:
        probe, model = np.array(outcome.value["probe"]), np.array(outcome.value["model"])
        np.testing.assert_allclose(probe, model, atol=1e-4)
        assert (probe.argmax(axis=1) == model.argmax(axis=1)).all()
        assert outcome.value["head"] == "classifier"
        assert outcome.value["fresh"] == ("classifier",)


def test_evaluation_says_base_tuned_and_interval(lora):
    (event,) = lora.events("evaluation")
    by_name = {result["metric"]: result for result in event["results"]}
    assert set(by_name) == {"accuracy", "macro_f1"}
    saved = np.load(lora.folders[0] / "output" / "report" / "predictions.npz")
    accuracy = by_name["accuracy"]
    assert float(accuracy["base"]) == pytest.approx(
        (saved["base"] == saved["truth"]).mean(), abs=1e-4
    )
    assert float(accuracy["tuned"]) == pytest.approx(
        (saved["tuned"] == saved["truth"]).mean(), abs=1e-4
    )
    low, high = (float(part) for part in accuracy["interval"].split(" to "))
    assert low <= float(accuracy["tuned"]) - float(accuracy["base"]) <= high
    assert [event["stage"] for event in lora.events("stage")] == [
        "baseline", "train", "evaluate", "export", "report",
    ]  # fmt: skip
    assert [event["name"] for event in lora.events("artifact")] == ["baseline", "adapter"]
