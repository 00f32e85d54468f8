"""Forms of the result, the model card, and the gate before them."""

import json

import numpy as np
import pytest
import yaml

from finetune_api.errors import GateNotMetError, UserError
from finetune_api.results import Gate
from finetune_trainer.evaluate.gate import check

LORA = {"lora": {"rank": 4}}


@pytest.fixture(scope="module")
def merged(bench):
    run = bench.run(LORA, ranks=2, micro=4, zero=2, output={"artifacts": ["Adapter", "Merged"]})
    assert run.codes == [0, 0], run.output
    return run


def difference(run):
    return json.loads((run.folders[0] / "output" / "report" / "merge.json").read_text())[
        "largestDifference"
    ]


def test_a_merged_model_loads_in_plain_transformers_with_the_adapters_outputs(
    merged, bench, cases, forkserver
):
    folder = merged.folders[0]
    told = np.load(folder / "output" / "report" / "predictions.npz")["tuned_logits"]
    arguments = {"prepared": str(folder / "prepared"), "model": str(folder / "output" / "merged")}
    (loaded,) = bench.server.call(cases.load_full, [forkserver.Child({}, arguments)])
    assert loaded.code == 0, loaded.output
    np.testing.assert_allclose(np.array(loaded.value), told, atol=5e-5)
    assert difference(merged) < 1e-5
    assert [event["name"] for event in merged.events("artifact")] == [
        "baseline", "adapter", "merged",
    ]  # fmt: skip


def test_a_base_that_was_quantised_is_merged_whole_and_the_difference_is_told(bench_of):
    wide = bench_of(hidden=64)
    run = wide.run({"qlora": {"rank": 4}}, ranks=1, micro=8, output={"artifacts": ["Merged"]})
    assert run.codes == [0], run.output
    weights = json.loads((run.folders[0] / "output" / "merged" / "config.json").read_text())
    assert "quantization_config" not in weights
    assert 1e-4 < difference(run) < 1
    assert [event["name"] for event in run.events("artifact")] == ["baseline", "merged"]


def test_a_split_base_is_merged(bench):
    run = bench.run(LORA, ranks=2, micro=4, zero=3, output={"artifacts": ["Merged"]})
    assert run.codes == [0, 0], run.output
    assert difference(run) < 1e-5


def test_the_card_says_what_a_result_was_made_of(merged, bench):
    text = (merged.folders[0] / "output" / "adapter" / "README.md").read_text()
    _, head, body = text.split("---\n", 2)
    about = yaml.safe_load(head)
    assert about["base_model"] == f"file://{bench.model}/"
    assert about["library_name"] == "peft"
    assert about["pipeline_tag"] == "text-classification"
    report = json.loads((merged.folders[0] / "prepared" / "data-report.json").read_text())
    assert f"`{report['hashes'][0]['sha256']}`" in body
    assert len(report["hashes"][0]["sha256"]) == 64
    (event,) = merged.events("evaluation")
    for result in event["results"]:
        assert f"| {result['metric']} | {result['base']} | {result['tuned']} |" in body
    assert f"`{report['fingerprint']}`" in body


def test_no_card_is_written_where_none_is_wanted(bench):
    run = bench.run({"headOnly": {}}, ranks=1, micro=8, output={"modelCard": False})
    assert run.codes == [0], run.output
    assert not (run.folders[0] / "output" / "model" / "README.md").exists()


def test_a_run_that_misses_its_gate_leaves_no_result(bench):
    evaluation = {"gate": {"metric": "accuracy", "minImprovement": 1}}
    run = bench.run(LORA, ranks=2, micro=4, evaluation=evaluation)
    assert run.codes == [45, 45], run.output
    for rank in (0, 1):
        (failure,) = run.events("failed", rank)
        assert failure["class"] == "GateNotMet"
        assert failure["message"].startswith("accuracy went from ")
        assert failure["message"].endswith("evaluation.gate asks for 1 or more")
    assert not (run.folders[0] / "output" / "adapter").exists()
    assert (run.folders[0] / "output" / "report" / "evaluation.json").exists()


RESULTS = [{"metric": "accuracy", "base": "0.5000", "tuned": "0.6000", "rows": 10}]


@pytest.mark.parametrize(("least", "passes"), [(0.0, True), (0.1, True), (0.11, False)])
def test_a_gate_asks_for_a_gain(least, passes):
    gate = Gate(metric="accuracy", min_improvement=least)
    results = [{**RESULTS[0], "tuned": "0.6001"}]
    if passes:
        check(gate, results)
    else:
        with pytest.raises(GateNotMetError):
            check(gate, results)


def test_no_gain_is_no_gain_even_when_none_is_asked_for():
    with pytest.raises(GateNotMetError, match="any gain"):
        check(Gate(metric="accuracy"), [{**RESULTS[0], "tuned": "0.5000"}])


def test_a_metric_that_the_rows_do_not_have_is_told():
    with pytest.raises(UserError) as caught:
        check(Gate(metric="json_valid"), RESULTS)
    assert caught.value.remedy == "use one of accuracy"
