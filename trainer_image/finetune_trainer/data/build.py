"""From split rows to the prepared folder: train/, validation/, test/, labels.json, report.

Rows of a part stand in reading order; the order of training is drawn later, by seed.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from finetune_api.dataset import Dataset, Overlength
from finetune_api.errors import DataError
from finetune_api.learning import Layout
from finetune_api.progress import DataSummary
from finetune_trainer.data import dedup
from finetune_trainer.data.answers import first_learnt
from finetune_trainer.data.augment import CHANGE
from finetune_trainer.data.checks import DROPPED
from finetune_trainer.data.encode import IGNORED, Encoder, LeavingOut, encode_all
from finetune_trainer.data.encode import lengths as lengths_of
from finetune_trainer.data.gather import MEDIA, PART_NAMES, Gathered, require_rows
from finetune_trainer.data.max_length import (
    MaxLength,
    choose_max_length,
    model_limit,
    refuse_length,
    refuse_overlength,
    room_left,
)
from finetune_trainer.data.preview import preview
from finetune_trainer.data.rows import Rows
from finetune_trainer.data.split import TEST, TRAIN, VALIDATION
from finetune_trainer.tasks.task import Encoding

LABEL = pa.field("labels", pa.int64())
PARTS = dict(enumerate(PART_NAMES))
LEAST_LEARNT = 0.01
"""Share of learnt tokens below which a dataset teaches next to nothing."""


@dataclass(frozen=True)
class Built:
    """What was made: the summary, class names, maxLength, and the full report."""

    summary: DataSummary
    labels: list[str]
    max_length: MaxLength
    report: dict[str, object]


@dataclass(frozen=True)
class Extents:
    """Of every row, in tokens: its length, where learning starts, and where its last answer does
    (both 0 where rows have a class)."""

    length: NDArray[np.int32]
    learnt: NDArray[np.int32]
    answer: NDArray[np.int32]


def build(
    rows: Rows,
    dataset: Dataset,
    encoding: Encoding,
    *,
    seed: int,
    tokenizer: Any,
    model_config: Any,
    virtual_tokens: int,
    scratch: Path,
    out: Path,
    say: Callable[[str], None],
) -> Built:
    """Tokenise the split rows and write them below ``out``; DataError when too few are left."""
    out.mkdir(parents=True, exist_ok=True)
    limit = None
    if not encoding.whole:
        limit = model_limit(tokenizer, model_config, virtual_tokens)
    if limit is not None and encoding.new_tokens:
        limit = room_left(limit, encoding.new_tokens)
    refuse_length(dataset.max_length, limit)
    gathered, parts, dropped = rows.gathered, rows.parts, dict(rows.dropped)
    encoder = encoding.encoder(gathered)
    tokens = scratch / "tokens.arrow"
    extents = extents_of(encode_all(gathered.arrow, tokens, encoder))
    if isinstance(encoder, LeavingOut):
        unfit = np.array([row for row in encoder.left_out if parts[row] != DROPPED], np.int64)
        parts[unfit] = DROPPED
        dropped["overlength"] = len(unfit)
        require_rows(int((parts == TRAIN).sum()), PART_NAMES[TRAIN])
    kept = parts != DROPPED
    if encoding.whole:
        chosen = MaxLength(int(extents.length[kept].max()), "that of the longest row")
    else:
        chosen = choose_max_length(
            extents.length[kept], dataset.max_length, limit, cap=encoding.length_cap
        )
    policy = dataset.overlength or encoding.overlength
    over = refuse_overlength(extents.length, chosen.tokens, policy) & kept
    if policy is Overlength.DROP:
        parts[over] = DROPPED
        dropped["overlength"] = dropped.get("overlength", 0) + int(over.sum())
    else:
        unanswered = over & _has_no_answer_left(extents, parts, chosen.tokens)
        parts[unanswered] = DROPPED
        dropped["noAnswerLeft"] = int(unanswered.sum())
    whole = policy is Overlength.SPLIT
    truncated = 0 if whole else int((over & (parts != DROPPED)).sum())
    say(f"tokenised; maxLength {chosen.tokens}: {chosen.reason}")
    for part, name in enumerate(PART_NAMES):
        require_rows(int((parts == part).sum()), name)
    written = write(
        gathered, parts, extents.length, chosen.tokens, encoder, encoding, tokens, out,
        splits=whole,
    )  # fmt: skip
    sizes = written.rows
    for part, name in enumerate(PART_NAMES):
        require_rows(sizes[part], name)
    if whole:
        gathered.notes.append(f"{int(over.sum())} long texts make {written.pieces} rows")
    dropped["answerInNoWindow"] = written.lost
    if gathered.labels:
        text = json.dumps(gathered.labels, ensure_ascii=False)
        (out / "labels.json").write_text(text, encoding="utf-8")
    summary = DataSummary(
        rows=gathered.rows,
        train_rows=sizes[TRAIN],
        validation_rows=sizes[VALIDATION],
        test_rows=sizes[TEST],
        dropped={reason: count for reason, count in dropped.items() if count},
        truncated=truncated,
        tokens=written.tokens,
        learnt_tokens=written.learnt,
        length_p50=int(np.percentile(extents.length[kept], 50)),
        length_p95=int(np.percentile(extents.length[kept], 95)),
        length_max=int(extents.length[kept].max()),
        labels=len(gathered.labels),
    )
    # Sources and recordings are not learnt, as it should be.
    if gathered.layout not in (Layout.SOURCE_TARGET, Layout.AUDIO_TEXT):
        _require_learning(summary)
    gathered.notes.extend(encoder.notes())
    report = _report(gathered, parts, summary, chosen, seed)
    size = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    report |= {
        "sequences": encoding.sequences, "newTokens": encoding.new_tokens, "bytes": size,
        "augmentation": rows.augmented, "checks": rows.checks,
        "preview": preview(gathered.layout, out / PART_NAMES[TRAIN], tokenizer),
    }  # fmt: skip
    return Built(summary, gathered.labels, chosen, report)


def extents_of(batches: Any) -> Extents:
    """Of all encoded rows."""
    longest, learnt, answers = [], [], []
    for batch in batches:
        length = lengths_of(batch)
        has_answers = "prompt_length" in batch.schema.names
        zero = np.zeros(len(length), np.int32)
        longest.append(length)
        learnt.append(first_learnt(batch.column("labels")) if has_answers else zero)
        answers.append(batch.column("prompt_length").to_numpy() if has_answers else zero)
    return Extents(*(np.concatenate(each).astype(np.int32) for each in (longest, learnt, answers)))


def _has_no_answer_left(
    extents: Extents, parts: NDArray[np.int8], max_length: int
) -> NDArray[np.bool_]:
    """Rows of which a cut to ``max_length`` leaves nothing to learn, or nothing to compare."""
    return np.where(parts == TEST, extents.answer >= max_length, extents.learnt >= max_length)


def _require_learning(summary: DataSummary) -> None:
    learnt = summary.learnt_tokens
    if learnt is not None and learnt < LEAST_LEARNT * summary.tokens:
        share = learnt / summary.tokens
        raise DataError(
            f"only {share:.1%} of the training tokens ({learnt:,} of {summary.tokens:,}) are "
            "learnt: the rest are prompts",
            "shorten the prompts, or set dataset.mask to All",
        )


@dataclass
class Written:
    """What was written: rows of each part, tokens of training rows and how many of them are learnt
    (None where whole rows have labels instead), rows that long ones became, rows that were lost."""

    rows: list[int]
    tokens: int = 0
    learnt: int | None = None
    pieces: int = 0
    lost: int = 0


def write(
    gathered: Gathered,
    parts: NDArray[np.int8],
    extent: NDArray[np.int32],
    max_length: int,
    encoder: Encoder,
    encoding: Encoding,
    tokens: Path,
    out: Path,
    *,
    splits: bool,
    names: Mapping[int, str] = PARTS,
) -> Written:
    """One folder for each part in ``names``, as ``datasets.load_from_disk`` reads it; long rows
    cut, or split."""
    schema = encoder.schema
    is_classed = "labels" not in schema.names
    learns_tokens = not is_classed and schema.field("labels").type == pa.list_(pa.int32())
    if is_classed:
        schema = schema.append(LABEL)
    paths = {name: tokens.with_name(f"{name}.arrow") for name in names.values()}
    sinks = [pa.OSFile(str(path), "wb") for path in paths.values()]
    written, start = Written([0] * len(PART_NAMES), learnt=0 if learns_tokens else None), 0
    with (
        pa.OSFile(str(tokens), "rb") as tokens_in,
        pa.OSFile(str(gathered.arrow), "rb") as texts_in,
    ):
        tokens_file, texts_file = pa.ipc.open_file(tokens_in), pa.ipc.open_file(texts_in)
        is_augmented = CHANGE.name in texts_file.schema.names
        if is_augmented:
            schema = schema.append(CHANGE)
        writers = [pa.ipc.new_stream(sink, schema) for sink in sinks]
        for number in range(tokens_file.num_record_batches):
            batch = tokens_file.get_batch(number)
            here = slice(start, start + batch.num_rows)
            start += batch.num_rows
            part_of, origins = parts[here], np.arange(batch.num_rows)
            over = np.flatnonzero((extent[here] > max_length) & (part_of != DROPPED))
            if len(over) and splits:
                batch, origins = encoding.split(batch, max_length)
                part_of = part_of[origins]
                written.pieces += int(np.isin(origins, over).sum())
            elif len(over):
                contents = texts_file.get_batch(number).column(0)
                batch = encoder.cut(batch, over, contents, max_length)
            if encoding.lost is not None:
                useless = encoding.lost(batch) & ((part_of == TRAIN) | (part_of == VALIDATION))
                written.lost += len(np.unique(origins[useless]))
                part_of = np.where(useless, DROPPED, part_of)
            if is_classed:
                labels = pa.array(gathered.label_ids[here].astype(np.int64))
                batch = batch.append_column(LABEL, labels)
            if is_augmented:
                changes = texts_file.get_batch(number).column(CHANGE.name)
                batch = batch.append_column(CHANGE, changes.take(pa.array(origins)))
            for part, writer in zip(names, writers, strict=True):
                rows = batch.filter(pa.array(part_of == part))
                if not rows.num_rows:
                    continue
                writer.write_batch(rows)
                written.rows[part] += rows.num_rows
                if part == TRAIN:
                    written.tokens += int(lengths_of(rows).sum())
                if part == TRAIN and written.learnt is not None:
                    written.learnt += (
                        pc.sum(pc.not_equal(rows.column("labels").flatten(), IGNORED)).as_py() or 0
                    )
    for writer, sink in zip(writers, sinks, strict=True):
        writer.close()
        sink.close()
    _save(paths, schema, out)
    return written


def _save(paths: Mapping[str, Path], schema: pa.Schema, out: Path) -> None:
    """Folders that ``datasets`` reads. It writes them with one row of nothing, and the rows' file
    takes the place of that: saving rows would copy them, and hold what it maps in memory."""
    import datasets

    datasets.disable_progress_bars()
    for name, path in paths.items():
        nothing = pa.Table.from_pylist([{}], schema)
        datasets.Dataset(nothing).save_to_disk(out / name)
        (written,) = (out / name).glob("*.arrow")
        path.replace(written)


def _report(
    gathered: Gathered,
    parts: NDArray[np.int8],
    summary: DataSummary,
    chosen: MaxLength,
    seed: int,
) -> dict[str, object]:
    """data-report.json: what was read, what was dropped and why, and the balance of classes."""
    notes = list(gathered.notes)
    conflicts = dedup.conflicting(gathered.asked, gathered.whole)
    judged = gathered.layout in (Layout.KTO, Layout.KTO_MESSAGES)
    if conflicts and not judged:  # Prompts of judged answers have several.
        held = "files" if gathered.layout in MEDIA else "texts"
        what = f"{held} stand with more than one class" if gathered.labels else (
            "prompts stand with more than one answer"
        )  # fmt: skip
        notes.append(f"{conflicts} {what}; all were kept")
    counts = {
        name: np.bincount(gathered.label_ids[parts == part], minlength=len(gathered.labels))
        for part, name in enumerate(PART_NAMES)
    }
    return {
        "apiVersion": "1.0",
        "summary": summary.to_wire(),
        "seed": seed,
        "maxLength": {"tokens": chosen.tokens, "reason": chosen.reason},
        "layout": str(gathered.layout),
        "labelKind": str(gathered.kind) if gathered.kind else None,
        "files": gathered.files,
        "classes": {
            label: {name: int(count[number]) for name, count in counts.items()}
            for number, label in enumerate(gathered.labels)
        },
        "notes": notes,
    }
