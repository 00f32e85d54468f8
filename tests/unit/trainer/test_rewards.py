"""Rewards: what each gives, how they are weighed, what is refused."""

import pytest

from finetune_api.errors import UserError
from finetune_api.grpo import Rewards as Asked
from finetune_trainer.evaluate.rewards import Answer, Rewards, worth

SCHEMA = '{"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}}}'


def given(text, *, reference="", tokens=4, **asked):
    return float(Rewards(Asked.model_validate(asked))([Answer(text, tokens, reference)])[0])


@pytest.mark.parametrize(("text", "wanted"), [("yes", 1), (" yes\n", 1), ("Yes", 0), ("", 0)])
def test_exact_match(text, wanted):
    assert given(text, reference=" yes ", exactMatch={}) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [('{"a": 1}', 1), (' {"a": 1, "b": 2} ', 1), ('{"a": "1"}', 0), ("{}", 0), ('{"a": 1', 0),
     ("", 0), ("[" * 100_000, 0), ("a: 1", 0)],
    ids=lambda value: str(value)[:12],
)  # fmt: skip
def test_json_that_fits_a_schema(text, wanted):
    assert given(text, jsonSchema={"schema": SCHEMA}) == wanted


@pytest.mark.parametrize(("text", "wanted"), [("so 42.", 1), ("42", 1), ("four", 0)])
def test_a_pattern_is_found_anywhere(text, wanted):
    assert given(text, regex={"pattern": r"\d+"}) == wanted


def test_a_pattern_may_be_bound_to_the_ends():
    assert given(" 42 ", regex={"pattern": r"^\d+$"}) == 1
    assert given("so 42", regex={"pattern": r"^\d+$"}) == 0


@pytest.mark.parametrize(
    ("tokens", "wanted"), [(0, 0), (2, 0.25), (8, 1), (10, 0.75), (16, 0), (99, 0)]
)
def test_length(tokens, wanted):
    assert given("x", tokens=tokens, length={"tokens": 8}) == wanted


def test_rewards_are_weighed():
    asked = {"exactMatch": {"weight": 3}, "length": {"tokens": 8, "weight": 1}}
    assert given("yes", reference="yes", tokens=4, **asked) == pytest.approx(3.5 / 4)
    assert given("no", reference="yes", tokens=8, **asked) == pytest.approx(1 / 4)


def test_tokens_are_counted_without_special_ones():
    def tokenizer(texts, add_special_tokens):
        assert not add_special_tokens
        return {"input_ids": [text.split() for text in texts]}

    rewards = Rewards(Asked.model_validate({"length": {"tokens": 2}}))
    assert worth(rewards, tokenizer, ["a b", "a", ""], [""] * 3).tolist() == [1, 0.5, 0]


def test_every_reward_that_cannot_be_given_is_told():
    asked = {"regex": {"pattern": "("}, "jsonSchema": {"schema": "{"}}
    with pytest.raises(UserError) as caught:
        Rewards(Asked.model_validate(asked))
    sentence = caught.value.failure().sentence()
    assert "training.grpo.rewards.jsonSchema.schema is not valid JSON" in sentence
    assert "training.grpo.rewards.regex.pattern '(' is no regular expression" in sentence
