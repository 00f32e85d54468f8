"""The models accept what people write and refuse the rest with every reason at once."""

import copy
from typing import Any

import pytest
from pydantic import ValidationError

from finetune_api import jobconfig, rules
from finetune_api.job import FineTuneJob, FineTuneJobSpec
from finetune_api.rule import TransitionRule

HELLO: dict[str, Any] = {
    "metadata": {"name": "hello"},
    "spec": {
        "task": "TextClassification",
        "model": {"uri": "s3://models/base/"},
        "dataset": {"train": {"uri": "s3://data/rows.jsonl"}},
        "method": {"lora": {"rank": 8}},
        "output": {"uri": "s3://models/hello/"},
    },
}


def changed(path: str, value: Any) -> dict[str, Any]:
    job = copy.deepcopy(HELLO)
    node = job
    *parents, last = path.split(".")
    for part in parents:
        node = node.setdefault(part, {})
    node[last] = value
    return job


def messages(job: dict[str, Any]) -> list[str]:
    with pytest.raises(ValidationError) as refused:
        FineTuneJob.from_manifest(job)
    return [error["msg"] for error in refused.value.errors()]


def test_a_job_of_six_lines_is_enough() -> None:
    job = FineTuneJob.from_manifest(HELLO)
    assert job.spec.resources.nodes == 1
    assert job.spec.suspend is False


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        ("metadata.name", "a" * 41, "at most 40 characters"),
        ("metadata.name", "1st", "must start with a letter"),
        ("spec.method", {"lora": {}, "full": {}}, "set exactly one of full, freeze"),
        ("spec.method", {}, "set exactly one of full, freeze"),
        ("spec.dataset.test", {"uri": "s3://d/t.jsonl", "fraction": 0.1}, "set exactly one of uri"),
        ("spec.output.uri", "s3://models/base/tuned/", "must not lie inside model.uri"),
        ("spec.training", {"epochs": 1, "maxSteps": 5}, "at most one of epochs, maxSteps"),
        ("spec.distribution", {"strategy": "DDP", "deepspeed": {}}, "no effect with strategy DDP"),
    ],
)
def test_a_broken_rule_is_told(path: str, value: Any, reason: str) -> None:
    assert any(reason in message for message in messages(changed(path, value)))


def test_fractions_must_leave_something_to_train_on() -> None:
    job = changed("spec.dataset.test", {"fraction": 0.5})
    job["spec"]["dataset"]["validation"] = {"fraction": 0.5}
    assert any("nothing would be left" in message for message in messages(job))


def test_all_mistakes_are_told_at_once() -> None:
    job = changed("spec.method", {"lora": {"rank": 0}, "full": {}})
    job["spec"]["model"]["uri"] = "s3://models/base"
    job["spec"]["resources"] = {"gpus": 1}
    assert len(messages(job)) == 3


def test_an_older_reader_survives_a_newer_field() -> None:
    job = changed("spec.training", {"momentum": 0.9})
    assert FineTuneJob.from_manifest(job, strict=False).spec.training.seed == 42


def test_every_field_of_the_specification_has_exactly_one_rule_about_updates() -> None:
    governed = {*rules.IMMUTABLE, *rules.MUTABLE_WHILE_SUSPENDED, "suspend"}
    assert governed == set(FineTuneJobSpec.model_fields)
    assert len(governed) == len(rules.IMMUTABLE) + len(rules.MUTABLE_WHILE_SUSPENDED) + 1


@pytest.mark.parametrize("rule", rules.TRANSITION_RULES, ids=lambda rule: rule.cel)
def test_a_transition_rule_holds_for_the_unchanged_job(rule: TransitionRule) -> None:
    spec = FineTuneJob.from_manifest(HELLO).spec
    assert rule.holds(spec, spec)


def test_resources_change_only_while_suspended() -> None:
    (rule,) = [r for r in rules.TRANSITION_RULES if r.message.startswith("resources")]
    running = FineTuneJob.from_manifest(HELLO).spec
    suspended = running.model_copy(update={"suspend": True})
    larger = FineTuneJob.from_manifest(changed("spec.resources", {"nodes": 2})).spec
    assert not rule.holds(running, larger)
    assert rule.holds(suspended, larger)


def test_the_configuration_travels_unharmed_through_an_environment_that_expands_dollars() -> None:
    job = changed("spec.dataset.columns", {"text": "$(HOME) and $$", "label": "y"})
    config = jobconfig.build(FineTuneJob.from_manifest(job))
    assert "$" not in config.to_env()
    assert jobconfig.JobConfig.from_text(config.to_env()) == config


def test_another_major_version_of_the_configuration_is_refused() -> None:
    text = jobconfig.build(FineTuneJob.from_manifest(HELLO)).to_env()
    with pytest.raises(ValueError, match=r"version '2\.0'"):
        jobconfig.JobConfig.from_text(text.replace('"apiVersion":"1.0"', '"apiVersion":"2.0"'))
    newer = text.replace('"apiVersion":"1.0"', '"apiVersion":"1.7","later":1')
    assert jobconfig.JobConfig.from_text(newer).name == "hello"


def test_only_what_defines_the_run_changes_its_identity() -> None:
    spec = FineTuneJob.from_manifest(HELLO).spec
    more_nodes = FineTuneJob.from_manifest(changed("spec.resources", {"nodes": 2})).spec
    other_seed = FineTuneJob.from_manifest(changed("spec.training", {"seed": 1})).spec
    assert jobconfig.identity_hash(spec) == jobconfig.identity_hash(more_nodes)
    assert jobconfig.inputs_hash(spec) != jobconfig.inputs_hash(more_nodes)
    assert jobconfig.identity_hash(spec) != jobconfig.identity_hash(other_seed)
