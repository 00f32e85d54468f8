"""Makes the base model: a vision transformer of four layers that has not seen anything yet."""

import argparse
from pathlib import Path

import torch
from transformers import ViTConfig, ViTImageProcessorPil, ViTModel

SIDE = 24


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path, help="the folder to write the model to")
    output = parser.parse_args().output
    torch.manual_seed(42)
    config = ViTConfig(
        hidden_size=64, num_hidden_layers=4, num_attention_heads=4, intermediate_size=256,
        image_size=SIDE, patch_size=6,
    )  # fmt: skip
    ViTModel(config, add_pooling_layer=False).save_pretrained(output)
    ViTImageProcessorPil(size={"height": SIDE, "width": SIDE}).save_pretrained(output)
    print(f"{output}: a ViT of {config.num_hidden_layers} layers")


if __name__ == "__main__":
    main()
