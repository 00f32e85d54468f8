"""Lints the chart, renders it with its defaults and packages it, all into `dist/`."""

import subprocess
import sys
from pathlib import Path

from localcluster.build import HELM

ROOT = Path(__file__).resolve().parent.parent
CHART = ROOT / "charts" / "finetune-operator"
DIST = ROOT / "dist"


def helm(*words: str | Path) -> str:
    result = subprocess.run([HELM.binary, *words], capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(f"helm {words[0]} failed:\n{result.stdout}{result.stderr}")
    return result.stdout


def main() -> None:
    DIST.mkdir(exist_ok=True)
    helm("lint", "--strict", CHART)
    rendered = DIST / "finetune-operator.yaml"
    rendered.write_text(
        helm("template", "finetune-operator", CHART, "--namespace", "finetune-system")
    )
    packaged = helm("package", CHART, "--destination", DIST)
    print(f"chart is clean; rendered: {rendered.relative_to(ROOT)}; {packaged.strip()}")


if __name__ == "__main__":
    main()
