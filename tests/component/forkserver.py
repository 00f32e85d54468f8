"""A process that has imported torch, transformers, PEFT and DeepSpeed, and forks ranks from itself.

Those imports take 10 to 40 seconds a process; a fork takes milliseconds. The server starts no
threads and no process groups, so its children are as good as new processes.
"""

import contextlib
import gc
import importlib
import importlib.util
import os
import pickle
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

IMPORTS = (
    "torch", "transformers", "transformers.trainer", "peft", "accelerate", "deepspeed",
    "deepspeed.ops", "datasets", "sklearn.linear_model", "sklearn.metrics", "scipy.stats",
    "transformers.models.auto.modeling_auto", "transformers.models.bert.modeling_bert",
    "deepspeed.runtime.zero.stage_1_and_2", "deepspeed.runtime.zero.stage3",
    "deepspeed.runtime.engine",
    "transformers.models.llama.modeling_llama", "trl.trainer.sft_trainer",
    "finetune_trainer.rank", "finetune_trainer.train", "finetune_trainer.objectives.sft",
    "finetune_trainer.prepare", "finetune_trainer.data.sources", "finetune_trainer.data.build",
    "finetune_trainer.tasks.text_classification", "finetune_trainer.tasks.text_generation",
    "finetune_trainer.tasks.question_answering", "torchmetrics.functional.text",
    "finetune_trainer.tasks.token_classification", "seqeval.metrics.sequence_labeling",
    "finetune_trainer.model.adapter", "rensa", "py3langid",
)  # fmt: skip
CLEAN = {"OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu", "HF_HUB_OFFLINE": "1",
         "TOKENIZERS_PARALLELISM": "false", "CUDA_VISIBLE_DEVICES": ""}  # fmt: skip


@dataclass
class Child:
    """One process to fork: its environment and the arguments of the function."""

    env: dict[str, str] = field(default_factory=dict)
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass
class Outcome:
    """How a child ended: exit code (negative: a signal), what the function returned, its output."""

    code: int
    value: Any
    output: str


class ForkServer:
    """The test's side: starts the server once, sends calls to it."""

    def __init__(self, folder: Path) -> None:
        self.address = str(folder / "forkserver.sock")
        self.log = folder / "forkserver.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, __file__, self.address], env=os.environ | CLEAN,
                stdout=log, stderr=log, stdin=subprocess.DEVNULL,
            )  # fmt: skip

    def call(
        self, function: Any, children: list[Child] | None = None, *, timeout: float = 120
    ) -> list[Outcome]:
        """Run ``function`` (of a module's top level) in one forked process a child."""
        request = {
            "file": sys.modules[function.__module__].__file__, "function": function.__name__,
            "children": [(child.env, child.arguments) for child in children or [Child()]],
            "timeout": timeout,
        }  # fmt: skip
        with self._connection() as stream:
            pickle.dump(request, stream)
            stream.flush()
            return [Outcome(*outcome) for outcome in pickle.load(stream)]

    @contextlib.contextmanager
    def _connection(self) -> Any:
        limit = time.monotonic() + 180
        client = socket.socket(socket.AF_UNIX)
        while True:
            try:
                client.connect(self.address)
                break
            except OSError:
                if self.process.poll() is not None or time.monotonic() > limit:
                    raise RuntimeError(self.log.read_text()[-4000:]) from None
                time.sleep(0.1)
        with client, client.makefile("rwb") as stream:
            yield stream

    def close(self) -> None:
        """Stop the server."""
        self.process.terminate()
        self.process.wait(10)


def serve(address: str) -> None:
    """The server's side: import, then fork for every call."""
    from finetune_trainer.uncompiled import import_quantisation

    import_quantisation()
    for name in IMPORTS:
        importlib.import_module(name)
    _warm()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen(8)
    while True:
        connection, _ = listener.accept()
        with connection, connection.makefile("rwb") as stream:
            request = pickle.load(stream)
            pickle.dump(_run(request), stream)
            stream.flush()


def _warm() -> None:
    """Fill caches that every child would fill: patterns of weight names, DeepSpeed's optimizers,
    the model of languages."""
    import py3langid
    from sklearn.linear_model import LogisticRegression
    from transformers.conversion_mapping import get_checkpoint_conversion_mapping

    from finetune_trainer.distributed import without_compiler, without_inductor

    get_checkpoint_conversion_mapping("bert")
    without_compiler()
    without_inductor()
    LogisticRegression().fit([[0.0], [1.0]], [0, 1])
    py3langid.classify("warm")
    # A collection in a child would copy every page of the imported modules.
    gc.collect()
    gc.freeze()


def _run(request: dict[str, Any]) -> list[tuple[int, Any, str]]:
    folder = Path(os.environ.get("TMPDIR", "/tmp"))
    started = []
    for number, (env, arguments) in enumerate(request["children"]):
        place = folder / f"forked-{os.getpid()}-{number}-{time.monotonic_ns()}"
        pid = os.fork()
        if pid == 0:
            _child(place, request, env, arguments)
        started.append((pid, place))
    limit = time.monotonic() + request["timeout"]
    return [_ended(pid, place, limit) for pid, place in started]


def _child(place: Path, request: dict[str, Any], env: dict[str, str], arguments: Any) -> None:
    """In the fork: run the function, leave its value in a file, never return."""
    code = 99
    try:
        os.setpgid(0, 0)
        output = os.open(f"{place}.out", os.O_CREAT | os.O_WRONLY, 0o600)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.environ.update(env)
        spec = importlib.util.spec_from_file_location("forked_case", request["file"])
        module = importlib.util.module_from_spec(spec)
        sys.modules["forked_case"] = module
        spec.loader.exec_module(module)
        value = getattr(module, request["function"])(**arguments)
        Path(f"{place}.value").write_bytes(pickle.dumps(value))
        code = value if isinstance(value, int) else 0
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _ended(pid: int, place: Path, limit: float) -> tuple[int, Any, str]:
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            break
        if time.monotonic() > limit:
            os.kill(pid, signal.SIGKILL)
            limit = float("inf")
        time.sleep(0.01)
    value_file, output_file = Path(f"{place}.value"), Path(f"{place}.out")
    value = pickle.loads(value_file.read_bytes()) if value_file.exists() else None
    output = output_file.read_text(errors="replace") if output_file.exists() else ""
    value_file.unlink(missing_ok=True)
    output_file.unlink(missing_ok=True)
    return os.waitstatus_to_exitcode(status), value, output


if __name__ == "__main__":
    serve(sys.argv[1])
