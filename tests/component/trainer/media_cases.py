"""Images to learn from, tiny models of them, and what forked processes do with both."""

import random
from pathlib import Path
from typing import Any

SIDE = 16


def write_digits(folder: Path, count: int = 360, seed: int = 1, shuffled: bool = False) -> str:
    """Handwritten digits as they come with scikit-learn, a folder for each; the folder's path.
    ``shuffled``: each stands where another belongs."""
    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    rng = random.Random(seed)
    chosen = rng.sample(range(len(digits.target)), count)
    labels = [int(digits.target[number]) for number in chosen]
    if shuffled:
        rng.shuffle(labels)
    for number, label in zip(chosen, labels, strict=True):
        place = folder / str(label) / f"{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray((digits.images[number] * 15.9).astype(np.uint8))
        picture.resize((SIDE, SIDE)).save(place)
    return f"{folder}/"


def make_vision_model(folder: str, kind: str = "vit", seed: int = 0) -> None:
    """A ViT or a ResNet of two layers, without a head, and how it is given images."""
    import torch
    from transformers import ResNetConfig, ResNetModel, ViTConfig, ViTImageProcessorPil, ViTModel

    torch.manual_seed(seed)
    ViTImageProcessorPil(size={"height": SIDE, "width": SIDE}).save_pretrained(folder)
    if kind == "vit":
        config = ViTConfig(
            hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
            image_size=SIDE, patch_size=4, initializer_range=0.2,
        )  # fmt: skip
        ViTModel(config, add_pooling_layer=False).save_pretrained(folder)
        return
    model = ResNetModel(
        ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic")
    )
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
    model.save_pretrained(folder)


def see_plainly(base: str, result: str, prepared: str) -> list[list[float]]:
    """Plain transformers and PEFT, nothing of ours: logits of the test rows' images, one by one, by
    an adapter or a whole model."""
    import datasets
    import torch
    from peft import PeftModel
    from PIL import Image
    from transformers import AutoConfig, AutoImageProcessor, AutoModelForImageClassification

    processor = AutoImageProcessor.from_pretrained(result)
    if (Path(result) / "adapter_config.json").exists():
        config = AutoConfig.from_pretrained(result)
        model = AutoModelForImageClassification.from_pretrained(base, config=config)
        model = PeftModel.from_pretrained(model, result)
    else:
        model = AutoModelForImageClassification.from_pretrained(result)
    model.eval()
    found = []
    for row in datasets.load_from_disk(f"{prepared}/test"):
        image = Image.frombytes("RGB", (row["width"], row["height"]), row["pixels"])
        with torch.no_grad():
            found.append(model(**processor(image, return_tensors="pt")).logits[0].tolist())
    return found


def statistics_of(folder: str) -> dict[str, Any]:
    """Means and variances of batch normalisation in a model's file."""
    from safetensors.numpy import load_file

    weights = load_file(f"{folder}/model.safetensors")
    return {
        name.removeprefix("resnet."): weight.tolist()
        for name, weight in weights.items() if "running_" in name
    }  # fmt: skip
