"""`finetune run`: the same trainer, the same job, no cluster.

Every pod of the job becomes a process on this machine. The trainer is started as a program: the
command line never imports torch.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from finetune_api import jobconfig
from finetune_api.defaults import with_site_storage
from finetune_api.job import Storage
from finetune_cli.manifest import read_job


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("job", type=Path, help="a FineTuneJob as YAML")
    parser.add_argument(
        "--workdir", type=Path, help="folder for models, data and checkpoints (default: temporary)"
    )


def execute(arguments: argparse.Namespace) -> int:
    """Run the job to its end and return the exit code of its index 0."""
    config = jobconfig.build(with_site_storage(read_job(arguments.job), Storage()))
    with tempfile.TemporaryDirectory(prefix="finetune-") as folder:
        path = Path(folder) / "job.json"
        path.write_text(config.to_env())
        workdir = arguments.workdir or Path(folder) / "work"
        command = [sys.executable, "-m", "finetune_trainer", "run", str(path)]
        trainer = subprocess.Popen([*command, "--workdir", str(workdir)])
        while True:
            try:
                return trainer.wait()
            except KeyboardInterrupt:
                # The terminal signals the trainer too: it saves and stops; wait for that.
                continue
