"""Plain transformers and PEFT, nothing of this project: how many prompts are answered as reported.

Arguments: folder of the base model, folder of the adapter, the report's answers.
"""

import json
import sys
from pathlib import Path

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

ROWS = 20


def main() -> None:
    base, adapter, answers = map(Path, sys.argv[1:])
    tokenizer = AutoTokenizer.from_pretrained(adapter)
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), adapter).eval()
    config = GenerationConfig.from_pretrained(adapter)
    rows = [json.loads(line) for line in answers.read_text(encoding="utf-8").splitlines()][:ROWS]
    same = 0
    for row in rows:
        ids = tokenizer(row["prompt"], return_tensors="pt")["input_ids"]
        with torch.no_grad():
            output = model.generate(input_ids=ids, generation_config=config)
        answer = tokenizer.decode(output[0, ids.shape[1] :], skip_special_tokens=True).strip()
        same += answer == row["tuned"]
    print(same / len(rows))


if __name__ == "__main__":
    main()
