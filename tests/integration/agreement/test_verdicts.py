"""The API server and the models give the same verdict on every object, for the same reasons.

Only text that both build is compared: fields by path, rules by message. A wrong field hides rules
on both sides, but not the same ones, so rules are compared where all fields are good.
"""

import copy
from collections.abc import Callable
from typing import Any

import pytest
from dry_run import DryRun, Verdict, of_models
from hypothesis import given, settings
from job_specs import NODES, damaged, good_spec, job, jobs, replace, specs, wrong_values

from finetune_api import rules
from finetune_api.rule import Rule

ABOVE = {rule.message for rule in rules.RULES if rule.scope in ("spec", "spec.dataset")}
"""Scopes that have rules below them: the models look at them once what lies below is good, the API
server at once."""
RULE_EXAMPLES = 150
FIELD_EXAMPLES = 150


def changed(*changes: tuple[str, Any], name: str = "tickets") -> dict[str, Any]:
    """A good job but for these fields, by their paths."""
    spec = good_spec()
    for path, value in changes:
        replace(spec, tuple(path.split(".")), value)
    return job(spec, name)


def assert_agreement(server: Verdict, models: Verdict) -> None:
    assert server.accepts == models.accepts, f"{server.text}\n--- models:\n{models.text}"
    if server.accepts:
        return
    if server.unknown:  # The server says nothing else then.
        problems = models.unknown | models.wrong | models.misshapen
        assert models.unknown <= server.unknown
        assert all(any(path.startswith(p) for p in problems) for path in server.unknown)
        return
    assert server.wrong == models.wrong, f"{server.text}\n--- models:\n{models.text}"
    assert server.misshapen <= models.misshapen | models.wrong, server.text
    if not server.is_partial:
        assert models.misshapen <= server.misshapen, server.text
        assert models.broken <= server.broken, server.text
    if not server.wrong | server.misshapen:
        assert server.broken - models.broken <= ABOVE, server.text
        assert models.broken


def test_a_job_that_is_good_is_good_on_both_sides(dry_run: DryRun) -> None:
    assert dry_run.create(job(good_spec())) == of_models(job(good_spec())) == Verdict()


@pytest.mark.parametrize(("path", "node"), NODES, ids=[".".join(path) for path, _ in NODES])
def test_each_field_has_the_same_bounds_on_both_sides(
    dry_run: DryRun, path: tuple[str, ...], node: dict[str, Any]
) -> None:
    for value in wrong_values(node):
        spec = good_spec()
        replace(spec, path, value)
        assert_agreement(dry_run.create(job(spec)), of_models(job(copy.deepcopy(spec))))


def test_what_is_written_beside_the_specification_is_read_alike(dry_run: DryRun) -> None:
    good = job(good_spec())
    for odd in (
        {**good, "spce": {}},
        {**good, "status": {}},
        {**good, "spec": None},
        {**good, "spec": []},
        {key: value for key, value in good.items() if key != "spec"},
        {**good, "metadata": {"name": "tickets", "labels": {"a": "b"}}},
        {**good, "metadata": {"name": "tickets", "label": {"a": "b"}}},
    ):
        assert_agreement(dry_run.create(odd), of_models(odd))


VIOLATIONS: dict[str, dict[str, Any]] = {
    "method.promptTuning, prefixTuning, pTuning put": changed(
        ("task", "ImageClassification"), ("method", {"pTuning": {}})
    ),
    "dataset.maxLength is for text": changed(
        ("task", "ImageClassification"), ("dataset.maxLength", 64)
    ),
    "dataset.overlength is not for": changed(
        ("task", "ImageClassification"), ("dataset.overlength", "Drop")
    ),
    "dataset.overlength is Drop or Fail": changed(
        ("task", "SpeechRecognition"), ("dataset.overlength", "Truncate")
    ),
    "dataset.spokenLanguage is for": changed(("dataset.spokenLanguage", "de")),
    "training.neftuneAlpha disturbs": changed(
        ("task", "ImageClassification"), ("training.neftuneAlpha", 5)
    ),
    "training.labelSmoothing is for classes": changed(
        ("task", "SpeechRecognition"), ("training.labelSmoothing", 0.1)
    ),
    "dataset.format AudioFolder is": changed(("dataset.format", "AudioFolder")),
    "dataset.format ImageFolder is": changed(("dataset.format", "ImageFolder")),
    "metadata.name must have at most": changed(name="a" * 41),
    "metadata.name must start with a letter": changed(name="1st"),
    "output.uri must not lie inside": changed(("model.uri", "s3://m/"), ("output.uri", "s3://m/x/")),
    "evaluation.forgetting.uri must not": changed(
        ("evaluation.forgetting", {"uri": "s3://g/"}), ("output.uri", "s3://g/x/")
    ),
    "set exactly one of full": changed(("method", {})),
    "set exactly one of uri, fraction": changed(("dataset.test", {})),
    "validation.fraction and test.fraction": changed(
        ("dataset.test.fraction", 0.5), ("dataset.validation.fraction", 0.5)
    ),
    "set at most one of epochs, maxSteps": changed(
        ("training.epochs", 1), ("training.maxSteps", 5)
    ),
    "deepspeed has no effect": changed(
        ("distribution", {"strategy": "DDP", "deepspeed": {}})
    ),
    "method.headOnly is not for": changed(
        ("task", "TextGeneration"), ("method", {"headOnly": {}})
    ),
    "deepspeed.zeroStage 3 cannot split": changed(
        ("method", {"pTuning": {}}), ("distribution.deepspeed.zeroStage", 3)
    ),
    "evaluation.gate.metric is not": changed(("evaluation.gate.metric", "bleu")),
    "training.packing is for": changed(("training.packing", True)),
    "output.artifacts is for methods": changed(
        ("method", {"full": {}}), ("output.artifacts", ["Merged"])
    ),
    "training.precision BF16 needs": changed(
        ("training.precision", "BF16"), ("resources.gpusPerNode", 0)
    ),
    "training.l2sp is for methods": changed(("training.l2sp", 0.1)),
    "training.l2sp needs whole": changed(
        ("method", {"full": {}}), ("training.l2sp", 0.1), ("distribution.deepspeed.zeroStage", 3)
    ),
    "training.optimizer Adafactor and": changed(
        ("training.optimizer", "Adafactor"), ("distribution.deepspeed.zeroStage", 1)
    ),
    "training.labelSmoothing is not for": changed(
        ("task", "TextGeneration"), ("training.labelSmoothing", 0.1)
    ),
    "training.neftuneAlpha is not for": changed(
        ("task", "Translation"), ("training.neftuneAlpha", 5)
    ),
    "method.prefixTuning does not work": changed(
        ("method", {"prefixTuning": {}}), ("training.gradientCheckpointing", True)
    ),
    "promptTuning, prefixTuning, pTuning are not": changed(
        ("task", "QuestionAnswering"), ("method", {"pTuning": {}})
    ),
    "objective is for task": changed(("objective", "SFT")),
    "dataset.labels is for task": changed(
        ("task", "TextGeneration"), ("dataset.labels", "Multi")
    ),
    "dataset.mask is for objective": changed(("dataset.mask", "All")),
    "training.beta is for objectives": changed(("training.beta", 0.5)),
    "training.grpo is for": changed(("training.grpo", {"rewards": {"exactMatch": {}}})),
    "objective GRPO needs": changed(("task", "TextGeneration"), ("objective", "GRPO")),
    "training.grpo.rewards needs": changed(
        ("task", "TextGeneration"), ("objective", "GRPO"), ("training.grpo", {"rewards": {}})
    ),
    "dataset.overlength Split is": changed(("dataset.overlength", "Split")),
    "model.chatTemplate is for task": changed(("model.chatTemplate", "{{ messages }}")),
    "dataset.layout does not fit": changed(("dataset.layout", "Messages")),
    "dataset.augmentation.image changes nothing": changed(
        ("task", "ImageClassification"), ("dataset.augmentation", {"image": {}})
    ),
    "dataset.augmentation.image is for": changed(
        ("dataset.augmentation", {"image": {"flip": True}})
    ),
    "dataset.augmentation.audio is for": changed(
        ("dataset.augmentation", {"audio": {"speed": {}}})
    ),
    "dataset.augmentation.audio changes nothing": changed(
        ("task", "AudioClassification"), ("dataset.augmentation", {"audio": {}})
    ),
    "augmentation.audio.noise.lowest must": changed(
        ("task", "SpeechRecognition"),
        ("dataset.augmentation", {"audio": {"noise": {"lowest": 20, "highest": 10}}}),
    ),
    "augmentation.audio.speed changes nothing": changed(
        ("task", "SpeechRecognition"),
        ("dataset.augmentation", {"audio": {"speed": {"slowest": 1, "fastest": 1}}}),
    ),
    "dataset.augmentation is empty": changed(("dataset.augmentation", {})),
    "dataset.augmentation.text changes nothing": changed(("dataset.augmentation", {"text": {}})),
    "dataset.augmentation.text is for": changed(
        ("task", "TextGeneration"), ("dataset.augmentation", {"text": {"swap": 0.1}})
    ),
    "set at most one of everySteps, everyMinutes": changed(
        ("checkpointing.everySteps", 5), ("checkpointing.everyMinutes", 5)
    ),
    "checkpointing.resumeFrom and output.uri": changed(
        ("checkpointing.resumeFrom", "s3://r/a/"), ("output.uri", "s3://r/")
    ),
    "nodeSelector must hold names of labels": changed(("scheduling.nodeSelector", {"a b": "c"})),
    "a toleration needs a key": changed(("scheduling.tolerations", [{"value": "x"}])),
}  # fmt: skip


@pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: rule.message[:40])
def test_each_rule_is_broken_by_an_example_and_both_sides_say_so(
    dry_run: DryRun, rule: Rule
) -> None:
    (example,) = [e for start, e in VIOLATIONS.items() if rule.message.startswith(start)]
    assert dry_run.create(example).broken == {rule.message} == of_models(example).broken


def test_each_message_is_one_rules_and_can_be_told_beside_others() -> None:
    messages = [rule.message for rule in (*rules.RULES, *rules.TRANSITION_RULES)]
    assert len(set(messages)) == len(messages)
    assert not [message for message in messages if ";" in message]


def on_each(
    check: Callable[[dict[str, Any]], None], strategy: Any, examples: int
) -> Callable[[], None]:
    """The property as a function; the fixture that it needs is in its closure."""
    return settings(max_examples=examples)(given(jobs(strategy))(check))  # type: ignore[return-value]


def test_jobs_with_good_fields_break_the_same_rules_on_both_sides(dry_run: DryRun) -> None:
    verdicts: list[Verdict] = []

    def check(example: dict[str, Any]) -> None:
        server = dry_run.create(example)
        assert_agreement(server, of_models(copy.deepcopy(example)))
        verdicts.append(server)

    on_each(check, specs(), RULE_EXAMPLES)()
    assert 0.25 < sum(v.accepts for v in verdicts) / len(verdicts) < 0.9, "good and bad ones"
    told = {message for verdict in verdicts for message in verdict.broken}
    assert len(told) >= len(rules.RULES) / 3, "each rule's own example breaks that rule alone"


def test_jobs_with_wrong_fields_are_refused_for_the_same_fields_on_both_sides(
    dry_run: DryRun,
) -> None:
    def check(example: dict[str, Any]) -> None:
        assert_agreement(dry_run.create(example), of_models(copy.deepcopy(example)))

    on_each(check, damaged(), FIELD_EXAMPLES)()
