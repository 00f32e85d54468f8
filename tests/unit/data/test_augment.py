"""Changed versions of training rows: which words change, what stays, what is left out and told."""

import json
import random

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune_api.augmentation import TextAugmentation
from finetune_api.dataset import Dataset, TrainSource
from finetune_api.learning import Layout
from finetune_trainer.data.augment import Augmenter
from finetune_trainer.data.gather import DataFile
from finetune_trainer.data.rows import DROPPED, read
from finetune_trainer.data.split import TEST, TRAIN, VALIDATION
from finetune_trainer.data.wording import Rewording

SYNONYMS = {"share": 1.0, "words": ["fast, quick,rather speedy", "Car, auto"]}


def changed(text, seed=0, **settings):
    return Rewording(TextAugmentation(**settings)).changed(text, random.Random(seed))


def test_synonyms_keep_capitals_and_signs():
    found = {changed("A fast CAR, Fast!", seed, synonyms=SYNONYMS)[0] for seed in range(40)}
    assert found == {
        f"A {one} AUTO, {two.capitalize()}!"
        for one in ("quick", "rather speedy")
        for two in ("quick", "rather speedy")
    }
    _, counts = changed("A fast CAR, Fast!", synonyms=SYNONYMS)
    assert counts == {"synonyms": 3}


def test_words_without_synonyms_stay():
    assert changed("nothing of that, faster", synonyms=SYNONYMS)[0] == "nothing of that, faster"


@given(st.text(), st.integers(0, 9))
def test_a_swap_keeps_the_words_and_the_spaces(text, seed):
    other, counts = changed(text, seed, swap=0.5)
    assert sorted(other.split()) == sorted(text.split())
    assert [c for c in other if c.isspace()] == [c for c in text if c.isspace()]
    assert (counts["swap"] > 0) == (other != text)


@given(st.text(), st.integers(0, 9))
def test_a_deletion_keeps_the_order_and_leaves_a_word(text, seed):
    other, counts = changed(text, seed, delete=0.5)
    words = iter(text.split())
    assert all(word in words for word in other.split()), "a subsequence"
    assert len(other.split()) == len(text.split()) - counts["delete"]
    assert bool(other.split()) == bool(text.split())


def test_the_shares_are_met():
    text = " ".join(f"w{n}" for n in range(20_000))
    _, counts = changed(text, delete=0.1, swap=0.2)
    assert counts["delete"] == pytest.approx(2000, rel=0.1)
    assert counts["swap"] == pytest.approx(20_000 * 0.2 / 1.2, rel=0.1)


ROWS = [{"text": f"the fast car number {n} is here", "label": "ab"[n % 2]} for n in range(40)]


ELSEWHERE = {"uri": "s3://b/y"}


def rows_of(folder, rows, layout=Layout.LABELS, held_out=(), **settings):
    folder.mkdir(exist_ok=True)
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    files = [DataFile(folder / "rows.jsonl", "rows.jsonl", TRAIN)]
    if held_out:
        (folder / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in held_out))
        files.append(DataFile(folder / "test.jsonl", "test.jsonl", TEST))
    dataset = Dataset(train=TrainSource(uri="s3://b/x"), **settings)
    return read(files, dataset, (layout,), seed=1, scratch=folder)


def table(rows):
    """Every row: its content, its part, its label and its change."""
    with pa.OSFile(str(rows.gathered.arrow), "rb") as source:
        columns = pa.ipc.open_file(source).read_all().to_pydict()
    changes = columns.get("augmentation", [""] * len(rows.parts))
    labels = rows.gathered.label_ids.tolist()
    return list(zip(columns["content"], rows.parts.tolist(), labels, changes, strict=True))


def augmented(folder, rows, seed=1, **settings):
    return Augmenter(rows, TextAugmentation(**settings), seed).augmented(folder / "more.arrow")


def test_training_rows_alone_get_versions(tmp_path):
    before = rows_of(tmp_path, ROWS)
    after = augmented(tmp_path, before, copies=3, swap=0.3, delete=0.2)
    old, new = table(before), table(after)
    assert [row for row in new if not row[3]] == old, "what was read stays as it was"
    versions = [row for row in new if row[3] and row[1] != DROPPED]
    assert {part for _, part, _, _ in versions} == {TRAIN}
    by_number = {content.split("number ")[1].split()[0]: label for content, part, label, _ in old
                 if part == TRAIN}  # fmt: skip
    numbered = [row for row in versions if "number " in row[0]]
    assert all(by_number.get(c.split("number ")[1].split()[0], label) == label
               for c, _, label, _ in numbered)  # fmt: skip
    assert len(versions) == after.augmented["rows"] > 80
    held_out = {content for content, part, _, _ in old if part in (VALIDATION, TEST)}
    assert not held_out.intersection(content for content, *_ in versions)
    contents = [content for content, part, _, _ in new if part == TRAIN]
    assert len(set(contents)) == len(contents)
    told = after.augmented
    assert told["changed"]["swap"] == sum("swap" in row[3] for row in versions)
    assert told["changed"]["delete"] == sum("delete" in row[3] for row in versions)
    left_out = sum(told["leftOut"].values())
    assert told["rows"] + left_out == 3 * sum(part == TRAIN for _, part, _, _ in old)


def test_versions_belong_to_the_group_of_their_row(tmp_path):
    rows = [row | {"site": f"s{n % 4}"} for n, row in enumerate(ROWS)]
    before = rows_of(tmp_path, rows, columns={"group": "site"})
    after = augmented(tmp_path, before, synonyms=SYNONYMS)
    names = {number: name for name, number in after.gathered.groups.numbers.items()}
    groups = [names[group] for group in after.gathered.groups.ids]
    numbers = [int(content.split("number ")[1].split()[0]) for content, *_ in table(after)]
    assert groups == [f"s{number % 4}" for number in numbers]
    assert len(groups) > 70


def test_the_same_seed_gives_the_same_versions(tmp_path):
    rows = rows_of(tmp_path, ROWS)
    first = table(augmented(tmp_path, rows, copies=2, swap=0.3))
    assert first == table(augmented(tmp_path, rows, copies=2, swap=0.3))
    assert first != table(augmented(tmp_path, rows, seed=2, copies=2, swap=0.3))


def test_what_equals_other_rows_is_left_out_and_counted(tmp_path):
    words = {"share": 1.0, "words": ["red, blue"]}
    train = [{"text": f"{color} {n}", "label": "ab"[n % 2]} for n in range(20)
             for color in (("red", "blue") if n < 3 else ("red",))]  # fmt: skip
    test = [{"text": "blue 19", "label": "b"}, {"text": "blue 18", "label": "a"}]
    train.append({"text": "green 1", "label": "a"})
    before = rows_of(tmp_path, train, held_out=test, validation=ELSEWHERE, test=ELSEWHERE)
    after = augmented(tmp_path, before, synonyms=words)
    left_out = {"unchanged": 1, "duplicate": 6, "alsoHeldOut": 2}
    assert after.augmented == {
        "rows": 15, "changed": {"delete": 0, "swap": 0, "synonyms": 15}, "leftOut": left_out,
    }  # fmt: skip


def test_sources_change_and_targets_stay(tmp_path):
    rows = [{"source": f"{n} the fast car", "target": f"{n} fast"} for n in range(40)]
    before = rows_of(tmp_path, rows, Layout.SOURCE_TARGET)
    after = augmented(tmp_path, before, synonyms=SYNONYMS)
    versions = [json.loads(row[0]) for row in table(after) if row[3] == "synonyms 2"]
    assert len(versions) == after.augmented["rows"] == 36
    for source, target in versions:
        assert target == f"{source.split()[0]} fast"
        assert "fast" not in source


@pytest.mark.parametrize(
    ("kind", "label"), [("Multi", lambda n: ["a", "b"][: n % 3]), ("Number", lambda n: n / 4)]
)
def test_lists_of_labels_and_numbers_stay(tmp_path, kind, label):
    rows = [{"text": f"{n} the fast car", "label": label(n)} for n in range(40)]
    before = rows_of(tmp_path, rows, labels=kind)
    count = sum(part == TRAIN for part in before.parts)
    versions = [json.loads(row[0]) for row in table(augmented(tmp_path, before, synonyms=SYNONYMS))
                if row[3]]  # fmt: skip
    assert len(versions) == count > 30
    for version in versions:
        number = int(version["text"].split()[0])
        assert version.get("labels", version.get("number")) == label(number)
