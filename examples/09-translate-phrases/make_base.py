"""Makes the base model: a T5 of two layers on each side that knows the words and no language."""

import argparse
from pathlib import Path

import torch
from phrases import words
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

PAD, END, UNKNOWN = "<pad>", "</s>", "<unk>"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path, help="the folder to write the model to")
    output = parser.parse_args().output
    torch.manual_seed(42)
    known = [PAD, END, UNKNOWN, *words()]
    core = Tokenizer(models.WordLevel({word: n for n, word in enumerate(known)}, UNKNOWN))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    core.post_processor = processors.TemplateProcessing(
        single=f"$A {END}", special_tokens=[(END, 1)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token=PAD, eos_token=END, unk_token=UNKNOWN, model_max_length=64
    ).save_pretrained(output)
    config = T5Config(
        vocab_size=len(known), d_model=64, d_kv=16, num_heads=4, d_ff=128, num_layers=2,
        pad_token_id=0, eos_token_id=1, decoder_start_token_id=0,
    )  # fmt: skip
    T5ForConditionalGeneration(config).save_pretrained(output)
    print(f"{output}: a T5 of {config.num_layers} layers on each side, {len(known)} words")


if __name__ == "__main__":
    main()
