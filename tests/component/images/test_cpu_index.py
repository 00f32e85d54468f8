"""The CPU image's own step for torch, against an index that serves a CPU build."""

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

from hack.images import dockerfile

ROOT = Path(__file__).resolve().parents[3]


def torch_command() -> str:
    """The last command of the step that installs the CPU image's packages."""
    read = dockerfile.read(ROOT / "trainer_image" / "Dockerfile", {"VARIANT": "cpu"})
    (stage,) = [stage for stage in read.needed() if stage.name == "packages-cpu"]
    (step,) = [step for step in stage.steps if step.keyword == "RUN"]
    return re.split(r"\s&&\s", step.rest)[-1]


def locked_torch() -> str:
    lock = (ROOT / "trainer_image" / "requirements-cuda.lock").read_text(encoding="utf-8")
    found = re.search(r"^torch==([^ \\]+)", lock, re.MULTILINE)
    assert found
    return found[1]


def serve(index: Path, *versions: str) -> None:
    """A simple index in a folder: torch without any requirement, as CPU builds are."""
    folder = index / "torch"
    folder.mkdir(parents=True)
    links = []
    for version in versions:
        info = f"torch-{version}.dist-info"
        wheel = folder / f"torch-{version}-py3-none-any.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr("torch/__init__.py", f"__version__ = '{version}'\n")
            archive.writestr(
                f"{info}/METADATA", f"Metadata-Version: 2.1\nName: torch\nVersion: {version}\n"
            )
            archive.writestr(
                f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
            )
            archive.writestr(f"{info}/RECORD", "")
        links.append(f'<a href="{wheel.name}">{wheel.name}</a>')
    (folder / "index.html").write_text("<!DOCTYPE html><html><body>" + "".join(links))


def test_an_index_with_cpu_builds_gives_the_locked_torch_and_no_gpu_library(tmp_path: Path) -> None:
    version = locked_torch()
    serve(tmp_path / "index", "2.0.0+cpu", f"{version}+cpu", "99.0+cpu")
    venv = tmp_path / "app"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    (tmp_path / "tools").symlink_to(Path(sys.prefix))
    (tmp_path / "trainer_image").symlink_to(ROOT / "trainer_image")
    environment = {
        **os.environ,
        "VIRTUAL_ENV": str(venv),
        "UV_NO_CACHE": "1",
        "TORCH_INDEX": (tmp_path / "index").as_uri(),
    }
    subprocess.run(["sh", "-c", torch_command()], cwd=tmp_path, env=environment, check=True)
    listed = subprocess.run(
        ["tools/bin/uv", "pip", "list", "--format", "json"],
        cwd=tmp_path, env=environment, check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert json.loads(listed.stdout) == [{"name": "torch", "version": f"{version}+cpu"}]
