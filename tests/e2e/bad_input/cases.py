"""What is wrong, one case a row of the book: its title, and what it changes in a good job.

Endpoints and Secrets are named as the fixture ``world`` makes them.
"""

import json
from collections.abc import Callable
from typing import Any

from tests.e2e.bad_input.servers import Servers

ROWS = [
    {"text": f"{word} number {n}", "label": word} for word in ("red", "green") for n in range(30)
]
MODEL = "s3://models/all-minilm-l6-v2/"
SECRET = "s3-credentials"


def lines(*rows: Any) -> bytes:
    """JSONL; a row that is bytes stands as it is."""
    text = (row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows)
    return b"\n".join(text) + b"\n"


def dataset(**changes: Any) -> dict[str, Any]:
    return {"dataset": {"train": {"uri": "s3://datasets/bad/good.jsonl"}, **changes}}


def train(uri: str, **changes: Any) -> dict[str, Any]:
    return dataset(train={"uri": f"s3://datasets/bad/{uri}"}, **changes)


def model(folder: str) -> dict[str, Any]:
    return {"model": {"uri": f"s3://models/bad/{folder}/"}}


Spec = dict[str, Any]
Storage = Callable[[Servers], dict[str, Any]]


def at(name: str, **more: Any) -> Storage:
    """A storage block with another endpoint."""
    return lambda servers: {"secretName": SECRET, "endpoint": getattr(servers, name), **more}


def secret(name: str) -> Storage:
    return lambda servers: {"secretName": name}


BAD_DATA = {
    "file without a row": (b"", train("empty.jsonl")),
    "broken JSON in line 3": (
        lines(*ROWS[:2], b'{"text": "red", "label": ', *ROWS[2:]), train("broken.jsonl"),
    ),
    "column that is not there": (
        lines(*({"body": row["text"], "label": row["label"]} for row in ROWS)),
        train("column.jsonl"),
    ),
    "class that the training rows lack": (
        lines({"text": "a blue one", "label": "blue"}),
        dataset(test={"uri": "s3://datasets/bad/class.jsonl"}),
    ),
    "text that is not UTF-8": (
        lines(*ROWS, b'{"text": "caf\xe9", "label": "red"}'), train("latin.jsonl"),
    ),
    "one class only": (lines(*ROWS[:30]), train("one-class.jsonl")),
    "too few rows": (lines(*ROWS[:3], *ROWS[30:32]), train("few.jsonl")),
    "many kinds of mistakes at once": (
        lines(
            *ROWS, *({"text": "", "label": "red"} for _ in range(30)), {"text": 5, "label": "red"},
            {"text": "x", "label": None}, b"{", b"[]", {"label": "red"},
        ),
        train("many.jsonl"),
    ),
    "file in another format": (b"\x1f\x8b\x08\x00", train("packed.csv")),
}  # fmt: skip
"""Title → content of the file, and the change that names it."""

CONFIG = {"model_type": "bert", "hidden_size": 32, "num_hidden_layers": 1, "vocab_size": 30522,
          "num_attention_heads": 2, "intermediate_size": 32}  # fmt: skip
NO_WEIGHTS = len(b"{}").to_bytes(8, "little") + b"{}"
HEADER = json.dumps({"w": {"dtype": "F32", "shape": [64], "data_offsets": [0, 256]}}).encode()
CUT_OFF = len(HEADER).to_bytes(8, "little") + HEADER + bytes(100)

BAD_MODELS: dict[str, tuple[str, dict[str, bytes | None] | None]] = {
    "no model at the address": ("absent", None),
    "model without a form for the task": (
        "speech", {"config.json": json.dumps({"model_type": "vits"}).encode()},
    ),
    "model of an unknown architecture": (
        "unknown", {"config.json": json.dumps({"model_type": "my-own"}).encode()},
    ),
    "adapter instead of a model": ("adapter", {"config.json": None, "adapter_config.json": b"{}"}),
    "pickled weights only": ("pickled", {"model.safetensors": None, "pytorch_model.bin": b"x"}),
    "config.json that was cut off": ("config", {"config.json": json.dumps(CONFIG).encode()[:40]}),
    "weights that were cut off": ("weights", {"model.safetensors": CUT_OFF}),
    "weights that are something else": (
        "pointer", {"model.safetensors": b"version https://git-lfs.github.com/spec/v1\nsize 9\n"},
    ),
    "a part of the weights is missing": (
        "shards", {"model.safetensors.index.json": json.dumps(
            {"weight_map": {"w": "model.safetensors", "v": "model-2.safetensors"}}).encode()},
    ),
    "model without a tokenizer": ("tokenizer", {"tokenizer.json": None, "vocab.txt": None}),
    "tokenizer that was cut off": ("half-tokenizer", {"tokenizer.json": b'{"version": "1.0", '}),
}  # fmt: skip
"""Title → folder, and what differs from a good model there (None: it is not there)."""

SETTINGS: dict[str, Spec] = {
    "globalBatchSize that the ranks cannot share": {
        "resources": {"nodes": 1, "gpusPerNode": 2}, "training": {"globalBatchSize": 9},
    },
    "perDeviceBatchSize that does not divide": {
        "training": {"globalBatchSize": 8, "perDeviceBatchSize": 3},
    },
    "maxLength beyond the model's": dataset(maxLength=1024),
    "folder to go on from without a checkpoint": {
        "checkpointing": {"resumeFrom": "s3://models/bad/no-run/"},
    },
    "checkpoint to go on from of another method": {
        "checkpointing": {"resumeFrom": "s3://models/bad/other-method/"},
    },
    "output folder of another run": {"output": {"uri": "s3://models/bad/owned/"}},
}  # fmt: skip

CHECKPOINT = {
    "step": 100, "worldSize": 1, "strategy": "DDP",
    "files": [{"path": "trainer_state.json", "size": 2, "sha256": "0" * 64}],
    "run": {"task": "TextClassification", "method": {"full": {}}, "training.optimizer": "AdamW"},
}  # fmt: skip
"""Manifest of a checkpoint of another run."""

STORAGE: dict[str, tuple[Spec, Storage]] = {
    "bucket that does not exist": (
        {"model": {"uri": "s3://modles/base/"}} | dataset(train={"uri": "s3://datsets/a.jsonl"}),
        secret(SECRET),
    ),
    "prefix that matches nothing": (train("nothing/"), secret(SECRET)),
    "prefix without a data file": (train("notes/"), secret(SECRET)),
    "access key that is not known": ({}, secret("wrong-key-id")),
    "wrong secret key": ({}, secret("wrong-secret")),
    "Secret without the needed keys": ({}, secret("no-keys")),
    "no right on bucket and model": ({}, at("with_accounts", secretName="stranger")),
    "web server instead of S3": ({}, at("web")),
    "web console instead of S3": ({}, at("console")),
    "server that redirects elsewhere": ({}, at("redirecting")),
    "wrong region": ({}, lambda servers: {"secretName": SECRET, "region": "eu-west-1"}),
    "clocks that differ": ({}, at("skewed")),
    "certificate of an authority that is not trusted": ({}, at("private")),
    "certificate for another name": ({}, at("other_name", caSecretName="storage-ca")),
    "certificate that has expired": ({}, at("expired", caSecretName="storage-ca")),
    "ca.crt that is no certificate": ({}, at("private", caSecretName="not-a-certificate")),
    "https:// where http:// is spoken": (
        {}, lambda servers: {"secretName": SECRET,
                             "endpoint": servers.with_accounts.replace("http:", "https:")},
    ),
}  # fmt: skip
"""Title → change of the job, and its storage block."""

WAITING: dict[str, tuple[Spec, Storage]] = {
    "nobody listens at the endpoint": ({}, at("nobody")),
    "host name that does not resolve": (
        {}, lambda servers: {"secretName": SECRET, "endpoint": "http://s3.invalid:9000"},
    ),
    "http:// where https:// is spoken": (
        {}, lambda servers: {"secretName": SECRET,
                             "endpoint": servers.private.replace("https:", "http:")},
    ),
}  # fmt: skip
"""Storage that was not reached yet: prepare is tried again by itself."""
