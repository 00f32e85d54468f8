"""Exports of Label Studio: what each kind of project becomes, and what is left out or refused."""

import csv
import io
import json

import pyarrow as pa
import pytest

from finetune_api.dataset import Dataset, TrainSource
from finetune_api.errors import DataError
from finetune_api.learning import LAYOUTS, LabelKind, Objective, Task
from finetune_trainer.data.gather import DataFile, Gatherer
from finetune_trainer.data.split import TRAIN


def gather(folder, content, learnt, name="export.json", **settings):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    dataset = Dataset(train=TrainSource(uri="s3://b/x"), **settings)
    gatherer = Gatherer(dataset, LAYOUTS[learnt], folder / "contents.arrow")
    return gatherer.gather([DataFile(path, name, TRAIN)])


def refused(folder, content, learnt, **settings):
    with pytest.raises(DataError) as caught:
        gather(folder, content, learnt, **settings)
    return caught.value.failure().sentence()


def contents(found):
    with pa.OSFile(str(found.arrow), "rb") as source:
        return pa.ipc.open_file(source).read_all().column(0).to_pylist()


def parsed(found):
    return [json.loads(content) for content in contents(found)]


def result(name, kind, **value):
    return {"from_name": name, "to_name": "text", "type": kind, "id": "r1", "value": value}


def annotation(*results, **more):
    return {"id": 1, "completed_by": 1, "result": list(results), "was_cancelled": False,
            "ground_truth": False, "lead_time": 2.5} | more  # fmt: skip


def task(number, data, *annotations, predictions=()):
    return {"id": number, "data": data, "annotations": list(annotations),
            "predictions": list(predictions), "project": 1, "meta": {}}  # fmt: skip


def chosen(*choices):
    return annotation(result("sentiment", "choices", choices=list(choices)))


def classified(count=8):
    return [task(n, {"text": f"row {n}"}, chosen("ab"[n % 2])) for n in range(count)]


def minimal(rows):
    """The rows as a JSON-MIN and as a CSV export."""
    rows = [
        {"annotation_id": n, "annotator": 1, "created_at": "2026-01-01T00:00:00Z", "id": n,
         "lead_time": 2.5, "updated_at": "2026-01-01T00:00:00Z"} | row
        for n, row in enumerate(rows)
    ]  # fmt: skip
    cells = io.StringIO(newline="")
    writer = csv.DictWriter(cells, sorted({name for row in rows for name in row}))
    writer.writeheader()
    for row in rows:
        plain = (str, int, float)
        writer.writerow({k: v if isinstance(v, plain) else json.dumps(v) for k, v in row.items()})
    return {"export.json": json.dumps(rows).encode(), "export.csv": cells.getvalue().encode()}


CLASSES = [{"text": f"row {n}", "sentiment": "ab"[n % 2]} for n in range(8)]


@pytest.mark.parametrize("name", ["tasks.json", "export.json", "export.csv"])
def test_classes(tmp_path, name):
    written = {"tasks.json": classified()} | minimal(CLASSES)
    found = gather(tmp_path, written[name], Task.TEXT_CLASSIFICATION, name=name)
    assert contents(found) == [f"row {n}" for n in range(8)]
    assert found.labels == ["a", "b"]
    assert found.files[0]["format"] == "LabelStudio"
    assert found.files[0]["reason"].endswith("with the fields of Label Studio")


@pytest.mark.parametrize("name", ["tasks.json", "export.json", "export.csv"])
def test_several_choices(tmp_path, name):
    choices = [["a", "b"], ["b"], [], ["a"]] * 2
    tasks = [
        task(n, {"text": f"row {n}"}, chosen(*some) if some else annotation())
        for n, some in enumerate(choices)
    ]
    rows = [
        {"text": f"row {n}"}
        | ({"sentiment": some[0] if len(some) == 1 else {"choices": some}} if some else {})
        for n, some in enumerate(choices)
    ]
    written = {"tasks.json": tasks} | minimal(rows)
    found = gather(tmp_path, written[name], Task.TEXT_CLASSIFICATION, name=name)
    assert found.kind is LabelKind.MULTI
    assert [sorted(row["labels"]) for row in parsed(found)] == choices


SPANS = [{"start": 0, "end": 3, "text": "Ada", "labels": ["PER"]},
         {"start": 8, "end": 12, "text": "Rome", "labels": ["LOC"]}]  # fmt: skip


@pytest.mark.parametrize("name", ["tasks.json", "export.json", "export.csv"])
def test_entities(tmp_path, name):
    marked = [result("ner", "labels", **span) for span in SPANS]
    tasks = [task(n, {"text": f"Ada saw Rome {n}"}, annotation(*marked)) for n in range(5)]
    tasks.append(task(9, {"text": "nobody"}, annotation()))
    rows = [{"text": f"Ada saw Rome {n}", "ner": SPANS} for n in range(5)]
    written = {"tasks.json": tasks} | minimal([*rows, {"text": "nobody", "ner": []}])
    found = gather(tmp_path, written[name], Task.TOKEN_CLASSIFICATION, name=name)
    *marked, nobody = parsed(found)
    assert [row["tags"] for row in marked] == [["B-PER", "O", "B-LOC", "O"]] * 5
    assert nobody["tags"] == ["O"]


def test_places_that_a_browser_counted_are_corrected(tmp_path):
    emoji = {"start": 6, "end": 10, "text": "Rome", "labels": ["LOC"]}  # Two for each emoji.
    lines = {"start": 0, "end": 5, "text": "New\\nYork"[:3] + "\\nY", "labels": ["LOC"]}
    tasks = [
        task(1, {"text": "😀😀, Rome"}, annotation(result("ner", "labels", **emoji))),
        task(2, {"text": "New\nY"}, annotation(result("ner", "labels", **lines))),
    ]
    found = gather(tmp_path, tasks, Task.TOKEN_CLASSIFICATION)
    assert [row["tags"] for row in parsed(found)] == [
        ["O", "O", "O", "B-LOC"], ["B-LOC", "I-LOC"],
    ]  # fmt: skip


def test_spans_of_another_text_are_refused(tmp_path):
    span = {"start": 0, "end": 3, "text": "Bob", "labels": ["PER"]}
    tasks = [task(1, {"text": "Ada"}, annotation(result("ner", "labels", **span)))]
    sentence = refused(tmp_path, tasks, Task.TOKEN_CLASSIFICATION)
    assert "export.json row 1 (0 to 3: 'Ada' instead of 'Bob'): field 'spans[0]' does not" in (
        sentence
    )


def test_an_empty_cell_is_a_text_without_entities(tmp_path):
    cells = minimal([{"text": "Ada saw Rome", "ner": SPANS}] * 2)["export.csv"].decode()
    header = cells.splitlines()[0].split(",")
    row = dict.fromkeys(header, "") | {"id": "7", "text": "nobody"}
    content = "\n".join([*cells.splitlines()[:3], ",".join(row[name] for name in header)])
    found = gather(tmp_path, content.encode(), Task.TOKEN_CLASSIFICATION, name="export.csv")
    assert parsed(found)[-1]["tags"] == ["O"]


@pytest.mark.parametrize("name", ["tasks.json", "export.json", "export.csv"])
def test_preferences_name_left_and_right(tmp_path, name):
    data = [{"prompt": f"{n}?", "one": f"left {n}", "two": f"right {n}"} for n in range(4)]
    sides = ["left", "right", "right", "left"]
    tasks = [
        task(n, row, annotation(result("pw", "pairwise", selected=side)))
        for n, (row, side) in enumerate(zip(data, sides, strict=True))
    ]
    tasks.append(task(4, data[0], annotation()))
    rows = [row | {"pw": [{"selected": side}]} for row, side in zip(data, sides, strict=True)]
    written = {"tasks.json": tasks} | minimal([*rows, data[0] | {"pw": []}])
    columns = {"chosen": "one", "rejected": "two"}
    found = gather(tmp_path, written[name], Objective.DPO, name=name, columns=columns)
    assert [row[1].split()[0] for row in parsed(found)] == sides
    assert all(row[1] != row[2] for row in parsed(found))
    assert found.files[0]["leftOut"] == {"no choice between the two": 1}


def test_answers_and_conversations(tmp_path):
    written = [
        task(n, {"question": f"{n}?"}, annotation(result("reply", "textarea", text=[f"{n}!"])))
        for n in range(3)
    ]
    found = gather(tmp_path, written, Objective.SFT)
    assert parsed(found) == [[f"{n}?", f"{n}!"] for n in range(3)]
    rows = [{"prompt": f"{n}?", "reply": f"{n}!"} for n in range(3)]
    for name, content in minimal(rows).items():
        found = gather(tmp_path, content, Objective.SFT, name=name)
        assert parsed(found) == [[f"{n}?", f"{n}!"] for n in range(3)]
    before = [{"role": "user", "content": "hi"}]
    reply = {"role": "assistant", "content": "hello", "createdAt": 5}
    replied = annotation(result("chat", "chatmessage", chatmessage=reply))
    written = [task(n, {"chat": before}, replied) for n in range(3)]
    found = gather(tmp_path, written, Objective.SFT)
    assert parsed(found) == [[*before, {"role": "assistant", "content": "hello"}]] * 3


def test_what_was_not_annotated_is_counted_by_reason(tmp_path):
    truth = chosen("b") | {"ground_truth": True}
    tasks = [
        *classified(),
        task(10, {"text": "skipped"}, chosen("a") | {"was_cancelled": True}),
        task(11, {"text": "guessed"}, predictions=[{"result": []}]),
        task(12, {"text": "nobody looked"}),
        task(13, {"text": "both"}, chosen("a"), chosen("a"), chosen("b") | {"was_cancelled": True}),
        task(14, {"text": "truth"}, chosen("a"), truth),
    ]
    found = gather(tmp_path, tasks, Task.TEXT_CLASSIFICATION)
    assert contents(found)[8:] == ["both", "truth"]
    assert found.label_ids[8:].tolist() == [0, 1]
    reasons = ["annotations beside a ground truth", "annotations that say the same",
               "not annotated", "predictions only", "skipped by the annotator"]  # fmt: skip
    assert found.files[0]["leftOut"] == dict.fromkeys(reasons, 1)
    assert found.notes == ["export.json: left out: " + ", ".join(f"{r} 1" for r in reasons)]


def test_annotators_that_disagree_are_refused_with_the_task(tmp_path):
    tasks = [*classified(), task(9, {"text": "x"}, chosen("a"), chosen("b"))]
    sentence = refused(tmp_path, tasks, Task.TEXT_CLASSIFICATION)
    assert (
        "export.json row 9 ('a' and 'b'): field 'label' has annotations that disagree" in sentence
    )
    rows = [
        *CLASSES,
        {"id": 77, "text": "x", "sentiment": "a"},
        {"id": 77, "text": "x", "sentiment": "b"},
    ]
    for name, content in minimal(rows).items():
        sentence = refused(tmp_path, content, Task.TEXT_CLASSIFICATION, name=name)
        place = "export.csv:10" if name.endswith("csv") else "export.json row 9"
        assert f"{place} ('a' and 'b'): field 'label' has annotations that disagree" in sentence


def test_overlapping_entities_are_refused_with_the_task(tmp_path):
    marked = [result("ner", "labels", start=0, end=3, text="Ada", labels=["PER", "LOC"])]
    sentence = refused(tmp_path, [task(1, {"text": "Ada"}, annotation(*marked))],
                       Task.TOKEN_CLASSIFICATION)  # fmt: skip
    assert "export.json row 1 (0 to 3: 'Ada' and 0 to 3: 'Ada'): field 'spans' has spans that" in (
        sentence
    )


def test_an_export_without_a_single_annotation_says_why(tmp_path):
    tasks = [task(n, {"text": "x"}) for n in range(3)]
    sentence = refused(tmp_path, tasks, Task.TEXT_CLASSIFICATION)
    assert "export.json (not annotated 3): holds no rows" in sentence


def test_two_controls_that_fit_are_named(tmp_path):
    both = annotation(result("topic", "choices", choices=["x"]),
                      result("tone", "choices", choices=["y"]))  # fmt: skip
    tasks = [task(n, {"text": "x"}, both) for n in range(3)]
    sentence = refused(tmp_path, tasks, Task.TEXT_CLASSIFICATION)
    assert "field 'label' is missing (columns seen: text, topic, tone)" in sentence


def test_a_column_that_stands_for_a_role_does_so_in_the_whole_file(tmp_path):
    rows = [*CLASSES, {"text": "x", "site": "web"}]
    content = minimal(rows)["export.json"]
    sentence = refused(tmp_path, content, Task.TEXT_CLASSIFICATION)
    assert "export.json row 9 (columns seen: " in sentence
    assert "field 'label' is missing" in sentence


def test_tasks_longer_than_what_detection_reads_are_known(tmp_path):
    tasks = [task(n, {"text": f"{n} " + "x" * 70_000}, chosen("ab"[n % 2])) for n in range(4)]
    long_first = [{key: one[key] for key in ("id", "annotations", "data", "predictions")}
                  for one in tasks]  # fmt: skip
    found = gather(tmp_path, long_first, Task.TEXT_CLASSIFICATION)
    assert found.files[0]["format"] == "LabelStudio"
