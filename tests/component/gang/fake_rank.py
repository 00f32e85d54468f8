"""A rank without torch: speaks the protocol of real ranks, agrees on each step over TCP, and
computes a hash chain, so that a wrong resume gives a wrong result.

The folder FAKE_FAULTS holds orders for it: `r<rank>-<step>-<what>`, each obeyed once.
"""

import hashlib
import json
import os
import shutil
import socket
import sys
import time
from pathlib import Path

RANK, WORLD = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
LOCAL, PER_POD = int(os.environ["LOCAL_RANK"]), int(os.environ["LOCAL_WORLD_SIZE"])
WORK = Path(os.environ["FINETUNE_WORKDIR"])
STEPS = int(os.environ.get("FAKE_STEPS", "12"))
EVERY = int(os.environ.get("FAKE_EVERY", "4"))
SECONDS = float(os.environ.get("FAKE_SECONDS", "0.05"))
SAVE_SECONDS = float(os.environ.get("FAKE_SAVE", "0"))
EVALUATE_SECONDS = float(os.environ.get("FAKE_EVALUATE", "0"))
BEST = int(os.environ.get("FAKE_BEST", "100"))
FAULTS = Path(os.environ["FAKE_FAULTS"])
EVENTS = int(os.environ["FINETUNE_EVENTS_FD"])
DIE_LATE = os.environ.get("FAKE_DEAF")


def tell(kind, **event):
    os.write(EVENTS, json.dumps({"type": kind, **event}).encode() + b"\n")


class Group:
    """MAX over one integer of every rank: rank 0 collects and answers."""

    def __init__(self):
        address = (os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]))
        self.peers = []
        if RANK == 0:
            server = socket.create_server(address)
            server.settimeout(20)
            self.peers = [server.accept()[0] for _ in range(WORLD - 1)]
            return
        for _ in range(200):
            try:
                self.peers = [socket.create_connection(address)]
                return
            except OSError:
                time.sleep(0.1)
        raise RuntimeError("rendezvous failed")

    def highest(self, value):
        if RANK == 0:
            value = max([value, *(self._get(peer) for peer in self.peers)])
            for peer in self.peers:
                peer.sendall(bytes([value]))
            return value
        self.peers[0].sendall(bytes([value]))
        return self._get(self.peers[0])

    def _get(self, peer):
        data = peer.recv(1)
        if not data:
            raise RuntimeError("[gloo/transport/tcp/pair.cc:534] Connection closed by peer")
        return data[0]


def chain(text, step):
    return hashlib.sha256(f"{text}/{step}".encode()).hexdigest()


def fault(step):
    """Obey an order once; gives what it was."""
    for order in FAULTS.glob(f"r{RANK}-{step}-*"):
        order.unlink()
        what = order.name.split("-", 2)[2]
        if what == "user":
            tell(
                "failed",
                **{"class": "UserError"},
                message="labels are wrong",
                remedy="fix",
                step=step,
            )
            sys.exit(1)
        if what == "gate":
            results = [{"metric": "m", "base": "0.9", "tuned": "0.8", "interval": "?", "rows": 9}]
            tell("evaluation", results=results)
            failure = {"class": "GateNotMet", "message": "no better", "remedy": "more rows"}
            tell("failed", **failure, step=step)
            sys.exit(45)
        if what == "nan":
            failure = {"class": "NonFinite", "message": f"loss became nan at step {step}"}
            tell("failed", **failure, remedy="set a smaller training.learningRate", step=step)
            sys.exit(43)
        if what == "memory":
            failure = {"class": "OutOfMemory", "message": "CUDA out of memory"}
            tell("failed", **failure, remedy="use LoRA", step=step)
            sys.exit(1)
        if what == "ecc":
            print("CUDA error: uncorrectable ECC error encountered", file=sys.stderr)
            os.abort()
        if what == "crash":
            raise ValueError("something broke in rank code")
        if what == "exit7":
            print("last line before the end", file=sys.stderr)
            sys.exit(7)
        if what == "hang":
            time.sleep(600)
        if what == "stopself":
            os.kill(os.getppid(), 15)


def save(step, state):
    begin = time.monotonic()
    final = WORK / "checkpoints" / f"step-{step:08d}"
    temporary = WORK / "checkpoints" / f".tmp-{step:08d}"
    temporary.mkdir(exist_ok=True)
    if RANK == 0:
        (temporary / "trainer_state.json").write_text(json.dumps({"step": step, "x": state}))
    (temporary / f"rng_state_{RANK}.pth").write_text(f"{RANK}:{state}")
    time.sleep(SAVE_SECONDS)
    GROUP.highest(0)
    if LOCAL == 0:
        temporary.rename(final)
        for old in sorted(final.parent.glob("step-*"))[:-2]:
            shutil.rmtree(old)
    GROUP.highest(0)
    if LOCAL == 0:
        size = sum(p.stat().st_size for p in final.iterdir())
        tell("checkpoint", step=step, path=str(final), seconds=time.monotonic() - begin, bytes=size)


def flags():
    control = WORK / "control"
    if (control / "stop").exists():
        return 2
    request = control / "save"
    if request.exists():
        name = request.read_text()
        if name != flags.seen:
            flags.seen = name
            return 1
    return 0


flags.seen = ""


def train():
    state, step = "start", 0
    resume = os.environ.get("FINETUNE_RESUME")
    if resume:
        document = json.loads((Path(resume) / "trainer_state.json").read_text())
        state, step = document["x"], document["step"]
        own = (Path(resume) / f"rng_state_{RANK}.pth").read_text()
        assert own == f"{RANK}:{state}", own
    while step < STEPS:
        fault(step + 1)
        time.sleep(SECONDS)
        step += 1
        state = chain(state, step)
        tell("heartbeat", step=step)
        agreed = GROUP.highest(flags())
        if RANK == 0:
            values = {"loss": 1 / step, "learning_rate": 1e-4, "step_seconds": SECONDS}
            if step % EVERY == 0:
                values["eval_loss"] = abs(step - BEST)
            tell("metrics", step=step, totalSteps=STEPS, epoch=step / STEPS, values=values)
        if step % EVERY == 0:
            time.sleep(EVALUATE_SECONDS)
        if agreed or (step % EVERY == 0 and step < STEPS):
            save(step, state)
        if agreed == 2:
            tell("preempted", step=step)
            print(f"left after step {step}")
            sys.exit(50)
    return state


def main():
    tell("stage", stage="train")
    try:
        state = train()
    except Exception as error:
        tell("failed", **{"class": "RankFailed"}, message=f"{type(error).__name__}: {error}",
             remedy="see this rank's log", step=0)  # fmt: skip
        raise
    if RANK == 0:
        tell("stage", stage="export")
        adapter = WORK / "output" / "adapter"
        shutil.rmtree(adapter, ignore_errors=True)
        adapter.mkdir(parents=True)
        (adapter / "weights.txt").write_text(state)
        tell("artifact", name="adapter", path=str(adapter))
        row = {
            "metric": "accuracy",
            "base": "0.5",
            "tuned": "0.9",
            "interval": "0.3..0.5",
            "rows": 9,
        }
        tell("evaluation", results=[row])
        tell("forgetting", results=[{**row, "tuned": "0.4"}])
        folder = Path(os.environ["FINETUNE_WORKDIR"]) / "output" / "report"
        folder.mkdir(parents=True, exist_ok=True)
        won = {"results": [row], "wins": 5, "ties": 3, "losses": 1}
        (folder / "evaluation.json").write_text(json.dumps(won))
    GROUP.highest(0)
    tell("done")


if os.environ.get("FAKE_PREPARE"):
    sys.exit(0)
GROUP = Group()
main()
