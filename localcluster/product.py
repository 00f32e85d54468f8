"""Installs finetune-operator on a local cluster, as an administrator would on a real one.

The operator is a process that knows the cluster only through the kubeconfig of its own service
account, with exactly the rights it declares.
"""

import os
import sys

from finetune_operator import rights
from localcluster.build import FOLDER
from localcluster.cluster import READY_SECONDS, Cluster, wait_for
from localcluster.processes import answers, free_ports, wait_until

NAMESPACE = "finetune-system"
ACCOUNT = "finetune-operator"
OPERATOR = "finetune-operator"
LEASE = f"{NAMESPACE}/{rights.LEASE}"
SECRET = "s3-credentials"
IMAGE = "finetune-trainer:local"


def install(cluster: Cluster, *, progress_interval: float = 2, status_interval: float = 5) -> str:
    """Install resource, rights and operator; returns the operator's address.

    Intervals are shorter than a site would choose, so that people and tests see numbers move.
    """
    install_resource(cluster)
    if NAMESPACE not in cluster.kubectl("get", "namespaces", "-o", "name"):
        cluster.kubectl("create", "namespace", NAMESPACE)
    cluster.apply(*rights.manifests(name=ACCOUNT, namespace=NAMESPACE))
    if cluster.status().get(OPERATOR):
        cluster.stop_program(OPERATOR)
    return start_operator(
        cluster, progress_interval=progress_interval, status_interval=status_interval
    )


def install_resource(cluster: Cluster) -> None:
    """Apply the CRD and wait until it is served."""
    cluster.kubectl("apply", "-f", str(FOLDER.parent / "crds"))
    wait_for(
        lambda: "finetunejobs" in cluster.kubectl("api-resources", "-o", "name", check=False),
        what="finetunejobs served", seconds=READY_SECONDS,
    )  # fmt: skip


def start_operator(cluster: Cluster, *, progress_interval: float, status_interval: float) -> str:
    """Start the operator process and wait until it leads and watches; returns its address.

    One that was killed still holds the Lease, for up to 15 s.
    """
    (port,) = free_ports(1)
    command = [
        sys.executable, "-m", "finetune_operator",
        "--kubeconfig", cluster.account_kubeconfig(NAMESPACE, ACCOUNT),
        "--http", f"127.0.0.1:{port}",
        "--lease", LEASE,
        "--trainer-image-cpu", IMAGE, "--trainer-image-cuda", IMAGE,
        "--storage-endpoint", cluster.s3.endpoint,
        "--progress-interval", str(progress_interval),
        "--status-interval", str(status_interval),
    ]  # fmt: skip
    environment = {"PATH": os.environ["PATH"], "HOME": str(cluster.root), "LANG": "C.UTF-8"}
    record = cluster.start_program(OPERATOR, command, environment)
    address = f"http://127.0.0.1:{port}"
    wait_until(
        lambda: answers(f"{address}/readyz", text="ok"),
        what="the operator", seconds=READY_SECONDS, records={OPERATOR: record},
    )  # fmt: skip
    return address


def add_credentials(cluster: Cluster, namespace: str = "default") -> None:
    """The Secret that lets jobs of a namespace reach the cluster's S3 server."""
    cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": SECRET, "namespace": namespace},
            "stringData": {
                "AWS_ACCESS_KEY_ID": cluster.s3.access_key,
                "AWS_SECRET_ACCESS_KEY": cluster.s3.secret_key,
            },
        }
    )
