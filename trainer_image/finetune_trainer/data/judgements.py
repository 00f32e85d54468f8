"""Answers that were judged one by one: a prompt, an answer, and whether it is a good one."""

import json
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from finetune_api.dataset import Columns, Mask
from finetune_api.learning import Layout
from finetune_trainer.data.answers import SCHEMA, AnswerEncoder, batch_of
from finetune_trainer.data.label_sets import LabelSets
from finetune_trainer.data.problems import Problems, shown
from finetune_trainer.data.row import Row, Tell, sound_text

GOOD = pa.field("good", pa.bool_())
WORDS = {"true": True, "false": False, "1": True, "0": False}
"""Judgements as text, as a CSV file has them."""
NAMES = {True: "good", False: "bad"}


class Judged:
    """What is asked, an answer, and its judgement."""

    roles = ("prompt", "completion", "label")
    trimmed_labels = 0

    def __init__(self, columns: Columns) -> None:
        self.columns = columns

    def row(self, record: dict[str, Any], tell: Tell) -> Row | None:
        """Prompt, answer and judgement, as a JSON list."""
        prompt = sound_text(record[self.columns.prompt], self.columns.prompt, tell)
        answer = sound_text(record[self.columns.completion], self.columns.completion, tell)
        good = judgement(record[self.columns.label], self.columns.label, tell)
        if prompt is None or answer is None or good is None:
            return None
        content = json.dumps([prompt, answer, good], ensure_ascii=False)
        said = json.dumps([answer, good], ensure_ascii=False)
        return Row(content, prompt, said, (NAMES[good],))


def judgement(value: object, field: str, tell: Tell) -> bool | None:
    """Whether an answer is good; None when that is not said (told)."""
    if isinstance(value, bool):
        return value
    found = WORDS.get(str(value).strip().lower()) if isinstance(value, str | int) else None
    if found is None:
        tell(
            rule="must be true or false", field=field, value=shown(value),
            fix="write true where the answer is good and false where it is not",
        )  # fmt: skip
    return found


class Judgements(LabelSets):
    """Counts good and bad answers: both are needed."""

    def __init__(self, column: str, problems: Problems) -> None:
        super().__init__(column, "a judgement", problems)

    def check(self, train: NDArray[np.int32]) -> None:
        """Good and bad answers, two training rows or more of each. ``train`` [training rows]."""
        super().check(train)
        if len(train) and len(self._known) == 1:
            same = next(iter(self._known)) == NAMES[True]
            self.problems.add(
                "the training rows", 0, field=self.column, value=str(same).lower(),
                rule="is the same in all rows", fix="add answers that were judged otherwise",
            )  # fmt: skip


class JudgedEncoder(AnswerEncoder):
    """Encodes contents of the layouts KTO and KTOMessages: the columns of any answer, and
    ``good``."""

    schema = SCHEMA.append(GOOD)

    def __init__(self, layout: Layout, tokenizer: Any, uri: str) -> None:
        super().__init__(layout, Mask.COMPLETION, tokenizer, uri)

    def encode(self, contents: list[str]) -> pa.RecordBatch:
        """Rows untruncated."""
        rows = [json.loads(content) for content in contents]
        if self.layout is Layout.KTO_MESSAGES:
            answers = self._messages([turns for turns, _ in rows])
        else:
            answers = self._completions([(prompt, answer) for prompt, answer, _ in rows])
        return self._joined(batch_of(answers), pa.array([good for *_, good in rows], GOOD.type))

    def cut(
        self, batch: pa.RecordBatch, over: NDArray[np.int64], contents: pa.Array, max_length: int
    ) -> pa.RecordBatch:
        """Long answers lose their end."""
        cut = super().cut(batch.select(SCHEMA.names), over, contents, max_length)
        return self._joined(cut, batch.column(GOOD.name))

    def _joined(self, batch: pa.RecordBatch, good: pa.Array) -> pa.RecordBatch:
        return pa.record_batch([*batch.columns, good], schema=self.schema)
