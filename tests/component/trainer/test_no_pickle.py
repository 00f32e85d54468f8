"""A base model's weights come from safetensors alone, whatever else lies beside them."""

from pathlib import Path
from typing import Any

import pytest

from finetune_api.errors import UserError


def test_pickled_weights_are_not_read_though_a_safetensors_file_lies_beside(
    cases: Any, tmp_path: Path
) -> None:
    import torch
    from transformers import AutoConfig

    from finetune_trainer.model import checks
    from finetune_trainer.model.load import configure, load_classifier

    cases.make_model(str(tmp_path))
    weights = tmp_path / "model.safetensors"
    config = configure(AutoConfig.from_pretrained(tmp_path), ["a", "b"], dropout=None, pad=0)
    loaded = load_classifier(tmp_path, config, seed=1)
    torch.save(loaded.model.bert.state_dict(), tmp_path / "pytorch_model.bin")
    weights.rename(tmp_path / "other.safetensors")
    checks.check_listing("s3://models/m/", [path.name for path in tmp_path.iterdir()])
    with pytest.raises(UserError, match=r"weights cannot be loaded.*model\.safetensors"):
        load_classifier(tmp_path, config, seed=1)
