"""Text classification as transformers' documentation begins, with
its own defaults, at the global batch given."""

import sys

from datasets import load_dataset
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
)

model, rows, out, global_batch, _ = sys.argv[1:]
tokenizer = AutoTokenizer.from_pretrained(model)
dataset = load_dataset("json", data_files=rows, split="train").class_encode_column("label")
classes = dataset.features["label"].num_classes
dataset = dataset.map(lambda row: tokenizer(row["text"], truncation=True), batched=True)
arguments = TrainingArguments(
    output_dir=out,
    use_cpu=True,
    num_train_epochs=1,
    gradient_accumulation_steps=int(global_batch) // 8,
    report_to="none",
)
trainer = Trainer(
    model=AutoModelForSequenceClassification.from_pretrained(model, num_labels=classes),
    args=arguments,
    train_dataset=dataset,
    processing_class=tokenizer,
    data_collator=DataCollatorWithPadding(tokenizer),
)
trainer.train()
