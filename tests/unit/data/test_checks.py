"""What is looked for in sound rows: each check by rows whose faults are known."""

import json
import random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from finetune_api.dataset import Check, Checks, Columns, Dataset, HeldOutSource, TrainSource
from finetune_api.errors import DataError
from finetune_api.learning import Layout
from finetune_trainer.data import checks, likeness
from finetune_trainer.data.gather import DataFile
from finetune_trainer.data.rows import read
from finetune_trainer.data.split import TEST, TRAIN, VALIDATION

WORDS = [f"w{number}" for number in range(4000)]
CARD, IBAN, MAIL = "4111 1111 1111 1111", "DE89 3704 0044 0532 0130 00", "jo.doe@example.com"


def texts(count, seed=1, length=60):
    rng = random.Random(seed)
    return [" ".join(rng.choices(WORDS, k=length)) for _ in range(count)]


def changed(text, words=1):
    """The text with so many words of its middle replaced."""
    parts = text.split()
    parts[20 : 20 + words] = [f"other{number}" for number in range(words)]
    return " ".join(parts)


def rows_of(folder, train, test=None, labels="ab", **asked):
    """Rows of these texts, read and split. Test rows of their own, if given."""
    files = []
    for part, given_texts in ((TRAIN, train), (TEST, test)):
        if given_texts is None:
            continue
        path = folder / f"part{part}.jsonl"
        lines = [{"text": t, "label": labels[n % len(labels)]} for n, t in enumerate(given_texts)]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        files.append(DataFile(path, path.name, part))
    held_out = HeldOutSource(uri="s3://data/test") if test is not None else None
    dataset = Dataset(
        train=TrainSource(uri="s3://data/rows"), validation=HeldOutSource(fraction=0.1),
        test=held_out, checks=Checks(**asked),
    )  # fmt: skip
    return read(files, dataset, (Layout.LABELS,), seed=3, scratch=folder / "scratch")


def test_rows_that_are_alike_are_reported_and_kept(tmp_path):
    some = texts(80)
    found = rows_of(tmp_path, [*some, changed(some[3]), changed(some[9], 2), changed(some[5], 30)])
    told = found.checks["duplicates"]
    assert told["action"] == "Report"
    assert told["rows"] == 2
    pairs = {(one["row"], one["like"]) for one in told["examples"]}
    assert pairs == {("part0.jsonl row 81", "part0.jsonl row 4"),
                     ("part0.jsonl row 82", "part0.jsonl row 10")}  # fmt: skip
    assert all(0.8 <= one["likeness"] < 1 for one in told["examples"])
    assert (found.parts >= 0).all()
    assert "2 training rows are like an earlier one, though not equal" in found.gathered.notes


def test_rows_that_are_alike_are_dropped_on_demand(tmp_path):
    some = texts(80)
    twins = [changed(some[3]), changed(some[3], 2), some[4]]
    found = rows_of(tmp_path, [*some, *twins], duplicates=Check.DROP)
    assert np.flatnonzero(found.parts < 0).tolist() == [80, 81, 82]
    assert found.dropped == {"duplicate": 1, "nearDuplicate": 2, "alsoHeldOut": 0}
    assert found.checks["leakage"]["rows"] == 0


def test_rows_that_are_alike_are_refused_on_demand(tmp_path):
    some = texts(80)
    with pytest.raises(DataError) as caught:
        rows_of(tmp_path, [*some, changed(some[3])], duplicates=Check.FAIL)
    sentence = caught.value.failure().sentence()
    assert (
        "1 training rows are like an earlier one: part0.jsonl row 81 is like part0.jsonl row 4"
        in (sentence)
    )
    assert "set dataset.checks.duplicates to Drop or Report" in sentence


@pytest.mark.parametrize("action", list(Check))
def test_training_rows_that_are_like_a_held_out_one(tmp_path, action):
    some, others = texts(80), texts(20, seed=2)
    train = [*some, changed(others[7]), changed(others[2], 25), others[4]]
    if action is Check.FAIL:
        with pytest.raises(DataError, match=r"row 81 is like part2\.jsonl row 8") as caught:
            rows_of(tmp_path, train, others, leakage=action)
        assert "dataset.checks.leakage" in caught.value.failure().sentence()
        return
    found = rows_of(tmp_path, train, others, leakage=action)
    assert found.parts[82] == -1, "equal rows are always dropped"
    assert (found.parts[80] == -1) == (action is Check.DROP)
    assert (found.parts[:80] >= 0).all()
    assert found.parts[81] >= 0
    told = found.checks["leakage"]
    assert told["action"] == str(action)
    assert ("rows" in told) == (action is not Check.OFF)
    if action is not Check.OFF:
        assert [(one["row"], one["like"]) for one in told["examples"]] == [
            ("part0.jsonl row 81", "part2.jsonl row 8")
        ]
    assert found.dropped.get("likeHeldOut", 0) == (action is Check.DROP)


def test_many_rows_are_compared_only_when_asked(tmp_path, monkeypatch):
    monkeypatch.setattr(checks, "COMPARED_ROWS", 50)
    some = texts(80)
    rows = [*some, changed(some[3])]
    (tmp_path / "unasked").mkdir()
    unasked = rows_of(tmp_path / "unasked", rows).checks["duplicates"]
    assert unasked["action"] == "Off"
    assert "81 rows; without a word it is looked for in up to 50" in unasked["reason"]
    asked = rows_of(tmp_path, rows, duplicates=Check.REPORT)
    assert asked.checks["duplicates"]["rows"] == 1


def test_likeness_is_estimated_as_it_is(tmp_path):
    (base,) = texts(1)
    found = rows_of(tmp_path, [*texts(40, seed=5), base, changed(base)], duplicates=Check.REPORT)
    (one,) = found.checks["duplicates"]["examples"]
    triples = [set(zip(t.split(), t.split()[1:], t.split()[2:], strict=False))
               for t in (base, changed(base))]  # fmt: skip
    true = len(triples[0] & triples[1]) / len(triples[0] | triples[1])
    assert one["likeness"] == pytest.approx(true, abs=0.08)


def test_signatures_lie_in_a_file_and_are_the_same_again(tmp_path):
    found = rows_of(tmp_path, texts(60))
    first = likeness.signatures(found.gathered.arrow, tmp_path)
    assert isinstance(first, np.memmap)
    assert first.shape == (60, likeness.HASHES)
    assert (np.array(first) == likeness.signatures(found.gathered.arrow, tmp_path)).all()


PERSONAL = {
    "email": (f"write to {MAIL}, please", "write to jo at example"),
    "phone": ("call +49 30 901820 now", "call +1 23 45 6789012345 now"),
    "creditCard": (f"card {CARD}.", "card 4111 1111 1111 1112."),
    "iban": (f"to {IBAN}", "to DE89 3704 0044 0532 0130 01"),
    "ipAddress": ("from 8.8.8.8 at", "from 10.0.0.1 at 12:30:45, version 1.2.3.4.5"),
    "secret": ("key AKIAIOSFODNN7EXAMPLE", "key AKIA and ghp_short"),
}


@pytest.mark.parametrize("kind", PERSONAL)
def test_each_kind_of_personal_data_is_found_and_never_written(tmp_path, kind):
    with_it, without = PERSONAL[kind]
    found = rows_of(tmp_path, [*texts(40), f"{with_it} {WORDS[1]}", without])
    told = found.checks["pii"]
    assert told["kinds"] == {kind: 1}
    assert [one["row"] for one in told["examples"][kind]] == ["part0.jsonl row 41"]
    outline = told["examples"][kind][0]["outline"]
    assert set(outline) & set("x0")
    written = json.dumps([found.checks, found.gathered.notes])
    value = next(m for m in (MAIL, CARD, IBAN, "901820", "8.8.8.8", "AKIA") if m in with_it)
    assert value not in written
    assert value[:6] not in outline


def test_rows_with_personal_data_are_dropped_or_refused_on_demand(tmp_path):
    some = texts(40)
    some[5] += f" {MAIL}"
    some[9] += f" {CARD} {IBAN}"
    found = rows_of(tmp_path, some, pii=Check.DROP)
    assert np.flatnonzero(found.parts < 0).tolist() == [5, 9]
    assert found.dropped["personalData"] == 2
    with pytest.raises(DataError) as caught:
        rows_of(tmp_path, some, pii=Check.FAIL)
    sentence = caught.value.failure().sentence()
    assert "2 rows hold personal data or secrets (email in 1, creditCard in 1, iban in 1): " in (
        sentence
    )
    assert "part0.jsonl row 6, part0.jsonl row 10" in sentence
    assert "4111" not in sentence
    assert rows_of(tmp_path, some, pii=Check.OFF).checks["pii"] == {"action": "Off"}


def test_a_report_looks_at_a_sample_that_is_spread_over_all_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(checks, "SAMPLED_ROWS", 20)
    some = [f"{text} {MAIL}" for text in texts(100)]
    told = rows_of(tmp_path, some).checks["pii"]
    assert (told["looked"], told["rows"]) == (20, 20)
    places = [int(one["row"].split()[-1]) for one in told["examples"]["email"]]
    assert np.diff(places).tolist() == [5] * 9


def test_nothing_is_left_when_all_rows_are_dropped(tmp_path):
    with pytest.raises(DataError, match="no train rows are left"):
        rows_of(tmp_path, [f"{text} {MAIL}" for text in texts(40)], pii=Check.DROP)


def test_languages_are_told_by_their_shares(tmp_path):
    english = "The committee met on Friday and decided to postpone the vote until next week"
    german = "Der Ausschuss hat am Freitag beschlossen, die Abstimmung zu verschieben, Punkt"
    rows = [f"{english if n % 4 else german} {n}" for n in range(80)]
    told = rows_of(tmp_path, rows).checks["languages"]
    assert told == {"looked": 80, "shares": {"en": 0.75, "de": 0.25}}


def test_classes_that_are_far_from_even_are_noted(tmp_path):
    uneven = rows_of(tmp_path, texts(210, length=8), labels="a" * 40 + "b")
    (note,) = [note for note in uneven.gathered.notes if "look at macro_f1" in note]
    assert note.startswith("class 'a' has ")
    even = rows_of(tmp_path, texts(80, length=8))
    assert not [note for note in even.gathered.notes if "look at macro_f1" in note]


def test_conversations_are_alike_by_what_is_said():
    from finetune_trainer.data.texts import said

    turns = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi"}]
    assert said(json.dumps(turns)) == "Hello\nHi"
    assert said(json.dumps({"text": "Ada", "words": [[0, 3]], "tags": ["B-P"]})) == "Ada"
    assert said(json.dumps(["a", ["b"], 3])) == "a\nb"
    assert said("[not json") == "[not json"
    assert said("plain") == "plain"


@settings(
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 2)), min_size=60, max_size=120),
    st.integers(0, 2**31 - 1),
)
def test_splits_are_repeatable_without_leaks_and_stratified(tmp_path, drawn, seed):
    lines = [{"text": f"text {t}", "label": f"c{label}"} for t, label in drawn]
    lines += [{"text": f"own {n}", "label": f"c{n % 3}"} for n in range(60)]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    dataset = Dataset(train=TrainSource(uri="s3://data/rows"), test=HeldOutSource(fraction=0.1))

    def once():
        file = DataFile(path, path.name, TRAIN)
        return read([file], dataset, (Layout.LABELS,), seed=seed, scratch=tmp_path / "scratch")

    found, again = once(), once()
    assert (found.parts == again.parts).all()
    assert found.dropped == again.dropped
    asked = {part: {lines[row]["text"] for row in np.flatnonzero(found.parts == part)}
             for part in (TRAIN, VALIDATION, TEST)}  # fmt: skip
    assert not asked[TRAIN] & (asked[VALIDATION] | asked[TEST])
    kept = {(lines[row]["text"], lines[row]["label"]) for row in np.flatnonzero(found.parts >= 0)}
    assert len(kept) == (found.parts >= 0).sum(), "no row stands twice"
    split = found.parts.copy()
    distinct = {(line["text"], line["label"]) for line in lines}
    assert len(lines) - found.dropped["duplicate"] == len(distinct)
    for part in (VALIDATION, TEST):
        counts = np.bincount(found.gathered.label_ids[split == part], minlength=3)
        of_all = np.array([sum(label == f"c{n}" for _, label in distinct) for n in range(3)])
        exact = of_all * counts.sum() / of_all.sum()
        assert (np.abs(counts - exact) <= 1).all()


def grouped(folder, rows):
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    dataset = Dataset(
        train=TrainSource(uri="s3://data/rows"), columns=Columns(group="region"),
        test=HeldOutSource(fraction=0.2),
    )  # fmt: skip
    file = DataFile(path, path.name, TRAIN)
    return read([file], dataset, (Layout.LABELS,), seed=3, scratch=folder / "scratch")


def test_rows_of_every_group_are_told(tmp_path):
    rows = [{"text": f"{text} {n}", "label": "ab"[n % 2], "region": ["north", 7][n % 3 == 0]}
            for n, text in enumerate(texts(90, length=8))]  # fmt: skip
    rows.append({"text": "one of its own", "label": "a", "region": " west "})
    found = grouped(tmp_path, rows)
    told = found.checks["groups"]
    assert list(told) == ["7", "north", "west"]
    for name, number in (("7", 30), ("north", 60), ("west", 1)):
        assert sum(told[name][part] for part in ("train", "validation", "test")) == number
        assert sum(told[name]["classes"].values()) == told[name]["train"]
    wanted = (found.parts[:90:3] == TRAIN).sum()
    assert told["7"]["train"] == wanted
    assert [note for note in found.gathered.notes if note.endswith("test rows: west")]


def test_mistakes_of_groups_are_told_with_those_of_rows(tmp_path):
    good = [{"text": text, "label": "ab"[n % 2], "region": "x"} for n, text in enumerate(texts(9))]
    bad = [{"text": "", "label": "a", "region": None}, {"text": "t", "label": "b", "area": "x"}]
    with pytest.raises(DataError) as caught:
        grouped(tmp_path, [*good, *bad])
    sentence = caught.value.failure().sentence()
    assert "rows.jsonl:10: field 'text' is empty" in sentence
    assert "rows.jsonl:10 (null): field 'region' must be text or a whole number" in sentence
    assert "rows.jsonl:11 (columns seen: text, label, area): field 'region' is missing" in sentence
    many = [{**row, "region": f"r{n}"} for n, row in enumerate(texts_with_labels(210))]
    with pytest.raises(DataError, match="field 'region' has 210 different values in 210 rows"):
        grouped(tmp_path, many)


def texts_with_labels(count):
    return [{"text": t, "label": "ab"[n % 2]} for n, t in enumerate(texts(count, length=8))]
