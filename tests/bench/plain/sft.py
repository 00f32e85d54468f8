"""Supervised fine-tuning as TRL's documentation begins, with its own defaults, at the global batch
and in the precision given."""

import sys

from datasets import load_dataset
from transformers import AutoTokenizer
from trl import SFTConfig, SFTTrainer

model, rows, out, global_batch, precision = sys.argv[1:]
arguments = SFTConfig(
    output_dir=out,
    use_cpu=True,
    num_train_epochs=1,
    gradient_accumulation_steps=int(global_batch) // 8,
    report_to="none",
    bf16=precision == "bfloat16",
)
trainer = SFTTrainer(
    model=model,
    args=arguments,
    train_dataset=load_dataset("json", data_files=rows, split="train"),
    processing_class=AutoTokenizer.from_pretrained(model),
)
trainer.train()
