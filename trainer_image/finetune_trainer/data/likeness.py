"""Rows that are alike though not equal: MinHash signatures, and rows that share a band of theirs.

The likeness of two texts is the share of their word triples that both have (Jaccard; Broder 1997).
Signatures lie in a file, and bands are compared one after the other, so memory holds a few numbers
a row. Of a band's rows each is compared with the first and with the one before it.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from finetune_trainer.data.texts import said
from finetune_trainer.evaluate.words import words

HASHES = 128
BANDS = 16
"""Bands of eight hashes: of two rows that are alike to 0.8, 95 % share a band or more."""
SEED = 42
ALIKE = 0.8
"""Share of equal hashes from which on two rows are called alike."""
SHINGLE = 3
COMPARED_AT_ONCE = 4096

Numbers = NDArray[np.int64]
Signatures = NDArray[np.uint32]


class Likeness:
    """Of every row the number of the most alike other one (-1: none) and how alike it is."""

    def __init__(self, rows: int) -> None:
        self.other = np.full(rows, -1, np.int64)
        self.share = np.zeros(rows, np.float32)

    def note(self, rows: Numbers, others: Numbers, signatures: Signatures) -> None:
        """Compare pairs, and keep those that are alike."""
        for start in range(0, len(rows), COMPARED_AT_ONCE):
            mine, its = (each[start : start + COMPARED_AT_ONCE] for each in (rows, others))
            share = (signatures[mine] == signatures[its]).mean(axis=1).astype(np.float32)
            better = (share >= ALIKE) & (share > self.share[mine])
            self.other[mine[better]], self.share[mine[better]] = its[better], share[better]

    @property
    def found(self) -> NDArray[np.bool_]:
        """True for every row that another is like."""
        return self.other >= 0


def signatures(contents: Path, scratch: Path) -> Signatures:
    """The signature of every row's text [rows, HASHES], in a file below ``scratch``."""
    from rensa import RMinHash

    path, rows = scratch / "signatures.bin", 0
    with path.open("wb") as file:
        for texts in _batches(contents):
            sets = [_shingles(text) for text in texts]
            made = RMinHash.digests_from_token_sets(sets, HASHES, SEED)
            np.array(made, np.uint32).tofile(file)
            rows += len(texts)
    return np.memmap(path, np.uint32, "r", shape=(rows, HASHES))


def repeated(hashes: Signatures, rows: Numbers) -> Likeness:
    """Which of ``rows``, in order, are like an earlier one of them."""
    alike = Likeness(len(hashes))
    for keys in _bands(hashes, rows):
        order = np.argsort(keys, kind="stable")
        same = np.flatnonzero(keys[order][1:] == keys[order][:-1]) + 1
        starts = np.flatnonzero(np.append(True, keys[order][1:] != keys[order][:-1]))
        first = starts[np.searchsorted(starts, same, side="right") - 1]
        for earlier in (first, same - 1):
            alike.note(rows[order[same]], rows[order[earlier]], hashes)
    return alike


def leaking(hashes: Signatures, rows: Numbers, held_out: Numbers) -> Likeness:
    """Which of ``rows`` are like one of ``held_out``."""
    alike = Likeness(len(hashes))
    if not len(held_out):
        return alike
    for mine, its in zip(_bands(hashes, rows), _bands(hashes, held_out), strict=True):
        order = np.argsort(its, kind="stable")
        for side in ("left", "right"):
            at = np.searchsorted(its[order], mine, side=side) - (side == "right")
            at = np.clip(at, 0, len(its) - 1)
            same = np.flatnonzero(its[order[at]] == mine)
            alike.note(rows[same], held_out[order[at[same]]], hashes)
    return alike


def _bands(hashes: Signatures, rows: Numbers) -> Iterator[NDArray[np.uint64]]:
    """For each band a number of every row, equal where the band is."""
    width = HASHES // BANDS
    odd = np.random.default_rng(SEED).integers(1, 2**63, width, np.uint64) * 2 + 1
    for band in range(BANDS):
        keys = np.empty(len(rows), np.uint64)
        for start in range(0, len(rows), COMPARED_AT_ONCE):
            here = slice(start, start + COMPARED_AT_ONCE)
            part = hashes[rows[here], band * width : (band + 1) * width].astype(np.uint64)
            keys[here] = (part * odd).sum(axis=1, dtype=np.uint64)
        yield keys


def _batches(contents: Path) -> Iterator[list[str]]:
    with pa.OSFile(str(contents), "rb") as source:
        reader = pa.ipc.open_file(source)
        for number in range(reader.num_record_batches):
            yield [said(one) for one in reader.get_batch(number).column(0).to_pylist()]


def _shingles(text: str) -> set[str]:
    """Triples of words that follow each other; of a shorter text all of it."""
    found = words(text)
    if len(found) <= SHINGLE:
        return {" ".join(found)}
    return {" ".join(found[at : at + SHINGLE]) for at in range(len(found) - SHINGLE + 1)}
