"""Makes the base model: a small Whisper that has heard nothing yet and writes the orders' words."""

import argparse
from pathlib import Path

import torch
from make_data import COLOURS, NUMBERS, THINGS
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    PreTrainedTokenizerFast,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
)

RATE, SECONDS, BANDS = 16000, 2, 40
PAUSE, UNKNOWN, END, START = "<pad>", "<unk>", "<|endoftext|>", "<|startoftranscript|>"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path, help="the folder to write the model to")
    output = parser.parse_args().output
    torch.manual_seed(42)
    words = [PAUSE, UNKNOWN, END, START, *NUMBERS, *COLOURS, *THINGS]
    tokenizer = Tokenizer(models.WordLevel({w: n for n, w in enumerate(words)}, UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=PAUSE, unk_token=UNKNOWN, eos_token=END,
        additional_special_tokens=[START],
    ).save_pretrained(output)  # fmt: skip
    extractor = WhisperFeatureExtractor(
        feature_size=BANDS, sampling_rate=RATE, chunk_length=SECONDS
    )
    extractor.save_pretrained(output)
    config = WhisperConfig(
        vocab_size=len(words), num_mel_bins=BANDS, d_model=96, encoder_layers=2,
        decoder_layers=1, encoder_attention_heads=4, decoder_attention_heads=4,
        encoder_ffn_dim=192, decoder_ffn_dim=192, init_std=0.08, dropout=0.0,
        max_source_positions=extractor.nb_max_frames // 2, max_target_positions=16,
        pad_token_id=words.index(PAUSE), bos_token_id=words.index(END),
        eos_token_id=words.index(END), decoder_start_token_id=words.index(START),
        suppress_tokens=None, begin_suppress_tokens=None,
    )  # fmt: skip
    WhisperForConditionalGeneration(config).save_pretrained(output)
    print(f"{output}: a Whisper of {config.encoder_layers} layers that hears {SECONDS} s")


if __name__ == "__main__":
    main()
