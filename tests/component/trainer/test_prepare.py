"""The prepare pod: what it refuses and with which code, what it writes, what it uses again."""

import json
import os
import shutil
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from finetune_api.dataset import TrainSource
from tests.component.storage.hub_server import Hub

LORA = {"lora": {"rank": 4}}


def refused(bench, job, code):
    outcome, message = bench.prepare(job)
    assert outcome.code == code, outcome.output
    assert "Traceback" not in outcome.output
    return f"{message['message']}; {message.get('remedy', '')}"


def output(job):
    return Path(job.spec.output.uri.removeprefix("file://"))


@pytest.fixture
def spoilt(bench, tmp_path):
    """A copy of the model to break, and a job that uses it."""
    folder = tmp_path / "spoilt"
    shutil.copytree(bench.model, folder)
    return folder, bench.job(LORA, model={"uri": f"file://{folder}/"})


def test_result_fits_and_names_everything(bench):
    job = bench.job(LORA, ranks=2)
    outcome, message = bench.prepare(job)
    assert outcome.code == 0, outcome.output
    assert len(json.dumps(message)) < 3000
    prepared = message["prepared"]
    assert prepared["inputsHash"] == job.inputs_hash
    assert prepared["graceSeconds"] >= 60
    assert message["plan"]["globalBatch"] == 8
    data = message["data"]
    assert data["rows"] == 90 == data["trainRows"] + data["validationRows"] + data["testRows"]
    folder = output(job) / "prepared" / prepared["fingerprint"]
    manifest = json.loads((folder / "MANIFEST.json").read_text())
    names = {file["path"] for file in manifest["files"]}
    assert {"labels.json", "data-report.json", "train/state.json"} <= names
    report = json.loads((folder / "data-report.json").read_text())
    assert report["files"][0]["reason"] == "its first line starts with {"
    assert sum(count["test"] for count in report["classes"].values()) == data["testRows"]
    assert json.loads((output(job) / "plan-1.json").read_text()) == message["plan"]
    assert outcome.output.count("prepare: ") >= 5


def test_unchanged_inputs_are_used_again(bench):
    first = bench.job(LORA)
    _, before = bench.prepare(first)
    outcome, after = bench.prepare(first)
    assert "is there already and is used again" in outcome.output
    assert after["prepared"]["fingerprint"] == before["prepared"]["fingerprint"]
    assert after["data"] == before["data"]
    # Another number of pods: the same rows, another plan.
    wider = bench.job(LORA, ranks=2, output=first.spec.output.to_wire())
    outcome, message = bench.prepare(wider)
    assert "is used again" in outcome.output
    assert message["plan"]["ranks"] == 2


def test_another_number_of_ranks_is_another_plan_and_the_same_is_none(bench):
    first = bench.job(LORA)
    place = {"output": first.spec.output.to_wire()}
    for ranks, expected in ((1, [1]), (2, [1, 2]), (2, [1, 2])):
        _, message = bench.prepare(bench.job(LORA, ranks=ranks, **place))
        plans = {path.name: json.loads(path.read_text()) for path in output(first).glob("plan-*")}
        assert sorted(plans) == [f"plan-{number}.json" for number in expected]
        assert plans[f"plan-{expected[-1]}.json"] == message["plan"]
        assert message["plan"]["ranks"] == ranks
    # A rollback's smaller rate stays, also when the ranks change again.
    rate = message["plan"]["learningRate"]
    slower = message["plan"] | {"learningRate": rate / 2, "rollbacks": 1}
    (output(first) / "plan-3.json").write_text(json.dumps(slower))
    _, message = bench.prepare(bench.job(LORA, ranks=4, **place))
    newest = json.loads((output(first) / "plan-4.json").read_text())
    assert (newest["ranks"], newest["rollbacks"]) == (4, 1)
    assert newest["learningRate"] == message["plan"]["learningRate"] == rate / 2


def test_half_written_data_is_made_again(bench):
    job = bench.job(LORA)
    _, before = bench.prepare(job)
    folder = output(job) / "prepared" / before["prepared"]["fingerprint"]
    (folder / "labels.json").unlink()
    outcome, _ = bench.prepare(job)
    assert outcome.code == 0
    assert "is used again" not in outcome.output
    assert (folder / "labels.json").exists()


def test_same_size_other_bytes_is_another_fingerprint(bench, tmp_path):
    rows = tmp_path / "rows.jsonl"
    text = bench.rows.read_text()
    job = bench.job(LORA, dataset={"train": {"uri": f"file://{rows}"}})
    rows.write_text(text)
    _, before = bench.prepare(job)
    rows.write_text(text.replace("green", "nerge"))
    _, after = bench.prepare(job)
    assert before["prepared"]["fingerprint"] != after["prepared"]["fingerprint"]


def test_a_folder_of_another_run_is_refused(bench):
    first = bench.job(LORA)
    bench.prepare(first)
    other = first.model_copy(update={"name": "other"})
    assert "belongs to default/tiny, this is default/other" in refused(bench, other, 40)
    changed = bench.job({"full": {}}, output=first.spec.output.to_wire())
    assert "holds an earlier run of default/tiny with other settings" in refused(bench, changed, 40)


def test_bad_rows_end_with_41(bench, tmp_path):
    rows = tmp_path / "rows.jsonl"
    rows.write_text(bench.rows.read_text() + '{"text": "", "label": "sky"}\n')
    job = bench.job(LORA, dataset={"train": {"uri": f"file://{rows}"}})
    assert "rows.jsonl:91: field 'text' is empty" in refused(bench, job, 41)


def test_a_folder_of_several_formats_is_one_dataset(bench, tmp_path):
    rows = [json.loads(line) for line in bench.rows.read_text().splitlines()]
    (tmp_path / "_SUCCESS").touch()
    pq.write_table(pa.Table.from_pylist(rows[:30]), tmp_path / "part-0.snappy.parquet")
    datasets.Dataset.from_list(rows[30:60]).save_to_disk(tmp_path / "saved")
    lines = [json.dumps(row) + "\n" for row in rows[60:]]
    (tmp_path / "rest.jsonl").write_text("".join(lines))
    job = bench.job(LORA, dataset={"train": {"uri": f"file://{tmp_path}/"}})
    outcome, message = bench.prepare(job)
    assert outcome.code == 0, outcome.output
    assert message["data"]["rows"] == 90
    report = output(job) / "prepared" / message["prepared"]["fingerprint"] / "data-report.json"
    formats = {file["name"]: file["format"] for file in json.loads(report.read_text())["files"]}
    assert formats == {
        "part-0.snappy.parquet": "Parquet", "rest.jsonl": "JSONL",
        "saved/data-00000-of-00001.arrow": "Arrow",
    }  # fmt: skip


def test_a_folder_of_texts_is_data_only_where_texts_are_learnt(bench, writing, tmp_path):
    for number in range(40):
        (tmp_path / f"{number}.txt").write_text(f"red green blue n{number}\n\ndog cat\n")
    dataset = {"train": {"uri": f"file://{tmp_path}/"}}
    job = writing.job(LORA, objective="Pretrain", dataset=dataset)
    outcome, message = writing.prepare(job)
    assert outcome.code == 0, outcome.output
    assert message["data"]["rows"] == 40
    told = refused(bench, bench.job(LORA, dataset=dataset), 40)
    assert "holds no .jsonl, .json, .csv, .parquet or .arrow file, only 0.txt" in told


def test_duplicates_and_leaks_are_dropped_and_counted(bench, tmp_path):
    rows, held_out = tmp_path / "train.jsonl", tmp_path / "test.jsonl"
    lines = bench.rows.read_text().splitlines(keepends=True)
    rows.write_text("".join([*lines, lines[0], lines[1]]))
    held_out.write_text("".join(lines[60:75]))
    job = bench.job(
        LORA,
        dataset={"train": {"uri": f"file://{rows}"}, "test": {"uri": f"file://{held_out}"}},
    )
    _, message = bench.prepare(job)
    data = message["data"]
    assert data["dropped"]["duplicate"] == 2
    # Rows of the test file that the validation split took stay there.
    assert 10 <= data["dropped"]["alsoHeldOut"] <= 15
    assert data["testRows"] == 15
    assert data["rows"] == 107 == sum(
        (data["trainRows"], data["validationRows"], data["testRows"], *data["dropped"].values())
    )  # fmt: skip


@pytest.mark.parametrize(
    ("policy", "truncated", "dropped"), [("Truncate", True, False), ("Drop", False, True)]
)
def test_long_rows(bench, policy, truncated, dropped):
    job = bench.job(LORA, dataset={"maxLength": 14, "overlength": policy})
    outcome, message = bench.prepare(job)
    assert outcome.code == 0, outcome.output
    assert (message["data"]["truncated"] > 0) == truncated
    assert ("overlength" in message["data"].get("dropped", {})) == dropped


def test_long_rows_can_fail(bench):
    job = bench.job(LORA, dataset={"maxLength": 14, "overlength": "Fail"})
    assert "of 90 rows have more than 14 tokens" in refused(bench, job, 41)


def test_more_than_the_model_can_read_is_refused(bench):
    job = bench.job(LORA, dataset={"maxLength": 128})
    assert "more than the model's limit of 64 tokens" in refused(bench, job, 40)


def test_batch_that_does_not_divide_is_refused(bench):
    job = bench.job(LORA, ranks=3)
    assert "cannot be shared evenly by 3 ranks; set it to a multiple of 3" in refused(
        bench, job, 40
    )


def test_unknown_lora_target_is_refused(bench):
    job = bench.job({"lora": {"targetModules": ["qeury"]}})
    assert "no linear layer is called 'qeury'; use some of dense, key, query" in refused(
        bench, job, 40
    )


@pytest.mark.parametrize(
    ("remove", "expected"),
    [
        ("config.json", "has no config.json"),
        ("tokenizer.json", "has no tokenizer"),
        ("model.safetensors", "no .safetensors file: no weights were found"),
    ],
)
def test_incomplete_model_is_refused(bench, spoilt, remove, expected):
    folder, job = spoilt
    (folder / remove).unlink()
    assert expected in refused(bench, job, 40)


def test_pickled_weights_are_refused(bench, spoilt):
    folder, job = spoilt
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    assert "its weights are pickled (pytorch_model.bin)" in refused(bench, job, 40)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("nonsense", "model_type 'nonsense' cannot be loaded"), ("clip", "cannot classify text")],
)
def test_architecture_that_does_not_fit_is_refused(bench, spoilt, kind, expected):
    folder, job = spoilt
    (folder / "config.json").write_text(json.dumps({"model_type": kind}))
    assert expected in refused(bench, job, 40)


def test_missing_dataset_is_refused(bench, tmp_path):
    job = bench.job(LORA, dataset={"train": {"uri": f"file://{tmp_path}/nothing.jsonl"}})
    assert "nothing.jsonl does not exist" in refused(bench, job, 40)


def test_term_signal_leaves_with_50(bench, cases, forkserver, tmp_path):
    job = bench.job(LORA)
    message = tmp_path / "message"
    env = {"FINETUNE_JOB": job.to_env(), "FINETUNE_TERMINATION_LOG": str(message),
           "FINETUNE_WORKDIR": str(tmp_path / "work")}  # fmt: skip
    (outcome,) = bench.server.call(cases.prepare_terminated, [forkserver.Child(env)])
    assert outcome.code == 50, outcome.output
    assert json.loads(message.read_text())["class"] == "Preempted"
    assert not os.path.exists(output(job) / "plan-1.json")


def test_a_model_and_rows_of_the_hub_are_prepared(bench, cases, forkserver, tmp_path):
    rows = tmp_path / "rows"
    rows.mkdir()
    shutil.copyfile(bench.rows, rows / "train.jsonl")
    hub = Hub({"org/tiny": bench.model, "datasets/org/rows": rows})
    job = bench.job({"lora": {"rank": 4}})
    spec = job.spec.model_copy(
        update={
            "model": job.spec.model.model_copy(update={"uri": "hf://org/tiny@v1/"}),
            "dataset": job.spec.dataset.model_copy(
                update={"train": TrainSource(uri="hf://datasets/org/rows/train.jsonl")}
            ),
        }
    )
    env = {"FINETUNE_JOB": job.model_copy(update={"spec": spec}).to_env(),
           "FINETUNE_TERMINATION_LOG": str(tmp_path / "message"),
           "FINETUNE_WORKDIR": str(tmp_path / "work")}  # fmt: skip
    try:
        child = forkserver.Child(env, {"endpoint": hub.url})
        (outcome,) = bench.server.call(cases.prepare_from_hub, [child])
    finally:
        hub.shutdown()
        hub.server_close()
    assert outcome.code == 0, outcome.output
    told = json.loads((tmp_path / "message").read_text())
    assert told["data"]["rows"] == 90
    weights = (bench.model / "model.safetensors").stat().st_size
    assert told["prepared"]["modelBytes"] > weights
    assert "org/tiny/resolve" in " ".join(hub.asked)
    fetched = {path.rpartition("/")[2] for path in hub.asked if "/resolve/" in path}
    assert {"config.json", "tokenizer.json", "train.jsonl"} <= fetched


def preview(bench, **spec):
    job = bench.job({"full": {}}, **spec)
    outcome, message = bench.prepare(job)
    assert outcome.code == 0, outcome.output
    folder = output(job) / "prepared" / message["prepared"]["fingerprint"]
    return json.loads((folder / "data-report.json").read_text())["preview"]


def test_the_report_shows_what_of_the_first_rows_is_learnt(writing, rewriting, bench):
    shown = preview(writing)
    assert len(shown) == 3
    for read, learnt in shown:
        assert (read["learnt"], learnt["learnt"]) == (False, True)
        assert learnt["text"] == f"{read['text'].split()[1].upper()} </s>"
    everything = preview(writing, dataset={"mask": "All"})
    assert [[part["learnt"] for part in row] for row in everything] == [[True]] * 3
    for read, learnt in preview(rewriting):
        assert (read["learnt"], learnt["learnt"]) == (False, True)
        assert learnt["text"].removesuffix(" </s>").isupper()
    assert preview(bench) == []
