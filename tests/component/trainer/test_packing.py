"""Rows laid end to end teach what padded rows teach, and a model that reads across them is told."""

import json

import numpy as np
import pytest

LORA = {"lora": {"rank": 4}}
FULL = {"full": {}}


def opt(folder: str) -> None:
    """An architecture that reads across rows, with the tokenizer that is there."""
    import torch
    from transformers import OPTConfig, OPTForCausalLM

    torch.manual_seed(0)
    OPTForCausalLM(OPTConfig(
        vocab_size=64, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, ffn_dim=64,
        max_position_embeddings=64, word_embed_proj_dim=32, pad_token_id=0, bos_token_id=2,
        eos_token_id=3,
    )).save_pretrained(folder)  # fmt: skip


def packing(run):
    return json.loads((run.folders[0] / "output" / "report" / "packing.json").read_text())


@pytest.fixture(scope="module")
def texts(writing_of, cases):
    return writing_of(cases.write_texts)


@pytest.mark.parametrize(
    ("objective", "method", "ranks", "micro", "zero"),
    [
        ("SFT", LORA, 1, 8, None),
        ("Pretrain", FULL, 2, 2, 3),
        pytest.param("SFT", LORA, 2, 4, 2, marks=pytest.mark.matrix),
        pytest.param("SFT", FULL, 2, 4, 3, marks=pytest.mark.matrix),
        pytest.param("Pretrain", FULL, 1, 8, None, marks=pytest.mark.matrix),
        pytest.param("Pretrain", LORA, 2, 4, None, marks=pytest.mark.matrix),
    ],
)
def test_packed_rows_teach_what_padded_rows_teach(
    writing, texts, objective, method, ranks, micro, zero
):
    bench = texts if objective == "Pretrain" else writing
    of = {} if objective == "SFT" else {"objective": objective}
    padded = bench.run(method, ranks=ranks, micro=micro, zero=zero, **of)
    packed = bench.run(
        method, ranks=ranks, micro=micro, zero=zero, training={"packing": True}, **of
    )
    assert packed.codes == [0] * ranks, packed.output
    assert packing(packed)["packed"]
    for name in ("loss", "grad_norm", "eval_loss"):
        assert packed.curve(name) == pytest.approx(padded.curve(name), rel=1e-5), name
    ours, theirs = packed.weights(), padded.weights()
    assert all(np.allclose(ours[name], theirs[name], atol=1e-5) for name in theirs)


def test_a_model_that_reads_across_rows_trains_on_padded_ones(writing_of, forkserver):
    bench = writing_of()
    (made,) = bench.server.call(opt, [forkserver.Child({}, {"folder": str(bench.model)})])
    assert made.code == 0, made.output
    padded = bench.run(FULL, micro=4)
    asked = bench.run(FULL, micro=4, training={"packing": True})
    assert asked.codes == [0], asked.output
    assert not packing(asked)["packed"]
    assert packing(asked)["largestDifference"] > 0.01
    assert asked.digest("model") == padded.digest("model")
