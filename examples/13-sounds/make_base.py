"""Makes the base model: a spectrogram transformer of two layers that has not heard anything yet."""

import argparse
from pathlib import Path

import torch
from transformers import ASTConfig, ASTFeatureExtractor, ASTModel

RATE, BANDS, FRAMES = 8000, 32, 96


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path, help="the folder to write the model to")
    output = parser.parse_args().output
    torch.manual_seed(42)
    config = ASTConfig(
        hidden_size=48, num_hidden_layers=2, num_attention_heads=4, intermediate_size=96,
        patch_size=8, frequency_stride=8, time_stride=8, max_length=FRAMES, num_mel_bins=BANDS,
        initializer_range=0.1,
    )  # fmt: skip
    ASTModel(config).save_pretrained(output)
    ASTFeatureExtractor(
        num_mel_bins=BANDS, max_length=FRAMES, sampling_rate=RATE
    ).save_pretrained(output)  # fmt: skip
    print(f"{output}: a spectrogram transformer of {config.num_hidden_layers} layers")


if __name__ == "__main__":
    main()
