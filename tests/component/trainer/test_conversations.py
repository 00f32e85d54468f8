"""Preferences between conversations, and judged ones: their last answers are learnt."""

import re
from functools import partial

import numpy as np
import pytest

LORA = {"lora": {"rank": 8}}
ANSWER = re.compile(r"[A-Z]+( tree)? </s>( </s>)?")


@pytest.fixture(scope="module")
def chatting(writing_of, objectives):
    return writing_of(partial(objectives.write_conversations, judged=False))


@pytest.fixture(scope="module")
def judging(writing_of, objectives):
    return writing_of(partial(objectives.write_conversations, judged=True))


def run(bench, cases, objective, **options):
    model = {"uri": f"file://{bench.model}/", "chatTemplate": cases.CHAT_TEMPLATE}
    made = bench.run(LORA, objective=objective, model=model, **options)
    assert set(made.codes) == {0}, made.output
    return made


def texts(bench, made, objectives, forkserver):
    arguments = {"base": str(bench.model), "prepared": str(made.folders[0] / "prepared")}
    (told,) = bench.server.call(objectives.prepared_texts, [forkserver.Child({}, arguments)])
    return told.value


@pytest.mark.parametrize(
    "objective", ["DPO", *(pytest.param(o, marks=pytest.mark.matrix) for o in ("ORPO", "Reward"))]
)
def test_the_last_answers_are_compared(chatting, cases, objectives, forkserver, objective):
    made = run(chatting, cases, objective, ranks=2, micro=4, zero=2)
    rows = texts(chatting, made, objectives, forkserver)
    assert len(rows) > 10
    for prompt, *answers in rows:
        assert re.fullmatch(r"<user> .* </s> <assistant>", prompt)
        assert [bool(ANSWER.fullmatch(answer)) for answer in answers] == [True, True], answers
        assert [" tree" in answer for answer in answers] == [False, True]
    assert any(" <assistant> " in prompt for prompt, *_ in rows), "earlier answers are asked with"
    if objective == "DPO":
        assert made.curve()[1] == pytest.approx(np.log(2), abs=1e-5)
    assert len(set(made.curve().values())) > 3


def test_the_last_answers_are_judged(judging, cases, objectives, forkserver):
    made = run(judging, cases, "KTO", ranks=2, micro=4)
    for prompt, answer in texts(judging, made, objectives, forkserver):
        assert prompt.endswith("</s> <assistant>")
        assert ANSWER.fullmatch(answer), answer
    assert len(set(made.curve().values())) > 3


def test_without_a_template_conversations_are_refused(chatting):
    job = chatting.job(LORA, objective="DPO")
    outcome, message = chatting.prepare(job)
    assert (outcome.code, message["class"]) == (40, "UserError")
    assert "has no chat template for rows of messages" in outcome.output
