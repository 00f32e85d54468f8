"""How an encoder-decoder model is told to write, and which models are taken."""

from types import SimpleNamespace as Settings
from typing import Any

import pytest

END, LANGUAGE, OTHER = 1, 8, 9


@pytest.fixture(scope="module")
def settings(server, cases, forkserver):
    def of(targets: list[list[int]], **own: Any) -> Settings:
        arguments = {"targets": targets, "own": own}
        (outcome,) = server.call(cases.settings_for, [forkserver.Child({}, arguments)])
        assert outcome.code == 0, outcome.output
        return Settings(**outcome.value)

    return of


@pytest.fixture(scope="module")
def refusal(server, cases, forkserver):
    def of(kind: str, saved_as: str | None) -> str:
        arguments = {"kind": kind, "saved_as": saved_as}
        (outcome,) = server.call(cases.refusal_of_model, [forkserver.Child({}, arguments)])
        assert outcome.code == 0, outcome.output
        return outcome.value

    return of


def test_a_models_own_way_of_writing_is_kept_but_not_its_lengths(settings):
    found = settings([[5, END]], num_beams=4, length_penalty=2.0, min_length=56, max_length=142,
                     do_sample=True, bad_words_ids=[[7]], decoder_start_token_id=2)  # fmt: skip
    assert (found.num_beams, found.length_penalty, found.bad_words_ids) == (4, 2.0, [[7]])
    assert (found.decoder_start_token_id, found.eos_token_id, found.pad_token_id) == (2, END, 0)
    assert (found.do_sample, found.max_new_tokens, found.min_length) == (False, 20, None)
    assert found.forced_bos_token_id is None


def test_the_language_that_all_targets_begin_with_is_begun_with(settings):
    assert settings([[LANGUAGE, 5, END], [LANGUAGE, 6, END]]).forced_bos_token_id == LANGUAGE
    assert settings([[LANGUAGE, 5, END], [OTHER, 6, END]]).forced_bos_token_id is None
    assert settings([[5, END], [5, 6, END]]).forced_bos_token_id is None


def test_a_language_after_the_end_is_where_the_decoder_begins(settings):
    found = settings([[5, END, LANGUAGE], [6, 7, END, LANGUAGE]], decoder_start_token_id=2)
    assert found.decoder_start_token_id == LANGUAGE
    mixed = settings([[5, END, LANGUAGE], [6, END, OTHER]], decoder_start_token_id=2)
    assert mixed.decoder_start_token_id == 2


@pytest.mark.parametrize(
    ("kind", "saved_as"),
    [("t5", "T5ForConditionalGeneration"), ("bart", "BartModel"), ("marian", "MarianMTModel"),
     ("m2m_100", None), ("mt5", "MT5ForConditionalGeneration")],
)  # fmt: skip
def test_encoders_with_decoders_are_taken(refusal, kind, saved_as):
    assert refusal(kind, saved_as) == ""


@pytest.mark.parametrize(
    ("kind", "saved_as", "told"),
    [("bert", "BertModel", "was saved as BertModel"), ("llama", None, "has type 'llama'"),
     ("t5", "T5EncoderModel", "was saved as T5EncoderModel"),
     ("bart", "BartForSequenceClassification", "was saved as BartForSequenceClassification"),
     ("qwen2_audio", None, "has type 'qwen2_audio'")],
)  # fmt: skip
def test_other_models_are_refused(refusal, kind, saved_as, told):
    sentence = refusal(kind, saved_as)
    assert f"model.uri s3://m/ {told}, which does not turn one text into another" in sentence
    assert "for a causal language model choose task TextGeneration" in sentence
