"""Questions whose answers a tiny model can learn to find, and plain programs that answer them."""

import json
import random
from pathlib import Path
from typing import Any

KINDS = {
    "hill": ("dog", "cat", "bird"),
    "lake": ("sun", "moon", "star"),
    "rock": ("car", "bike", "train"),
}
"""What a question's word asks for."""
NOISE = ("red", "green", "blue", "sea", "tree")
WITHOUT_ANSWER = 0.2


def write_questions(
    path: Path,
    count: int = 90,
    seed: int = 1,
    longest: int = 14,
    shuffled: bool = False,
    unanswered: float = WITHOUT_ANSWER,
) -> None:
    """A question asks for the one or two words of a kind in a text of all kinds, or of the others.
    ``shuffled``: each row has another row's question."""
    rng = random.Random(seed)
    rows = []
    for number in range(count):
        asked = rng.choice(list(KINDS))
        found = {kind: rng.sample(words, rng.randint(1, 2)) for kind, words in KINDS.items()}
        if rng.random() < unanswered:
            del found[asked]
        parts = [[word] for word in rng.choices(NOISE, k=rng.randint(2, longest))]
        for words in found.values():
            parts.insert(rng.randint(0, len(parts)), words)
        context = " ".join([*(word for part in parts for word in part), f"n{number}"])
        rows.append({"question": asked, "context": context, "found": found})
    questions = [row["question"] for row in rows]
    if shuffled:
        # The kind that is told is another than the one that is asked for.
        rng.shuffle(questions)
    with path.open("w") as file:
        for row, question in zip(rows, questions, strict=True):
            words = row["found"].get(row["question"])
            text = " ".join(words) if words else ""
            at = row["context"].find(text)
            answers = {"text": [text] if words else [], "answer_start": [at] if words else []}
            line = {"context": row["context"], "question": question, "answers": answers}
            file.write(json.dumps(line) + "\n")


def save_with_head(base: str, folder: str) -> None:
    """The base as a model that points already, however badly."""
    import torch
    from transformers import AutoModelForQuestionAnswering, AutoTokenizer

    torch.manual_seed(3)
    AutoModelForQuestionAnswering.from_pretrained(base).save_pretrained(folder)
    AutoTokenizer.from_pretrained(base).save_pretrained(folder)


def answer_with(base: str, result: str, prepared: str) -> list[str]:
    """Plain PEFT or transformers, nothing of ours: answers to the test questions, the best span of
    all windows by trying every one."""
    import datasets
    import torch
    from peft import PeftModel
    from transformers import AutoModelForQuestionAnswering, AutoTokenizer

    if result.endswith("adapter"):
        model = AutoModelForQuestionAnswering.from_pretrained(base)
        model = PeftModel.from_pretrained(model, result)
    else:
        model = AutoModelForQuestionAnswering.from_pretrained(result)
    how = json.loads((Path(result) / "answers.json").read_text())
    tokenizer, longest = AutoTokenizer.from_pretrained(result), how["longestAnswerTokens"]
    best: dict[int, Any] = {}
    contexts: dict[int, str] = {}
    least: dict[int, float] = {}
    for row in datasets.load_from_disk(f"{prepared}/test"):
        number = row["question"]
        if row["document"]:
            contexts[number] = json.loads(row["document"])[1]
        given = tokenizer.pad(
            {"input_ids": [row["input_ids"]], "token_type_ids": [row["segments"]]},
            return_tensors="pt",
        )  # fmt: skip
        with torch.no_grad():
            outputs = model.eval()(**given)
        starts, ends = outputs.start_logits[0].tolist(), outputs.end_logits[0].tolist()
        for first in range(row["first"], row["last"] + 1):
            for last in range(first, min(first + longest, row["last"] + 1)):
                score = starts[first] + ends[last]
                if number not in best or score > best[number][0]:
                    best[number] = (score, row["starts"][first], row["ends"][last])
        least[number] = min(least.get(number, float("inf")), starts[0] + ends[0])
    return [
        "" if how["mayHaveNoAnswer"] and least[number] > score else contexts[number][start:end]
        for number, (score, start, end) in best.items()
    ]


def told(references: list[list[str]], base: list[str], tuned: list[str]) -> dict[str, Any]:
    """The comparison of two answers to each question, and scores of the first ones."""
    from finetune_trainer.evaluate.questions import compare, scores

    result = compare(references, base, tuned, seed=1)
    f1, exact = scores(references, base)
    return {
        "metrics": {entry.metric: (entry.base, entry.tuned) for entry in result.results},
        "rows": (result.wins, result.ties, result.losses),
        "f1": f1.tolist(), "exact": exact.tolist(),
    }  # fmt: skip


def fit_pointers(shuffled: bool) -> dict[str, float]:
    """A pointer probe of drawn windows whose right tokens lie in one direction, or anywhere: share
    of new windows in which it points at the right one, and what of it is even chance."""
    import numpy as np

    from finetune_trainer.evaluate.pointer_probe import choices, fit

    rng = np.random.default_rng(5)

    def windows(count: int) -> list[Any]:
        made = []
        for _ in range(count):
            size = int(rng.integers(8, 20))
            start, end = sorted(rng.integers(1, size, 2).tolist())
            rows = rng.normal(size=(size, 13)) * 2
            told = rng.integers(1, size, 2).tolist() if shuffled else (start, end)
            rows[start, 0] += 6
            rows[end, 1] += 6
            rows[:, 12] = 0
            for bit, at in zip((1, 2), told, strict=True):
                rows[at, 12] += bit
            made.append(rows.astype(np.float32))
        return made

    probe = fit(choices(windows(300)), seed=1)
    right = [
        int(probe.scores(rows[:, :12])[:, side].argmax())
        == int((rows[:, 12].astype(int) & bit).argmax())
        for rows in windows(200)
        for side, bit in ((0, 1), (1, 2))
    ]
    return {"right": float(np.mean(right))}


def losses_by_hand(smoothing: float) -> dict[str, Any]:
    """The loss of pointers, and the same from torch's own cross-entropy on what can be chosen."""
    import torch

    from finetune_trainer.losses import pointer_loss

    torch.manual_seed(0)
    logits = torch.randn(2, 6, 2)
    labels = torch.tensor([[0, -100, 0, 1, 2, 0], [3, -100, 0, 0, -100, -100]])
    found = pointer_loss(logits, labels, smoothing=smoothing)
    by_hand = []
    for row, (start, end) in enumerate(((3, 4), (0, 0))):
        there = (labels[row] != -100).nonzero().flatten()
        by_hand.append(
            sum(
                torch.nn.functional.cross_entropy(
                    logits[row, there, side][None], (there == at).nonzero()[0],
                    label_smoothing=smoothing,
                )
                for side, at in ((0, start), (1, end))
            ) / 2
        )  # fmt: skip
    return {"ours": found.tolist(), "hand": [float(each) for each in by_hand]}
