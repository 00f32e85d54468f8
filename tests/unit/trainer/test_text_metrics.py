"""Metrics of summaries and translations against the libraries' public scores and by hand."""

import numpy as np
import pytest
from sacrebleu.metrics import BLEU, CHRF

from finetune_trainer.evaluate import answers, grounding, summaries, translations
from finetune_trainer.evaluate.words import mostly_unspaced, numbers, pairs, words

REFERENCES = ["the cat sat on the old red mat", "a dog ran over seven green hills", "he left"]
WORSE = ["cat the on mat", "dogs run over the hills", "she came in"]
BETTER = ["the cat sat on the red mat", "a dog ran over seven hills", "he left"]


def by_name(comparison):
    return {result.metric: result for result in comparison.results}


def test_bleu_and_chrf_are_those_of_sacrebleu_on_any_rows():
    for metric in (BLEU(), CHRF()):
        ours = translations.corpus(metric, REFERENCES, WORSE, BETTER)
        for rows in ([0, 1, 2], [1, 1, 0], [2, 2, 2]):
            wanted = [
                metric.corpus_score([texts[row] for row in rows],
                                    [[REFERENCES[row] for row in rows]]).score
                for texts in (WORSE, BETTER)
            ]  # fmt: skip
            assert ours(np.array(rows)) == pytest.approx(wanted)


def test_a_better_translation_wins_its_row():
    found = translations.compare(REFERENCES, WORSE, BETTER, seed=1)
    assert (found.wins, found.ties, found.losses) == (3, 0, 0)
    told = by_name(found)
    assert list(told) == ["bleu", "chrf", "exact_match"]
    assert float(told["bleu"].base) < 10 < 50 < float(told["bleu"].tuned)
    assert float(told["chrf"].interval.split(" to ")[0]) > 0


def test_scripts_without_spaces_are_counted_by_letter():
    told = by_name(translations.compare(["猫が庭で寝る"], ["犬"], ["猫が庭で寝る"], seed=1))
    assert float(told["bleu_char"].tuned) == pytest.approx(100)
    assert not mostly_unspaced(["Ein Satz mit 猫"])
    assert words("Größe, 猫が 7kg!") == ["größe", "猫", "が", "7kg"]


def test_rouge_by_hand_in_any_script():
    found = summaries.rouge(["ёлка стоит в лесу"], ["ёлка была в лесу"])
    assert found["rouge1"].tolist() == [0.75]
    assert found["rouge2"].tolist() == pytest.approx([1 / 3])
    assert found["rougeL"].tolist() == [0.75]


def test_what_the_source_does_not_say_is_counted():
    source = "in 2024 the firm sold 3,500 cars and hired ten people"
    grounded, invented = "the firm sold 3,500 cars", "the firm sold 4,100 vans in 2024"
    share = grounding.ungrounded([source], [grounded], [invented], numbers)
    assert share(np.array([0])) == (0.0, 0.5)
    share = grounding.ungrounded([source], [grounded], [invented], pairs)
    assert share(np.array([0])) == (0.0, pytest.approx(4 / 7))
    nothing = grounding.ungrounded([source], [""], ["no"], numbers)
    assert nothing(np.array([0])) == (0.0, 0.0)


QUESTIONS = [
    "The mill was built in 1887 by Anna Berg. Who built it?",
    "The old bridge is 412 metres long and leads to Ulm. How long is it?",
]
QUOTED = ["built by Anna Berg", "412 metres long"]


def test_answers_that_quote_are_held_against_what_was_asked():
    invented = ["built by Karl Moor in 1790", "412 metres long and 9 metres wide"]
    told = by_name(answers.compare(QUESTIONS, QUOTED, invented, QUOTED, seed=1))
    assert list(told) == ["exact_match", "ungrounded_pairs", "ungrounded_numbers"]
    pairs_told, numbers_told = told["ungrounded_pairs"], told["ungrounded_numbers"]
    assert float(pairs_told.base) == pytest.approx(8 / 11, abs=1e-4)
    assert float(pairs_told.tuned) == pytest.approx(1 / 5, abs=1e-4)
    assert (float(numbers_told.base), float(numbers_told.tuned)) == (
        pytest.approx(2 / 3, abs=1e-4),
        0,
    )


@pytest.mark.parametrize(
    "references",
    [["Yes it was her", "Rather short I think"], ["Berg", "412"], ['{"by": "Berg"}', '{"m": 412}']],
    ids=["own words", "one word", "JSON"],
)
def test_answers_in_other_words_are_not(references):
    told = answers.compare(QUESTIONS, references, ["x y"] * 2, ["x z"] * 2, seed=1)
    assert not [name for name in by_name(told) if name.startswith("ungrounded")]


def test_long_references_have_no_exact_match():
    long = ["word " * 30]
    told = by_name(summaries.compare(["a source"], long, ["x"], long, seed=1))
    assert list(told) == ["rouge1", "rouge2", "rougeL", "ungrounded_pairs", "ungrounded_numbers"]
    assert float(told["rougeL"].tuned) == 1.0
