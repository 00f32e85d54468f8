"""The train Job: one pod a node, indexed, behind a headless Service, over when index 0 is.

Recovery happens inside these pods. The per-index back-off is only a fuse against an index that
fails for ever; the retries a user allows are counted by the trainer's own ledger.
"""

from collections.abc import Collection
from typing import Any

from finetune_api import jobconfig, names
from finetune_api.job import FineTuneJob
from finetune_api.progress import Prepared
from finetune_operator.render import pod
from finetune_operator.render.metadata import Owner, labels
from finetune_operator.render.metadata import metadata as child_metadata
from finetune_operator.settings import Settings

FUSE = 6
"""Counted failures of one index after which the Job is given up."""


def train_job(
    job: FineTuneJob,
    owner: Owner,
    prepared: Prepared,
    token: str,
    settings: Settings,
    *,
    avoid: Collection[str] = (),
) -> dict[str, Any]:
    """The Job that trains on what prepare made. ``token`` is the gang's shared secret; ``avoid``
    names nodes whose hardware failed under this run."""
    resources = job.spec.resources
    metadata = child_metadata(
        owner,
        names.train_job(owner.name),
        names.ROLE_TRAIN,
        {
            names.ANNOTATION_INPUTS_HASH: jobconfig.inputs_hash(job.spec),
            names.ANNOTATION_LAUNCH_HASH: jobconfig.launch_hash(job.spec),
        },
    )
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata,
        "spec": {
            "completionMode": "Indexed",
            "completions": resources.nodes,
            "parallelism": resources.nodes,
            "backoffLimitPerIndex": FUSE,
            "maxFailedIndexes": 0,
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": pod.failure_policy(),
            "successPolicy": {"rules": [{"succeededIndexes": "0"}]},
            "template": {
                "metadata": {"labels": labels(owner, names.ROLE_TRAIN)},
                "spec": _pod_spec(job, owner, prepared, token, settings, avoid),
            },
        },
    }


def _pod_spec(
    job: FineTuneJob, owner: Owner, prepared: Prepared, token: str, settings: Settings,
    avoid: Collection[str],
) -> dict[str, Any]:  # fmt: skip
    shared = {"medium": "Memory", "sizeLimit": prepared.shared_memory}
    mounted = [
        pod.work_volume(prepared.disk),
        (
            {"name": "shared-memory", "emptyDir": shared},
            {"name": "shared-memory", "mountPath": "/dev/shm"},  # noqa: S108
        ),
        *pod.storage_volumes(job, optional=True),
    ]
    container = _container(job, owner, prepared, token, settings, [m for _, m in mounted])
    spec = pod.pod_spec(job, container, [volume for volume, _ in mounted])
    spec["subdomain"] = names.service(owner.name)
    spec["terminationGracePeriodSeconds"] = prepared.grace_seconds
    spec["tolerations"] = _tolerations(job, settings)
    if job.spec.scheduling.node_selector:
        spec["nodeSelector"] = dict(job.spec.scheduling.node_selector)
    if avoid:
        spec["affinity"] = _elsewhere(avoid)
    if job.spec.scheduling.priority_class_name is not None:
        spec["priorityClassName"] = job.spec.scheduling.priority_class_name
    return spec


def _container(
    job: FineTuneJob, owner: Owner, prepared: Prepared, token: str, settings: Settings,
    mounts: list[dict[str, Any]],
) -> dict[str, Any]:  # fmt: skip
    config = jobconfig.build(job, fingerprint=prepared.fingerprint)
    hosts = names.gang_hosts(owner.name, owner.namespace, job.spec.resources.nodes)
    env = [
        *pod.environment(job, config),
        pod.pod_index(),
        {"name": names.ENV_GANG_HOSTS, "value": ",".join(hosts)},
        {"name": names.ENV_GANG_TOKEN, "value": token},
        {"name": names.ENV_GRACE, "value": str(prepared.grace_seconds)},
    ]
    on_cuda = config.device is jobconfig.Device.CUDA
    image = settings.trainer_image_cuda if on_cuda else settings.trainer_image_cpu
    container = pod.container(settings, image, "supervise", env, mounts)
    container["ports"] = [
        {"name": "http", "containerPort": names.PORT_HTTP},
        {"name": "gang", "containerPort": names.PORT_GANG},
    ]
    container["readinessProbe"] = {
        "httpGet": {"path": "/healthz", "port": names.PORT_HTTP},
        "periodSeconds": 5,
    }
    container["resources"] = _resources(job, prepared)
    return container


def _resources(job: FineTuneJob, prepared: Prepared) -> dict[str, Any]:
    wanted = job.spec.resources
    memory = wanted.memory or prepared.memory
    limits = {"memory": memory}
    if wanted.gpus_per_node:
        limits[wanted.gpu_resource] = str(wanted.gpus_per_node)
    requests = {"cpu": wanted.cpu or prepared.cpu, "memory": memory}
    return {"requests": requests, "limits": limits}


def _elsewhere(nodes: Collection[str]) -> dict[str, Any]:
    """Any node but these; a field's requirement takes one value."""
    fields = [
        {"key": "metadata.name", "operator": "NotIn", "values": [node]} for node in sorted(nodes)
    ]
    terms = {"nodeSelectorTerms": [{"matchFields": fields}]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}


def _tolerations(job: FineTuneJob, settings: Settings) -> list[dict[str, Any]]:
    lost = [
        {
            "key": f"node.kubernetes.io/{state}",
            "operator": "Exists",
            "effect": "NoExecute",
            "tolerationSeconds": settings.unreachable_toleration,
        }
        for state in ("not-ready", "unreachable")
    ]
    return [*(t.to_wire() for t in job.spec.scheduling.tolerations or []), *lost]
