"""What tests do and ask: jobs made, states awaited, requests counted."""

import itertools
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from typing import Any

from kubernetes import client, config
from scripted_node import Stage

from finetune_api.base import GROUP, PLURAL, VERSION
from finetune_operator import rights
from localcluster.cluster import Cluster, wait_for
from localcluster.node.scripted import Fate

SYSTEM = "finetune-system"
ACCOUNT = "finetune-operator"
FLAGS = ("--progress-interval=0.5", "--status-interval=2", "--patience=3", "--sweep-interval=3")
NUMBERS = itertools.count(1)


class Operator:
    """The operator as a process, with exactly the rights it asks for.

    ``system`` is the namespace of its account. ``server`` is a proxy to reach the API server by.
    """

    def __init__(
        self,
        cluster: Cluster,
        *flags: str,
        system: str = SYSTEM,
        namespaces: tuple[str, ...] = (),
        server: str = "",
    ) -> None:
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": system}}
        account = ACCOUNT if system == SYSTEM else f"{ACCOUNT}-{system}"
        roles = rights.manifests(name=account, namespace=system, namespaces=namespaces)
        cluster.apply(namespace, *roles)
        self.user = f"system:serviceaccount:{system}:{account}"
        self._kubeconfig = cluster.account_kubeconfig(system, account, server)
        self._flags = (*FLAGS, *flags, *(f"--namespace={name}" for name in namespaces))
        self._log = cluster.root / "logs" / f"operator-{next(NUMBERS)}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    def __enter__(self) -> "Operator":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        offset = self._log.stat().st_size if self._log.exists() else 0
        command = [sys.executable, "-m", "finetune_operator", "--http=127.0.0.1:0", *self._flags]
        environment = {"PATH": os.environ["PATH"], "KUBECONFIG": str(self._kubeconfig)}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, env=environment, stderr=log)

        def port() -> int:
            started = re.search(r'"started".*?"port": (\d+)', self.log()[offset:])
            return int(started.group(1)) if started else 0

        self.port = wait_for(port, what="the operator's start", seconds=20, interval=0.05)
        wait_for(lambda: self.answers("/readyz"), what="its readiness", seconds=20, interval=0.05)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def ended(self) -> int:
        """The exit code of a process that ends by itself."""
        assert self._process is not None
        return self._process.wait(10)

    def terminate(self) -> float:
        """Ask it to leave; how long that takes."""
        assert self._process is not None
        started = time.monotonic()
        self._process.send_signal(signal.SIGTERM)
        assert self._process.wait(10) == 0
        return time.monotonic() - started

    def metric(self, name: str, **labels: str) -> float:
        """The sum of the series of this name that carry these labels."""
        lines = [re.split(r"[{} ]+", x) for x in self.answers("/metrics").splitlines()]
        wanted = {f'{key}="{value}"' for key, value in labels.items()}
        return sum(
            float(words[-1])
            for words in lines
            if words[0] == name and wanted <= {y for x in words[1:-1] for y in x.split(",")}
        )

    def answers(self, path: str) -> str:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=2) as page:
                return str(page.read().decode())
        except OSError:
            return ""

    def log(self) -> str:
        return self._log.read_text() if self._log.exists() else ""

    def memory_mib(self) -> float:
        assert self._process is not None
        with open(f"/proc/{self._process.pid}/status") as status:
            (line,) = [line for line in status if line.startswith("VmRSS")]
        return int(line.split()[1]) / 1024


class World:
    """One namespace."""

    def __init__(self, cluster: Cluster, operator: Operator, node: Stage, namespace: str) -> None:
        self.cluster, self.operator, self.node = cluster, operator, node
        self.namespace = namespace
        api = config.new_client_from_config(str(cluster.kubeconfig))
        self._objects = client.CustomObjectsApi(api)
        self.batch, self.core = client.BatchV1Api(api), client.CoreV1Api(api)

    def manifest(self, name: str = "tickets", **spec: Any) -> dict[str, Any]:
        return {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": "FineTuneJob",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {
                "task": "TextClassification",
                "model": {"uri": "s3://models/bert-tiny/"},
                "dataset": {"train": {"uri": "s3://corpus/train.jsonl"}},
                "method": {"lora": {"rank": 8}},
                "output": {"uri": f"s3://models/{name}/"},
                "resources": {"nodes": 2, "gpusPerNode": 1},
                **spec,
            },
        }

    def create(self, name: str = "tickets", **spec: Any) -> dict[str, Any]:
        body = self.manifest(name, **spec)
        created = self._objects.create_namespaced_custom_object(
            GROUP, VERSION, self.namespace, PLURAL, body
        )
        return dict(created)

    def change(self, name: str = "tickets", **spec: Any) -> None:
        self._objects.patch_namespaced_custom_object(
            GROUP, VERSION, self.namespace, PLURAL, name, {"spec": spec}
        )

    def delete(self, name: str = "tickets", propagation: str = "Background") -> None:
        self._objects.delete_namespaced_custom_object(
            GROUP, VERSION, self.namespace, PLURAL, name, propagation_policy=propagation
        )

    def get(self, name: str = "tickets") -> dict[str, Any]:
        found = self._objects.get_namespaced_custom_object(
            GROUP, VERSION, self.namespace, PLURAL, name
        )
        return dict(found)

    def status(self, name: str = "tickets") -> dict[str, Any]:
        return dict(self.get(name).get("status") or {})

    def condition(self, kind: str, name: str = "tickets") -> dict[str, Any]:
        conditions = self.status(name).get("conditions", [])
        return next((c for c in conditions if c["type"] == kind), {})

    def wait_word(self, word: str, name: str = "tickets", seconds: float = 20) -> dict[str, Any]:
        def reached() -> dict[str, Any] | None:
            status = self.status(name)
            return status if status.get("display", {}).get("status") == word else None

        try:
            return dict(wait_for(reached, what=f"{name} is {word}", seconds=seconds))
        except TimeoutError as error:
            raise AssertionError(f"{error}: {self.operator.log()[-3000:]}") from error

    def wait_reason(
        self, kind: str, reason: str, name: str = "tickets", seconds: float = 20
    ) -> dict[str, Any]:
        def reached() -> dict[str, Any] | None:
            found = self.condition(kind, name)
            return found if found.get("reason") == reason else None

        return dict(wait_for(reached, what=f"{kind} of {name} is {reason}", seconds=seconds))

    def wait(self, condition: Callable[[], Any], what: str, seconds: float = 20) -> Any:
        return wait_for(condition, what=what, seconds=seconds)

    def jobs(self) -> dict[str, str]:
        """Uids of Jobs, by name."""
        items = self.batch.list_namespaced_job(self.namespace).items
        return {job.metadata.name: job.metadata.uid for job in items}

    def children(self) -> list[str]:
        words = ("get", "jobs,pods,services", "-n", self.namespace, "-o", "name")
        return self.cluster.kubectl(*words).split()

    def events(self) -> list[str]:
        """Reasons of our events, in the order they were told."""
        items = self.core.list_namespaced_event(self.namespace).items
        ours = [e for e in items if e.source and e.source.component == ACCOUNT]
        return [e.reason for e in sorted(ours, key=lambda e: int(e.metadata.resource_version))]

    def writes(self) -> Counter[tuple[str, str]]:
        """The operator's writes in this namespace, by verb and resource."""
        entries = self.cluster.audited(user=self.operator.user, namespace=self.namespace)
        return Counter(
            (entry["verb"], f"{entry['resource']}/{entry.get('subresource', '')}".rstrip("/"))
            for entry in entries
        )

    def finish(self, code: int = 0, message: str = "", name: str = "tickets") -> None:
        """Index 0 says its last word; the others follow."""
        fate = Fate(code, after=0, message=message)
        self.node.show(self.namespace, name, "train", fate, index=0)
