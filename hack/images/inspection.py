"""Runs inside an image, with its Python: tells what is installed and what the process may do."""

import importlib.metadata
import json
import os
import shutil
import sys
from pathlib import Path


def _writable() -> list[str]:
    """Folders of the root that this process can write to."""
    return [str(p) for p in Path("/").iterdir() if p.is_dir() and os.access(p, os.W_OK)]


COMPILERS = ("cc", "c++", "gcc", "g++", "clang", "nvcc", "ld", "as")
print(
    json.dumps(
        {
            "uid": os.getuid(),
            "python": sys.version.split()[0],
            "packages": {d.name.lower(): d.version for d in importlib.metadata.distributions()},
            "compilers": [name for name in COMPILERS if shutil.which(name)],
            "writable": sorted(_writable()),
        }
    )
)
