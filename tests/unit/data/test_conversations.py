"""Conversations as preferences and with judgements: what is read, and each bad row's sentence."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from finetune_api.dataset import Dataset, TrainSource
from finetune_api.errors import DataError
from finetune_api.learning import LAYOUTS, Layout, Objective
from finetune_trainer.data.gather import DataFile, Gatherer
from finetune_trainer.data.preferences import PreferenceEncoder
from finetune_trainer.data.split import TRAIN


def said(*contents, system=None):
    roles = ["user", "assistant"] * len(contents)
    turns = [{"role": role, "content": text} for role, text in zip(roles, contents, strict=False)]
    return [{"role": "system", "content": system}, *turns] if system else turns


PAIR = {"chosen": said("q", "good"), "rejected": said("q", "bad")}
JUDGED = [{"messages": said(f"q{n}", "a"), "label": n % 2 == 0} for n in range(4)]


def gather(tmp_path, rows, objective=Objective.DPO, **settings):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(
        rows if isinstance(rows, bytes) else b"".join(json.dumps(r).encode() + b"\n" for r in rows)
    )
    dataset = Dataset(train=TrainSource(uri="s3://data/rows"), **settings)
    gatherer = Gatherer(dataset, LAYOUTS[objective], tmp_path / "contents.arrow")
    return gatherer.gather([DataFile(path, "rows.jsonl", TRAIN)])


def contents(found):
    with pa.OSFile(str(found.arrow)) as file:
        return [json.loads(row) for row in pa.ipc.open_file(file).read_all()["content"].to_pylist()]


def refusal(tmp_path, rows, *arguments, **settings):
    with pytest.raises(DataError) as caught:
        gather(tmp_path, rows, *arguments, **settings)
    return caught.value.failure().sentence()


@pytest.mark.parametrize("more", [{}, {"prompt": "q", "score": 1}])
@pytest.mark.parametrize("objective", [Objective.DPO, Objective.ORPO, Objective.REWARD])
def test_conversations_are_told_from_texts_by_the_first_row(tmp_path, objective, more):
    found = gather(tmp_path, [PAIR | more], objective)
    assert found.layout is Layout.PREFERENCE_MESSAGES
    assert contents(found) == [[PAIR["chosen"], PAIR["rejected"]]]


def test_texts_stay_texts(tmp_path):
    found = gather(tmp_path, [{"prompt": "q", "chosen": "good", "rejected": "bad"}])
    assert found.layout is Layout.PREFERENCE
    told = refusal(tmp_path, [{"chosen": "good", "rejected": "bad"}])
    assert "field 'prompt' is missing" in told


def test_a_typed_column_is_read(tmp_path):
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist([PAIR]), sink)
    found = gather(tmp_path, sink.getvalue().to_pybytes())
    assert contents(found) == [[PAIR["chosen"], PAIR["rejected"]]]


def test_all_that_is_wrong_is_told_at_once(tmp_path):
    bad = [
        {"chosen": PAIR["chosen"]},
        PAIR | {"rejected": "bad"},
        PAIR | {"rejected": said("another", "bad")},
        PAIR | {"rejected": said("q", "good")},
    ]
    told = refusal(tmp_path, [PAIR, *bad])
    for part in (
        "4 problems",
        "rows.jsonl:2 (columns seen: chosen): field 'rejected' is missing",
        "rows.jsonl:3 ('bad'): field 'rejected' must be a list of messages",
        "rows.jsonl:4: field 'rejected' does not ask what 'chosen' asks",
        "let both conversations differ in their last answer alone",
        "rows.jsonl:5 ('good'): field 'rejected' is the same as 'chosen'",
    ):
        assert part in told, told


def test_both_conversations_are_checked(tmp_path):
    bad = [
        PAIR | {"chosen": said("q")},
        PAIR | {"chosen": [{"role": "bot", "content": "x"}]},
        PAIR | {"rejected": said("q", " ")},
    ]
    told = refusal(tmp_path, [PAIR, *bad])
    for part in (
        "3 problems",
        "rows.jsonl:2 (user): field 'chosen' does not go user, assistant, …, assistant",
        "rows.jsonl:3 ('bot'): field 'chosen[0].role' has an unknown role",
        "rows.jsonl:4: field 'rejected[1].content' is empty",
    ):
        assert part in told, told


def test_conversations_may_be_judged(tmp_path):
    found = gather(tmp_path, JUDGED, Objective.KTO)
    assert (found.layout, found.labels) == (Layout.KTO_MESSAGES, ["bad", "good"])
    assert contents(found)[:2] == [[said("q0", "a"), True], [said("q1", "a"), False]]
    told = refusal(tmp_path, [*JUDGED, {"messages": [], "label": 3}], Objective.KTO)
    assert "rows.jsonl:5 ([]): field 'messages' must be a list of messages" in told
    assert "rows.jsonl:5 (3): field 'label' must be true or false" in told


class Letters:
    """A tokenizer of letters that merges `>a` into one token; a template that marks roles."""

    eos_token_id, all_special_ids, chat_template = 0, [0], "…"

    def __call__(self, texts, **options):
        found = {"input_ids": [], "offset_mapping": []}
        for text in texts:
            places, at = [], 0
            while at < len(text):
                size = 2 if text[at : at + 2] == ">a" else 1
                places.append((at, at + size))
                at += size
            found["input_ids"].append([self.of(text[b:e]) for b, e in places])
            found["offset_mapping"].append(places)
        return found

    def of(self, piece):
        return 500 if piece == ">a" else ord(piece)

    def apply_chat_template(self, turns, tokenize, add_generation_prompt):
        text = "".join(f"{turn['role'][0]}>{turn['content']};" for turn in turns)
        return text + ("a>" if add_generation_prompt else "")


def encoded(chosen, rejected):
    encoder = PreferenceEncoder(Layout.PREFERENCE_MESSAGES, Letters(), "s3://m/")
    content = json.dumps([said("q", chosen), said("q", rejected)])
    (row,) = encoder.encode([content]).to_pylist()
    return row, encoder.notes()


def test_the_last_answers_stand_after_the_same_tokens():
    row, notes = encoded("x", "yz")
    start = [ord(letter) for letter in "u>q;a>"]
    assert row["prompt_length"] == 6
    assert row["input_ids"] == [*start, ord("x"), ord(";"), 0]
    assert row["rejected_ids"] == [*start, ord("y"), ord("z"), ord(";"), 0]
    assert row["labels"] == [-100] * 6 + row["input_ids"][6:]
    assert notes == []


def test_an_answer_that_merges_with_what_is_before_is_tokenised_apart():
    row, notes = encoded("x", "ab")
    start = [ord(letter) for letter in "u>q;a>"]
    assert row["prompt_length"] == 6
    assert row["input_ids"] == [*start, ord("x"), ord(";"), 0]
    assert row["rejected_ids"] == [*start, ord("a"), ord("b"), ord(";"), 0]
    assert len(notes) == 1
