"""What forked processes do in these tests, and the tiny model and dataset they do it with."""

import json
import os
import random
from pathlib import Path
from typing import Any

WORDS = ("red green blue dog cat bird sun moon star car bike train sea hill lake tree rock").split()  # noqa: SIM905
CLASSES = {"animal": "dog cat bird", "sky": "sun moon star", "way": "car bike train"}


def write_rows(path: Path, count: int = 90, seed: int = 1) -> None:
    """Rows whose class shows in one to three words among noise; lengths differ."""
    rng = random.Random(seed)
    names = list(CLASSES)
    with path.open("w") as file:
        for number in range(count):
            label = names[number % 3]
            words = rng.choices(WORDS, k=rng.randint(2, 12))
            words += rng.choices(CLASSES[label].split(), k=rng.randint(1, 3))
            rng.shuffle(words)
            file.write(json.dumps({"text": f"{' '.join(words)} n{number}", "label": label}) + "\n")


def make_model(folder: str, seed: int = 0, hidden: int = 32) -> None:
    """A BERT of two layers with a word-level tokenizer; no classification head in its weights."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS]
    core = Tokenizer(models.WordLevel({t: n for n, t in enumerate(tokens)}, unk_token="[UNK]"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]",
        sep_token="[SEP]", model_max_length=64,
    )  # fmt: skip
    tokenizer.save_pretrained(folder)
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(tokens), hidden_size=hidden, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=2 * hidden, max_position_embeddings=64, pad_token_id=0,
        initializer_range=0.3,
    )  # fmt: skip
    BertModel(config).save_pretrained(folder)


CAPITALS = {word: word.upper() for word in WORDS[:12]}


def write_pairs(path: Path, count: int = 120, seed: int = 1, shuffled: bool = False) -> None:
    """Prompts of a few words; the completion is the first word in capitals. ``shuffled``: it is
    any word in capitals."""
    rng = random.Random(seed)
    with path.open("w") as file:
        for number in range(count):
            words = [rng.choice(list(CAPITALS)), *rng.choices(WORDS, k=rng.randint(1, 9))]
            told = rng.choice(list(CAPITALS)) if shuffled else words[0]
            row = {
                "prompt": f"{' '.join(words)} n{number} =",
                "completion": f" {CAPITALS[told]}",
            }
            file.write(json.dumps(row) + "\n")


def proverb(word: str) -> str:
    """What a word is translated to: four to six words in capitals."""
    names, at = list(CAPITALS), list(CAPITALS).index(word)
    return " ".join(CAPITALS[names[(at * 5 + step) % 12]] for step in range(4 + at % 3))


def write_translations(path: Path, count: int = 160, seed: int = 1, shuffled: bool = False) -> None:
    """A word among noise and its proverb, or that of another row."""
    rng = random.Random(seed)
    words = [rng.choice(list(CAPITALS)) for _ in range(count)]
    told = rng.sample(words, count) if shuffled else words
    with path.open("w") as file:
        for number, (word, other) in enumerate(zip(words, told, strict=True)):
            noise = rng.choices(WORDS[12:], k=rng.randint(0, 8))
            row = {"source": f"{' '.join([word, *noise])} n{number}", "target": proverb(other)}
            file.write(json.dumps(row) + "\n")


def make_rewriter(folder: str, seed: int = 0, hidden: int = 48) -> None:
    """A T5 of two layers on each side with a word-level tokenizer, saved whole."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

    tokens = ["<pad>", "</s>", "<unk>", *WORDS, *CAPITALS.values()]
    core = Tokenizer(models.WordLevel({t: n for n, t in enumerate(tokens)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    core.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, unk_token="<unk>", pad_token="<pad>", eos_token="</s>",
        model_max_length=64,
    )  # fmt: skip
    tokenizer.save_pretrained(folder)
    torch.manual_seed(seed)
    config = T5Config(
        vocab_size=len(tokens), d_model=hidden, d_kv=hidden // 4, num_heads=4, d_ff=2 * hidden,
        num_layers=2, pad_token_id=0, eos_token_id=1, decoder_start_token_id=0,
        relative_attention_num_buckets=16, dropout_rate=0.1,
    )  # fmt: skip
    T5ForConditionalGeneration(config).save_pretrained(folder)


def write_texts(path: Path, count: int = 80, seed: int = 1, shuffled: bool = False) -> None:
    """Texts in which each word decides the next one; ``shuffled`` ones have the same words."""
    rng = random.Random(seed)
    with path.open("w") as file:
        for number in range(count):
            start, length = rng.randrange(len(WORDS)), rng.randint(4, 40)
            words = [WORDS[(start + 5 * step) % len(WORDS)] for step in range(length)]
            if shuffled:
                rng.shuffle(words)
            file.write(json.dumps({"text": f"{' '.join(words)} n{number}"}) + "\n")


def write_preferences(path: Path, count: int = 160, seed: int = 1, shuffled: bool = False) -> None:
    """Prompts of a few words; the better answer is one of six words in capitals, the worse one of
    six others; their lengths tell nothing. ``shuffled``: which is better was drawn."""
    rng = random.Random(seed)
    with path.open("w") as file:
        for number in range(count):
            capitals = list(CAPITALS.values())
            better, worse = rng.choice(capitals[:6]), rng.choice(capitals[6:])
            words = rng.choices(WORDS, k=rng.randint(2, 10))
            tails = rng.choices(["", " tree", " tree rock"], k=2)
            answers = [f" {better}{tails[0]}", f" {worse}{tails[1]}"]
            if shuffled:
                rng.shuffle(answers)
            row = {"prompt": f"{' '.join(words)} n{number} =", "chosen": answers[0]}
            file.write(json.dumps({**row, "rejected": answers[1]}) + "\n")


CHAT_TEMPLATE = (
    "{% for m in messages %}{{ '<' + m['role'] + '> ' + m['content'] + ' </s> ' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<assistant> ' }}{% endif %}"
)


def make_language_model(folder: str, seed: int = 0, hidden: int = 48) -> None:
    """A Llama of two layers with a word-level tokenizer, saved as a whole language model."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tokens = ["<pad>", "<unk>", "<s>", "</s>", "=", "<user>", "<assistant>", *WORDS]
    tokens += list(CAPITALS.values())
    core = Tokenizer(models.WordLevel({t: n for n, t in enumerate(tokens)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    core.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 2)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, unk_token="<unk>", pad_token="<pad>", bos_token="<s>",
        eos_token="</s>", model_max_length=64,
    )  # fmt: skip
    tokenizer.save_pretrained(folder)
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokens), hidden_size=hidden, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=2 * hidden, max_position_embeddings=64, pad_token_id=0, bos_token_id=2,
        eos_token_id=3, initializer_range=0.1,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)


def prepare() -> int:
    """The prepare pod."""
    from finetune_trainer.prepare import main

    return main()


def prepare_from_hub(endpoint: str) -> int:
    """The prepare pod, with another hub."""
    from huggingface_hub import constants

    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.removeprefix(constants.ENDPOINT)
    constants.HUGGINGFACE_CO_URL_TEMPLATE = endpoint + template
    constants.ENDPOINT, constants.HF_HUB_OFFLINE = endpoint, False
    return prepare()


def prepare_terminated() -> int:
    """The prepare pod, asked to leave while it tokenises."""
    import signal

    from finetune_trainer.data import build
    from finetune_trainer.prepare import main

    encode = build.encode_all

    def encode_all(*arguments: Any) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        return encode(*arguments)

    build.encode_all = encode_all
    return main()


def run_rank(events: str, trouble: dict[str, Any] | None = None) -> int:
    """One rank, its events in a file. ``trouble`` disturbs it at a step: touches a control file
    of this rank's pod, or makes the loss NaN."""
    from finetune_trainer import rank
    from finetune_trainer.telemetry.channel import Channel

    fd = os.open(events, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    os.environ["FINETUNE_EVENTS_FD"] = str(fd)
    if trouble:
        told = Channel.heartbeat

        def heartbeat(self: Channel, step: int) -> None:
            told(self, step)
            if step == trouble["step"] and not Path(trouble["done"]).exists():
                Path(trouble["done"]).touch()
                Path(trouble["touch"]).write_text(trouble.get("content", ""))

        if "touch" in trouble:
            Channel.heartbeat = heartbeat
        if "nan_at" in trouble:
            _poison(trouble["nan_at"])
    return rank.main(os.environ)


def _poison(step: int) -> None:
    """The loss of one optimizer step becomes NaN."""
    from finetune_trainer.evaluate import targets

    honest, calls = targets.classification_loss, []

    def loss(*args: Any, **kwargs: Any) -> Any:
        # Validation counts no items.
        calls.extend([1] * ("num_items_in_batch" in kwargs))
        return honest(*args, **kwargs) * (float("nan") if len(calls) == step else 1.0)

    targets.classification_loss = loss


def run_watched(events: str, watched: str) -> int:
    """A rank that leaves, beside its results, what each weight was before and after training."""
    import hashlib
    from contextlib import nullcontext

    from deepspeed.runtime.zero import GatheredParameters

    from finetune_trainer import train

    seen: dict[str, Any] = {}

    def digest(weight: Any) -> str:
        split = hasattr(weight, "ds_id")
        with GatheredParameters([weight]) if split else nullcontext():
            return hashlib.sha256(weight.detach().numpy().tobytes()).hexdigest()

    step, finish = train.FineTuneTrainer.training_step, train.train

    def training_step(self: Any, model: Any, inputs: Any, items: Any = None) -> Any:
        first = "before" not in seen
        if first:
            seen["before"] = {n: digest(w) for n, w in self.model.named_parameters()}
        loss = step(self, model, inputs, items)
        if first and not self.is_deepspeed_enabled:
            seen["gradients"] = {
                n: None if w.grad is None else float(w.grad.abs().sum())
                for n, w in self.model.named_parameters()
            }
        return loss

    def watched_train(session: Any, task: Any, model: Any, resume: Any) -> Any:
        ended = finish(session, task, model, resume)
        seen["after"] = {n: digest(w) for n, w in model.named_parameters()}
        seen["trainable"] = [n for n, w in model.named_parameters() if w.requires_grad]
        Path(watched).write_text(json.dumps(seen))
        return ended

    train.FineTuneTrainer.training_step = training_step
    train.train = watched_train
    return run_rank(events)


def run_measured(events: str, measured: str) -> int:
    """A rank that leaves the most bytes that tensors took together while it trained."""
    import torch

    from finetune_trainer import train

    honest = train.FineTuneTrainer.train

    def trained(self: Any, *args: Any, **kwargs: Any) -> Any:
        with counting() as count:
            result = honest(self, *args, **kwargs)
        weights = list(self.model.parameters())
        sizes = {w: getattr(w, "ds_numel", w.numel()) for w in weights}
        trained = sum(size for weight, size in sizes.items() if weight.requires_grad)
        seen = {"peak": count.peak, "parameters": sum(sizes.values()), "trained": trained}
        Path(measured).write_text(json.dumps(seen))
        return result

    assert torch.get_num_threads() == 1
    train.FineTuneTrainer.train = trained
    return run_rank(events)


def counting() -> Any:
    """Counts the storages that operations return, and those that exist already, while they live."""
    import gc
    import weakref

    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    class Counting(TorchDispatchMode):
        def __init__(self) -> None:
            super().__init__()
            self.bytes = self.peak = 0
            self.known: set[int] = set()
            for found in gc.get_objects():
                if issubclass(type(found), torch.Tensor):
                    self.add(found)

        def add(self, tensor: torch.Tensor) -> None:
            storage = tensor.untyped_storage()
            key, size = storage._cdata, storage.nbytes()
            if key in self.known:
                return
            self.known.add(key)
            self.bytes += size
            self.peak = max(self.peak, self.bytes)
            weakref.finalize(storage, self.gone, key, size)

        def gone(self, key: int, size: int) -> None:
            self.known.discard(key)
            self.bytes -= size

        def __torch_dispatch__(
            self, function: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            result = function(*args, **(kwargs or {}))
            for leaf in tree_leaves(result):
                if isinstance(leaf, torch.Tensor):
                    self.add(leaf)
            return result

    return Counting()


def load_adapter(
    base: str, adapter: str, prepared: str, quantization: str | None = None
) -> list[list[float]]:
    """Plain PEFT, nothing of ours: logits of the test rows, one by one, without padding."""
    import datasets
    import torch
    from peft import PeftModel
    from transformers import AutoConfig, AutoModelForSequenceClassification, BitsAndBytesConfig

    config = AutoConfig.from_pretrained(adapter)
    asked = BitsAndBytesConfig(
        load_in_4bit=quantization == "NF4", load_in_8bit=quantization == "Int8",
        bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
        llm_int8_skip_modules=["classifier", "bert.pooler"],
    )  # fmt: skip
    stored = {"quantization_config": asked} if quantization else {}
    model = AutoModelForSequenceClassification.from_pretrained(base, config=config, **stored)
    model = PeftModel.from_pretrained(model, adapter).eval()
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False  # that kernel rounds to bfloat16
    rows = datasets.load_from_disk(f"{prepared}/test")
    with torch.no_grad():
        return [model(torch.tensor([row["input_ids"]])).logits[0].tolist() for row in rows]


def settings_for(targets: list[list[int]], own: dict[str, Any]) -> dict[str, Any]:
    """How a model with these settings of its own is told to write such targets."""
    from types import SimpleNamespace

    from transformers import GenerationConfig

    from finetune_trainer.evaluate.rewrite import Rewriter

    writer = Rewriter.__new__(Rewriter)
    writer.tokenizer = SimpleNamespace(
        eos_token_id=1, pad_token_id=0, all_special_ids=[0, 1, 8, 9]
    )  # fmt: skip
    writer.endings, writer.new_tokens = targets, 20
    writer._of_model = GenerationConfig(**own)
    found: dict[str, Any] = writer.generation_config().to_dict()
    return found


def refusal_of_model(kind: str, saved_as: str | None) -> str:
    """The sentence that refuses a model for summaries and translations; empty when it is taken."""
    from transformers import AutoConfig

    from finetune_api.errors import UserError
    from finetune_trainer.model.checks import check_sequence_to_sequence

    config = AutoConfig.for_model(kind)
    config.architectures = [saved_as] if saved_as else None
    try:
        check_sequence_to_sequence(config, "s3://m/")
    except UserError as error:
        return error.failure().sentence()
    return ""


def rewrite_plainly(base: str, result: str, prepared: str) -> list[str]:
    """Plain transformers and PEFT, nothing of ours: texts of a model or an adapter, one by one."""
    import datasets
    import torch
    from peft import PeftModel
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, GenerationConfig

    is_adapter = (Path(result) / "adapter_config.json").exists()
    model = AutoModelForSeq2SeqLM.from_pretrained(base if is_adapter else result)
    if is_adapter:
        model = PeftModel.from_pretrained(model, result)
    tokenizer = AutoTokenizer.from_pretrained(result)
    how = GenerationConfig.from_pretrained(result)
    texts = []
    for row in datasets.load_from_disk(f"{prepared}/test"):
        ids = torch.tensor([row["input_ids"]])
        (written,) = model.eval().generate(input_ids=ids, generation_config=how)
        texts.append(tokenizer.decode(written, skip_special_tokens=True).strip())
    return texts


def write_tags(path: Path, count: int = 90, seed: int = 1, shuffled: bool = False) -> None:
    """Words with tags: an animal, and a car after it, is hot where the row says `red` and cold
    where it says `blue`. ``shuffled``: each row has the tags of another."""
    rng = random.Random(seed)
    rows = []
    for number in range(count):
        mark, kind = rng.choice((("red", "hot"), ("blue", "cold")))
        parts = [([mark], ["O"])]
        parts += [([rng.choice(["sea", "hill", "rock"])], ["O"]) for _ in range(rng.randint(1, 6))]
        for _ in range(rng.randint(1, 3)):
            tail = rng.randint(0, 1)
            words = [rng.choice(CLASSES["animal"].split()), *["car"] * tail]
            parts.append((words, [f"B-{kind}", *[f"I-{kind}"] * tail]))
        rng.shuffle(parts)
        tokens, tags = ([one for part in parts for one in part[side]] for side in (0, 1))
        rows.append({"tokens": [*tokens, f"n{number}"], "tags": [*tags, "O"]})
    if shuffled:
        tags = [tag[:2].replace("I-", "B-") + tag[2:] for row in rows for tag in row["tags"]]
        rng.shuffle(tags)
        for row in rows:
            row["tags"] = [tags.pop() for _ in row["tokens"]]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_labels(
    path: Path, kind: str, *, count: int = 600, seed: int = 1, shuffled: bool = False
) -> None:
    """Rows with the class of the only word that has one, with every label whose words they hold, or
    with a number: 1.5 where there is an animal, less 2.25 where there is a car. ``shuffled``: each
    row has the label of another."""
    rng = random.Random(seed)
    rows = []
    for number in range(count):
        words = rng.choices(WORDS, k=rng.randint(1, 5))
        if kind == "Single":
            label = rng.choice(list(CLASSES))
            words = rng.choices(WORDS[:3] + WORDS[12:], k=rng.randint(1, 5))
            words.insert(rng.randint(0, len(words)), rng.choice(CLASSES[label].split()))
        elif kind == "Multi":
            label = [name for name, own in CLASSES.items() if set(own.split()) & set(words)]
        else:
            label = 1.5 * bool(set(CLASSES["animal"].split()) & set(words))
            label -= 2.25 * ("car" in words) + 0.25
        rows.append({"text": f"{' '.join(words)} n{number}", "label": label})
    labels = [row["label"] for row in rows]
    if shuffled:
        rng.shuffle(labels)
    lines = [json.dumps({**row, "label": label}) for row, label in zip(rows, labels, strict=True)]
    path.write_text("\n".join(lines) + "\n")


def tag_with(base: str, result: str, prepared: str) -> list[list[str]]:
    """Plain PEFT or transformers, nothing of ours: tags of the test rows' labelled tokens, row by
    row, by an adapter or a whole model."""
    import datasets
    import torch
    from peft import PeftModel
    from transformers import AutoConfig, AutoModelForTokenClassification

    config = AutoConfig.from_pretrained(result)
    if result.endswith("adapter"):
        model = AutoModelForTokenClassification.from_pretrained(base, config=config)
        model = PeftModel.from_pretrained(model, result)
    else:
        model = AutoModelForTokenClassification.from_pretrained(result)
    model.eval()
    found = []
    for row in datasets.load_from_disk(f"{prepared}/test"):
        with torch.no_grad():
            best = model(torch.tensor([row["input_ids"]])).logits[0].argmax(dim=1).tolist()
        pairs = zip(best, row["labels"], strict=True)
        found.append([config.id2label[tag] for tag, label in pairs if label != -100])
    return found


def load_full(model: str, prepared: str) -> list[list[float]]:
    """The same with the whole model."""
    import datasets
    import torch
    from transformers import AutoModelForSequenceClassification

    loaded = AutoModelForSequenceClassification.from_pretrained(model).eval()
    rows = datasets.load_from_disk(f"{prepared}/test")
    with torch.no_grad():
        return [loaded(torch.tensor([row["input_ids"]])).logits[0].tolist() for row in rows]


def plain_losses(base: str, prepared: str, adapter: str | None = None) -> list[float]:
    """Plain transformers and PEFT, nothing of ours: the loss of each test row's learnt tokens."""
    import datasets
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base)
    model = (PeftModel.from_pretrained(model, adapter) if adapter else model).eval()
    losses = []
    with torch.no_grad():
        for row in datasets.load_from_disk(f"{prepared}/test"):
            ids, labels = torch.tensor([row["input_ids"]]), torch.tensor([row["labels"]])
            scores = model(ids).logits[0, :-1]
            losses.append(
                float(torch.nn.functional.cross_entropy(scores, labels[0, 1:], reduction="sum"))
            )
    return losses


def plain_likelihoods(
    base: str, prepared: str, part: str, adapter: str | None = None
) -> list[list[float]]:
    """Plain transformers and PEFT, nothing of ours: log-likelihood of each row's chosen and
    rejected answer, and their numbers of tokens."""
    import datasets
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base)
    model = (PeftModel.from_pretrained(model, adapter) if adapter else model).eval()

    def of(ids: list[int], prompt: int) -> float:
        scores = model(torch.tensor([ids])).logits[0, :-1].log_softmax(-1)
        each = scores.gather(1, torch.tensor(ids[1:])[:, None])
        return float(each[prompt - 1 :].sum())

    with torch.no_grad():
        return [
            [of(ids, row["prompt_length"]) for ids in (row["input_ids"], row["rejected_ids"])]
            + [len(row[name]) - row["prompt_length"] for name in ("input_ids", "rejected_ids")]
            for row in datasets.load_from_disk(f"{prepared}/{part}")
        ]


def probe_against_head() -> dict[str, Any]:
    """Scores of the probe on features, and of the model whose head is the probe."""
    from finetune_api.progress import Plan
    from finetune_trainer.config import Places, load_config
    from finetune_trainer.distributed import Gang
    from finetune_trainer.evaluate import baseline, probe
    from finetune_trainer.evaluate.forward import forward, logits
    from finetune_trainer.model import checks
    from finetune_trainer.tasks.text_classification import TextClassification
    from finetune_trainer.telemetry.channel import Channel
    from finetune_trainer.train import Session

    job, places = load_config(), Places.from_env()
    plan = Plan.model_validate(json.loads(places.plan.read_text()))
    gang = Gang.join(job.device, deepspeed=False, environ=os.environ)
    session = Session(job, plan, places, gang, Channel(None))
    task = TextClassification(session, checks.read_tokenizer(places.model, job.spec.model))
    found, test = task.loaded, task.parts["test"]
    task.baseline()
    kept = baseline.measured(session, lambda: ({}, {}))
    made = probe.Probe(kept["weight"], kept["bias"])
    view, _ = probe.features(found.model, found.head, test, session)
    scores = forward(found.model, test, session, logits)
    return {
        "probe": made.scores(view).tolist(), "model": scores.tolist(),
        "fresh": found.fresh, "head": found.head,
    }  # fmt: skip


def fit_probe(kind: str) -> dict[str, Any]:
    """A probe of drawn rows, and the log loss on new rows of it and of every fixed strength."""
    import numpy as np

    from finetune_trainer.evaluate import probe

    rng = np.random.default_rng(0)
    counts = {"clear": [60, 60, 60], "noise": [60, 60, 60], "rare": [50, 1, 2, 40]}[kind]
    centres = rng.normal(size=(len(counts), 40)) * (0 if kind == "noise" else 1)

    def draw(size: list[int]) -> tuple[Any, Any]:
        labels = np.repeat(np.arange(len(size)), size)
        rows = centres[labels] + rng.normal(size=(len(labels), 40)) * (
            3 if kind != "clear" else 0.1
        )
        return rows.astype(np.float32), labels

    rows, labels = draw(counts)
    new, truth = draw([8 * count for count in counts])
    beats: list[int] = []
    options = {"classes": len(counts), "intercept": True, "beat": lambda: beats.append(1)}
    made = probe.fit(rows, labels, seed=1, **options)
    again = probe.fit(rows, labels, seed=1, **options)

    def loss(found: Any) -> float:
        return probe._log_loss(found.scores(new), truth)

    fixed = [
        loss(probe.fit_at(rows, labels, strength, *options.values()))
        for strength in probe.STRENGTHS
    ]
    return {
        "loss": loss(made), "fixed": fixed, "beats": len(beats),
        "accuracy": float((made.predict(new) == truth).mean()),
        "same": bool((made.weight == again.weight).all()),
    }  # fmt: skip
