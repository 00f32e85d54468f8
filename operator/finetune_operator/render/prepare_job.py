"""The prepare Job: one pod on CPU that checks the data and plans, so that bad data costs no GPU."""

from typing import Any

from finetune_api import defaults, jobconfig, names
from finetune_api.job import FineTuneJob
from finetune_operator.render import pod
from finetune_operator.render.metadata import Owner, labels, metadata
from finetune_operator.settings import Settings

GRACE_SECONDS = 30


def prepare_job(job: FineTuneJob, owner: Owner, settings: Settings) -> dict[str, Any]:
    """The Job that finds out what ``status.prepared`` must say."""
    config = jobconfig.build(job)
    mounted = [pod.work_volume(), *pod.storage_volumes(job, optional=False)]
    container = pod.container(
        settings,
        settings.trainer_image_cpu,
        "prepare",
        pod.environment(job, config),
        [mount for _, mount in mounted],
    )
    wanted = job.spec.resources.prepare
    container["resources"] = {
        "requests": {"cpu": wanted.cpu, "memory": wanted.memory},
        "limits": {"memory": wanted.memory},
    }
    spec = pod.pod_spec(job, container, [volume for volume, _ in mounted])
    spec["terminationGracePeriodSeconds"] = GRACE_SECONDS
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata(
            owner,
            names.prepare_job(owner.name),
            names.ROLE_PREPARE,
            {
                names.ANNOTATION_INPUTS_HASH: config.inputs_hash,
                names.ANNOTATION_LAUNCH_HASH: jobconfig.launch_hash(job.spec),
            },
        ),
        "spec": {
            "backoffLimit": defaults.PREPARE_TRIES - 1,
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": pod.failure_policy(),
            "template": {
                "metadata": {"labels": labels(owner, names.ROLE_PREPARE)},
                "spec": spec,
            },
        },
    }
