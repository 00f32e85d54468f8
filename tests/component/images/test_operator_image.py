"""The operator's Dockerfile, step by step, and what comes out: `make images` for the operator."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_the_steps_make_an_operator_that_answers() -> None:
    """In a folder, which takes no privilege and a third of the time; `make images` enters a root
    file system, and looks at user, compilers and what is writable as well."""
    command = [sys.executable, "-m", "hack.images", "operator", "--mode", "folder"]
    proof = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    print(proof.stdout)
    assert proof.returncode == 0, proof.stdout + proof.stderr
    assert "packages as locked" in proof.stdout
    assert "`finetune-operator --help` answers" in proof.stdout
    assert "mode: the pip and uv steps" in proof.stdout
