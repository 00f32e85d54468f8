"""Prompts and conversations as token ids, with the tokens that are learnt.

Which tokens belong to an answer is found by rendering a conversation up to it and with it: the
difference is the answer, whatever the template looks like. Every last answer ends with a token
that stops generation, and that token is learnt.
"""

import json
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from finetune_api.dataset import Mask
from finetune_api.errors import DataError, UserError
from finetune_api.learning import Layout
from finetune_trainer.data.encode import IDS, IGNORED, require_end

SCHEMA = pa.schema([IDS, ("labels", pa.list_(pa.int32())), ("prompt_length", pa.int32())])
"""``labels`` are the ids of learnt tokens and -100 elsewhere; ``prompt_length`` is the number of
tokens before the last answer."""

Encoded = tuple[list[int], list[int], int]
CONVERSATIONS = (Layout.MESSAGES, Layout.PREFERENCE_MESSAGES, Layout.KTO_MESSAGES)


class AnswerEncoder:
    """Encodes contents of the layouts PromptCompletion and Messages."""

    schema = SCHEMA

    def __init__(self, layout: Layout, mask: Mask, tokenizer: Any, uri: str) -> None:
        """UserError when the tokenizer lacks what the layout needs; ``uri`` is the model's."""
        self.layout, self.mask, self.tokenizer = layout, mask, tokenizer
        self._special = frozenset(tokenizer.all_special_ids)
        self._joined_apart = 0
        require_end(tokenizer, uri)
        if layout in CONVERSATIONS and not tokenizer.chat_template:
            raise UserError(
                f"model.uri {uri}: the tokenizer has no chat template for rows of messages",
                "set model.chatTemplate, or give rows of prompt and completion",
            )

    def encode(self, contents: list[str]) -> pa.RecordBatch:
        """Rows untruncated."""
        documents = [json.loads(content) for content in contents]
        rows = self._messages(documents) if self.layout is Layout.MESSAGES else (
            self._completions(documents)
        )  # fmt: skip
        return batch_of(rows)

    def cut(
        self, batch: pa.RecordBatch, over: NDArray[np.int64], contents: pa.Array, max_length: int
    ) -> pa.RecordBatch:
        """Long rows lose their end; what is left of the answer is still learnt."""
        columns = [column.to_pylist() for column in batch.columns]
        rows: list[Encoded] = list(zip(*columns, strict=True))
        for row in over.tolist():
            ids, labels, prompt = rows[row]
            rows[row] = (ids[:max_length], labels[:max_length], prompt)
        return batch_of(rows)

    def notes(self) -> list[str]:
        """How often prompt and completion could not be tokenised as one text."""
        if not self._joined_apart:
            return []
        return [
            f"{self._joined_apart} completions were tokenised apart from their prompt, "
            "because their first characters would have merged with it"
        ]

    def _ids(self, texts: list[str], *, special: bool) -> list[list[int]]:
        ids: list[list[int]] = self.tokenizer(
            texts, add_special_tokens=special, padding=False, truncation=False,
            return_attention_mask=False, return_token_type_ids=False, verbose=False,
        )["input_ids"]  # fmt: skip
        return ids

    def _completions(self, pairs: list[tuple[str, str]]) -> list[Encoded]:
        """Prompt and completion as one text where the prompt's tokens stay what they are alone:
        that is what the model will be given. Otherwise one after the other."""
        eos = self.tokenizer.eos_token_id
        prompts = self._ids([prompt for prompt, _ in pairs], special=True)
        wholes = self._ids([prompt + completion for prompt, completion in pairs], special=True)
        rows = []
        for (_, completion), prompt, whole in zip(pairs, prompts, wholes, strict=True):
            prompt, whole = _without_end(prompt, eos), _without_end(whole, eos)
            if whole[: len(prompt)] != prompt:
                self._joined_apart += 1
                whole = prompt + self._ids([completion], special=False)[0]
            ids = [*whole, eos]
            start = 0 if self.mask is Mask.ALL else len(prompt)
            rows.append((ids, [IGNORED] * start + ids[start:], len(prompt)))
        return rows

    def _messages(self, conversations: list[list[dict[str, str]]]) -> list[Encoded]:
        rendered = [self._render(turns) for turns in conversations]
        encoded = self.tokenizer(
            [text for text, _ in rendered], add_special_tokens=False, padding=False,
            truncation=False, return_offsets_mapping=True, verbose=False,
        )  # fmt: skip
        return [
            self._learnt(ids, offsets, spans)
            for ids, offsets, (_, spans) in zip(
                encoded["input_ids"], encoded["offset_mapping"], rendered, strict=True
            )
        ]

    def _render(self, turns: list[dict[str, str]]) -> tuple[str, list[tuple[int, int]]]:
        """A conversation as text, and where its answers stand: the last one, or with the mask
        ``Assistant`` every one."""
        text = self._template(turns)
        answers = [n for n, turn in enumerate(turns) if turn["role"] == "assistant"]
        wanted = answers if self.mask is Mask.ASSISTANT else answers[-1:]
        spans = []
        for number in wanted:
            before = self._template(turns[:number], answers_next=True)
            until = text if number == len(turns) - 1 else self._template(turns[: number + 1])
            if not until.startswith(before) or not text.startswith(until):
                raise DataError(
                    "the chat template renders earlier messages differently once an answer "
                    f"follows (first seen at message {number + 1} of a conversation)",
                    "set model.chatTemplate to one that only appends, or dataset.mask to Completion"
                    if self.mask is Mask.ASSISTANT
                    else "set model.chatTemplate to one that only appends",
                )
            spans.append((len(before), len(until)))
        return text, spans

    def _template(self, turns: list[dict[str, str]], *, answers_next: bool = False) -> str:
        from jinja2 import TemplateError

        try:
            text: str = self.tokenizer.apply_chat_template(
                turns, tokenize=False, add_generation_prompt=answers_next
            )
        except TemplateError as error:
            raise DataError(
                f"the chat template refuses a conversation of {len(turns)} messages: {error}"[:600],
                "change these rows, or set model.chatTemplate",
            ) from error
        return text

    def _learnt(
        self, ids: list[int], offsets: list[tuple[int, int]], spans: list[tuple[int, int]]
    ) -> Encoded:
        labels = [
            token if any(start <= begin and end <= stop for start, stop in spans) else IGNORED
            for token, (begin, end) in zip(ids, offsets, strict=True)
        ]
        prompt = sum(begin < spans[-1][0] for begin, _ in offsets)
        if self._special.isdisjoint(ids[prompt:]):
            eos = self.tokenizer.eos_token_id
            ids, labels = [*ids, eos], [*labels, eos]
        return ids, list(ids) if self.mask is Mask.ALL else labels, prompt


def first_learnt(labels: pa.ListArray) -> NDArray[np.int64]:
    """Position of each row's first learnt token; the row's length when it has none."""
    offsets = labels.offsets.to_numpy()
    starts, ends = offsets[:-1] - offsets[0], offsets[1:] - offsets[0]
    learnt = np.flatnonzero(labels.flatten().to_numpy() != IGNORED)
    found = np.append(learnt, ends[-1:])[np.searchsorted(learnt, starts)]
    return np.minimum(found, ends) - starts


def _without_end(ids: list[int], eos: int) -> list[int]:
    return ids[:-1] if ids and ids[-1] == eos else ids


def batch_of(rows: list[Encoded]) -> pa.RecordBatch:
    """Rows as columns."""
    columns = [
        pa.array([row[number] for row in rows], field.type) for number, field in enumerate(SCHEMA)
    ]
    return pa.record_batch(columns, schema=SCHEMA)
