"""Rows for objectives beside answers, and what forked processes make of their results."""

import json
import random
from pathlib import Path
from typing import Any

WORDS = ("red green blue dog cat bird sun moon star car bike train sea hill lake tree rock").split()  # noqa: SIM905
CAPITALS = [word.upper() for word in WORDS[:12]]


def write_judged(path: Path, count: int = 160, seed: int = 1, shuffled: bool = False) -> None:
    """Prompts of a few words with one answer: good is one of six words in capitals, bad one of six
    others, and two in three are bad. ``shuffled``: each row has the judgement of another."""
    rng = random.Random(seed)
    judged = [number % 3 == 0 for number in range(count)]
    told = rng.sample(judged, count) if shuffled else judged
    with path.open("w") as file:
        for number, (good, label) in enumerate(zip(judged, told, strict=True)):
            answer = rng.choice(CAPITALS[:6] if good else CAPITALS[6:])
            words, tail = rng.choices(WORDS, k=rng.randint(2, 10)), rng.choice(["", " tree"])
            prompt, completion = f"{' '.join(words)} n{number} =", f" {answer}{tail}"
            row = {"prompt": prompt, "completion": completion, "label": label}
            file.write(json.dumps(row) + "\n")


def plain_rewards(base: str, prepared: str, part: str, adapter: str | None = None) -> Any:
    """Plain transformers and PEFT, nothing of ours: rewards of each row's chosen and rejected
    answer."""
    import datasets
    import torch
    from peft import PeftModel
    from transformers import AutoConfig, AutoModelForSequenceClassification

    config = AutoConfig.from_pretrained(adapter or base)
    model = AutoModelForSequenceClassification.from_pretrained(base, config=config)
    model = (PeftModel.from_pretrained(model, adapter) if adapter else model).eval()
    assert config.id2label == {0: "reward"}
    with torch.no_grad():
        return [
            [
                float(model(torch.tensor([row[name]])).logits)
                for name in ("input_ids", "rejected_ids")
            ]
            for row in datasets.load_from_disk(f"{prepared}/{part}")
        ]


def probe_of_rewards(shuffled: bool) -> dict[str, Any]:
    """A linear reward of drawn differences: its share of new ones that are positive, and the same
    of the weights that plain scikit-learn finds."""
    import numpy as np
    from sklearn.linear_model import LogisticRegression

    from finetune_trainer.evaluate import reward_probe

    rng = np.random.default_rng(0)
    truth = rng.normal(size=30)

    def drawn(count: int) -> Any:
        rows = rng.normal(size=(count, 30))
        sign = np.sign(rows @ truth + 0.5 * rng.logistic(size=count))
        return (rows * (rng.choice([-1, 1], count) if shuffled else sign)[:, None]).astype("f")

    train, new = drawn(400), drawn(2000)
    both = LogisticRegression(fit_intercept=False).fit(
        np.concatenate([train, -train]), np.repeat([1, 0], len(train))
    )
    found = reward_probe.fit(train, 1)
    return {
        "found": float((new @ found > 0).mean()), "plain": float((new @ both.coef_[0] > 0).mean()),
    }  # fmt: skip


def write_conversations(path: Path, judged: bool) -> None:
    """Conversations of one or two answers; the last one is good in capitals of the first half."""
    rng = random.Random(1)
    with path.open("w") as file:
        for number in range(90):
            turns = []
            for turn in range(rng.randint(1, 2)):
                asked = f"{' '.join(rng.choices(WORDS, k=3))} n{number}"
                turns += [("user", asked), ("assistant", rng.choice(WORDS) + str(turn))]
            answers = rng.choice(CAPITALS[:6]), f"{rng.choice(CAPITALS[6:])} tree"
            both = [
                [dict(zip(("role", "content"), one, strict=True)) for one in said]
                for said in ([*turns[:-1], ("assistant", answer)] for answer in answers)
            ]
            row = {"chosen": both[0], "rejected": both[1]}
            if judged:
                row = {"messages": both[number % 2], "label": number % 2 == 0}
            file.write(json.dumps(row) + "\n")


def prepared_texts(base: str, prepared: str) -> Any:
    """The test rows' prompt and answers as text."""
    import datasets
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base)
    return [
        [tokenizer.decode(row["input_ids"][: row["prompt_length"]])]
        + [tokenizer.decode(row[name][row["prompt_length"] :])
           for name in ("input_ids", "rejected_ids") if name in row]
        for row in datasets.load_from_disk(f"{prepared}/test")
    ]  # fmt: skip


def write_prompts(path: Path, count: int = 120, seed: int = 1) -> None:
    """Prompts of a few words, nothing else."""
    rng = random.Random(seed)
    with path.open("w") as file:
        for number in range(count):
            words = rng.choices(WORDS, k=rng.randint(1, 9))
            file.write(json.dumps({"prompt": f"{' '.join(words)} n{number} ="}) + "\n")


def run_misled(events: str) -> int:
    """A rank whose training answers get each other's rewards, within every prompt's answers."""
    import numpy as np

    from finetune_trainer.objectives import grpo
    from finetune_trainer.rank import main

    honest, rng = grpo.advantages, np.random.default_rng(5)
    grpo.advantages = lambda rewards: honest(rng.permuted(rewards, axis=1))
    return _with_events(events, main)


def run_stopped(events: str, trouble: dict[str, Any] | None = None) -> int:
    """A rank of which the first is asked to stop at a step."""
    from finetune_trainer.rank import main
    from finetune_trainer.telemetry.channel import Channel

    told = Channel.heartbeat

    def heartbeat(self: Channel, step: int) -> None:
        told(self, step)
        if trouble and step == trouble["step"]:
            Path(trouble["touch"]).touch()

    Channel.heartbeat = heartbeat
    return _with_events(events, main)


def drawn_answers(base: str, shape: list[list[int]]) -> Any:
    """Answers of three tokens to the same prompt by many draws, in batches of these sizes; and the
    first token's probabilities."""
    from types import SimpleNamespace

    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from finetune_api.grpo import Grpo
    from finetune_trainer.evaluate.sample import Sampler

    model = AutoModelForCausalLM.from_pretrained(base).eval()
    tokenizer = AutoTokenizer.from_pretrained(base)
    asked = Grpo.model_validate(
        {"rewards": {"length": {"tokens": 1}}, "maxNewTokens": 3, "temperature": 0.5}
    )
    gang = SimpleNamespace(device=torch.device("cpu"))
    session = SimpleNamespace(gang=gang, plan=SimpleNamespace(zero_stage=0), beat=lambda: None)
    sampler = Sampler(session, tokenizer, asked, model)
    prompts = [tokenizer("red dog")["input_ids"], tokenizer("sun moon star tree =")["input_ids"]]
    with torch.no_grad():
        found = {
            seed: answer
            for batch in shape
            for seed, answer in zip(
                batch,
                sampler.sample(model, [prompts[s % 2] for s in batch], [(1, s) for s in batch]),
                strict=True,
            )
        }
        scores = model(torch.tensor([prompts[0]])).logits[0, -1]
    return found, (scores / 0.5).softmax(-1).tolist()


def plain_grpo(base: str, prompts: list[list[int]], answers: list[list[int]]) -> list[float]:
    """Plain transformers, nothing of ours: the mean log-likelihood of each answer's tokens."""
    import torch
    from transformers import AutoModelForCausalLM

    model, found = AutoModelForCausalLM.from_pretrained(base).eval(), []
    with torch.no_grad():
        for prompt, answer in zip(prompts, answers, strict=True):
            ids = torch.tensor([prompt + answer])
            scores = model(ids).logits[0, :-1].log_softmax(-1)
            each = scores.gather(1, ids[0, 1:, None])[len(prompt) - 1 :]
            found.append(float(each.mean()))
    return found


def run_recorded(events: str, record: str) -> int:
    """A rank that leaves what GRPO wrote at the first step: prompts, answers, advantages."""
    from finetune_trainer.objectives import grpo
    from finetune_trainer.rank import main

    seen: list[Any] = []
    honest = grpo.GRPO._batch

    def batch(self: Any, prompts: Any, answers: Any, better: Any) -> Any:
        seen.append([prompts, answers, list(map(float, better))])
        return honest(self, prompts, answers, better)

    grpo.GRPO._batch = batch
    code = _with_events(events, main)
    Path(record).write_text(json.dumps(seen[0]))
    return code


def answer_plainly(base: str, prepared: str, adapter: str | None = None) -> list[str]:
    """Plain transformers and PEFT, nothing of ours: answers to the test prompts, one by one."""
    import datasets
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

    model = AutoModelForCausalLM.from_pretrained(base)
    model = (PeftModel.from_pretrained(model, adapter) if adapter else model).eval()
    tokenizer = AutoTokenizer.from_pretrained(adapter or base)
    how = GenerationConfig.from_pretrained(adapter or base)
    texts = []
    for row in datasets.load_from_disk(f"{prepared}/test"):
        ids = torch.tensor([row["input_ids"]])
        mask = torch.ones_like(ids)
        (written,) = model.generate(input_ids=ids, attention_mask=mask, generation_config=how)
        texts.append(tokenizer.decode(written[ids.shape[1] :], skip_special_tokens=True).strip())
    return texts


def run_told(events: str, told: str) -> int:
    """A rank that leaves what KTO's loss was given, micro-batch by micro-batch."""
    from finetune_trainer.objectives import kto
    from finetune_trainer.rank import main

    seen: list[Any] = []
    gained, loss = kto.KTOTrainer._gained, kto.KTO.row_loss

    def told_gained(self: Any, batch: Any) -> Any:
        found = gained(self, batch)
        seen.append(["gained", *found.tolist()])
        return found

    def told_loss(self: Any, model: Any, batch: Any) -> Any:
        import torch

        if model.training:
            seen.append(["drift", *batch[kto.DRIFT].view(torch.float32).tolist()])
        return loss(self, model, batch)

    kto.KTOTrainer._gained, kto.KTO.row_loss = told_gained, told_loss
    code = _with_events(events, main)
    Path(told).write_text(json.dumps(seen))
    return code


def _with_events(events: str, main: Any) -> int:
    import os

    fd = os.open(events, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    os.environ["FINETUNE_EVENTS_FD"] = str(fd)
    code: int = main(os.environ)
    return code


def plain_judged(
    base: str, prepared: str, part: str, seed: int, adapter: str | None = None
) -> list[list[float]]:
    """Plain transformers and PEFT, nothing of ours: the log-likelihood of each row's answer, that
    of its partner's answer to its prompt, the number of tokens of its own, and its judgement."""
    import datasets
    import numpy as np
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base)
    model = (PeftModel.from_pretrained(model, adapter) if adapter else model).eval()
    rows = list(datasets.load_from_disk(f"{prepared}/{part}"))
    ring = np.random.default_rng([seed, 6]).permutation(len(rows)).tolist()
    before = {row: ring[place - 1] for place, row in enumerate(ring)}

    def of(asked: list[int], answer: list[int]) -> float:
        ids = torch.tensor([asked + answer])
        scores = model(ids).logits[0, :-1].log_softmax(-1)
        return float(scores.gather(1, ids[0, 1:, None])[len(asked) - 1 :].sum())

    parted = [(row["input_ids"], row["prompt_length"]) for row in rows]
    asked, answers = [i[:n] for i, n in parted], [i[n:] for i, n in parted]
    with torch.no_grad():
        return [
            [of(asked[n], answers[n]), of(asked[n], answers[before[n]]), len(answers[n]),
             float(rows[n]["good"])]
            for n in range(len(rows))
        ]  # fmt: skip
