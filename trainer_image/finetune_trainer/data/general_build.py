"""From rows of the general set to the folder general/ beside those of the prepared parts."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from finetune_api.dataset import Mask, Overlength
from finetune_api.errors import DataError
from finetune_api.jobconfig import JobConfig
from finetune_api.learning import GENERAL_LAYOUTS, Layout, general_layouts
from finetune_trainer.data.answers import AnswerEncoder
from finetune_trainer.data.build import extents_of, write
from finetune_trainer.data.checks import DROPPED
from finetune_trainer.data.encode import encode_all
from finetune_trainer.data.gather import GENERAL_NAME
from finetune_trainer.data.general import General
from finetune_trainer.data.max_length import choose_max_length, model_limit
from finetune_trainer.data.pieces import PieceEncoder
from finetune_trainer.data.split import TEST
from finetune_trainer.tasks.task import Encoding


def build(
    general: General,
    job: JobConfig,
    own: Encoding,
    max_length: int,
    *,
    tokenizer: Any,
    model_config: Any,
    scratch: Path,
    out: Path,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Tokenise the rows as the job's ``own`` are, or for a language model by their layout, and
    write them below ``out``; their part of the data report.

    What is longer than ``max_length``, or than a language model reads, is cut or split; it is left
    out where no answer would be left, and where rows are read whole.
    """
    gathered, parts, dropped = general.gathered, general.parts.copy(), dict(general.dropped)
    encoding = _encoding(job, gathered.layout, own, tokenizer)
    encoder = encoding.encoder(gathered)
    tokens = scratch / "tokens.arrow"
    extents = extents_of(encode_all(gathered.arrow, tokens, encoder))
    if general_layouts(job.spec.task, job.spec.objective):
        limit = model_limit(tokenizer, model_config, job.spec.method.virtual_tokens)
        asked, lengths = job.spec.dataset.max_length, extents.length[parts == TEST]
        max_length = choose_max_length(lengths, asked, limit, cap=encoding.length_cap).tokens
    over = (extents.length > max_length) & (parts == TEST)
    splits = encoding.overlength is Overlength.SPLIT
    gone = over if encoding.whole else over & (extents.answer >= max_length) & (not splits)
    parts[gone] = DROPPED
    if gone.any():
        dropped["overlength"] = int(gone.sum())
    written = write(
        gathered, parts, extents.length, max_length, encoder, encoding, tokens, out,
        splits=splits, names={TEST: GENERAL_NAME},
    )  # fmt: skip
    count = written.rows[TEST]
    if count == 0:
        raise DataError(
            f"evaluation.forgetting: no row of the general set fits into {max_length} tokens",
            "shorten its rows, or raise dataset.maxLength",
        )
    say(f"{count} rows of the general set, layout {gathered.layout}")
    return {
        "layout": str(gathered.layout), "rows": count, "maxLength": max_length,
        "dropped": dropped, "truncated": 0 if splits else int((over & ~gone).sum()),
        "files": gathered.files, "notes": gathered.notes,
    }  # fmt: skip


def _encoding(job: JobConfig, layout: Layout, own: Encoding, tokenizer: Any) -> Encoding:
    if not general_layouts(job.spec.task, job.spec.objective):
        return own
    uri = job.spec.model.uri
    assert layout in GENERAL_LAYOUTS
    if layout is Layout.TEXT:
        return Encoding(own.length_cap, lambda _: PieceEncoder(tokenizer, uri), Overlength.SPLIT)
    return Encoding(
        own.length_cap, lambda _: AnswerEncoder(layout, Mask.COMPLETION, tokenizer, uri)
    )
