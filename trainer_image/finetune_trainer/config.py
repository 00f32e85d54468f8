"""What a process of the trainer knows about itself: its JobConfig and its places on disk.

Everything comes from the environment, because on the local cluster every path of a pod is mapped
to a host folder there and nowhere else.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pydantic import ValidationError

from finetune_api import names
from finetune_api.errors import UserError
from finetune_api.jobconfig import JobConfig

ENV_ATTEMPT = "FINETUNE_ATTEMPT"
ENV_EVENTS_FD = "FINETUNE_EVENTS_FD"
ENV_RESUME = "FINETUNE_RESUME"


def load_config(environ: Mapping[str, str] = os.environ) -> JobConfig:
    """The job of this process; a user error when there is none or it cannot be read."""
    text = environ.get(names.ENV_JOB)
    if not text:
        raise UserError(
            f"{names.ENV_JOB} is not set: there is no job to run",
            "start the trainer with `finetune-trainer run jobconfig.json`",
        )
    return parse_config(text, source=names.ENV_JOB)


def parse_config(text: str, *, source: str) -> JobConfig:
    """Read a JobConfig; ``source`` names it in the error."""
    try:
        return JobConfig.from_text(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UserError(f"{source}: {where}: {first['msg']}", "correct this field") from error
    except ValueError as error:
        raise UserError(f"{source} is not a JobConfig: {error}", "give a JSON document") from error


@dataclass(frozen=True)
class Places:
    """The folders of one pod, all below its working directory."""

    root: Path

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """The places named by the environment."""
        return cls(Path(environ.get(names.ENV_WORKDIR) or names.WORK_PATH))

    @property
    def model(self) -> Path:
        """The base model, as it lies in the bucket."""
        return self.root / "model"

    @property
    def prepared(self) -> Path:
        """The prepared data of this run's fingerprint."""
        return self.root / "prepared"

    @property
    def plan(self) -> Path:
        """The plan in force."""
        return self.root / "plan.json"

    @property
    def baseline(self) -> Path:
        """Scores of the base model and the linear probe."""
        return self.root / "baseline"

    @property
    def checkpoints(self) -> Path:
        """Complete local checkpoints: `step-00000012/`."""
        return self.root / "checkpoints"

    @property
    def resume(self) -> Path:
        """Verified checkpoints fetched from the bucket: `step-00000012/`."""
        return self.root / "resume"

    @property
    def uploading(self) -> Path:
        """Links to the checkpoint that is being uploaded."""
        return self.root / "uploading"

    @property
    def control(self) -> Path:
        """Requests to the ranks."""
        return self.root / "control"

    @property
    def stop_request(self) -> Path:
        """Exists: save at the agreed step and leave with 50."""
        return self.control / "stop"

    @property
    def save_request(self) -> Path:
        """Exists: save at the agreed step and go on; its content names the request."""
        return self.control / "save"

    @property
    def output(self) -> Path:
        """Results before they are uploaded."""
        return self.root / "output"

    @property
    def report(self) -> Path:
        """The report's folder."""
        return self.output / "report"

    @property
    def logs(self) -> Path:
        """Output of the ranks, one file an attempt and rank."""
        return self.root / "logs"

    @property
    def home(self) -> Path:
        """HOME, caches and temporary files: the image's root is read-only."""
        return self.root / "home"

    def make(self) -> None:
        """Create the folders that a supervisor needs before anything else."""
        for folder in (self.checkpoints, self.resume, self.control, self.report, self.logs,
                       self.home, self.home / "tmp"):  # fmt: skip
            folder.mkdir(parents=True, exist_ok=True)


def step_folder(step: int) -> str:
    """Name of a checkpoint's folder; padded, so that names sort like steps."""
    return f"step-{step:08d}"


def plan_name(number: int) -> str:
    """Name of a plan in the run's folder; the first is prepare's, later ones revise it."""
    return f"plan-{number}.json"


def storage_ca(environ: Mapping[str, str] = os.environ) -> Path | None:
    """File of the authorities that the storage's certificate is checked against, when mounted."""
    path = environ.get(names.ENV_STORAGE_CA)
    return Path(path) if path else None


def credentials_folder(environ: Mapping[str, str] = os.environ) -> Path | None:
    """Folder of the storage credentials, when a Secret is mounted."""
    folder = environ.get(names.ENV_CREDENTIALS)
    return Path(folder) if folder else None


def hub_token_folder(environ: Mapping[str, str] = os.environ) -> Path | None:
    """Folder of the hub's token, when a Secret is mounted."""
    folder = environ.get(names.ENV_HUB_TOKEN)
    return Path(folder) if folder else None
