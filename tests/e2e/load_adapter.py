"""A user's own program: loads base and adapter with plain PEFT and compares logits with the run's.

Prints the largest absolute difference over the test rows.
"""

import sys

import numpy as np
import torch
from datasets import load_from_disk
from peft import PeftModel
from transformers import AutoModelForSequenceClassification, AutoTokenizer


def main(base: str, adapter: str, rows: str, predictions: str) -> None:
    recorded = np.load(predictions)["tuned_logits"]
    tokenizer = AutoTokenizer.from_pretrained(adapter)
    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=recorded.shape[1])
    tuned = PeftModel.from_pretrained(model, adapter).eval()
    logits = []
    with torch.inference_mode():
        for start in range(0, len(data := load_from_disk(rows)), 64):
            batch = {"input_ids": data[start : start + 64]["input_ids"]}
            logits.append(tuned(**tokenizer.pad(batch, return_tensors="pt")).logits.numpy())
    print(float(np.abs(np.concatenate(logits) - recorded).max()))


if __name__ == "__main__":
    main(*sys.argv[1:])
