"""What is learnt of a conversation, against the masks that TRL's own training templates mark.

Ours come from rendering the conversation piece by piece, with templates that mark nothing. A token
of these tests is a character, so masks are compared to the character.
"""

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from finetune_api.dataset import Mask
from finetune_api.errors import DataError
from finetune_api.learning import Layout
from finetune_trainer.data.answers import AnswerEncoder
from finetune_trainer.data.encode import IGNORED

FOLDER = Path(find_spec("trl").submodule_search_locations[0]) / "chat_templates"
SUFFIX = "_training.jinja"
EQUAL = {
    "cohere", "cohere2", "diffusion_gemma", "gemma", "gemma3", "glm4moe", "idefics3", "lfm2",
    "lfm2_v2", "llama3", "qwen2_5_vl", "qwen3", "qwen3_instruct_2507", "qwen3_vl", "smolvlm",
}  # fmt: skip
MARK_THE_PROMPT = {
    "gptoss", "muse_glimmer", "qwen2_5", "qwen3_5_nothink", "qwen3_5_think", "qwen3_6", "qwen3_8",
}  # fmt: skip
"""Templates that also mark the end of what is written for the model before it answers, as
`<think>`; we do not teach what is given."""
REWRITES = {
    "deepseek_r1_distill", "deepseekv3", "gptoss", "nemotron_3_5_lightning", "nemotron_3_nano",
    "nemotron_3_super", "nemotron_3_ultra", "phi3", "phi3_5",
}  # fmt: skip
"""Templates that render an earlier answer otherwise once the conversation goes on: refused."""
NOT_OF_TEXT = {"llava_next"}
"""Templates that take no plain text as content."""

CHARACTERS = [chr(code) for code in range(32, 127)] + ["\n"]
TEXT = st.text("abc XYZ.\n", min_size=1, max_size=12).map(lambda text: f"x{text}y")


def tokenizer(name):
    numbers = {token: n for n, token in enumerate(["<unk>", "<eos>", *CHARACTERS])}
    core = Tokenizer(models.WordLevel(numbers, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    made = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<eos>", bos_token="<eos>")
    made.chat_template = (FOLDER / f"{name}{SUFFIX}").read_text(encoding="utf-8")
    return made


@st.composite
def conversations(draw):
    said = draw(st.lists(TEXT, min_size=2, max_size=6).filter(lambda texts: len(texts) % 2 == 0))
    return [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(said)]


def ours(made, turns):
    """Which characters of a conversation are learnt."""
    encoder = AnswerEncoder(Layout.MESSAGES, Mask.ASSISTANT, made, "s3://m/")
    (row,) = encoder.encode([json.dumps(turns)]).to_pylist()
    return row["input_ids"], [label != IGNORED for label in row["labels"]]


def theirs(made, turns):
    """Which characters TRL would learn."""
    found = made.apply_chat_template(turns, return_dict=True, return_assistant_tokens_mask=True)
    return found["input_ids"], [bool(learnt) for learnt in found["assistant_masks"]]


def given_to_the_model(made, turns):
    """Which characters are written for the model before each of its answers."""
    found = set()
    for number, turn in enumerate(turns):
        if turn["role"] == "assistant":
            asked = made.apply_chat_template(turns[:number], tokenize=False)
            prompt = made.apply_chat_template(
                turns[:number], tokenize=False, add_generation_prompt=True
            )
            shared = next(
                (n for n, (a, b) in enumerate(zip(asked, prompt, strict=False)) if a != b),
                len(asked),
            )
            found |= set(range(len(made(prompt[:shared])["input_ids"]),
                               len(made(prompt)["input_ids"])))  # fmt: skip
    return found


def test_every_training_template_is_known():
    marked = {
        path.name.removesuffix(SUFFIX) for path in FOLDER.glob(f"*{SUFFIX}")
        if "endgeneration" in path.read_text(encoding="utf-8")
    }  # fmt: skip
    assert marked == EQUAL | MARK_THE_PROMPT | REWRITES | NOT_OF_TEXT


@pytest.mark.parametrize("name", sorted(EQUAL))
def test_what_is_learnt_is_what_the_template_marks(name):
    made = tokenizer(name)

    @given(conversations())
    @settings(max_examples=10)
    def check(turns):
        ids, learnt = ours(made, turns)
        wanted_ids, wanted = theirs(made, turns)
        assert ids[: len(wanted_ids)] == wanted_ids
        assert learnt[: len(wanted)] == wanted
        assert all(learnt[len(wanted) :]), "at most the end of the text is added"
        assert any(learnt)

    check()


@pytest.mark.parametrize("name", sorted(MARK_THE_PROMPT))
def test_what_is_given_to_the_model_is_not_learnt(name):
    made = tokenizer(name)

    @given(conversations().map(lambda turns: turns[:2]))
    @settings(max_examples=10)
    def check(turns):
        ids, learnt = ours(made, turns)
        wanted_ids, wanted = theirs(made, turns)
        assert ids[: len(wanted_ids)] == wanted_ids
        different = {n for n, one in enumerate(wanted) if one != learnt[n]}
        assert different, "else it belongs to the equal ones"
        assert all(wanted[n] for n in different)
        assert different <= given_to_the_model(made, turns)

    check()


@pytest.mark.parametrize("name", sorted(REWRITES))
def test_a_template_that_rewrites_what_was_said_is_refused(name):
    turns = [{"role": role, "content": "x"} for role in ("user", "assistant") * 2]
    with pytest.raises(DataError, match="renders earlier messages differently"):
        ours(tokenizer(name), turns)


@pytest.mark.parametrize("name", sorted(NOT_OF_TEXT))
def test_a_template_that_takes_no_text_is_refused(name):
    with pytest.raises(DataError, match="the chat template refuses a conversation"):
        ours(tokenizer(name), [{"role": r, "content": "x"} for r in ("user", "assistant")])
