"""Changed versions of training rows in a run: prepared, counted, trained on alike by ranks."""

import json

import datasets
import pytest

SETTINGS = {"copies": 2, "swap": 0.3, "delete": 0.1,
            "synonyms": {"share": 0.5, "words": ["red, green"]}}  # fmt: skip
AUGMENTED = {"augmentation": {"text": SETTINGS}}
FULL = {"full": {}}


def prepared(run):
    return run.folders[0] / "prepared"


def test_versions_are_recorded_by_row_and_trained_on_alike(bench):
    one = bench.run(FULL, ranks=1, micro=8, dataset=AUGMENTED)
    assert one.codes == [0], one.output
    report = json.loads((prepared(one) / "data-report.json").read_text())
    train = datasets.load_from_disk(str(prepared(one) / "train"))
    changed = [change for change in train["augmentation"] if change]
    assert len(changed) == report["augmentation"]["rows"] > 60
    assert len(train) == report["summary"]["trainRows"] == len(changed) + 68
    assert report["summary"]["rows"] == 90
    for name in ("validation", "test"):
        assert not any(datasets.load_from_disk(str(prepared(one) / name))["augmentation"])
    two = bench.run(FULL, ranks=2, micro=4, dataset=AUGMENTED)
    assert two.codes == [0, 0], two.output
    for name in ("loss", "grad_norm"):
        assert two.curve(name) == pytest.approx(one.curve(name), rel=1e-5), name
