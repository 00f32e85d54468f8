"""Useful tokens a second of training, against plain TRL and transformers scripts on the same rows.

Ours and plain take turns, each in a process of its own with one thread, from the same weights and
at the same global batch; what is compared is the processor's time from the first optimizer step's
end to the last one's, so that other work on the machine is no part of it.
"""

import json
import os
import random
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from finetune_api.job import FineTuneJob
from finetune_api.jobconfig import build
from finetune_api.progress import Plan
from tests.bench.stopwatch import OURS

pytestmark = [pytest.mark.bench, pytest.mark.timeout(3600)]

VOCABULARY = 8000
GLOBAL_BATCH = 8
STEPS = 50
"""One pass of the rows, and of what is sorted by length at once."""
PLAIN_STEPS = 15
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "2"))
PLAIN = Path(__file__).parent / "plain"


@dataclass(frozen=True)
class Contest:
    """A task, the plain script for it, and its longest row in tokens."""

    task: str
    script: str
    longest: int


CONTESTS = [
    Contest("TextGeneration", "sft.py", 1000),
    Contest("TextClassification", "classify.py", 500),
]


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def mixed_lengths(count: int, longest: int) -> list[int]:
    """As instruction data has them: half below 90 tokens, a long tail."""
    rng = random.Random(5)
    return [max(12, min(longest, int(rng.lognormvariate(4.5, 1.0)))) for _ in range(count)]


def write_rows(path: Path, task: str, lengths: list[int], seed: int) -> None:
    rng = random.Random(seed)
    with path.open("w") as file:
        for number, length in enumerate(lengths):
            words = [f"w{rng.randrange(VOCABULARY - 8)}" for _ in range(length - 2)]
            half = len(words) // 2
            row: dict[str, Any] = {"text": " ".join(words), "label": f"c{number % 4}"}
            if task == "TextGeneration":
                prompt, completion = " ".join(words[:half]), " ".join(words[half:])
                row = {"prompt": prompt, "completion": f" {completion}"}
            file.write(json.dumps(row) + "\n")


def make_model(folder: Path, task: str) -> None:
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import (
        BertConfig,
        BertModel,
        LlamaConfig,
        LlamaForCausalLM,
        PreTrainedTokenizerFast,
    )

    words = ["<pad>", "<unk>", "<s>", "</s>", "<cls>", "<sep>", "<a>", "<b>"]
    words += [f"w{n}" for n in range(VOCABULARY - len(words))]
    core = Tokenizer(models.WordLevel({w: n for n, w in enumerate(words)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(
        tokenizer_object=core, unk_token="<unk>", pad_token="<pad>", bos_token="<s>",
        eos_token="</s>", model_max_length=1024,
    ).save_pretrained(folder)  # fmt: skip
    torch.manual_seed(0)
    shape = {
        "vocab_size": VOCABULARY, "hidden_size": 320, "num_hidden_layers": 6,
        "num_attention_heads": 5, "max_position_embeddings": 1024, "pad_token_id": 0,
    }  # fmt: skip
    if task == "TextGeneration":
        config = LlamaConfig(
            **shape, intermediate_size=896, bos_token_id=2, eos_token_id=3,
            tie_word_embeddings=True,
        )  # fmt: skip
        LlamaForCausalLM(config).save_pretrained(folder)
    else:
        BertModel(BertConfig(**shape, intermediate_size=1280)).save_pretrained(folder)


@dataclass(frozen=True)
class Arena:
    """Model, rows and prepared data of a contest."""

    contest: Contest
    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {
            "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1",
            "CUDA_VISIBLE_DEVICES": "", "HF_HOME": str(self.folder / "home"),
            "FINETUNE_TERMINATION_LOG": str(self.folder / "message"),
        }  # fmt: skip

    def prepare(self, lengths: list[int], held_out: int) -> None:
        task = self.contest.task
        make_model(self.folder / "model", task)
        write_rows(self.folder / "train.jsonl", task, lengths, seed=7)
        write_rows(self.folder / "held-out.jsonl", task, lengths[:held_out], seed=8)
        sources = {name: {"uri": f"file://{self.folder}/held-out.jsonl"}
                   for name in ("validation", "test")}  # fmt: skip
        manifest = {
            "metadata": {"name": "throughput"},
            "spec": {
                "task": task,
                "model": {"uri": f"file://{self.folder}/model/"},
                "dataset": {
                    "train": {"uri": f"file://{self.folder}/train.jsonl"}, **sources,
                    "checks": {"duplicates": "Off", "leakage": "Off"},
                },
                "method": {"full": {}},
                "training": {"globalBatchSize": GLOBAL_BATCH, "epochs": 1},
                "checkpointing": {"everySteps": STEPS},
                "resources": {"nodes": 1, "gpusPerNode": 0},
                "output": {"uri": f"file://{self.folder}/out/"},
            },
        }  # fmt: skip
        job = build(FineTuneJob.from_manifest(manifest))
        work = {"FINETUNE_JOB": job.to_env(), "FINETUNE_WORKDIR": str(self.folder / "prepare")}
        command = [sys.executable, "-m", OURS, "prepare"]
        subprocess.run(command, env=self.environment | work, check=True)
        message = json.loads((self.folder / "message").read_text())
        plan = Plan.model_validate(message["plan"])
        fingerprint = message["prepared"]["fingerprint"]
        (self.folder / "job.json").write_text(
            job.model_copy(update={"fingerprint": fingerprint}).to_env()
        )
        (self.folder / "plan.json").write_text(json.dumps(plan.to_wire()))
        (self.folder / "prepared").symlink_to(self.folder / "out/prepared" / fingerprint)
        print(f"\n{task}: micro-batch {plan.micro_batch}, {plan.steps} steps")

    def ours(self, number: int) -> list[dict[str, float]]:
        """All steps: rows of like length stand together, and each batch has lengths of its own."""
        work = self.folder / f"ours-{number}"
        for name in ("checkpoints", "control", "output/report"):
            (work / name).mkdir(parents=True)
        (self.folder / "baseline").mkdir(exist_ok=True)
        for name in ("model", "prepared", "plan.json", "baseline"):
            (work / name).symlink_to(self.folder / name)
        environment = {
            "FINETUNE_JOB": (self.folder / "job.json").read_text(), "FINETUNE_WORKDIR": str(work),
            "RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1",
            "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port(), "GLOO_SOCKET_IFNAME": "lo",
        }  # fmt: skip
        return self._watched(work / "steps.json", STEPS, [OURS, "rank"], environment)

    def plain(self, number: int, precision: str) -> list[dict[str, float]]:
        """Some steps: its batches are drawn, and each is like the others."""
        out = self.folder / f"plain-{number}"
        out.mkdir()
        arguments = [
            self.folder / "model",
            self.folder / "train.jsonl",
            out,
            GLOBAL_BATCH,
            precision,
        ]
        command = [str(PLAIN / self.contest.script), *map(str, arguments)]
        return self._watched(out / "steps.json", PLAIN_STEPS, command, {})

    def _watched(
        self, result: Path, steps: int, command: list[str], environment: dict[str, str]
    ) -> list[dict[str, float]]:
        subprocess.run(
            [sys.executable, "-m", "tests.bench.stopwatch", str(result), str(steps), *command],
            env=self.environment | environment, check=True, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        return json.loads(result.read_text())


def speed(steps: list[dict[str, float]], clock: str) -> float:
    """Useful tokens a second, the first step left out."""
    first, last = steps[1], steps[-1]
    return (last["useful"] - first["useful"]) / (last[clock] - first[clock])


def contest(folder: Path, contest: Contest, lengths: list[int], precision: str) -> float:
    """How many times as fast ours is, in float32, as the plain script in a precision."""
    arena = Arena(contest, folder)
    arena.prepare(lengths, held_out=16)
    ratios = []
    for number in range(ROUNDS):
        ours, plain = arena.ours(number), arena.plain(number, precision)
        ratios.append(speed(ours, "processor") / speed(plain, "processor"))
        for name, steps in (("ours", ours), ("plain", plain)):
            print(
                f"{contest.task}, {name}: {speed(steps, 'processor'):.0f} useful tokens a second "
                f"of the processor, {speed(steps, 'clock'):.0f} by the clock; "
                f"{steps[-1]['useful'] / steps[-1]['positions']:.0%} of positions are useful"
            )
        print(f"{contest.task}: {ratios[-1]:.2f} times as fast")
    return max(ratios)


@pytest.mark.parametrize("of", CONTESTS, ids=lambda contest: contest.task)
def test_mixed_lengths(tmp_path: Path, of: Contest) -> None:
    lengths = mixed_lengths(GLOBAL_BATCH * STEPS, of.longest)
    assert contest(tmp_path, of, lengths, "bfloat16") >= 2.3


@pytest.mark.parametrize("of", CONTESTS, ids=lambda contest: contest.task)
def test_uniform_lengths(tmp_path: Path, of: Contest) -> None:
    """Where no padding can be saved: the same work in the same precision."""
    assert contest(tmp_path, of, [128] * GLOBAL_BATCH * STEPS, "float32") >= 0.97
