"""One local cluster: brought up, found again, extended by nodes, taken down.

`state.json` in the root records layout and processes; nothing is ended that is not recorded there.
"""

import contextlib
import json
import os
import shutil
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from localcluster import controlplane, s3
from localcluster.build import CACHE, CLUSTER_PROGRAMS, FOLDER, build
from localcluster.controlplane import LOOPBACK, Layout
from localcluster.kubeconfig import with_token
from localcluster.processes import answers, find, free_ports, start, stop, wait_until

DEFAULT_ROOT = CACHE / "cluster"
READY_SECONDS = 60.0
TRAINER_ENVIRONMENT = {
    "FINETUNE_PRETEND_GPUS": "1",
    "GLOO_SOCKET_IFNAME": "lo",
    "OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // 2)),
}
"""All pods share this machine, mostly two that train: ranks must not fight for its cores."""
READS = frozenset({"get", "list", "watch"})
APISERVER_STOP_SECONDS = 2.0
"""With an open watch the API server takes over ten seconds to stop; its data is not kept."""
REMOVERS = 16


class Cluster:
    """A running cluster."""

    def __init__(self, layout: Layout, processes: dict[str, Any]) -> None:
        self.layout = layout
        self._processes = processes
        self.root = layout.root
        self.s3 = s3.S3(endpoint=f"http://{LOOPBACK}:{layout.s3}")

    @property
    def server(self) -> str:
        """Address of the API server."""
        return self.layout.server

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.layout.kubeconfig("admin")

    @property
    def kubectl_path(self) -> Path:
        """A folder that holds `kubectl`."""
        return self.root / "bin"

    def kubectl(self, *words: str, text: str | None = None, check: bool = True) -> str:
        """Run kubectl as administrator; returns what it prints. ``text`` is its standard input."""
        result = subprocess.run(
            [self.kubectl_path / "kubectl", f"--kubeconfig={self.kubeconfig}", *words],
            input=text, capture_output=True, text=True,
        )  # fmt: skip
        if check and result.returncode != 0:
            raise RuntimeError(f"kubectl {' '.join(words)}: {result.stderr.strip()}")
        return result.stdout if check else result.stdout + result.stderr

    def apply(self, *objects: Mapping[str, Any]) -> None:
        """Apply objects as administrator."""
        document = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self.kubectl("apply", "--server-side", "-f", "-", text=json.dumps(document))

    def start_program(
        self, name: str, command: Sequence[str | Path], environment: Mapping[str, str]
    ) -> dict[str, Any]:
        """Start a program that belongs to the cluster and ends with it."""
        log = self.root / "logs" / f"{name}.log"
        record = start(command, log=log, environment=environment, folder=FOLDER.parent)
        self._processes[name] = record
        self._save()
        return record

    def stop_program(self, name: str) -> None:
        """End one program of the cluster."""
        stop([self._processes.pop(name)])
        self._save()

    def add_node(self, name: str, *, gpus: int = 0, cpu: str = "64", memory: str = "64Gi") -> None:
        """Start a node that runs pods as processes and wait until it is ready."""
        command = [
            sys.executable, "-m", "localcluster.node", "--kubeconfig",
            self.layout.kubeconfig("node"), "--name", name, "--gpus", str(gpus), "--cpu", cpu,
            "--memory", memory, "--state", self.root / "nodes" / name,
            "--images", self.root / "images.json",
        ]  # fmt: skip
        environment = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
        record = self.start_program(name, command, environment)
        jsonpath = "{.status.conditions[?(@.type=='Ready')].status}"
        wait_until(
            lambda: self.kubectl("get", "node", name, "-o", f"jsonpath={jsonpath}", check=False)
            == "True",
            what=f"node {name}", seconds=READY_SECONDS, records={name: record},
        )  # fmt: skip

    def account_kubeconfig(self, namespace: str, account: str, server: str = "") -> Path:
        """A kubeconfig with a token of a service account, for the API server or a proxy of it."""
        token = self.kubectl("create", "token", account, "-n", namespace, "--duration=24h").strip()
        path = self.root / f"{namespace}-{account}.kubeconfig"
        return with_token(path, server or self.server, self.layout.certificates / "ca.crt", token)

    def audited(self, **fields: str) -> list[dict[str, Any]]:
        """Write requests so far, selected by `user`, `verb`, `resource`, `namespace`, `name`."""
        return [entry for entry in self.requests(**fields) if entry["verb"] not in READS]

    def requests(self, **fields: str) -> list[dict[str, Any]]:
        """Write requests of all, and reads of service accounts, selected in the same way."""
        with self.layout.audit_log.open() as lines:
            entries = [json.loads(line) for line in lines if line.endswith("\n")]
        flat = [
            {**entry, **(entry.get("objectRef") or {}), "user": entry["user"]["username"]}
            for entry in entries
        ]
        return [e for e in flat if all(e.get(key) == value for key, value in fields.items())]

    def down(self) -> None:
        """End every process of the cluster and every process of its pods; remove the root."""
        others = {n: r for n, r in self._processes.items() if n != "kube-apiserver"}
        stop([r for n, r in others.items() if n not in {"etcd", "s3"}])
        for state in sorted((self.root / "nodes").glob("*")):
            command = [sys.executable, "-m", "localcluster.node", "--state", state, "--reap"]
            subprocess.run(command, cwd=FOLDER.parent, check=False)
        if "kube-apiserver" in self._processes:
            stop([self._processes["kube-apiserver"]], patience=APISERVER_STOP_SECONDS)
        stop([record for name, record in others.items() if name in {"etcd", "s3"}])
        _remove(self.root)

    def status(self) -> dict[str, bool]:
        """Which programs are alive."""
        return {name: find(record) is not None for name, record in self._processes.items()}

    def _save(self) -> None:
        layout = {**asdict(self.layout), "root": str(self.root)}
        path = self.root / "state.json"
        unfinished = path.with_suffix(".new")
        unfinished.write_text(json.dumps({"layout": layout, "processes": self._processes}))
        unfinished.rename(path)


def find_cluster(root: Path = DEFAULT_ROOT) -> Cluster | None:
    """The cluster recorded in a root, alive or not."""
    path = root / "state.json"
    if not path.exists():
        return None
    state = json.loads(path.read_text())
    layout = Layout(**{**state["layout"], "root": Path(state["layout"]["root"])})
    return Cluster(layout, state["processes"])


def start_cluster(root: Path = DEFAULT_ROOT) -> Cluster:
    """Start control plane and S3 server in an empty root; a stale cluster there is cleaned first.

    Returns the running one unchanged when the root has one.
    """
    found = find_cluster(root)
    if found is not None:
        if found.status() and all(found.status().values()):
            return found
        found.down()
    build(*CLUSTER_PROGRAMS)
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    layout = Layout(root.resolve(), *free_ports(6))
    controlplane.write_identities(layout)
    cluster = Cluster(layout, {})
    environment = {"PATH": os.environ["PATH"], "HOME": str(layout.root)}
    try:
        _start_programs(cluster, layout, environment)
    except BaseException:
        cluster.down()
        raise
    return cluster


def _start_programs(cluster: Cluster, layout: Layout, environment: dict[str, str]) -> None:
    records = {
        name: cluster.start_program(name, command, environment)
        for name, command in {
            "etcd": controlplane.etcd_command(layout),
            "kube-apiserver": controlplane.apiserver_command(layout),
            "s3": s3.command(layout.root / "s3", layout.s3),
        }.items()
    }
    _write_tools(cluster)
    context = ssl.create_default_context(cafile=str(layout.certificates / "ca.crt"))
    pair = (layout.certificates / "admin.crt", layout.certificates / "admin.key")
    context.load_cert_chain(*pair)
    wait_until(
        lambda: answers(f"{layout.server}/readyz", context),
        what="the API server", seconds=READY_SECONDS, records=records,
    )  # fmt: skip
    wait_until(
        lambda: answers(f"http://{LOOPBACK}:{layout.s3}/healthz"),
        what="the S3 server", seconds=READY_SECONDS, records=records,
    )  # fmt: skip
    managers = {
        "kube-controller-manager": controlplane.controller_manager_command(layout),
        "kube-scheduler": controlplane.scheduler_command(layout),
    }
    for name, command in managers.items():
        records[name] = cluster.start_program(name, command, environment)
    account = ("get", "serviceaccount", "default", "-n", "default", "-o", "name")
    wait_until(
        lambda: cluster.kubectl(*account, check=False).startswith("serviceaccount/"),
        what="the controller manager", seconds=READY_SECONDS, records=records,
    )  # fmt: skip


def _write_tools(cluster: Cluster) -> None:
    cluster.kubectl_path.mkdir()
    kubectl = cluster.kubectl_path / "kubectl"
    program = " ".join(f"'{word}'" for word in cluster.layout.program("kubectl"))
    kubectl.write_text(f'#!/bin/sh\nexec {program} "$@"\n')
    kubectl.chmod(0o755)
    programs = {"path": [str(Path(sys.executable).parent)], "env": {}}
    trainer = {**programs, "env": TRAINER_ENVIRONMENT}
    images = {"finetune-trainer:local": trainer, "finetune-operator:local": programs}
    (cluster.root / "images.json").write_text(json.dumps(images, indent=2))


def _remove(root: Path) -> None:
    """Remove a root. The S3 server keeps five small files and folders an object: one after the
    other they take half a minute on a busy machine, for each waits for the disk."""
    folders = [path for path in root.glob("*/*/*/*/*") if path.is_dir() and not path.is_symlink()]
    with ThreadPoolExecutor(REMOVERS) as pool:
        list(pool.map(lambda folder: shutil.rmtree(folder, ignore_errors=True), folders))
    shutil.rmtree(root, ignore_errors=True)


@contextlib.contextmanager
def running_cluster(root: Path) -> Iterator[Cluster]:
    """A cluster for as long as a block lasts."""
    cluster = start_cluster(root)
    try:
        yield cluster
    finally:
        cluster.down()


def wait_for(condition: Any, *, what: str, seconds: float, interval: float = 0.2) -> Any:
    """Poll until ``condition()`` is truthy and return it."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {seconds:.0f} s")
        time.sleep(interval)
    return value
