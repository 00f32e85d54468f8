"""Everything that can be taught, each on a tiny model with rows made for it: the matrix's axis of
tasks and objectives."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import cycle
from typing import Any

from allpairspy import AllPairs

from tests.component.trainer import (
    cases,
    cases_objectives,
    media_cases,
    question_cases,
    sound_cases,
)


@dataclass(frozen=True)
class Kind:
    """A task with its objective: how its rows and its base are made, and what a job says of it."""

    title: str
    task: str
    rows: Callable[..., Any]
    model: Callable[..., Any]
    shape: dict[str, Any] = field(default_factory=dict)
    spec: dict[str, Any] = field(default_factory=dict)
    layers: str = "*.layer*.1"
    """The layers that method freeze trains."""
    where: str = "rows.jsonl"


def _written(rows: Callable[..., Any], objective: str, **spec: Any) -> Kind:
    return Kind(
        f"TextGeneration, {objective} (Llama)", "TextGeneration", rows, cases.make_language_model,
        {"hidden": 64}, {"objective": objective, **spec},
    )  # fmt: skip


def _read(title: str, task: str, rows: Callable[..., Any], **spec: Any) -> Kind:
    return Kind(f"{title} (BERT)", task, rows, cases.make_model, {"hidden": 64}, spec)


def _perceived(task: str, title: str, rows: Any, model: Any, kind: str, layers: str) -> Kind:
    return Kind(f"{task}{title}", task, rows, model, {"kind": kind}, layers=layers, where="rows")


_SEEN = ("ImageClassification", media_cases.write_digits, media_cases.make_vision_model)
_HEARD = ("AudioClassification", sound_cases.write_tones, sound_cases.make_hearing_model)
_SPOKEN = ("SpeechRecognition", sound_cases.write_speech, sound_cases.make_writing_model)
_SMALL = {"learningRate": 2e-4}
"""Adam's first step takes a gradient's sign: where that is rounding, a large step shows it."""
_GRPO = {"rewards": {"regex": {"pattern": "^[a-lA-L]"}}, "maxNewTokens": 3,
         "generations": 4}  # fmt: skip

KINDS = {
    "classes": _read("TextClassification", "TextClassification", cases.write_rows),
    "labels": _read("TextClassification, several labels", "TextClassification",
                    partial(cases.write_labels, kind="Multi", count=90)),
    "numbers": _read("TextClassification, numbers", "TextClassification",
                     partial(cases.write_labels, kind="Number", count=90)),
    "tags": _read("TokenClassification", "TokenClassification", cases.write_tags),
    "questions": _read("QuestionAnswering", "QuestionAnswering", question_cases.write_questions,
                       dataset={"maxLength": 20}),
    "translation": Kind("Translation (T5)", "Translation", cases.write_translations,
                        cases.make_rewriter, layers="*.block.1"),
    "summaries": Kind("Summarization (T5)", "Summarization", cases.write_translations,
                      cases.make_rewriter, layers="*.block.1"),
    "vit": _perceived(_SEEN[0], " (ViT)", *_SEEN[1:], "vit", "*.1"),
    "resnet": _perceived(_SEEN[0], " (ResNet)", *_SEEN[1:], "resnet", "*.1"),
    "sounds": _perceived(_HEARD[0], " (wav2vec2)", *_HEARD[1:], "masked", "*.layers.1"),
    "unmasked": _perceived(_HEARD[0], " (wav2vec2, unmasked)", *_HEARD[1:], "unmasked",
                           "*.layers.1"),
    "spectrograms": replace(
        _perceived(_HEARD[0], " (AST)", *_HEARD[1:], "ast", "*.1"), spec={"training": _SMALL}
    ),
    "speech": _perceived(_SPOKEN[0], ", CTC (wav2vec2)", *_SPOKEN[1:], "masked", "*.layers.1"),
    "dictation": Kind(
        "SpeechRecognition (Whisper)", "SpeechRecognition", sound_cases.write_speech,
        sound_cases.make_dictating_model, layers="*decoder.layers.0", where="rows",
    ),
    "pretrain": _written(cases.write_texts, "Pretrain", dataset={"maxLength": 16}),
    "sft": _written(cases.write_pairs, "SFT"),
    "dpo": _written(cases.write_preferences, "DPO"),
    "orpo": _written(cases.write_preferences, "ORPO"),
    "kto": _written(cases_objectives.write_judged, "KTO"),
    "reward": _written(cases.write_preferences, "Reward", training=_SMALL),
    "grpo": _written(cases_objectives.write_prompts, "GRPO", training={"grpo": _GRPO}),
}  # fmt: skip
"""Every kind by its name."""


METHODS: dict[str, dict[str, Any]] = {
    "full": {"full": {}},
    "freeze": {"freeze": {}},
    "headOnly": {"headOnly": {}},
    "LoRA": {"lora": {"rank": 4}},
    "RsLoRA": {"lora": {"rank": 4, "variant": "RsLoRA"}},
    "DoRA": {"lora": {"rank": 4, "variant": "DoRA"}},
    "PiSSA": {"lora": {"rank": 4, "variant": "PiSSA"}},
    "NF4": {"qlora": {"rank": 4}},
    "Int8": {"qlora": {"rank": 4, "quantization": "Int8"}},
    "ia3": {"ia3": {}},
    "promptTuning": {"promptTuning": {"tokens": 4}},
    "prefixTuning": {"prefixTuning": {"tokens": 4}},
    "pTuning": {"pTuning": {"tokens": 4}},
    "LOHA": {"peft": {"type": "LOHA", "config": {"r": 4}}},
    "LOKR": {"peft": {"type": "LOKR", "config": {"r": 4}}},
    "VERA": {"peft": {"type": "VERA", "config": {"r": 4}}},
    "OFT": {"peft": {"type": "OFT", "config": {"oft_block_size": 8}}},
    "MISS": {"peft": {"type": "MISS", "config": {"r": 4}}},
    "HRA": {"peft": {"type": "HRA", "config": {"r": 4}}},
}
"""Every method by its name; the layers of freeze are the kind's."""

FAMILIES = {
    "whole": ("full", "freeze", "headOnly"),
    "low rank": ("LoRA", "RsLoRA", "DoRA", "PiSSA", "LOHA", "LOKR", "VERA", "OFT", "MISS", "HRA"),
    "quantised": ("NF4", "Int8"),
    "few": ("ia3", "promptTuning", "prefixTuning", "pTuning"),
}
"""Methods that go the same way through the trainer."""
OF_PEFT = {"LOKR", "VERA", "OFT", "MISS", "HRA"}
"""Further types of PEFT: what is ours is the same for all, so they are shown on three kinds."""
SHOWN_ON = {"classes", "sft", "translation"}
LAYOUTS = {"1 rank": (1, 2, None), "DDP": (2, 2, None), "ZeRO-2": (2, 4, 2), "ZeRO-3": (2, 1, 3)}
"""Ranks, micro-batch, ZeRO stage or none; accumulation fills the global batch of 8."""

VIRTUAL = ("promptTuning", "prefixTuning", "pTuning")


def cells() -> list[tuple[str, str, str]]:
    """Kind, method and layout of every cell of the matrix."""
    return [
        (kind, method, layout)
        for kind in KINDS
        for method in METHODS
        if method not in OF_PEFT or kind in SHOWN_ON
        for layout in LAYOUTS
    ]


def pairs() -> set[tuple[str, str, str]]:
    """Cells that hold every pair of kind, family and layout; methods of a family in turn, those
    that are not refused first."""
    turns = {family: cycle(names) for family, names in FAMILIES.items()}
    possible = set(cells())
    chosen = set()
    for kind, family, layout in AllPairs([list(KINDS), list(FAMILIES), list(LAYOUTS)]):
        names = [next(turns[family]) for _ in FAMILIES[family]]
        next(turns[family])
        open_to = [name for name in names if (kind, name, layout) in possible]
        taken = [name for name in open_to if refusal(kind, name, layout) is None]
        chosen.add((kind, (taken or open_to)[0], layout))
    return chosen


def refusal(kind: str, method: str, layout: str) -> str | None:
    """What the user is told of a cell that cannot be, or nothing."""
    task = KINDS[kind].task
    if method in VIRTUAL and task.endswith(
        ("Recognition", "ioClassification", "ageClassification")
    ):
        return "put tokens before a text"
    if method in VIRTUAL and kind == "questions":
        return "are not for QuestionAnswering"
    if method == "headOnly" and kind != "reward" and task in (
        "TextGeneration", "Translation", "Summarization"
    ):  # fmt: skip
        return "method.headOnly is not for tasks that write text"
    if (kind, method) == ("dictation", "headOnly"):
        return "method.headOnly: the output layer belongs to the base model"
    if method == "ia3" and KINDS[kind].where == "rows":
        return "method.ia3: it is not known which layers of architecture"
    if (kind, method) == ("resnet", "PiSSA"):
        return "method.lora.variant PiSSA starts from the main directions of linear layers"
    if layout == "ZeRO-3" and method in (*VIRTUAL, "NF4", "Int8"):
        return "deepspeed.zeroStage 3 cannot split the weights of"
    return None
