"""Bad sources and targets: each is refused with the place, the value, the rule and what to do."""

import json

import pytest

from finetune_api.dataset import Dataset, TrainSource
from finetune_api.errors import DataError
from finetune_api.learning import LAYOUTS, Layout, Task
from finetune_trainer.data.gather import DataFile, Gatherer
from finetune_trainer.data.split import TRAIN

GOOD = [{"source": f"a long text {n}", "target": f"short {n}"} for n in range(6)]


def gather(tmp_path, *rows, **settings):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(r if isinstance(r, str) else json.dumps(r) + "\n" for r in rows))
    dataset = Dataset(train=TrainSource(uri="s3://data/rows"), **settings)
    gatherer = Gatherer(dataset, LAYOUTS[Task.TRANSLATION], tmp_path / "contents.arrow")
    return gatherer.gather([DataFile(path, path.name, TRAIN)])


BAD = {
    "other columns": (
        [{"document": "x", "summary": "y"}] * 3,
        ["field 'source' is missing", "set dataset.columns.source: document",
         "field 'target' is missing", "set dataset.columns.target: summary"],
    ),
    "empty source": (
        [*GOOD, {"source": " ", "target": "x"}],
        ["rows.jsonl:7: field 'source' is empty; remove rows without text or fill them"],
    ),
    "empty target": (
        [*GOOD, {"source": "x", "target": ""}],
        ["rows.jsonl:7: field 'target' is empty; remove rows without text or fill them"],
    ),
    "several targets": (
        [*GOOD, {"source": "x", "target": ["a", "b"]}],
        ["rows.jsonl:7 (['a', 'b']): field 'target' must be text; write text in every row"],
    ),
    "number": (
        [*GOOD, {"source": 7, "target": "x"}],
        ["rows.jsonl:7 (7): field 'source' must be text; write text in every row"],
    ),
    "null": (
        [*GOOD, {"source": "x", "target": None}],
        ["rows.jsonl:7 (null): field 'target' must be text; write text in every row"],
    ),
    "half a surrogate": (
        [*GOOD, '{"source": "\\ud800", "target": "x"}\n'],
        ["rows.jsonl:7 ('\\ud800'): field 'source' holds half of a surrogate pair",
         "save the file as UTF-8"],
    ),
    "all at once": (
        [*GOOD, {"source": "", "target": "x"}, {"source": "x"}, {"source": "x", "target": 1}],
        ["3 problems", "rows.jsonl:7", "rows.jsonl:8", "rows.jsonl:9"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_rows_are_refused(tmp_path, name):
    rows, expected = BAD[name]
    with pytest.raises(DataError) as caught:
        gather(tmp_path, *rows)
    sentence = caught.value.failure().sentence()
    for part in expected:
        assert part in sentence, sentence


def test_good_rows_are_read_by_the_names_of_their_columns(tmp_path):
    rows = [{"article": row["source"], "highlights": row["target"]} for row in GOOD]
    found = gather(tmp_path, *rows, columns={"source": "article", "target": "highlights"})
    assert (found.layout, found.rows, found.labels) == (Layout.SOURCE_TARGET, 6, [])
