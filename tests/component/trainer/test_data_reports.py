"""The whole data report of a small source of each layout and format, to the byte: golden/data.

`UPDATE_GOLDENS=1 pytest tests/component/trainer/test_data_reports.py` writes them anew.
"""

import json
import os
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

GOLDEN = Path(__file__).parents[2] / "golden" / "data"
WORDS = ("red", "green", "dog", "cat", "sun", "tree")
COUNT = 24


def words(number):
    return " ".join(WORDS[(number * step) % 6] for step in range(1, 3 + number % 4)) + f" n{number}"


def lines(row):
    """24 rows, the first of them twice."""
    return "".join(json.dumps(row(n % COUNT)) + "\n" for n in range(COUNT + 1)).encode()


def table(path, row, write):
    with path.open("wb") as file:
        write(pa.Table.from_pylist([row(n) for n in range(COUNT)]), file)


def labelled(n):
    return {"text": words(n), "label": WORDS[n % 2]}


def tokens(n):
    return words(n).split()


def task(n):
    chosen = {"from_name": "tone", "to_name": "text", "type": "choices",
              "value": {"choices": [WORDS[n % 2]]}}  # fmt: skip
    made = [{"id": n, "was_cancelled": n == 3, "result": [chosen]}] if n != 4 else []
    return {"id": n, "data": {"text": words(n)}, "annotations": made, "predictions": []}


def answers(n):
    context = f"{words(n)} tree"
    return {"question": "red dog", "context": context,
            "answers": {"text": ["tree"], "answer_start": [context.rindex("tree")]}}  # fmt: skip


def turns(n):
    said = ["user", "assistant"] * (1 + n % 2)
    return {"messages": [{"role": role, "content": words(n + k)} for k, role in enumerate(said)]}


def write_arrow(rows, file):
    with pa.ipc.new_stream(file, rows.schema) as writer:
        writer.write_table(rows)


SWAP = {"copies": 2, "swap": 0.3, "synonyms": {"share": 0.5, "words": ["red, green"]}}
TEXTS, SPANS = {"task": "TextClassification"}, {"task": "TokenClassification"}
WRITES = {"task": "TextGeneration"}
LINES = {
    "labels": (TEXTS, labelled),
    "labels-multi": (TEXTS, lambda n: {"text": words(n), "label": list(WORDS[: n % 3])}),
    "labels-number": (TEXTS, lambda n: {"text": words(n), "label": n + 0.5}),
    "labels-augmented": (TEXTS | {"dataset": {"augmentation": {"text": SWAP}}}, labelled),
    "spans": (
        SPANS,
        lambda n: {"text": f"dog {words(n)}", "spans": [{"start": 0, "end": 3, "label": "pet"}]},
    ),
    "token-tags": (
        SPANS, lambda n: {"tokens": tokens(n), "tags": ["B-x", *"O" * (len(tokens(n)) - 1)]},
    ),
    "answers": ({"task": "QuestionAnswering"}, answers),
    "source-target": (
        {"task": "Summarization"}, lambda n: {"source": words(n), "target": WORDS[n % 6]},
    ),
    "prompt-completion": (
        WRITES, lambda n: {"prompt": f"{words(n)} =", "completion": f" {WORDS[n % 6].upper()}"},
    ),
    "messages": (WRITES | {"dataset": {"mask": "Assistant"}}, turns),
    "text": (
        WRITES | {"objective": "Pretrain", "dataset": {"maxLength": 8}},
        lambda n: {"text": words(n) * 3},
    ),
    "preference": (
        WRITES | {"objective": "DPO"},
        lambda n: {"prompt": words(n), "chosen": "sun", "rejected": "tree"},
    ),
    "kto": (
        WRITES | {"objective": "KTO"},
        lambda n: {"prompt": words(n), "completion": "sun", "label": n % 2 == 0},
    ),
}  # fmt: skip
FILES = {
    "format-csv": (
        TEXTS, "rows.csv",
        lambda path: path.write_text(
            "text;label\n" + "".join(f"{words(n)}; {WORDS[n % 2]}\n" for n in range(COUNT))
        ),
    ),
    "format-json": (
        TEXTS, "rows.json",
        lambda path: path.write_text(json.dumps({"rows": [labelled(n) for n in range(COUNT)]})),
    ),
    "format-parquet": (TEXTS, "rows.parquet", lambda path: table(path, labelled, pq.write_table)),
    "format-arrow": (TEXTS, "rows.arrow", lambda path: table(path, labelled, write_arrow)),
    "format-lines": (
        WRITES | {"objective": "Pretrain", "dataset": {"format": "Lines"}}, "corpus.txt",
        lambda path: path.write_text("\n\n".join(words(n) for n in range(COUNT))),
    ),
    "format-label-studio": (
        TEXTS, "export.json",
        lambda path: path.write_text(json.dumps([task(n) for n in range(COUNT)])),
    ),
}  # fmt: skip
NAMES = [*LINES, *FILES]


@pytest.fixture(scope="module")
def reports(bench, writing, rewriting, forkserver, cases, tmp_path_factory):
    """Every source's report: all are prepared side by side."""
    benches = {"TextGeneration": writing, "Summarization": rewriting}
    jobs, children = {}, []
    for name in NAMES:
        folder = tmp_path_factory.mktemp(name)
        if name in LINES:
            spec, row = LINES[name]
            path = folder / "rows.jsonl"
            path.write_bytes(lines(row))
        else:
            spec, file, write = FILES[name]
            path = folder / file
            write(path)
        on = benches.get(spec["task"], bench)
        dataset = {"train": {"uri": f"file://{path}"}} | spec.get("dataset", {})
        output = {"uri": f"file://{folder}/out/"}
        if name == "messages":
            template = {"uri": f"file://{on.model}/", "chatTemplate": cases.CHAT_TEMPLATE}
            spec = spec | {"model": template}
        job = on.job({"lora": {}}, output=output, **spec | {"dataset": dataset})
        jobs[name] = folder
        children.append(forkserver.Child(
            {"FINETUNE_JOB": job.to_env(), "FINETUNE_TERMINATION_LOG": str(folder / "message"),
             "FINETUNE_WORKDIR": str(folder / "work")}
        ))  # fmt: skip
    ended = bench.server.call(cases.prepare, children, timeout=280)
    outcomes = dict(zip(NAMES, ended, strict=True))
    assert not {name: one.output for name, one in outcomes.items() if one.code}
    return {
        name: next(folder.glob("out/prepared/*/data-report.json")).read_text()
        for name, folder in jobs.items()
    }


@pytest.mark.parametrize("name", NAMES)
def test_the_report_is_the_golden_one(reports, name):
    # The model's files are in both with the time at which they were written.
    text = re.sub(r'("(fingerprint|model)": ")[0-9a-f]{16}"', r'\1OF THE INPUTS"', reports[name])
    text += "\n"
    path = GOLDEN / f"{name}.json"
    if os.environ.get("UPDATE_GOLDENS"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")
    assert "/" not in "".join(file["name"] for file in json.loads(text)["files"])


def test_each_golden_report_has_its_source():
    assert sorted(path.stem for path in GOLDEN.glob("*.json")) == sorted(NAMES)
