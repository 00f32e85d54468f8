"""What a job becomes is accepted wherever the job itself was: Kubernetes refuses nothing later."""

from collections.abc import Iterator
from typing import Any

import pytest
from dry_run import DryRun, of_models
from hypothesis import given, settings
from job_specs import WRONG, good_spec, job, replace, specs

from finetune_api.job import FineTuneJob
from finetune_api.progress import Prepared
from finetune_operator.render.metadata import Owner
from finetune_operator.render.prepare_job import prepare_job
from finetune_operator.render.service import service
from finetune_operator.render.train_job import train_job
from finetune_operator.settings import Settings

EXAMPLES = 40
LONGEST_NAME = "x" * 40
IN_THE_POD = ("resources", "scheduling", "storage")
"""Blocks whose values become part of a pod."""
PREPARED = Prepared(
    inputs_hash="0" * 32,
    fingerprint="f" * 16,
    cpu="4",
    memory="16Gi",
    shared_memory="2Gi",
    disk="20Gi",
    grace_seconds=90,
    model_bytes=1000,
    checkpoint_bytes=100,
)


def children(manifest: dict[str, Any], namespace: str) -> Iterator[dict[str, Any]]:
    manifest["metadata"]["namespace"] = namespace
    found = FineTuneJob.from_manifest(manifest)
    owner = Owner(namespace, found.metadata.name, "uid", 1)
    yield service(owner)
    yield prepare_job(found, owner, Settings())
    yield train_job(found, owner, PREPARED, "token", Settings())


def refusals(dry_run: DryRun, spec: Any) -> list[str]:
    made = children(job(spec, LONGEST_NAME), dry_run.namespace)
    return [said for child in made if (said := dry_run.refusal_of_child(child))]


def test_any_good_job_becomes_good_children(dry_run: DryRun) -> None:
    @settings(max_examples=EXAMPLES)
    @given(specs(breaking_rules=False))
    def check(spec: Any) -> None:
        assert refusals(dry_run, spec) == []

    check()


@pytest.mark.parametrize("block", IN_THE_POD)
def test_a_value_at_the_edge_that_is_accepted_is_accepted_in_a_pod(
    dry_run: DryRun, block: str
) -> None:
    seen = 0
    for path, value in WRONG:
        spec = good_spec()
        replace(spec, path, value)
        if path[0] == block and of_models(job(spec)).accepts:
            assert refusals(dry_run, spec) == [], (path, value)
            seen += 1
    assert seen > 10
