"""From downloaded files to the prepared folder: train/, validation/, test/, labels.json, report.

Rows of a part stand in reading order; the order of training is drawn later, by seed.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from finetune_api.defaults import HELD_OUT_FRACTION
from finetune_api.job import Dataset, HeldOutSource, Overlength
from finetune_api.progress import DataSummary
from finetune_trainer.data import dedup
from finetune_trainer.data.gather import (
    PART_NAMES,
    DataFile,
    Gathered,
    Gatherer,
    require_rows,
)
from finetune_trainer.data.split import TEST, TRAIN, VALIDATION, split
from finetune_trainer.data.tokenize import (
    MaxLength,
    choose_max_length,
    encode,
    model_limit,
    refuse_length,
    refuse_overlength,
    tokenize_all,
)

DROPPED = -1
ROWS_SCHEMA = pa.schema([("input_ids", pa.list_(pa.int32())), ("labels", pa.int64())])


@dataclass(frozen=True)
class Built:
    """What was made: the summary, class names, maxLength, and the lengths of training rows."""

    summary: DataSummary
    labels: list[str]
    max_length: MaxLength
    train_lengths: NDArray[np.int32]
    report: dict[str, object]


@dataclass(frozen=True)
class Rows:
    """Sound rows, the part of each (or DROPPED), and how many were dropped by reason."""

    gathered: Gathered
    parts: NDArray[np.int8]
    dropped: dict[str, int]


def read(files: list[DataFile], dataset: Dataset, *, seed: int, scratch: Path) -> Rows:
    """Check every row of every file and split; DataError with everything that is wrong."""
    scratch.mkdir(parents=True, exist_ok=True)
    gathered = Gatherer(dataset.columns, dataset.format, scratch / "texts.arrow").gather(files)
    return Rows(gathered, *assign(gathered, dataset, seed))


def build(
    rows: Rows,
    dataset: Dataset,
    *,
    seed: int,
    tokenizer: Any,
    model_config: Any,
    scratch: Path,
    out: Path,
    say: Callable[[str], None],
) -> Built:
    """Tokenise the split rows and write them below ``out``; DataError when too few are left."""
    out.mkdir(parents=True, exist_ok=True)
    limit = model_limit(tokenizer, model_config)
    refuse_length(dataset.max_length, limit)
    gathered, parts, dropped = rows.gathered, rows.parts, dict(rows.dropped)
    tokens = scratch / "tokens.arrow"
    lengths = np.concatenate(list(tokenize_all(gathered.arrow, tokens, tokenizer)))
    kept = parts != DROPPED
    chosen = choose_max_length(lengths[kept], dataset.max_length, limit)
    over = refuse_overlength(lengths, chosen.tokens, dataset.overlength) & kept
    truncated = 0
    if dataset.overlength is Overlength.DROP:
        parts[over] = DROPPED
        dropped["overlength"] = int(over.sum())
    else:
        truncated = int(over.sum())
    say(f"tokenised; maxLength {chosen.tokens}: {chosen.reason}")
    sizes = [int((parts == part).sum()) for part in range(len(PART_NAMES))]
    for part, size in enumerate(sizes):
        require_rows(size, PART_NAMES[part])
    _write(gathered, parts, lengths, chosen.tokens, tokenizer, tokens, out)
    (out / "labels.json").write_text(json.dumps(gathered.labels, ensure_ascii=False))
    final = np.minimum(lengths, chosen.tokens)[parts == TRAIN]
    summary = DataSummary(
        rows=gathered.rows,
        train_rows=sizes[TRAIN],
        validation_rows=sizes[VALIDATION],
        test_rows=sizes[TEST],
        dropped={reason: count for reason, count in dropped.items() if count},
        truncated=truncated,
        tokens=int(final.sum()),
        length_p50=int(np.percentile(lengths[kept], 50)),
        length_p95=int(np.percentile(lengths[kept], 95)),
        length_max=int(lengths[kept].max()),
        labels=len(gathered.labels),
    )
    report = _report(gathered, parts, summary, chosen, seed)
    return Built(summary, gathered.labels, chosen, final, report)


def assign(
    gathered: Gathered, dataset: Dataset, seed: int
) -> tuple[NDArray[np.int8], dict[str, int]]:
    """The part of every row, and what was dropped: duplicates first, then the split, then leaks."""
    parts = gathered.parts.copy()
    dropped: dict[str, int] = {}
    of_train = np.flatnonzero(parts == TRAIN)
    twice = of_train[dedup.repeated(gathered.digests[of_train], gathered.label_ids[of_train])]
    parts[twice] = DROPPED
    dropped["duplicate"] = len(twice)
    fractions = {
        part: _fraction(source)
        for part, source in ((VALIDATION, dataset.validation), (TEST, dataset.test))
        if source is None or source.uri is None
    }
    of_train = np.flatnonzero(parts == TRAIN)
    if fractions:
        parts[of_train] = split(gathered.label_ids[of_train], fractions, seed)
    leaks = dedup.leaking(gathered.digests, parts)
    parts[leaks] = DROPPED
    dropped["alsoHeldOut"] = int(leaks.sum())
    return parts, dropped


def _fraction(source: HeldOutSource | None) -> float:
    return HELD_OUT_FRACTION if source is None or source.fraction is None else source.fraction


def _write(
    gathered: Gathered,
    parts: NDArray[np.int8],
    lengths: NDArray[np.int32],
    max_length: int,
    tokenizer: Any,
    tokens: Path,
    out: Path,
) -> None:
    """One folder a part, as ``datasets.load_from_disk`` reads it; long rows cut."""
    paths = [tokens.with_name(f"{name}.arrow") for name in PART_NAMES]
    sinks = [pa.OSFile(str(path), "wb") for path in paths]
    writers = [pa.ipc.new_stream(sink, ROWS_SCHEMA) for sink in sinks]
    with pa.memory_map(str(tokens)) as ids_map, pa.memory_map(str(gathered.arrow)) as text_map:
        ids_file, text_file = pa.ipc.open_file(ids_map), pa.ipc.open_file(text_map)
        start = 0
        for number in range(ids_file.num_record_batches):
            ids = ids_file.get_batch(number).column(0)
            here = slice(start, start + len(ids))
            start += len(ids)
            over = np.flatnonzero((lengths[here] > max_length) & (parts[here] != DROPPED))
            if len(over):
                ids = _cut(ids, over, text_file.get_batch(number).column(0), tokenizer, max_length)
            labels = pa.array(gathered.label_ids[here].astype(np.int64))
            batch = pa.record_batch([ids, labels], schema=ROWS_SCHEMA)
            for part, writer in enumerate(writers):
                rows = batch.filter(pa.array(parts[here] == part))
                if rows.num_rows:
                    writer.write_batch(rows)
    for writer, sink in zip(writers, sinks, strict=True):
        writer.close()
        sink.close()
    _save(paths, out)


def _cut(
    ids: pa.Array, over: NDArray[np.int64], texts: pa.Array, tokenizer: Any, max_length: int
) -> pa.Array:
    rows = ids.to_pylist()
    again = encode(tokenizer, [texts[int(row)].as_py() for row in over], max_length)
    for row, cut in zip(over, again, strict=True):
        rows[row] = cut
    return pa.array(rows, ROWS_SCHEMA.field(0).type)


def _save(paths: list[Path], out: Path) -> None:
    import datasets

    datasets.disable_progress_bars()
    for path, name in zip(paths, PART_NAMES, strict=True):
        datasets.Dataset.from_file(str(path)).save_to_disk(out / name)
        path.unlink()


def _report(
    gathered: Gathered,
    parts: NDArray[np.int8],
    summary: DataSummary,
    chosen: MaxLength,
    seed: int,
) -> dict[str, object]:
    """data-report.json: what was read, what was dropped and why, and the balance of classes."""
    notes = list(gathered.notes)
    conflicts = dedup.conflicting(gathered.digests, gathered.label_ids)
    if conflicts:
        notes.append(f"{conflicts} texts stand with more than one class; all were kept")
    counts = {
        name: np.bincount(gathered.label_ids[parts == part], minlength=len(gathered.labels))
        for part, name in enumerate(PART_NAMES)
    }
    return {
        "apiVersion": "1.0",
        "summary": summary.to_wire(),
        "seed": seed,
        "maxLength": {"tokens": chosen.tokens, "reason": chosen.reason},
        "files": gathered.files,
        "classes": {
            label: {name: int(count[number]) for name, count in counts.items()}
            for number, label in enumerate(gathered.labels)
        },
        "notes": notes,
    }
