"""The scripted node of the local cluster, in a thread, with what pods of this project do by
default: prepare ends well with a result, training pods answer their probe and stay until they go.
"""

import asyncio
import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from finetune_api.names import ENV_JOB, LABEL_JOB, LABEL_ROLE, PORT_HTTP
from localcluster.node.network import pod_address
from localcluster.node.scripted import Fate, ScriptedNode, ScriptedRun

LEAVES_WELL = Fate(sigterm_exit_code=50)
INDEX = "batch.kubernetes.io/job-completion-index"
Part = tuple[str, str, str, int | None]


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


class Pods(ThreadingHTTPServer):
    """What one pod answers: its probe, and /progress once the test gave it a report."""

    daemon_threads = True

    def __init__(self, address: str) -> None:
        self.report: dict[str, Any] | None = None
        super().__init__((address, PORT_HTTP), Answers)
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Answers(BaseHTTPRequestHandler):
    """One request."""

    def do_GET(self) -> None:
        assert isinstance(self.server, Pods)
        report = self.server.report
        if self.path == "/progress" and report is None:
            self.send_error(503)
            return
        body = b"ok" if self.path == "/healthz" else json.dumps(report).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


class Stage:
    """The node `scripted`, others that tests add, and what a test says their pods do."""

    def __init__(self, kubeconfig: Path) -> None:
        self._kubeconfig = kubeconfig
        self._node = self._made("scripted", gpus=900)
        self._others: dict[str, ScriptedNode] = {}
        self._fates: dict[Part, Fate] = {}
        self._reports: dict[tuple[str, str], dict[str, Any]] = {}
        self._servers: dict[str, Pods] = {}
        self._leaders: dict[tuple[str, str], Pods] = {}
        self._loop = asyncio.new_event_loop()
        self._up, self._leave = threading.Event(), asyncio.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()
        assert self._up.wait(30)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._leave.set)
        self._thread.join(10)
        for server in self._servers.values():
            server.shutdown()
            server.server_close()

    def _made(self, name: str, gpus: int, cpu: str = "900", **labels: str) -> ScriptedNode:
        return ScriptedNode(
            self._kubeconfig,
            name,
            gpus,
            cpu=cpu,
            memory="900Gi",
            script=self._fate,
            labels=labels,
        )

    def join(self, name: str, gpus: int = 0, cpu: str = "900", **labels: str) -> None:
        """Add a node."""
        node = self._others[name] = self._made(name, gpus, cpu, **labels)
        asyncio.run_coroutine_threadsafe(node.__aenter__(), self._loop).result(30)

    def silence(self, name: str) -> None:
        """Cut an added node off: no lease, no status; what runs there goes on."""
        self._loop.call_soon_threadsafe(self._others[name].silence)

    def speak(self, name: str) -> None:
        """Let it be heard again."""
        self._loop.call_soon_threadsafe(self._others[name].speak)

    def leave(self, name: str) -> None:
        """Take an added node away, and its Node object."""
        node = self._others.pop(name)
        asyncio.run_coroutine_threadsafe(node.__aexit__(), self._loop).result(30)

    def running(self, namespace: str, job: str) -> list[ScriptedRun]:
        """The containers of a job that run, by index."""
        nodes = (self._node, *self._others.values())
        runs = [run for node in nodes for run in node.running()]
        mine = [run for run in runs if _parts(run.launch.pod)[0][:2] == (namespace, job)]
        return sorted(mine, key=lambda run: _parts(run.launch.pod)[0][3] or 0)

    def show(
        self, namespace: str, job: str, role: str, fate: Fate, *, index: int | None = None
    ) -> None:
        """From now on this becomes of the role's pods, or of one index of them; of those that run
        already too, if it is an end."""
        part = (namespace, job, role, index)
        self._fates[part] = fate
        if fate.after is not None:
            self._loop.call_soon_threadsafe(self._end, part, fate)

    def show_nothing(self, namespace: str, job: str, role: str) -> None:
        """From now on the role's pods do what they do by default."""
        del self._fates[namespace, job, role, None]

    def progress(self, namespace: str, job: str, report: dict[str, Any]) -> None:
        """From now on, index 0 of the job reports this."""
        self._reports[namespace, job] = report
        server = self._leaders.get((namespace, job))
        if server is not None:
            server.report = report

    def _run(self) -> None:
        async def run() -> None:
            async with self._node:
                self._up.set()
                await self._leave.wait()
                for node in self._others.values():
                    await node.__aexit__()

        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(run())

    def _end(self, part: Part, fate: Fate) -> None:
        for run in (run for node in (self._node, *self._others.values()) for run in node.running()):
            if part in _parts(run.launch.pod):
                run.end(fate)

    def _fate(self, pod: dict[str, Any]) -> Fate:
        mine = _parts(pod)
        namespace, job, role, index = mine[0]
        told = next((self._fates[part] for part in mine if part in self._fates), None)
        if told is not None:
            return told
        if role != "prepare":
            self._serve(pod, namespace, job, index or 0)
            return LEAVES_WELL
        env = {e["name"]: e.get("value") for e in pod["spec"]["containers"][0]["env"]}
        return Fate(after=0.3, message=prepare_result(json.loads(env[ENV_JOB] or "")))

    def _serve(self, pod: dict[str, Any], namespace: str, job: str, index: int) -> None:
        address = pod_address(pod)
        if address in self._servers:
            return
        with contextlib.suppress(OSError):
            server = self._servers[address] = Pods(address)
            if index == 0:
                self._leaders[namespace, job] = server
                server.report = self._reports.get((namespace, job))


def _parts(pod: dict[str, Any]) -> list[Part]:
    """What a fate may be told for: this index, or the whole role."""
    metadata = pod["metadata"]
    labels = metadata["labels"]
    role = (metadata["namespace"], labels.get(LABEL_JOB, ""), labels.get(LABEL_ROLE, ""))
    return [(*role, int(labels.get(INDEX, "0"))), (*role, None)]
