"""Names of child objects, labels, ports, paths and environment variables.

Children have deterministic names, so creation is idempotent and lookups need no search.
"""

from finetune_api.base import GROUP

FIELD_MANAGER = "finetune-operator"

LABEL_JOB = f"{GROUP}/job"
"""On every child: name of the FineTuneJob; written by the operator, read by caches and people."""
LABEL_ROLE = f"{GROUP}/role"
"""On every child: `prepare` or `train`."""
ANNOTATION_INPUTS_HASH = f"{GROUP}/inputs-hash"
"""On the prepare Job: what its result was made from."""
ANNOTATION_LAUNCH_HASH = f"{GROUP}/launch-hash"
"""On both Jobs: everything a user can change that it was made from. Read to notice an edit
between a suspend and a resume too quick to be seen apart."""
ANNOTATION_GENERATION = f"{GROUP}/generation"
"""On a Job: generation of the FineTuneJob that it was rendered from."""

ROLE_PREPARE = "prepare"
ROLE_TRAIN = "train"
CONTAINER = "trainer"

PORT_HTTP = 9300
PORT_GANG = 9301

ENV_JOB = "FINETUNE_JOB"
ENV_POD_INDEX = "FINETUNE_POD_INDEX"
ENV_POD_NAME = "FINETUNE_POD_NAME"
ENV_POD_UID = "FINETUNE_POD_UID"
ENV_POD_IP = "FINETUNE_POD_IP"
ENV_NODE_NAME = "FINETUNE_NODE_NAME"
ENV_GANG_HOSTS = "FINETUNE_GANG_HOSTS"
ENV_GANG_TOKEN = "FINETUNE_GANG_TOKEN"  # noqa: S105  (a variable's name, not a secret)
ENV_GRACE = "FINETUNE_GRACE_SECONDS"
ENV_WORKDIR = "FINETUNE_WORKDIR"
ENV_CREDENTIALS = "FINETUNE_CREDENTIALS"
ENV_STORAGE_CA = "FINETUNE_STORAGE_CA"
ENV_HUB_TOKEN = "FINETUNE_HUB_TOKEN"  # noqa: S105
ENV_TERMINATION = "FINETUNE_TERMINATION_LOG"
ENV_PRETEND_GPUS = "FINETUNE_PRETEND_GPUS"

WORK_PATH = "/work"
CREDENTIALS_PATH = "/var/run/finetune/storage"
STORAGE_CA_PATH = "/var/run/finetune/storage-ca"
HUB_TOKEN_PATH = "/var/run/finetune/hub"  # noqa: S105
STORAGE_CA_KEY = "ca.crt"
TERMINATION_PATH = "/dev/termination-log"


def prepare_job(job: str) -> str:
    """Name of the prepare Job."""
    return f"{job}-prepare"


def train_job(job: str) -> str:
    """Name of the train Job."""
    return f"{job}-train"


def service(job: str) -> str:
    """Name of the headless Service that gives the training pods stable host names."""
    return f"{job}-train"


def gang_hosts(job: str, namespace: str, nodes: int) -> list[str]:
    """Host names of all training pods, index 0 first."""
    return [f"{train_job(job)}-{i}.{service(job)}.{namespace}.svc" for i in range(nodes)]
