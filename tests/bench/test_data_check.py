"""Speed and memory of the data check, on JSONL as people have it: short and long texts mixed.

Prints one line a number; run with `make bench`.
"""

import json
import os
import random
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from examples.base_model import base_model
from finetune_api.dataset import Check, Checks, Dataset, TrainSource
from finetune_api.job import FineTuneJob
from finetune_api.jobconfig import build
from finetune_api.learning import Layout
from finetune_trainer.data.checks import RowChecks
from finetune_trainer.data.encode import TextEncoder
from finetune_trainer.data.gather import CHUNK_ROWS, DataFile, Gatherer
from finetune_trainer.data.split import TRAIN
from tests.component.trainer.cases import WORDS, make_model

pytestmark = [pytest.mark.bench, pytest.mark.timeout(3600)]

MB, GIB = 10**6, 2**30
SPEED_BYTES = 150 * MB
TOKENISED_BYTES = 4 * MB
MEMORY_BYTES = 1000 * MB
COMPARED_BYTES = 35 * MB
ROUNDS = 3
SAMPLE_SECONDS = 0.2


def write_rows(path: Path, size: int, longest: int) -> None:
    """Distinct rows of 8 words to ``longest``, most of them short, in 20 classes."""
    rng = random.Random(3)
    lengths = [int(8 + (longest - 8) * rng.random() ** 4) for _ in range(5000)]
    texts = [" ".join(rng.choices(WORDS, k=length)) for length in lengths]
    with path.open("w") as file:
        number = 0
        while file.tell() < size:
            rows = [
                json.dumps(
                    {"id": number + n, "text": f"{text} n{number + n}", "label": f"c{n % 20}"}
                )
                for n, text in enumerate(texts)
            ]
            file.write("\n".join(rows) + "\n")
            number += len(rows)


def gatherer(arrow: Path) -> Gatherer:
    dataset = Dataset(train=TrainSource(uri="file:///rows.jsonl"))
    return Gatherer(dataset, (Layout.LABELS,), arrow)


def seconds(work: Callable[[], object]) -> float:
    begun = time.process_time()
    work()
    return time.process_time() - begun


@pytest.mark.parametrize("longest", [30, 300])
def test_row_checks_keep_up_with_a_plain_parser(tmp_path: Path, longest: int) -> None:
    rows = tmp_path / "rows.jsonl"
    write_rows(rows, SPEED_BYTES, longest)

    def plain() -> None:
        with rows.open("rb") as file:
            for line in file:
                json.loads(line)

    def checked() -> int:
        return gatherer(tmp_path / "texts.arrow").gather([DataFile(rows, rows.name, TRAIN)]).rows

    count = checked()  # imports of libraries are no part of it
    times = [(seconds(plain), seconds(checked)) for _ in range(ROUNDS)]
    loads, check = (min(column) for column in zip(*times, strict=True))
    size = rows.stat().st_size
    print(
        f"\nrow checks, {size / count:.0f} bytes a row: {size / MB / check:.0f} MB/s a core, "
        f"{loads / check:.2f} times a loop of json.loads ({size / MB / loads:.0f} MB/s)"
    )
    assert loads / check >= 0.8


def test_tokenising_keeps_up_with_the_raw_tokenizer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoTokenizer

    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")
    rows = tmp_path / "rows.jsonl"
    write_rows(rows, TOKENISED_BYTES, 300)
    texts = [json.loads(line)["text"] for line in rows.read_text().splitlines()]
    chunks = [texts[at : at + CHUNK_ROWS] for at in range(0, len(texts), CHUNK_ROWS)]
    tokenizer = AutoTokenizer.from_pretrained(base_model())
    encoder, raw = TextEncoder(tokenizer), tokenizer.backend_tokenizer
    times = [
        (
            seconds(lambda: [raw.encode_batch(chunk) for chunk in chunks]),
            seconds(lambda: [encoder.encode(chunk) for chunk in chunks]),
        )
        for _ in range(ROUNDS)
    ]
    alone, ours = (min(column) for column in zip(*times, strict=True))
    print(
        f"\ntokenising: {rows.stat().st_size / MB / ours:.1f} MB/s a core, "
        f"{alone / ours:.2f} times the raw tokenizer"
    )
    assert alone / ours >= 0.8


def test_likeness_and_samples_cost_what_is_written(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    write_rows(path, COMPARED_BYTES, 300)
    found = gatherer(tmp_path / "texts.arrow").gather([DataFile(path, path.name, TRAIN)])
    checks = RowChecks(found, Checks(duplicates=Check.REPORT, leakage=Check.OFF), tmp_path)
    parts = found.parts.copy()
    looked = seconds(lambda: checks.before_split(parts))
    alone = RowChecks(found, Checks(duplicates=Check.OFF, leakage=Check.OFF), tmp_path)
    sampled = seconds(lambda: alone.before_split(parts))
    size = path.stat().st_size / MB
    print(
        f"\nlikeness of {found.rows} rows, {size:.0f} MB: {size / (looked - sampled):.0f} MB/s of "
        f"processor time; samples for personal data and languages: {sampled:.1f} s"
    )
    assert sampled < 10


def test_a_gigabyte_is_prepared_in_bounded_memory(tmp_path: Path) -> None:
    rows, model = tmp_path / "rows.jsonl", tmp_path / "model"
    write_rows(rows, MEMORY_BYTES, 300)
    make_model(str(model))
    manifest = {
        "metadata": {"name": "gigabyte"},
        "spec": {
            "task": "TextClassification",
            "model": {"uri": f"file://{model}/"},
            "dataset": {"train": {"uri": f"file://{rows}"}},
            "method": {"lora": {"rank": 4}},
            "resources": {"nodes": 1, "gpusPerNode": 0},
            "output": {"uri": f"file://{tmp_path}/out/"},
        },
    }
    environment = {
        "FINETUNE_JOB": build(FineTuneJob.from_manifest(manifest)).to_env(),
        "FINETUNE_WORKDIR": str(tmp_path / "work"),
        "FINETUNE_TERMINATION_LOG": str(tmp_path / "message"),
    }
    begun, together = time.monotonic(), 0
    process = psutil.Popen(
        [sys.executable, "-m", "finetune_trainer", "prepare"], env={**os.environ, **environment}
    )
    while process.poll() is None:
        together = max(together, memory_of_all(process))
        time.sleep(SAMPLE_SECONDS)
    assert process.returncode == 0
    print(
        f"\nprepare of {rows.stat().st_size / MB:.0f} MB of JSONL: {together / 2**20:.0f} MiB at "
        f"most, all its processes together, {time.monotonic() - begun:.0f} s"
    )
    assert together <= GIB


def memory_of_all(process: psutil.Process) -> int:
    """Bytes of a process and those it has started: their own memory, which a copy shares until one
    writes to it, and the files that the one with the most has mapped."""
    own, mapped = 0, [0]
    for one in [process, *process.children(recursive=True)]:
        with suppress(psutil.Error, OSError):
            own += kilobytes(one.pid, "smaps_rollup", "Pss_Anon") * 1024
            mapped.append(kilobytes(one.pid, "status", "RssFile") * 1024)
    return own + max(mapped)


def kilobytes(pid: int, file: str, name: str) -> int:
    """What a file of /proc says under a name; 0 when it says nothing."""
    lines = Path(f"/proc/{pid}/{file}").read_text().splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{name}:")), 0)
