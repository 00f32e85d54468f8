"""A bench for ranks: a tiny model, a prepared dataset, runs with one folder a pod."""

import hashlib
import importlib.util
import json
import re
import shutil
import socket
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file

from finetune_api.job import FineTuneJob
from finetune_api.jobconfig import JobConfig, build
from finetune_api.progress import Plan
from finetune_trainer.config import Places, step_folder
from finetune_trainer.gang.sync import plan_facts, run_facts
from finetune_trainer.storage.checkpoints import commit, fetch_checkpoint, upload_part
from finetune_trainer.storage.objects import open_store
from tests.component.trainer.kinds import KINDS


def _load(name: str, path: Path) -> Any:
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


HERE = Path(__file__).parent
forkserver = _load("trainer_forkserver", HERE.parent / "forkserver.py")
cases = _load("trainer_cases", HERE / "cases.py")
objectives = _load("trainer_cases_objectives", HERE / "cases_objectives.py")
sound_cases = _load("trainer_sound_cases", HERE / "sound_cases.py")
media_cases = _load("trainer_media_cases", HERE / "media_cases.py")
GLOBAL_BATCH = 8


@dataclass
class Run:
    """A finished run: exit code and output by rank, and its folders."""

    outcomes: list[Any]
    folders: list[Path]
    job: JobConfig

    @property
    def codes(self) -> list[int]:
        return [outcome.code for outcome in self.outcomes]

    @property
    def output(self) -> str:
        return "\n".join(outcome.output[-3000:] for outcome in self.outcomes)

    def events(self, kind: str, rank: int = 0) -> list[dict[str, Any]]:
        lines = (self.folders[rank] / "events.jsonl").read_text().splitlines()
        return [event for event in map(json.loads, lines) if event["type"] == kind]

    def curve(self, name: str = "loss") -> dict[int, float]:
        """A value by step, of the steps that have it."""
        told = {e["step"]: e["values"] for e in self.events("metrics")}
        return {step: values[name] for step, values in told.items() if name in values}

    def digest(self, name: str) -> str:
        """Hash of the exported weights."""
        files = sorted((self.folders[0] / "output" / name).glob("*.safetensors"))
        assert files, self.output
        return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()

    def weights(self) -> dict[str, Any]:
        """The exported weights by name: of the adapter, or of the model."""
        (file,) = (self.folders[0] / "output").glob("*/*.safetensors")
        return load_file(file)

    def store(self, step: int) -> str:
        """What supervisors do: a step to the bucket; gives its address."""
        store, name = open_store(self.job.spec.storage), step_folder(step)
        uri = f"{self.job.spec.output.uri}checkpoints/a0001/{name}/"
        for pod, folder in enumerate(self.folders):
            upload_part(store, folder / "checkpoints" / name, uri, pod=pod, attempt=1, step=step)
        places = Places(self.folders[0])
        facts = {
            **plan_facts(places), "run": run_facts(self.job, places),
            "worldSize": self.job.world_size, "fingerprint": self.job.fingerprint,
        }  # fmt: skip
        commit(store, uri, pods=len(self.folders), attempt=1, step=step, facts=facts)
        return uri


SHARING = {"output", "distribution", "resources"}
"""What of a job says how ranks share the work and where it goes, not what they learn."""


@dataclass
class Bench:
    """Prepares once, runs ranks in any arrangement: one task, one base model, one dataset."""

    server: Any
    folder: Path
    task: str = "TextClassification"
    count: int = 0
    prepared: dict[str, tuple[Path, dict[str, Any]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rows: Path | str = self.folder / "rows.jsonl"

    @property
    def model(self) -> Path:
        return self.folder / "model"

    def base_weights(self) -> dict[str, Any]:
        """The base model's weights by name."""
        return load_file(self.model / "model.safetensors")

    def job(self, method: dict[str, Any], ranks: int = 1, **spec: Any) -> JobConfig:
        self.count += 1
        training = {"globalBatchSize": GLOBAL_BATCH, "maxSteps": 6, "seed": 7, "dropout": 0.0,
                    "learningRate": 1e-3}  # fmt: skip
        manifest = {
            "metadata": {"name": "tiny"},
            "spec": {
                "task": self.task,
                "model": {"uri": f"file://{self.model}/"},
                "dataset": {"train": {"uri": f"file://{self.rows}"}, "test": {"fraction": 0.2}}
                | spec.pop("dataset", {}),
                "method": method,
                "training": training | spec.pop("training", {}),
                "resources": {"nodes": ranks, "gpusPerNode": 0},
                "output": {"uri": f"file://{self.folder}/out-{self.count}/"}
                | spec.pop("output", {}),
            }
            | spec,
        }
        return build(FineTuneJob.from_manifest(manifest))

    @staticmethod
    def at_step(step: int, control: str, content: str = "") -> Any:
        """Arguments of ranks: the last pod alone gets a request when it has done ``step``."""

        def arguments(rank: int, folder: Path) -> dict[str, Any]:
            if rank != 1:
                return {}
            request = folder / "control" / control
            done = folder / "done"
            return {"trouble": {"step": step, "touch": str(request), "done": str(done),
                                "content": content}}  # fmt: skip

        return arguments

    def prepare(self, job: JobConfig) -> tuple[Any, dict[str, Any]]:
        """Outcome of the prepare pod and its termination message."""
        message = self.folder / f"message-{self.count}"
        env = {"FINETUNE_JOB": job.to_env(), "FINETUNE_TERMINATION_LOG": str(message),
               "FINETUNE_WORKDIR": str(self.folder / f"prepare-{self.count}")}  # fmt: skip
        (outcome,) = self.server.call(cases.prepare, [forkserver.Child(env)])
        return outcome, json.loads(message.read_text())

    def run(
        self,
        method: dict[str, Any],
        *,
        ranks: int = 1,
        micro: int = GLOBAL_BATCH,
        zero: int | None = None,
        training: dict[str, Any] | None = None,
        resume: "Run | str | None" = None,
        function: Any = cases.run_rank,
        plan: dict[str, Any] | None = None,
        arguments: Any = None,
        **spec: Any,
    ) -> Run:
        """Run a gang, one pod a rank, every pod with a disk of its own. ``resume``: from another
        run's disks, or from this one's bucket, a folder below checkpoints/."""
        job = self.job(method, ranks, training=training or {}, **spec)
        prepared, message = self._prepared(job)
        made = Plan.model_validate(message["plan"]).model_copy(
            update={"ranks": ranks, "micro_batch": micro,
                    "accumulation": GLOBAL_BATCH // ranks // micro,
                    "strategy": "DDP" if zero is None else "DeepSpeed", "zero_stage": zero or 0}
            | (plan or {})
        )  # fmt: skip
        job = job.model_copy(update={"fingerprint": prepared.name})
        folders = [self.folder / f"run-{self.count}" / f"pod-{rank}" for rank in range(ranks)]
        children = []
        for rank, folder in enumerate(folders):
            for name in ("checkpoints", "control", "output"):
                (folder / name).mkdir(parents=True)
            (folder / "model").symlink_to(self.model)
            (folder / "prepared").symlink_to(prepared)
            (folder / "plan.json").write_text(json.dumps(made.to_wire()))
            env = self._env(job, rank, ranks, folder)
            if isinstance(resume, str):
                env["FINETUNE_RESUME"] = str(fetch_stored(job, resume, rank, folder))
            elif resume is not None:
                env["FINETUNE_RESUME"] = str(self._fetch(resume, rank, folder))
            extra = arguments(rank, folder) if arguments else {}
            child = {"events": str(folder / "events.jsonl"), **extra}
            children.append(
                forkserver.Child(env, child if function is not cases.probe_against_head else {})
            )
        port = _free_port()
        for child in children:
            child.env["MASTER_PORT"] = port
        return Run(self.server.call(function, children), folders, job)

    def _prepared(self, job: JobConfig) -> tuple[Path, dict[str, Any]]:
        """The prepared folder and prepare's message; jobs that differ only in how ranks share the
        work are prepared once. Another run's checkpoint is copied to each job's own output."""
        copies = job.spec.checkpointing.resume_from is not None
        spec = job.spec.model_dump_json(exclude=None if copies else SHARING)
        stamps = [_newest(Path(path)) for path in re.findall(r"file://([^\"]+)", spec)]
        key = f"{spec} {stamps}"
        if key not in self.prepared:
            outcome, message = self.prepare(job)
            assert outcome.code == 0, outcome.output
            folder = Path(job.spec.output.uri.removeprefix("file://")) / "prepared"
            self.prepared[key] = (folder / message["prepared"]["fingerprint"], message)
        return self.prepared[key]

    def _env(self, job: JobConfig, rank: int, ranks: int, folder: Path) -> dict[str, str]:
        return {
            "FINETUNE_JOB": job.to_env(), "FINETUNE_WORKDIR": str(folder), "RANK": str(rank),
            "WORLD_SIZE": str(ranks), "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1",
            "LOCAL_SIZE": "1", "CROSS_RANK": str(rank), "CROSS_SIZE": str(ranks),
            "MASTER_ADDR": "127.0.0.1", "GLOO_SOCKET_IFNAME": "lo", "HOME": str(folder),
            "FINETUNE_POD_INDEX": str(rank),
        }  # fmt: skip

    def _fetch(self, earlier: Run, rank: int, folder: Path) -> Path:
        """What a supervisor does: rank 0's files and the rank's own, from the newest step."""
        newest = sorted((earlier.folders[0] / "checkpoints").iterdir())[-1]
        target = folder / "resume" / newest.name
        for pod in {0, rank}:
            source = earlier.folders[pod] / "checkpoints" / newest.name
            shutil.copytree(
                source, target, dirs_exist_ok=True,
                ignore=lambda _, names: [n for n in names if _of_another_rank(n, rank)],
            )  # fmt: skip
        return target


def _newest(path: Path) -> int:
    """When a file or anything in a folder was last written, nanoseconds; 0 when nothing was."""
    files = [path, *path.rglob("*")]
    return max((file.stat().st_mtime_ns for file in files if file.is_file()), default=0)


def fetch_stored(job: JobConfig, below: str, rank: int, folder: Path) -> Path:
    """What a supervisor does: this pod's files of a step in the bucket."""
    target = folder / "resume" / below.rstrip("/").rpartition("/")[2]
    fetch_checkpoint(
        open_store(job.spec.storage), f"{job.spec.output.uri}checkpoints/{below}", target,
        ranks=range(rank, rank + 1), world_size=job.world_size,
    )  # fmt: skip
    return target


def _of_another_rank(name: str, rank: int) -> bool:
    for prefix in ("rng_state_", "zero_pp_rank_"):
        if name.startswith(prefix):
            return not name.removeprefix(prefix).startswith((f"{rank}.", f"{rank}_"))
    return False


def _free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Any:
    made = forkserver.ForkServer(tmp_path_factory.mktemp("forkserver"))
    yield made
    made.close()


def with_model(bench: Bench, make: Any, **shape: int) -> Bench:
    """The bench, once a forked process has made its base model."""
    child = forkserver.Child({}, {"folder": str(bench.model), **shape})
    (made,) = bench.server.call(make, [child])
    assert made.code == 0, made.output
    return bench


@pytest.fixture(scope="session")
def bench_of(server: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Makes benches; ``hidden`` is the width of their model."""

    def make(**shape: int) -> Bench:
        bench = Bench(server, tmp_path_factory.mktemp("bench"))
        cases.write_rows(bench.rows)
        return with_model(bench, cases.make_model, **shape)

    return make


@pytest.fixture(scope="session")
def bench(bench_of: Any) -> Bench:
    return bench_of()


@pytest.fixture(scope="session")
def writing_of(server: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Makes benches of a tiny causal language model and prompts with completions."""

    def make(write: Any = cases.write_pairs, **shape: int) -> Bench:
        bench = Bench(server, tmp_path_factory.mktemp("writing"), task="TextGeneration")
        write(bench.rows)
        return with_model(bench, cases.make_language_model, **shape)

    return make


@pytest.fixture(scope="session")
def writing(writing_of: Any) -> Bench:
    return writing_of()


@pytest.fixture(scope="session")
def rewriting_of(server: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Makes benches of a tiny encoder-decoder model and sources with targets."""

    def make(**rows: Any) -> Bench:
        bench = Bench(server, tmp_path_factory.mktemp("rewriting"), task="Translation")
        cases.write_translations(bench.rows, **rows)
        return with_model(bench, cases.make_rewriter, seed=rows.get("seed", 0))

    return make


@pytest.fixture(scope="session")
def rewriting(rewriting_of: Any) -> Bench:
    return rewriting_of()


@pytest.fixture(scope="session")
def tagging(bench_of: Any) -> Bench:
    """The bench of words with tags."""
    bench: Bench = bench_of()
    bench.task = "TokenClassification"
    cases.write_tags(bench.rows)
    return bench


@pytest.fixture(scope="session")
def perceiving_of(server: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Makes benches of a tiny model of images and the files that it is to learn from."""

    def make(task: str, write: Any, model: Any, **shape: Any) -> Bench:
        bench = Bench(server, tmp_path_factory.mktemp("media"), task=task)
        bench.rows = write(bench.folder / "rows")
        return with_model(bench, model, **shape)

    return make


@pytest.fixture(scope="session", name="sound_cases")
def _sound_cases() -> Any:
    return sound_cases


@pytest.fixture(scope="session", name="media_cases")
def _media_cases() -> Any:
    return media_cases


@pytest.fixture(scope="session")
def bench_of_kind(server: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The bench of a kind by its name, made when it is first needed."""
    benches: dict[str, Bench] = {}

    def bench(name: str) -> Bench:
        if name not in benches:
            kind = KINDS[name]
            made = Bench(server, tmp_path_factory.mktemp(name), task=kind.task)
            where = made.folder / kind.where
            made.rows = kind.rows(where) or where
            benches[name] = with_model(made, kind.model, **kind.shape)
        return benches[name]

    return bench


@pytest.fixture(scope="session", name="cases")
def _cases() -> Any:
    return cases


@pytest.fixture(scope="session", name="objectives")
def _objectives() -> Any:
    return objectives


@pytest.fixture(scope="session", name="forkserver")
def _forkserver() -> Any:
    return forkserver
