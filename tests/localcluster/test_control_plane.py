"""The cluster itself: its version, its object store, its end."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from localcluster.build import KUBERNETES
from localcluster.cluster import Cluster, find_cluster, start_cluster, wait_for

SERVERS = {"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "s3"}


def test_client_and_server_tell_their_version(cluster: Cluster) -> None:
    versions = json.loads(cluster.kubectl("version", "-o", "json"))
    assert versions["serverVersion"]["gitVersion"] == KUBERNETES
    assert versions["clientVersion"]["gitVersion"] == KUBERNETES


def test_writes_are_counted_by_who_did_what(cluster: Cluster, namespace: str) -> None:
    cluster.kubectl("-n", namespace, "create", "configmap", "one")
    cluster.kubectl("-n", namespace, "get", "configmap", "one")
    chosen = {"user": "admin", "resource": "configmaps", "namespace": namespace}
    assert [entry["verb"] for entry in cluster.audited(**chosen)] == ["create"]


def test_a_restricted_namespace_refuses_a_plain_pod(cluster: Cluster, namespace: str) -> None:
    label = "pod-security.kubernetes.io/enforce=restricted"
    cluster.kubectl("label", "namespace", namespace, label)
    said = cluster.kubectl("-n", namespace, "run", "plain", "--image=any", check=False)
    assert "violates PodSecurity" in said


def test_of_two_conditional_puts_one_wins(cluster: Cluster) -> None:
    cluster.s3.make_bucket("conditional")
    client = cluster.s3.client()
    put = {"Bucket": "conditional", "Key": "lock", "IfNoneMatch": "*"}
    client.put_object(**put, Body=b"first")
    with pytest.raises(ClientError) as refused:
        client.put_object(**put, Body=b"second")
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 412
    assert client.get_object(Bucket="conditional", Key="lock")["Body"].read() == b"first"


def test_a_wrong_secret_key_is_refused(cluster: Cluster) -> None:
    client = boto3.client(
        "s3",
        endpoint_url=cluster.s3.endpoint,
        aws_access_key_id=cluster.s3.access_key,
        aws_secret_access_key="wrong",
        region_name=cluster.s3.region,
        config=Config(s3={"addressing_style": "path"}),
    )
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        client.list_buckets()


def test_a_broken_cluster_is_replaced_and_down_leaves_nothing(tmp_path: Path) -> None:
    root = tmp_path / "own"
    first = start_cluster(root)
    try:
        assert set(first.status()) >= SERVERS
        assert start_cluster(root)._processes == first._processes
        os.kill(first._processes["kube-apiserver"]["pid"], signal.SIGKILL)
        wait_for(lambda: not first.status()["kube-apiserver"], what="its end", seconds=10)
        second = start_cluster(root)
        assert second.server != first.server
        second.add_node("node-0")
        command = ["sh", "-c", "(setsid sleep 1234 &); trap '' TERM; while :; do sleep 1; done"]
        second.kubectl(
            "run", "stays", "--image=finetune-trainer:local", "--restart=Never",
            "--command", "--", *command,
        )  # fmt: skip
        second.kubectl("wait", "--for=condition=Ready", "pod/stays", "--timeout=30s")
        assert any("sleep\x001234" in line for line in _processes_of(root))
    finally:
        module = [sys.executable, "-m", "localcluster", "down", "--root", str(root)]
        subprocess.run(module, check=True, timeout=60, cwd=Path(__file__).parents[2])
    assert find_cluster(root) is None
    assert _processes_of(root) == []


def _processes_of(root: Path) -> list[str]:
    """Command lines of the processes that have the root in their command line or environment."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words, variables = (entry / "cmdline").read_text(), (entry / "environ").read_text()
        except (OSError, UnicodeDecodeError):
            continue
        if str(root) in words or str(root) in variables:
            found.append(words)
    return found
