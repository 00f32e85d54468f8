"""`make demo`: a real fine-tuning run on an embedded cluster, from kubectl apply to the report.

Shows what a person would look at: the resource, the run as it moves, base against tuned, the
series that Prometheus would scrape. Leaves nothing running.
"""

import json
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from examples.base_model import put_base_model  # noqa: E402
from localcluster import product  # noqa: E402
from localcluster.build import BuildError  # noqa: E402
from localcluster.cluster import Cluster, running_cluster  # noqa: E402
from localcluster.processes import ProcessError  # noqa: E402

EXAMPLE = ROOT / "examples" / "01-hello-lora"
JOB = "hello-lora"
LIMIT_SECONDS = 1200
KEPT = ROOT / ".cache" / "demo"
SHOWN_SERIES = (
    "finetune_training_step{",
    "finetune_training_total_steps",
    "finetune_training_loss",
    "finetune_training_tokens_per_second",
    "finetune_training_durable_step",
    "finetune_operator_reconciles_total",
    "finetune_operator_status_patches_total",
    "finetune_job_info",
    "process_resident_memory_bytes",
)


class DemoError(Exception):
    """The demo ends with this sentence."""


def say(text: str) -> None:
    print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n{text}", flush=True)


def put_inputs(cluster: Cluster) -> None:
    """A real base model and a real dataset into S3."""
    for bucket in ("models", "datasets"):
        cluster.s3.make_bucket(bucket)
    put_base_model(cluster.s3, "models", "all-minilm-l6-v2/")
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "docstrings.jsonl"
        subprocess.run([sys.executable, EXAMPLE / "make_data.py", rows], check=True)
        cluster.s3.client().upload_file(str(rows), "datasets", "docstrings.jsonl")


def job_object(cluster: Cluster) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(cluster.kubectl("get", "ftj", JOB, "-o", "json"))
    return document


def follow(cluster: Cluster) -> tuple[dict[str, Any], dict[str, str]]:
    """Print each change of what `kubectl get` shows until the run ends; returns its status and
    the last metrics of each pod."""
    shown, scraped, begun = "", {}, time.monotonic()
    while time.monotonic() - begun < LIMIT_SECONDS:
        status = job_object(cluster).get("status") or {}
        display = status.get("display") or {}
        line = (
            f"{display.get('status', '-'):<12} {display.get('progress', '-'):<18} "
            f"loss {display.get('loss', '-'):<8} eta {display.get('eta', '-'):<6} "
            f"checkpoint {display.get('checkpoint', '-')}"
        )
        if line != shown:
            print(f"  {time.monotonic() - begun:4.0f} s  {line}", flush=True)
            shown = line
        scraped.update(scrape_pods(cluster))
        for condition in status.get("conditions", ()):
            if condition["type"] == "Succeeded" and condition["status"] != "Unknown":
                if condition["status"] == "False":
                    raise DemoError(f"the run failed: {condition['message']}")
                return status, scraped
        time.sleep(1)
    raise DemoError(f"the run did not end within {LIMIT_SECONDS} s; last seen: {shown}")


def scrape_pods(cluster: Cluster) -> dict[str, str]:
    """What Prometheus would scrape now, by pod."""
    words = ("get", "pods", "-l", f"finetune.dev/job={JOB},finetune.dev/role=train", "-o", "json")
    found = {}
    for pod in json.loads(cluster.kubectl(*words))["items"]:
        address = pod["status"].get("podIP")
        if address:
            try:
                found[pod["metadata"]["name"]] = fetch(f"http://{address}:9300/metrics")
            except OSError:
                continue
    return found


def fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=2) as response:
        text: str = response.read().decode()
        return text


def show_results(
    cluster: Cluster, status: dict[str, Any], pods: dict[str, str], operator: str
) -> None:
    say("Base against tuned, on the same held-out rows")
    for row in status["evaluation"]:
        print(
            f"  {row['metric']:<12} base {row['base']}  ->  tuned {row['tuned']}   "
            f"(difference, 95 % interval: {row['interval']}; {row['rows']} rows)"
        )
    say("What Prometheus sees")
    for name, text in {**pods, "operator": fetch(f"{operator}/metrics")}.items():
        for line in text.splitlines():
            if line.startswith(SHOWN_SERIES) and "_bucket" not in line and "_created" not in line:
                print(f"  {name:<24} {line}")
    say("Where the results are")
    artifacts = status["artifacts"]
    KEPT.mkdir(parents=True, exist_ok=True)
    cluster.s3.client().download_file("models", f"{JOB}/report/report.json", KEPT / "report.json")
    print(f"  adapter  {artifacts.get('adapter')}")
    print(f"  report   {artifacts.get('report')}")
    print(f"  a copy of the report stays in {(KEPT / 'report.json').relative_to(ROOT)}")


def run(root: Path) -> None:
    begun = time.monotonic()
    say("1/4  Starting a Kubernetes control plane, an S3 server, 2 nodes of 4 pretended GPUs each")
    with running_cluster(root) as cluster:
        for index in range(2):
            cluster.add_node(f"node-{index}", gpus=4)
        operator = product.install(cluster)
        product.add_credentials(cluster)
        print(cluster.kubectl("get", "nodes"), end="")
        say("2/4  Base model and dataset into S3")
        put_inputs(cluster)
        say("3/4  kubectl apply -f examples/01-hello-lora/job.yaml")
        print((EXAMPLE / "job.yaml").read_text())
        print(cluster.kubectl("apply", "-f", str(EXAMPLE / "job.yaml")), end="")
        say("4/4  The run, as `kubectl get finetunejob hello-lora --watch` shows it (about 4 min)")
        status, pods = follow(cluster)
        say("kubectl get finetunejobs -o wide")
        print(cluster.kubectl("get", "finetunejobs", "-o", "wide"), end="")
        show_results(cluster, status, pods, operator)
    say(f"Done in {time.monotonic() - begun:.0f} s. Everything that was started has been stopped.")


def _stop(number: int, _: FrameType | None) -> None:
    raise DemoError(f"stopped by {signal.Signals(number).name}")


def main() -> int:
    signal.signal(signal.SIGTERM, _stop)
    try:
        with tempfile.TemporaryDirectory(prefix="finetune-demo-") as folder:
            run(Path(folder) / "cluster")
    except KeyboardInterrupt:
        print("\nstopped; nothing is left running", file=sys.stderr)
        return 130
    except (DemoError, BuildError, ProcessError) as error:
        print(f"\nThe demo failed: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
