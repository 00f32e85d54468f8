"""A node without containers: its pods show the states that a test asks for, as a kubelet would.

By default a prepare pod ends well with a result, and training pods become ready and stay.
"""

import hashlib
import json
import threading
import time
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from kubernetes import client, config

from finetune_api.names import ENV_JOB, LABEL_JOB, LABEL_ROLE, PORT_HTTP

NAME = "scripted"
State = dict[str, Any]


def running(*, ready: bool = True) -> State:
    return {"phase": "Running", "ready": ready, "container": {"running": {"startedAt": _now()}}}


def waiting(reason: str, message: str) -> State:
    container = {"waiting": {"reason": reason, "message": message}}
    return {"phase": "Pending", "ready": False, "container": container}


def ended(code: int = 0, message: str = "") -> State:
    terminated = {
        "exitCode": code,
        "reason": "Error" if code else "Completed",
        "message": message,
        "finishedAt": _now(),
    }
    phase = "Failed" if code else "Succeeded"
    return {"phase": phase, "ready": False, "container": {"terminated": terminated}}


def prepare_result(job_config: dict[str, Any]) -> str:
    prepared = {
        "inputsHash": job_config["inputsHash"],
        "fingerprint": job_config["inputsHash"][:8],
        "cpu": "100m",
        "memory": "64Mi",
        "sharedMemory": "16Mi",
        "disk": "64Mi",
        "graceSeconds": 20,
        "modelBytes": 1,
        "checkpointBytes": 1,
    }
    plan = {
        "ranks": job_config["pods"] * job_config["ranksPerPod"],
        "microBatch": 8,
        "accumulation": 1,
        "globalBatch": 32,
        "strategy": "DeepSpeed",
        "precision": "bf16",
        "maxLength": 128,
        "learningRate": 2e-4,
        "steps": 100,
        "stepsPerEpoch": 40,
        "checkpointEvery": 10,
        "memoryBytes": 1,
    }
    data = {"rows": 900, "trainRows": 800, "validationRows": 50, "testRows": 50, "tokens": 9000}
    document = {"apiVersion": "1.0", "prepared": prepared, "plan": plan, "data": data}
    return json.dumps(document)


class ScriptedNode:
    """Registers, keeps its heartbeat, and moves its pods."""

    def __init__(self, kubeconfig: Path) -> None:
        self._api = client.CoreV1Api(config.new_client_from_config(str(kubeconfig)))
        self._script: dict[tuple[str, str, str, int | None], State] = {}
        self._servers: dict[str, ThreadingHTTPServer] = {}
        self._reports: dict[str, dict[str, Any]] = {}
        self._shown: dict[str, State] = {}
        self._leaving: dict[str, float] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._loop, daemon=True)
        self.grace = 0.5

    def start(self) -> None:
        self._api.create_node({"metadata": {"name": NAME}})
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join(5)
        for server in self._servers.values():
            server.shutdown()
            server.server_close()

    def show(
        self, namespace: str, job: str, role: str, state: State, *, index: int | None = None
    ) -> None:
        """From now on, the role's pods (or one index of them) are in this state."""
        self._script[namespace, job, role, index] = state

    def progress(self, namespace: str, job: str, report: dict[str, Any]) -> None:
        """From now on, index 0 of the job answers this on /progress."""
        address = _address(namespace, job, 0)
        self._reports[address] = report
        if address not in self._servers:
            reports = self._reports

            class Handler(BaseHTTPRequestHandler):
                def do_GET(self) -> None:
                    body = json.dumps(reports[address]).encode()
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)

                def log_message(self, *_: Any) -> None:
                    pass

            server = ThreadingHTTPServer((address, PORT_HTTP), Handler)
            threading.Thread(target=server.serve_forever, daemon=True).start()
            self._servers[address] = server

    def _loop(self) -> None:
        beat = 0.0
        while not self._stopped.wait(0.15):
            if time.monotonic() > beat:
                self._heartbeat()
                beat = time.monotonic() + 10
            answer = self._api.list_pod_for_all_namespaces(
                field_selector=f"spec.nodeName={NAME}", _preload_content=False
            )
            for pod in json.loads(answer.data)["items"]:
                try:
                    self._move(pod)
                except client.ApiException as error:
                    if error.status not in (404, 409):
                        raise

    def _heartbeat(self) -> None:
        room = {"cpu": "640", "memory": "640Gi", "pods": "900", "nvidia.com/gpu": "900"}
        ready = {
            "type": "Ready",
            "status": "True",
            "reason": "Scripted",
            "lastHeartbeatTime": _now(),
        }
        status = {"capacity": room, "allocatable": room, "conditions": [ready]}
        self._api.patch_node_status(NAME, {"status": status})

    def _move(self, pod: dict[str, Any]) -> None:
        metadata = pod["metadata"]
        uid = metadata["uid"]
        if "deletionTimestamp" in metadata:
            self._leave(pod)
            return
        if pod["status"]["phase"] in ("Succeeded", "Failed"):
            return
        wanted = self._wanted(pod)
        if self._shown.get(uid) != wanted:
            self._write(pod, wanted)
            self._shown[uid] = wanted

    def _leave(self, pod: dict[str, Any]) -> None:
        metadata = pod["metadata"]
        since = self._leaving.setdefault(metadata["uid"], time.monotonic())
        if time.monotonic() - since < self.grace:
            return
        if pod["status"]["phase"] not in ("Succeeded", "Failed"):
            self._write(pod, ended(50))
        self._api.delete_namespaced_pod(
            metadata["name"],
            metadata["namespace"],
            body={"gracePeriodSeconds": 0, "preconditions": {"uid": metadata["uid"]}},
        )

    def _wanted(self, pod: dict[str, Any]) -> State:
        metadata = pod["metadata"]
        namespace, job = metadata["namespace"], metadata["labels"].get(LABEL_JOB, "")
        role = metadata["labels"].get(LABEL_ROLE, "")
        for index in (_index(pod), None):
            if (namespace, job, role, index) in self._script:
                return self._script[namespace, job, role, index]
        uid = metadata["uid"]
        if role == "prepare" and uid in self._shown:
            if "running" in self._shown[uid]["container"]:
                env = {e["name"]: e.get("value") for e in pod["spec"]["containers"][0]["env"]}
                return ended(0, prepare_result(json.loads(env[ENV_JOB])))
            return self._shown[uid]
        return self._shown.get(uid) or running()

    def _write(self, pod: dict[str, Any], state: State) -> None:
        metadata = pod["metadata"]
        labels = metadata["labels"]
        address = _address(metadata["namespace"], labels.get(LABEL_JOB, ""), _index(pod))
        container = {
            "name": pod["spec"]["containers"][0]["name"],
            "image": pod["spec"]["containers"][0]["image"],
            "imageID": "",
            "ready": state["ready"],
            "restartCount": 0,
            "state": state["container"],
        }
        ready = {
            "type": "Ready",
            "status": "True" if state["ready"] else "False",
            "lastTransitionTime": _now(),
        }
        has_address = "waiting" not in state["container"]
        status = {
            "phase": state["phase"],
            "startTime": _now(),
            "conditions": [ready],
            "containerStatuses": [container],
            **({"podIP": address, "podIPs": [{"ip": address}]} if has_address else {}),
        }
        body = {"metadata": {"uid": metadata["uid"]}, "status": status}
        self._api.patch_namespaced_pod_status(metadata["name"], metadata["namespace"], body)


def _index(pod: dict[str, Any]) -> int:
    annotations = pod["metadata"].get("annotations") or {}
    return int(annotations.get("batch.kubernetes.io/job-completion-index", "0"))


def _address(namespace: str, job: str, index: int) -> str:
    digest = hashlib.sha256(f"{namespace}/{job}/{index}".encode()).digest()
    return f"127.{100 + digest[0] % 100}.{digest[1]}.{1 + digest[2] % 254}"


def _now() -> str:
    return datetime.now(tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
