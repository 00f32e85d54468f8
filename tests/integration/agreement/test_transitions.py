"""What may change in a job, and when: the API server and the transition rules agree."""

import copy
from typing import Any

import pytest
from dry_run import DryRun
from hypothesis import given, settings
from hypothesis import strategies as st
from job_specs import MENDERS, SPEC, good_spec, job, specs, values

from finetune_api import rules
from finetune_api.job import FineTuneJob

EXAMPLES = 40
"""Jobs that are stored; each is changed in several ways."""
CHANGES = 4


OTHER: dict[str, Any] = {
    "task": "TextGeneration",
    "objective": "SFT",
    "method": {"full": {}},
    "output": {"uri": "s3://elsewhere/"},
    "model": {"uri": "s3://elsewhere/"},
    "dataset": {"train": {"uri": "s3://elsewhere/rows.csv"}},
    "training": {"seed": 7},
    "resources": {"nodes": 2},
    "distribution": {"strategy": "DDP"},
    "checkpointing": {"everySteps": 5},
    "evaluation": {"gate": {"metric": "accuracy"}},
    "storage": {"region": "eu-north-1"},
    "scheduling": {"priorityClassName": "high"},
    "retries": {"maxAttempts": 2},
}


def broken(old: Any, new: Any) -> set[str]:
    """Messages of the rules that the models say an update breaks."""
    before, after = (FineTuneJob.from_manifest(job(spec)).spec for spec in (old, new))
    return {r.message for r in rules.TRANSITION_RULES if not r.holds(before, after)}


@st.composite
def changes(draw: st.DrawFn, old: Any) -> Any:
    """The same job with up to two blocks written anew or left out, and still no rule broken."""
    new = copy.deepcopy(old)
    for block in draw(st.lists(st.sampled_from(sorted(SPEC["properties"])), max_size=2)):
        if block in SPEC["required"] or draw(st.integers(0, 3)):
            new[block] = draw(values(SPEC["properties"][block]))
        else:
            new.pop(block, None)
    for mend in MENDERS:
        mend(new)
    return new


@st.composite
def histories(draw: st.DrawFn) -> tuple[Any, list[Any]]:
    """A job, and specifications that it is to change into."""
    old = draw(specs(breaking_rules=False))
    return old, draw(st.lists(changes(old), min_size=CHANGES, max_size=CHANGES))


def test_updates_are_refused_by_the_same_rules_on_both_sides(dry_run: DryRun) -> None:
    told: set[str] = set()
    allowed = 0

    @settings(max_examples=EXAMPLES)
    @given(histories())
    def check(history: tuple[Any, list[Any]]) -> None:
        nonlocal allowed
        old, news = history
        dry_run.store(job(old))
        try:
            for new in news:
                verdict = dry_run.replace("tickets", new)
                expected = broken(old, new)
                assert not verdict.wrong, verdict.text
                assert verdict.broken == expected, (old, new)
                told.update(expected)
                allowed += verdict.accepts
        finally:
            dry_run.remove("tickets")

    check()
    assert len(told) >= len(OTHER) / 2, "each field's own test changes that field alone"
    assert allowed > EXAMPLES / 4


def test_each_field_has_an_example() -> None:
    governed = {*rules.IMMUTABLE, *rules.MUTABLE_WHILE_SUSPENDED}
    assert set(OTHER) == governed


@pytest.mark.parametrize("field", sorted(OTHER))
def test_a_field_changes_when_its_rule_says_so_and_not_otherwise(
    dry_run: DryRun, field: str
) -> None:
    task = "TextGeneration" if field == "objective" else "TextClassification"
    new = good_spec(**{"task": task, field: OTHER[field]})
    for suspended in (False, True):
        old = good_spec(task=task, suspend=suspended)
        dry_run.store(job(old))
        verdict = dry_run.replace("tickets", new)
        dry_run.remove("tickets")
        assert verdict.broken == broken(old, new), verdict.text
        assert verdict.accepts == (suspended and field in rules.MUTABLE_WHILE_SUSPENDED)


def test_a_number_may_be_written_another_way(dry_run: DryRun) -> None:
    old = good_spec(training={"epochs": 3}, suspend=True)
    new = good_spec(training={"epochs": 3.0, "seed": None}, retries=None)
    dry_run.store(job(old))
    verdict = dry_run.replace("tickets", new)
    dry_run.remove("tickets")
    assert verdict.accepts == (not broken(old, new)), verdict.text
    assert verdict.accepts
