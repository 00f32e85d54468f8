"""Methods that do not fit a model are told by prepare."""

import pytest


@pytest.fixture(scope="module")
def classifying(bench_of):
    return bench_of(hidden=64)


@pytest.mark.parametrize(
    ("method", "sentence"),
    [
        ({"freeze": {"trainable": ["*.layer*.7"]}}, "method.freeze.trainable: '*.layer*.7' matches "
         "no layer; from first to last they are bert.embeddings.word_embeddings, "),
        ({"lora": {"targetModules": ["quary"]}}, "method.lora.targetModules: no linear layer is "
         "called 'quary'; use some of dense, key, query, value, or leave it out for all"),
        ({"peft": {"type": "LOHAA"}}, "method.peft.type 'LOHAA' is no method of PEFT; did you mean "
         "LOHA?"),
        ({"peft": {"type": "LORA"}}, "method.peft.type LORA: it is method.lora; choose another "
         "method"),
        ({"peft": {"type": "ADALORA"}}, "method.peft.type ADALORA: its ranks would have to be "
         "shared out anew at each step; choose another method"),
        ({"peft": {"type": "LOHA", "config": {"rank_droput": 0.1}}}, "method.peft.config: "
         "LoHaConfig has no field rank_droput; did you mean rank_dropout?"),
        ({"peft": {"type": "MISS", "config": {"r": 640}}}, "method.peft does not fit this model: "
         "`r` (640) must be less than or equal to in_features (64); correct method.peft.config"),
    ],
)  # fmt: skip
def test_a_method_that_does_not_fit_is_told_by_prepare(classifying, method, sentence):
    outcome, message = classifying.prepare(classifying.job(method))
    assert outcome.code == 40, outcome.output
    assert sentence in f"{message['message']}; {message['remedy']}"


def test_virtual_tokens_count_against_the_models_limit(classifying):
    job = classifying.job({"promptTuning": {"tokens": 40}}, dataset={"maxLength": 32})
    outcome, message = classifying.prepare(job)
    assert outcome.code == 40, outcome.output
    assert message["message"] == "dataset.maxLength 32 is more than the model's limit of 24 tokens"
