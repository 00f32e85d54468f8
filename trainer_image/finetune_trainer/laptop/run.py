"""`finetune-trainer run`: prepare, then one supervisor a pod, all on this machine.

Stands in for the Job controller: a supervisor that dies is started again, a few times. Ctrl-C
saves and stops; the same command goes on from there. Everything it starts dies with it.
"""

import json
import math
import os
import secrets
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from finetune_api import names
from finetune_api.exits import EXIT_CODES, FINAL_CODES, FREE_CODES, ExitClass
from finetune_api.jobconfig import JobConfig
from finetune_api.progress import PrepareResult, ProgressReport
from finetune_trainer.config import parse_config
from finetune_trainer.gang.environment import processors
from finetune_trainer.gang.signals import die_with_parent
from finetune_trainer.laptop.addresses import choose
from finetune_trainer.laptop.view import View, summary

RESTARTS = 5
POLL_SECONDS = 0.5
LEAVE_SECONDS = 90.0
LOG_LINES = 15


def say(line: str) -> None:
    """One line for the person."""
    print(line, flush=True)  # noqa: T201


class LocalRun:
    """The processes of one run."""

    def __init__(self, config: JobConfig, workdir: Path) -> None:
        self.config = config
        self.workdir = workdir
        self.asked = 0
        self.processes: dict[int, subprocess.Popen[bytes]] = {}
        self.restarts: dict[int, int] = {}
        self.last: ProgressReport | None = None
        self._shown = View()
        self._token = secrets.token_hex(16)
        self._addresses: list[str] = []

    def on_signal(self, *_: object) -> None:
        """Ctrl-C: save and stop; again: stop at once."""
        self.asked += 1
        if self.asked == 1 and self.processes:
            say("saving and stopping; Ctrl-C again stops at once")
        for process in self.processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)

    def _start(
        self, index: int, command: str, environment: dict[str, str], log: Path | None
    ) -> None:
        output = log.open("ab") if log else None
        self.processes[index] = subprocess.Popen(
            [sys.executable, "-m", "finetune_trainer", command],
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=die_with_parent(os.getpid()),
        )
        if output:
            output.close()

    def prepare(self) -> int:
        """Check and tokenise the data; the fingerprint goes into the configuration."""
        message = self.workdir / "prepare.json"
        message.unlink(missing_ok=True)
        environment = {
            names.ENV_JOB: self.config.model_copy(update={"fingerprint": None}).to_env(),
            names.ENV_WORKDIR: str(self.workdir / "prepare"),
            names.ENV_TERMINATION: str(message),
        }
        (self.workdir / "prepare").mkdir(exist_ok=True)
        self._start(0, "prepare", environment, None)
        code = self.processes.pop(0).wait()
        if code == 0:
            result = PrepareResult.model_validate(json.loads(message.read_text()), extra="ignore")
            fingerprint = result.prepared.fingerprint
            self.config = self.config.model_copy(update={"fingerprint": fingerprint})
            plan = result.plan
            say(
                f"plan: {plan.steps} steps of {plan.global_batch} rows, {plan.strategy}, "
                f"{plan.ranks} ranks, {plan.precision}"
            )
        return code

    def _start_pod(self, index: int) -> None:
        work = self.workdir / f"pod-{index}"
        work.mkdir(exist_ok=True)
        config = self.config
        environment = {
            names.ENV_JOB: config.to_env(),
            names.ENV_WORKDIR: str(work),
            names.ENV_POD_INDEX: str(index),
            names.ENV_POD_NAME: f"pod-{index}",
            names.ENV_POD_IP: self._addresses[index],
            names.ENV_GANG_HOSTS: ",".join(self._addresses),
            names.ENV_GANG_TOKEN: self._token,
            names.ENV_TERMINATION: str(work / "termination.json"),
        }
        if "OMP_NUM_THREADS" not in os.environ:
            environment["OMP_NUM_THREADS"] = str(max(1, int(processors() // config.world_size)))
        self._start(index, "supervise", environment, work / "supervisor.log")

    def train(self) -> int:
        """Run the gang to its end; index 0's code is the run's."""
        self._addresses = choose(self.config.pods)
        for index in range(self.config.pods):
            self._start_pod(index)
        say(f"logs: {self.workdir}/pod-*/logs")
        while (code := self._supervise()) is None:
            self._show()
            time.sleep(POLL_SECONDS)
        return code

    def _supervise(self) -> int | None:
        """Look after the supervisors; the run's code when index 0 has left for good."""
        for index, process in self.processes.items():
            code = process.poll()
            if code is None:
                continue
            settled = code == 0 or code in FINAL_CODES or (self.asked and code in FREE_CODES)
            if index == 0 and (settled or self.restarts.get(0, 0) >= RESTARTS or self.asked):
                return code if code >= 0 else EXIT_CODES[ExitClass.INTERNAL_ERROR]
            if not settled and not self.asked and self.restarts.get(index, 0) < RESTARTS:
                self.restarts[index] = self.restarts.get(index, 0) + 1
                say(f"pod {index} left with code {code}: starting it again")
                self._start_pod(index)
                break
        return None

    def _show(self) -> None:
        url = f"http://{self._addresses[0]}:{names.PORT_HTTP}/progress"
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310
                self.last = ProgressReport.read(json.loads(answer.read()))
        except (OSError, ValueError):
            return
        for line in self._shown.lines(self.last, time.monotonic()):
            say(line)

    def finish(self, code: int) -> int:
        """The last lines: what came out, or why it did not."""
        try:
            text = (self.workdir / "pod-0" / "termination.json").read_text()
            self.last = ProgressReport.read(json.loads(text))
        except (OSError, ValueError):
            self._tail()
        if self.last is not None:
            for line in [*self._shown.lines(self.last, math.inf), *summary(self.last, code)]:
                say(line)
        if code in FREE_CODES:
            say("run the same command again to go on")
        return code

    def _tail(self) -> None:
        log = self.workdir / "pod-0" / "supervisor.log"
        if log.is_file():
            for line in log.read_text(errors="replace").splitlines()[-LOG_LINES:]:
                say(f"  {line}")

    def close(self) -> None:
        """End all supervisors; their ranks end with them."""
        alive = [p for p in self.processes.values() if p.poll() is None]
        for process in alive:
            process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + (LEAVE_SECONDS if self.asked == 1 else 10)
        for process in alive:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def main(jobconfig: Path, workdir: Path | None) -> int:
    """Run a job on this machine; the exit code is the run's."""
    try:
        text = jobconfig.read_text(encoding="utf-8")
    except OSError as error:
        say(f"cannot read {jobconfig}: {error.strerror}")
        return EXIT_CODES[ExitClass.USER_ERROR]
    config = parse_config(text, source=str(jobconfig))
    workdir = (workdir or Path("finetune-work") / config.name).absolute()
    workdir.mkdir(parents=True, exist_ok=True)
    run = LocalRun(config, workdir)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, run.on_signal)
    try:
        code = run.prepare()
        if code or run.asked:
            return code or EXIT_CODES[ExitClass.PREEMPTED]
        return run.finish(run.train())
    finally:
        run.close()
