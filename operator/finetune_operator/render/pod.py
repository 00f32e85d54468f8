"""The pod of both Jobs: environment, volumes, security. It passes the *restricted* standard."""

from typing import Any

from finetune_api import names
from finetune_api.exits import FINAL_CODES, FREE_CODES
from finetune_api.job import FineTuneJob
from finetune_api.jobconfig import JobConfig
from finetune_operator.settings import Settings

USER = 10001
"""Uid and gid of the trainer in its images."""

INDEX_ANNOTATION = "batch.kubernetes.io/job-completion-index"


def environment(job: FineTuneJob, config: JobConfig) -> list[dict[str, Any]]:
    """What every trainer process is told: its configuration, who it is and where its places are."""
    values = {
        names.ENV_JOB: config.to_env(),
        names.ENV_WORKDIR: names.WORK_PATH,
        names.ENV_TERMINATION: names.TERMINATION_PATH,
        "HOME": f"{names.WORK_PATH}/home",
        "TMPDIR": f"{names.WORK_PATH}/tmp",  # noqa: S108  (inside the work volume)
    }
    if job.spec.storage.secret_name is not None:
        values[names.ENV_CREDENTIALS] = names.CREDENTIALS_PATH
    if job.spec.storage.ca_secret_name is not None:
        values[names.ENV_STORAGE_CA] = f"{names.STORAGE_CA_PATH}/{names.STORAGE_CA_KEY}"
    if job.spec.model.secret_name is not None:
        values[names.ENV_HUB_TOKEN] = names.HUB_TOKEN_PATH
    fields = {
        names.ENV_POD_NAME: "metadata.name",
        names.ENV_POD_UID: "metadata.uid",
        names.ENV_POD_IP: "status.podIP",
        names.ENV_NODE_NAME: "spec.nodeName",
    }
    return [
        *({"name": name, "value": value} for name, value in values.items()),
        *(_field(name, path) for name, path in fields.items()),
    ]


def pod_index() -> dict[str, Any]:
    """The variable that tells a pod of the gang which one it is."""
    return _field(names.ENV_POD_INDEX, f"metadata.annotations['{INDEX_ANNOTATION}']")


def container(
    settings: Settings, image: str, command: str, env: list[dict[str, Any]],
    mounts: list[dict[str, Any]],
) -> dict[str, Any]:  # fmt: skip
    """The one container."""
    return {
        "name": names.CONTAINER,
        "image": image,
        "imagePullPolicy": settings.image_pull_policy,
        "args": ["finetune-trainer", command],
        "env": env,
        "volumeMounts": mounts,
        "terminationMessagePath": names.TERMINATION_PATH,
        "terminationMessagePolicy": "File",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
    }


def work_volume(size_limit: str | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Local disk of a pod, and its mount."""
    disk = {"sizeLimit": size_limit} if size_limit else {}
    return {"name": "work", "emptyDir": disk}, {"name": "work", "mountPath": names.WORK_PATH}


def storage_volumes(
    job: FineTuneJob, *, optional: bool
) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """The Secrets of storage and hub: credentials, the authority's certificate, the token. Prepare
    requires them, so that a missing one is said before GPUs are taken; training pods do not, so
    that a Secret being rotated never holds a replacement pod back."""
    storage = job.spec.storage
    wanted = (
        ("credentials", storage.secret_name, names.CREDENTIALS_PATH),
        ("storage-ca", storage.ca_secret_name, names.STORAGE_CA_PATH),
        ("hub-token", job.spec.model.secret_name, names.HUB_TOKEN_PATH),
    )
    mounted = []
    for volume, name, path in wanted:
        if name is None:
            continue
        secret: dict[str, Any] = {"secretName": name, "defaultMode": 0o440}
        if optional:
            secret["optional"] = True
        mount = {"name": volume, "mountPath": path, "readOnly": True}
        mounted.append(({"name": volume, "secret": secret}, mount))
    return mounted


def pod_spec(
    job: FineTuneJob, container: dict[str, Any], volumes: list[dict[str, Any]]
) -> dict[str, Any]:
    """The part that both pods share. A service account's token is mounted only when the job names
    one: pods need no rights in the cluster."""
    account = job.spec.scheduling.service_account_name
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "enableServiceLinks": False,
        "automountServiceAccountToken": account is not None,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": volumes,
    }
    if account is not None:
        spec["serviceAccountName"] = account
    return spec


def failure_policy() -> dict[str, Any]:
    """Final codes end the Job; disruptions and free codes cost nothing; the rest counts."""
    return {
        "rules": [
            {
                "action": "FailJob",
                "onExitCodes": {
                    "containerName": names.CONTAINER,
                    "operator": "In",
                    "values": list(FINAL_CODES),
                },
            },
            {
                "action": "Ignore",
                "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
            },
            {
                "action": "Ignore",
                "onExitCodes": {
                    "containerName": names.CONTAINER,
                    "operator": "In",
                    "values": list(FREE_CODES),
                },
            },
        ]
    }


def _field(name: str, path: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}
