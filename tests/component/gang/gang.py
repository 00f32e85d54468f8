"""Runs real supervisors with fake ranks on addresses of their own, and looks at the results."""

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from finetune_api import names
from finetune_api.job import FineTuneJob
from finetune_api.jobconfig import build
from finetune_trainer.storage.checkpoints import upload_folder
from finetune_trainer.storage.objects import ObjectStore, open_store

FAKE_RANK = Path(__file__).with_name("fake_rank.py")
FINGERPRINT = "f00d"
TOKEN = "gang-token"
PLAN = {"strategy": "DDP", "steps": 12, "learningRate": 0.4}
QUICK = {"FINETUNE_TIMING_COLLECT": "0.5", "FINETUNE_TIMING_HEARTBEAT": "0.3"}


def free_address() -> str:
    """A loopback address on which both ports of a supervisor are free."""
    while True:
        address = f"127.{random.randint(10, 250)}.{random.randint(0, 255)}.{random.randint(1, 254)}"
        try:
            for port in (names.PORT_HTTP, names.PORT_GANG):
                with socket.socket() as probe:
                    probe.bind((address, port))
        except OSError:
            continue
        return address


def wait_for(what: Callable[[], Any], text: str | Callable[[], str], seconds: float = 30) -> Any:
    """Poll until it gives something true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if result := what():
            return result
        time.sleep(0.05)
    told = text() if callable(text) else text
    raise AssertionError(f"not within {seconds} s: {told}")


def outliving(processes: list[psutil.Process], seconds: float = 5) -> list[psutil.Process]:
    """Those that still run after a while; dead ones that nobody reaped yet do not count."""

    def running() -> list[psutil.Process]:
        found = []
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    end = time.monotonic() + seconds
    while (alive := running()) and time.monotonic() < end:
        time.sleep(0.02)
    return alive


class Door:
    """The host name of index 0: a stable address that leads to whoever is index 0 now."""

    def __init__(self, target: str) -> None:
        self.address, self.target = free_address(), target
        self._server = socket.create_server((self.address, names.PORT_GANG))
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                came, _ = self._server.accept()
                try:
                    there = socket.create_connection((self.target, names.PORT_GANG), timeout=1)
                except OSError:
                    came.close()
                    continue
                there.settimeout(None)
                for one, other in ((came, there), (there, came)):
                    threading.Thread(target=_pass_on, args=(one, other), daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    for end in (source, target):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


class GangRun:
    """One job: its bucket folder, its supervisors, its faults."""

    def __init__(
        self, folder: Path, output: str, *, pods: int, environment: dict[str, str] | None = None,
        storage: dict[str, str] | None = None, max_attempts: int = 4,
        gpus: int = 0, training: dict[str, str] | None = None,
        checkpointing: dict[str, object] | None = None, **fake: object,
    ) -> None:  # fmt: skip
        self.folder = folder
        self.output = output
        self.addresses = [free_address() for _ in range(pods)]
        self.faults = folder / "faults"
        self.faults.mkdir(parents=True)
        model = folder / "base-model"
        model.mkdir()
        (model / "config.json").write_text("{}")
        job = FineTuneJob.from_manifest({
            "metadata": {"name": "demo", "namespace": "team"},
            "spec": {
                "task": "TextClassification",
                "model": {"uri": model.as_uri() + "/"},
                "dataset": {"train": {"uri": "file:///none.jsonl"}},
                "method": {"lora": {}},
                "resources": {"nodes": pods, "gpusPerNode": gpus},
                "output": {"uri": output},
                "storage": storage or {},
                "retries": {"maxAttempts": max_attempts},
                "training": training or {},
                "checkpointing": checkpointing or {},
            },
        })  # fmt: skip
        self.config = build(job, fingerprint=FINGERPRINT)
        self.environment = {**os.environ, **QUICK, **(environment or {})}
        self.environment |= {f"FAKE_{k.upper()}": str(v) for k, v in fake.items()}
        self.processes: dict[int, subprocess.Popen[bytes]] = {}
        self.lives: dict[int, int] = {}
        self.everyone: list[subprocess.Popen[bytes]] = []
        saved = dict(os.environ)
        os.environ.update(environment or {})
        self.store: ObjectStore = open_store(job.spec.storage)
        prepared = folder / "prepared-source"
        prepared.mkdir()
        self.store.write_json(f"{output}plan-1.json", PLAN)
        (prepared / "rows.txt").write_text("rows")
        upload_folder(self.store, prepared, f"{output}prepared/{FINGERPRINT}/")
        self._saved = saved

    def start(self, index: int, *, fresh: bool = False, **more: str) -> subprocess.Popen[bytes]:
        """Start a supervisor; ``fresh`` gives it an empty disk, as a replaced pod has."""
        life = self.lives[index] = self.lives.get(index, -1) + 1
        work = self.folder / f"pod-{index}{f'-{life}' if fresh else ''}"
        environment = {
            **self.environment,
            names.ENV_JOB: self.config.to_env(),
            names.ENV_WORKDIR: str(work),
            names.ENV_POD_INDEX: str(index),
            names.ENV_POD_NAME: f"demo-train-{index}",
            names.ENV_POD_IP: self.addresses[index],
            names.ENV_NODE_NAME: f"node-{index}",
            names.ENV_GANG_HOSTS: ",".join(self.addresses),
            names.ENV_GANG_TOKEN: TOKEN,
            names.ENV_TERMINATION: str(self.folder / f"termination-{index}"),
            "FINETUNE_RANK_COMMAND": f"{sys.executable} {FAKE_RANK}",
            "FAKE_FAULTS": str(self.faults),
            **more,
        }
        log = (self.folder / f"pod-{index}.log").open("ab")
        process = subprocess.Popen(
            [sys.executable, "-m", "finetune_trainer", "supervise"],
            env=environment, stdout=log, stderr=log,
        )  # fmt: skip
        self.processes[index] = process
        self.everyone.append(process)
        return process

    def start_all(self) -> None:
        """All pods at once."""
        for index in range(len(self.addresses)):
            self.start(index)

    def order(self, rank: int, step: int, what: str) -> None:
        """A fault for a fake rank."""
        (self.faults / f"r{rank}-{step}-{what}").touch()

    def progress(self, index: int = 0) -> dict[str, Any]:
        """GET /progress; empty while nobody answers."""
        return json.loads(self.get("/progress", index) or "{}")

    def get(self, path: str, index: int = 0) -> str:
        """GET a path of a pod."""
        url = f"http://{self.addresses[index]}:{names.PORT_HTTP}{path}"
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                return answer.read().decode()
        except OSError:
            return ""

    def rank_pids(self, index: int) -> list[int]:
        """Processes of a supervisor's ranks."""
        return self._children(index, str(FAKE_RANK))

    def agents(self, index: int) -> list[int]:
        """The process of a supervisor's storage calls."""
        return self._children(index, "storage-agent")

    def _children(self, index: int, word: str) -> list[int]:
        try:
            children = psutil.Process(self.processes[index].pid).children()
            return [c.pid for c in children if word in c.cmdline()]
        except psutil.Error:
            return []

    def at_step(self, step: int, *, durable: int | None = None) -> None:
        """Wait until the run has come so far."""

        def reached() -> bool:
            report = self.progress()
            saved = report.get("checkpoint", {}).get("step", 0)
            return report.get("step", 0) >= step and (durable is None or saved >= durable)

        wait_for(reached, lambda: f"step {step}, durable {durable}: {self.logs()}")

    def wait(self, index: int = 0, seconds: float = 40) -> int:
        """Exit code of a supervisor."""
        try:
            return self.processes[index].wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"pod {index} did not leave:\n{self.logs()}") from None

    def terminate(self, index: int) -> None:
        """SIGTERM, as the kubelet sends it."""
        self.processes[index].send_signal(signal.SIGTERM)

    def kill(self, index: int) -> None:
        """SIGKILL to a supervisor alone."""
        self.processes[index].kill()
        self.processes[index].wait()

    def termination(self, index: int = 0) -> dict[str, Any]:
        """The termination message."""
        return json.loads((self.folder / f"termination-{index}").read_text())

    def read(self, name: str) -> dict[str, Any] | None:
        """A JSON object of the run."""
        return self.store.read_json(self.output + name)

    def attempts(self) -> list[dict[str, Any]]:
        """All ended attempts, in order."""
        found = []
        while end := self.read(f"attempts/{len(found) + 1:04d}.end.json"):
            found.append({**(self.read(f"attempts/{len(found) + 1:04d}.json") or {}), **end})
        return found

    def weights(self) -> str:
        """The result."""
        return self.store.read_bytes(self.output + "adapter/weights.txt").decode()

    def logs(self) -> str:
        """The end of all logs."""
        files = sorted(self.folder.glob("pod-*.log"))
        return "\n".join(f"--- {f.name}\n{f.read_text()[-1500:]}" for f in files)

    def close(self) -> None:
        """End what this run started; every rank must already be gone with its supervisor."""
        descendants = []
        for process in self.everyone:
            if process.poll() is None:
                descendants += psutil.Process(process.pid).children(recursive=True)
                process.kill()
                process.wait()
        alive = outliving(descendants)
        for process in alive:
            process.kill()
        os.environ.clear()
        os.environ.update(self._saved)
        assert not alive, f"outlived their supervisor: {alive}"
