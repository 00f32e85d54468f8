"""Makes the base model: a Llama of under a million weights, pretrained for about a minute.

It reads orders in plain words, each told twice or more in other words, and JSON about other things.
So it knows the words, and that what was said comes again; it has never seen an order in JSON.
"""

import argparse
import json
import os
import random
import time
from pathlib import Path

import torch
from orders import SENTENCES, Order
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, set_seed
from transformers.utils import logging

STEPS = 800
BATCH = 32
LENGTH = 72
LEARNING_RATE = 2e-3
END, PAD = "<end>", "<pad>"
NOTES = (
    "Customer {customer}, city {city}.",
    "Number {count}, colour {colour}, item {item}.",
    "{city} gets {count} {item} for {customer}.",
)
"""Further ways to tell of an order: they make the model look back."""
KEYS = ("width", "height", "name", "level", "count", "size", "mode", "speed")


def text(chooser: random.Random) -> str:
    """One document."""
    order = Order.drawn(chooser)
    if chooser.random() < 0.15:
        keys = chooser.sample(KEYS, 3)
        values = [chooser.choice([chooser.randint(1, 9), order.colour, order.item]) for _ in keys]
        return json.dumps(dict(zip(keys, values, strict=True)))
    first = chooser.choice(SENTENCES)
    told = [first, first] if chooser.random() < 0.4 else [first, *chooser.sample(NOTES, 2)]
    return "\n".join(order.sentence(pattern) for pattern in told)


def make_tokenizer(chooser: random.Random) -> PreTrainedTokenizerFast:
    """Byte-level BPE, trained on the same documents."""
    core = Tokenizer(models.BPE())
    words = pre_tokenizers.Split(Regex(r"\w+|\W"), behavior="isolated")
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [words, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=700, special_tokens=[PAD, END], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    core.train_from_iterator((text(chooser) for _ in range(4000)), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token=PAD, eos_token=END, model_max_length=256
    )


def make_model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """Random weights, large enough for looking back to be found within the minute."""
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=128, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=256, max_position_embeddings=256, initializer_range=0.08,
        pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None, tie_word_embeddings=False,
    )  # fmt: skip
    return LlamaForCausalLM(config)


def pretrain(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, chooser: random.Random
) -> float:
    """Predict the next token of fresh documents; the loss at the end."""
    optimizer = torch.optim.AdamW(model.parameters(), LEARNING_RATE, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, STEPS, pct_start=0.1)
    begun, loss = time.monotonic(), 0.0
    for step in range(1, STEPS + 1):
        texts = [text(chooser) + END for _ in range(BATCH)]
        batch = tokenizer(
            texts, padding=True, truncation=True, max_length=LENGTH, return_tensors="pt"
        )
        labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
        found = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"],
                      labels=labels).loss  # fmt: skip
        found.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        loss = found.item()
        if step % 100 == 0:
            print(f"  step {step} of {STEPS}, loss {loss:.3f}, {time.monotonic() - begun:.0f} s")
    return loss


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path, help="the folder to write")
    output = parser.parse_args().output
    logging.disable_progress_bar()
    os.environ.setdefault("DS_ACCELERATOR", "cpu")  # or it is told that there is no GPU
    set_seed(1)
    chooser = random.Random(1)
    tokenizer = make_tokenizer(chooser)
    model = make_model(tokenizer)
    weights = sum(weight.numel() for weight in model.parameters())
    print(f"pretraining {weights / 1e6:.2f} M weights, about a minute")
    pretrain(model, tokenizer, chooser)
    model.save_pretrained(output)
    tokenizer.save_pretrained(output)
    print(f"{output}: base model")


if __name__ == "__main__":
    main()
