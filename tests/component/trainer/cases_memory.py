"""Tiny models of many architectures, what a training step of theirs takes, and what is expected."""

import gc
import sys
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any

WIDTH, LAYERS, WORDS = 256, 4, 2000


def _configs() -> dict[str, tuple[str, Any]]:
    """Architecture → the kind of its pass, and a configuration."""
    import transformers as hf

    sizes = {"vocab_size": WORDS}
    usual = sizes | {
        "hidden_size": WIDTH, "num_hidden_layers": LAYERS, "num_attention_heads": 4,
        "intermediate_size": 3 * WIDTH,
    }  # fmt: skip
    return {
        "bert": ("scores", hf.BertConfig(**usual)),
        "distilbert": ("scores", hf.DistilBertConfig(
            **sizes, dim=WIDTH, n_layers=LAYERS, n_heads=4, hidden_dim=3 * WIDTH)),
        "llama": ("writes", hf.LlamaConfig(**usual)),
        "qwen2": ("writes", hf.Qwen2Config(**usual, num_key_value_heads=2)),
        "gpt2": ("writes", hf.GPT2Config(
            **sizes, n_embd=WIDTH, n_layer=LAYERS, n_head=4, bos_token_id=1, eos_token_id=2)),
        "t5": ("rewrites", hf.T5Config(
            **sizes, d_model=WIDTH, d_kv=64, num_heads=4, d_ff=3 * WIDTH, num_layers=LAYERS,
            decoder_start_token_id=0)),
    }  # fmt: skip


def _made(name: str, method: str, checkpointing: bool) -> tuple[Any, str]:
    import peft
    import torch
    import transformers as hf

    kind, config = _configs()[name]
    form = {
        "scores": hf.AutoModelForSequenceClassification, "writes": hf.AutoModelForCausalLM,
        "rewrites": hf.AutoModelForSeq2SeqLM,
    }[kind]  # fmt: skip
    torch.manual_seed(0)
    with redirect_stderr(StringIO()):
        model = form.from_config(config)
    if method == "lora":
        model = peft.get_peft_model(model, peft.LoraConfig(r=8, target_modules="all-linear"))
    if checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    return model, kind


def peak_and_estimate(
    name: str, method: str, checkpointing: bool, rows: int, length: int
) -> tuple[int, int]:
    """Most bytes that tensors took over two real steps of AdamW, weights included, and the
    planner's estimate for one rank."""
    import torch

    sys.path.append(str(Path(__file__).parent))
    from cases import counting

    from finetune_api.estimate import ModelShape, estimate
    from finetune_trainer.model import trial
    from finetune_trainer.model.trace import traced

    of = {
        "scores": trial.of_scores, "writes": trial.of_language_model,
        "rewrites": trial.of_encoder_decoder,
    }  # fmt: skip
    model, kind = _made(name, method, checkpointing)
    weights = list(model.parameters())
    trained = [weight for weight in weights if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained)
    model.train()
    gc.collect()
    with counting() as count:
        for _ in range(2):
            of[kind](model, rows, length).backward()
            optimizer.step()
            optimizer.zero_grad()
    with torch.device("meta"):
        twin, _ = _made(name, method, checkpointing)
    passes = traced(twin, of[kind], length)
    shape = ModelShape(
        sum(w.numel() for w in weights), sum(w.numel() for w in trained),
        largest=max(w.numel() for w in weights),
    )  # fmt: skip
    one_pass = passes(rows, checkpointing=checkpointing, half=False)
    return count.peak, estimate(shape, one_pass, world=1, zero_stage=None).total


def estimate_of_job(folder: str, zero: int | None, rows: int, length: int) -> list[int]:
    """The planner's estimate of a rank of the job in the environment, alone in a list."""
    from finetune_api.estimate import estimate
    from finetune_trainer.config import load_config
    from finetune_trainer.model import checks
    from finetune_trainer.model.trace import traced
    from finetune_trainer.model.trainable import to_train
    from finetune_trainer.tasks.registry import task_class

    job = load_config()
    config = checks.read_config(Path(folder), "here")
    task = task_class(job.spec, config)
    base = task.on_meta(config, ["a", "b", "c"], 0)
    model, shape = to_train(base, job.spec)
    one_pass = traced(model, task.trial, length)(rows, checkpointing=False, half=False)
    return [estimate(shape, one_pass, world=job.world_size, zero_stage=zero).total]
