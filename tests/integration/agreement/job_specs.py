"""FineTuneJobs derived from the generated schema: good ones, and ones just outside its bounds.

Nothing here knows a field's bounds: a field that is added to the models is generated and broken
too. Only the cross-field rules are named, so that most jobs keep them.
"""

import copy
import math
import re
from collections.abc import Callable, Iterator
from typing import Any

from hypothesis import strategies as st

from finetune_api import augmentation_rules, rules
from finetune_api.base import API_VERSION, KIND
from finetune_api.crd import open_api_schema
from finetune_api.learning import LAYOUTS, MEDIA, METRICS, WRITING
from finetune_api.media_rules import FOLDERS
from finetune_api.method_rules import MERGING_METHODS, VIRTUAL_METHODS, WHOLE_METHODS

Node = dict[str, Any]
Job = dict[str, Any]
Path = tuple[str, ...]

SPEC: Node = open_api_schema()["properties"]["spec"]
URIS = (
    "s3://a/", "s3://a/b/", "s3://a/b/rows.jsonl", "s3://c/", "file:///m/", "file:///m/rows.csv",
    "hf://a/b/", "hf://datasets/a/b@c/rows.csv",
    "s3://ä/§/", "s3://a/b\n/",
)  # fmt: skip
WORDS = (*URIS, "http://s3:9000", "a/b", "1", "2Gi", "500m", "a", "team.a", "Zone_1.b", "a, b")
NAMES = ("a", "tickets-lora", "x" * 40, "a-9")
BAD_NAMES = ("x" * 41, "9a", "A", "a.b", "a-", "-a", "a_b", "ä", "a" * 254)
TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
MANY = 3
"""Items of a generated list or map, where its bounds allow more."""


def jobs(specs: st.SearchStrategy[Any]) -> st.SearchStrategy[Job]:
    """Whole objects. One name in eleven is a bad one."""
    names = st.one_of(*[st.sampled_from(NAMES)] * 10, st.sampled_from(BAD_NAMES))
    return st.builds(job, specs, names)


def job(spec: Any, name: str = "tickets") -> Job:
    """A FineTuneJob object."""
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": name}, "spec": spec}


def good_spec(**blocks: Any) -> Any:
    """The shortest good specification, with other blocks."""
    shortest = {**smallest(SPEC), "method": {"lora": {}}, "output": {"uri": "s3://results/"}}
    return {**shortest, **blocks}


@st.composite
def specs(draw: st.DrawFn, *, breaking_rules: bool = True) -> Any:
    """Specifications whose fields are all good. Every other one may break cross-field rules."""
    spec = draw(GOOD_FIELDS)
    may_break = breaking_rules and draw(st.booleans())
    for mend in MENDERS:
        if not may_break or draw(st.integers(0, 3)):
            mend(spec)
    return spec


@st.composite
def damaged(draw: st.DrawFn) -> Any:
    """Specifications of which one to three fields are wrong."""
    spec = draw(specs())
    for path, value in draw(st.lists(st.sampled_from(WRONG), min_size=1, max_size=3)):
        replace(spec, path, value)
    return spec


def values(node: Node) -> st.SearchStrategy[Any]:
    """Good values of a schema node."""
    if "enum" in node:
        return st.sampled_from(node["enum"])
    if node.get("x-kubernetes-int-or-string"):
        return st.one_of(st.integers(0, node["maximum"]), _texts(node))
    if "additionalProperties" in node:
        keys = st.sampled_from(("gpu", "zone", "k" * 63))
        return st.dictionaries(keys, values(node["additionalProperties"]), max_size=MANY)
    if node.get("x-kubernetes-preserve-unknown-fields"):
        scalars = st.one_of(st.integers(-9, 9), st.booleans(), st.sampled_from(WORDS))
        return st.dictionaries(st.sampled_from(("r", "alpha", "a b", "ä")), scalars)
    if node["type"] == "object":
        required = set(node.get("required", ()))
        fields = {name: values(child) for name, child in node["properties"].items()}
        return st.fixed_dictionaries(
            {name: field for name, field in fields.items() if name in required},
            optional={name: field for name, field in fields.items() if name not in required},
        )
    if node["type"] == "array":
        most = min(MANY, node["maxItems"])
        return st.lists(values(node["items"]), min_size=node.get("minItems", 0), max_size=most)
    if node["type"] in ("integer", "number"):
        return _numbers(node)
    return st.booleans() if node["type"] == "boolean" else _texts(node)


def wrong_values(node: Node) -> list[Any]:
    """Values just outside what a schema node allows, and of every wrong type; some may be good."""
    other_types: list[Any] = [None, "", "7", 7, 1.5, True, [], [None], {}, {"unknown": 1}]
    if "enum" in node:
        word = node["enum"][0]
        return [*other_types, word.lower(), f" {word}"]
    if node.get("x-kubernetes-int-or-string"):
        largest = int(node["maximum"])
        odd = ["1 Gi", "-1", "1e3", "9" * 33, "9" * 32, "1\n", "١"]
        return [*other_types, *odd, -1, 0, largest, largest + 1]
    if "additionalProperties" in node:
        many = {f"k{number}": "v" for number in range(node["maxProperties"])}
        keys = ["", "k" * 64, "k" * 253, "k" * 254, "a b", "a/b", "a/b/c", "-a", "Ä"]
        wrong = [{"k": value} for value in wrong_values(node["additionalProperties"])]
        return [*other_types, many, {**many, "one": "more"}, *wrong, *({k: "v"} for k in keys)]
    if node.get("x-kubernetes-preserve-unknown-fields"):
        full = {f"k{number}": number for number in range(node["maxProperties"])}
        return [*other_types, full, {**full, "one": "more"}, {"k": [{"deep": [1.5, True]}]}]
    if node["type"] == "array":
        item = smallest(node["items"])
        counts = {0, node.get("minItems", 1) - 1, node["maxItems"], node["maxItems"] + 1}
        wrong = [[value] for value in [*wrong_values(node["items"]), *_wrong_items(node["items"])]]
        return [*other_types, *([item] * count for count in counts if count >= 0), *wrong]
    if node["type"] in ("integer", "number"):
        low, high = node["minimum"], node["maximum"]
        edges = [low, high, low - 1, high + 1, math.nextafter(low, -9), math.nextafter(high, 9e99)]
        return [*other_types, *edges, float(math.ceil(low + 1)), -0.0, 2**63, 2**64, 1e300]
    if node["type"] == "string":
        longest = node["maxLength"]
        start = smallest(node)
        lengths = {node.get("minLength", 1) - 1, longest, longest + 1}
        fitted = [(start + "x" * longest)[:length] for length in lengths]
        wide = [("ä" * longest)[:length] for length in lengths]
        closed = [f"{text[:-1]}/" for text in fitted if text]
        return [*other_types, *fitted, *wide, *closed, f"{start}\n", f" {start}", "a b", "A_b.c"]
    return other_types


def _wrong_items(node: Node) -> list[Any]:
    return [
        {**smallest(node), name: value}
        for name, child in node.get("properties", {}).items()
        for value in wrong_values(child)
    ]


def smallest(node: Node) -> Any:
    """One good value of a node, as small as it gets."""
    if "enum" in node:
        return node["enum"][0]
    if node["type"] == "object":
        return {name: smallest(node["properties"][name]) for name in node.get("required", ())}
    if _pattern(node):
        return next(word for word in WORDS if _fits(node, word))
    return "x" * max(1, node.get("minLength", 1))


def nodes(node: Node, path: Path = ()) -> Iterator[tuple[Path, Node]]:
    """Every node of a schema below this one, with its path; items and values with their parent."""
    for name, child in node.get("properties", {}).items():
        yield (*path, name), child
        yield from nodes(child, (*path, name))


def replace(spec: Any, path: Path, value: Any) -> None:
    """Set a field, making or replacing what lies above it."""
    node = spec
    for part in path[:-1]:
        if not isinstance(node.get(part), dict):
            node[part] = {}
        node = node[part]
    node[path[-1]] = copy.deepcopy(value)


def _keep_one_method(spec: Any) -> None:
    method = spec["method"]
    for other in list(method)[1:]:
        del method[other]
    if not method:
        method["full"] = {}


def _keep_one_source(name: str) -> Callable[[Any], None]:
    def mend(spec: Any) -> None:
        source = spec["dataset"].get(name)
        if source is not None and len(source) != 1:
            spec["dataset"][name] = {"fraction": source.get("fraction", 0.1)}

    return mend


def _leave_rows(spec: Any) -> None:
    sources = [spec["dataset"].get(name) or {} for name in ("validation", "test")]
    if sum(source.get("fraction", 0) for source in sources) >= 1:
        for source in sources:
            if "fraction" in source:
                source["fraction"] /= 2.5


def _one_length(spec: Any) -> None:
    spec.get("training", {}).pop("maxSteps", None)


def _no_idle_deepspeed(spec: Any) -> None:
    if spec.get("distribution", {}).get("strategy") == "DDP":
        spec["distribution"].pop("deepspeed", None)


def _no_method_that_zero_3_cannot(spec: Any) -> None:
    deepspeed = spec.get("distribution", {}).get("deepspeed", {})
    if deepspeed.get("zeroStage") == 3 and set(spec["method"]).intersection(WHOLE_METHODS):
        deepspeed["zeroStage"] = 2


def _results_that_fit(spec: Any) -> None:
    gate = spec.get("evaluation", {}).get("gate")
    if gate is not None:
        learns = spec["task"] == "TextGeneration"
        gate["metric"] = METRICS[spec.get("objective", "SFT") if learns else spec["task"]][0]
    if not set(spec["method"]).intersection(MERGING_METHODS):
        spec["output"].pop("artifacts", None)


def _hyperparameters_that_fit(spec: Any) -> None:
    training, method = spec.get("training", {}), spec["method"]
    if spec.get("resources", {}).get("gpusPerNode") == 0 and training.get("precision") == "BF16":
        del training["precision"]
    zero = spec.get("distribution", {}).get("deepspeed", {}).get("zeroStage")
    if zero == 3 or not set(method).intersection(("full", "freeze")):
        training.pop("l2sp", None)
    if training.get("optimizer") in rules.WHOLE_OPTIMIZERS:
        spec.pop("distribution", None)
    if spec["task"] == "TextGeneration":
        training.pop("labelSmoothing", None)
    if spec["task"] in ("Summarization", "Translation"):
        training.pop("neftuneAlpha", None)
    learns = spec.get("objective", "SFT") if spec["task"] == "TextGeneration" else None
    if learns not in ("SFT", "Pretrain") or set(method).intersection(VIRTUAL_METHODS):
        training.pop("packing", None)
    if "prefixTuning" in method:
        training.pop("gradientCheckpointing", None)


def _tolerations_that_fit(spec: Any) -> None:
    for toleration in spec.get("scheduling", {}).get("tolerations", ()):
        if toleration.get("operator") == "Exists":
            toleration.pop("value", None)
        else:
            toleration.setdefault("key", "gpu")


def _output_elsewhere(spec: Any) -> None:
    dataset = spec["dataset"]
    held_out = [(dataset.get(name) or {}).get("uri", "") for name in ("validation", "test")]
    general = spec.get("evaluation", {}).get("forgetting") or {}
    inputs = [spec["model"]["uri"], dataset["train"]["uri"], *held_out, general.get("uri", "")]
    if any(uri.endswith("/") and spec["output"]["uri"].startswith(uri) for uri in inputs):
        spec["output"]["uri"] = "s3://results/run/"


def _checkpoints_that_fit(spec: Any) -> None:
    if "everySteps" in spec.get("checkpointing", {}):
        spec["checkpointing"].pop("everyMinutes", None)
    source, output = spec.get("checkpointing", {}).get("resumeFrom", "//"), spec["output"]["uri"]
    if source.startswith(output) or output.startswith(source):
        del spec["checkpointing"]["resumeFrom"]


def _augmentation_that_fits(spec: Any) -> None:
    augmentation = spec["dataset"].get("augmentation", {})
    if spec["task"] not in augmentation_rules.REWORDED:
        augmentation.pop("text", None)
    elif not {"swap", "delete", "synonyms"}.intersection(augmentation.get("text", {"swap": 0.1})):
        augmentation["text"]["swap"] = 0.1
    if spec["task"] != "ImageClassification":
        augmentation.pop("image", None)
    elif not any(augmentation.get("image", {"flip": True}).values()):
        augmentation["image"]["flip"] = True
    if spec["task"] not in augmentation_rules.HEARD:
        augmentation.pop("audio", None)
    elif "audio" in augmentation:
        _sounds_that_fit(augmentation["audio"])
    if not augmentation:
        spec["dataset"].pop("augmentation", None)


def _sounds_that_fit(audio: Any) -> None:
    if not audio:
        audio["speed"] = {}
    noise, speed = audio.get("noise"), audio.get("speed")
    if noise:
        noise["lowest"], noise["highest"] = sorted((noise["lowest"], noise["highest"]))
    if speed and speed.get("slowest", 0.9) == speed.get("fastest", 1.1):
        speed["slowest"] = 0.9


def _fit_the_task(spec: Any) -> None:
    if spec["task"] != "TextClassification":
        spec["dataset"].pop("labels", None)
    generates = spec["task"] == "TextGeneration"
    if spec["task"] in WRITING and spec.get("objective") != "Reward":
        method = spec["method"]
        method.update({"full": {}} if method.pop("headOnly", None) is not None else {})
    if not generates:
        spec.pop("objective", None)
        spec["model"].pop("chatTemplate", None)
    learns = spec.get("objective", "SFT") if generates else spec["task"]
    if learns != "SFT":
        spec["dataset"].pop("mask", None)
    if learns not in rules.PREFERENCES:
        spec.get("training", {}).pop("beta", None)
    if learns == "GRPO":
        grpo = spec.setdefault("training", {}).setdefault("grpo", {"rewards": {}})
        grpo["rewards"] = grpo["rewards"] or {"exactMatch": {}}
    else:
        spec.get("training", {}).pop("grpo", None)
    splits = learns in ("Pretrain", "QuestionAnswering")
    if not splits and spec["dataset"].get("overlength") == "Split":
        spec["dataset"].pop("overlength")
    if learns == "QuestionAnswering" and set(spec["method"]) & set(VIRTUAL_METHODS):
        spec["method"] = {"full": {}}
    known = LAYOUTS[learns]
    if spec["dataset"].get("layout") not in known:
        spec["dataset"].pop("layout", None)


def _media_that_fit(spec: Any) -> None:
    dataset, method, media = spec["dataset"], spec["method"], MEDIA.get(spec["task"])
    speaks = spec["task"] == "SpeechRecognition"
    if FOLDERS.get(dataset.get("format"), media) is not media or (
        speaks and dataset.get("format") in FOLDERS
    ):
        del dataset["format"]
    if not speaks:
        dataset.pop("spokenLanguage", None)
    if media is None:
        return
    dataset.pop("maxLength", None)
    if not speaks or dataset.get("overlength") == "Truncate":
        dataset.pop("overlength", None)
    spec.get("training", {}).pop("neftuneAlpha", None)
    if speaks:
        spec.get("training", {}).pop("labelSmoothing", None)
    if set(method).intersection(VIRTUAL_METHODS):
        spec["method"] = {"full": {}}


MENDERS: tuple[Callable[[Any], None], ...] = (
    _keep_one_method, _keep_one_source("validation"), _keep_one_source("test"), _leave_rows,
    _one_length, _no_idle_deepspeed, _tolerations_that_fit, _output_elsewhere,
    _fit_the_task, _media_that_fit, _no_method_that_zero_3_cannot, _hyperparameters_that_fit,
    _results_that_fit, _augmentation_that_fits, _checkpoints_that_fit,
)  # fmt: skip


def _numbers(node: Node) -> st.SearchStrategy[Any]:
    low, high = node["minimum"], node["maximum"]
    if node["type"] == "integer":
        return st.one_of(st.sampled_from((low, high)), st.integers(low, high))
    bounds = {
        "exclude_min": node.get("exclusiveMinimum", False),
        "exclude_max": node.get("exclusiveMaximum", False),
    }
    floats = st.floats(low, high, **bounds)
    whole = [n for n in (low, high) if not bounds[f"exclude_{'min' if n == low else 'max'}"]]
    integers = [int(n) for n in whole if n == int(n)]
    return st.one_of(floats, st.sampled_from([*integers, *whole])) if whole else floats


def _texts(node: Node) -> st.SearchStrategy[str]:
    pattern = _pattern(node)
    if not pattern:
        return TEXT.filter(lambda text: _has_length(node, text))
    wild = st.from_regex(pattern.rstrip("$") + r"\Z", alphabet=st.characters(codec="utf-8"))
    plain = st.sampled_from([word for word in WORDS if _fits(node, word)])
    return st.one_of(plain, plain, plain, wild.filter(lambda text: _has_length(node, text)))


def _pattern(node: Node) -> str:
    """The pattern of a text: of the schema, or of the shape that its rule looks for."""
    rules = [rule["rule"] for rule in node.get("x-kubernetes-validations", ())]
    found = [match[1] for rule in rules if (match := re.fullmatch(r"self.matches\('(.*)'\)", rule))]
    return found[0].replace("\\\\", "\\") if found else node.get("pattern", "")


def _fits(node: Node, text: str) -> bool:
    return _has_length(node, text) and re.search(_pattern(node), text) is not None


def _has_length(node: Node, text: str) -> bool:
    return node.get("minLength", 0) <= len(text) <= node["maxLength"]


NODES = list(nodes(SPEC))
WRONG = [(path, value) for path, node in NODES for value in wrong_values(node)]
GOOD_FIELDS = values(SPEC)
