"""The second example from its own scripts to answers: a tiny model learns to answer in JSON."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from localcluster.build import CACHE
from tests.e2e.conftest import EXAMPLES, RUN_SECONDS, Site

pytestmark = pytest.mark.timeout(2 * RUN_SECONDS)

EXAMPLE = EXAMPLES / "02-sft-json"
NAME = "orders-json"


def base_model() -> Path:
    """What `make_base.py` makes, kept in the cache for as long as the scripts stay the same."""
    scripts = b"".join(path.read_bytes() for path in sorted(EXAMPLE.glob("*.py")))
    folder = CACHE / f"tiny-writer-{hashlib.sha256(scripts).hexdigest()[:12]}"
    if not folder.exists():
        unfinished = folder.with_suffix(".new")
        subprocess.run([sys.executable, EXAMPLE / "make_base.py", unfinished], check=True)
        unfinished.rename(folder)
    return folder


@pytest.fixture(scope="module")
def status(site: Site, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    rows = tmp_path_factory.mktemp("orders") / "orders.jsonl"
    subprocess.run([sys.executable, EXAMPLE / "make_data.py", rows], check=True)
    put = [sys.executable, "-m", "localcluster", "put", "--root", site.cluster.root]
    subprocess.run([*put, rows, "s3://datasets/orders.jsonl"], check=True)
    subprocess.run([*put, base_model(), "s3://models/tiny-writer/"], check=True)
    site.apply(YAML(typ="safe").load((EXAMPLE / "job.yaml").read_text()))
    return site.wait_finished(NAME)


def scores(status: dict[str, Any], metric: str) -> tuple[float, float]:
    (found,) = (row for row in status["evaluation"] if row["metric"] == metric)
    return float(found["base"]), float(found["tuned"])


def test_the_base_fails_and_the_tuned_model_answers_in_json(status: dict[str, Any]) -> None:
    base, tuned = scores(status, "exact_match")
    assert base == 0
    assert tuned >= 0.9
    assert scores(status, "json_valid")[1] >= 0.95
    assert status["display"]["eval"].startswith("0.0% -> ")


def test_prepare_tells_what_is_learnt(status: dict[str, Any]) -> None:
    data = status["data"]
    assert data["labels"] == 0
    assert 0.2 < data["learntTokens"] / data["tokens"] < 0.95
    assert data["testRows"] == status["evaluation"][0]["rows"]


def test_every_answer_stands_beside_its_prompt(site: Site, status: dict[str, Any]) -> None:
    body = site.cluster.s3.client().get_object(Bucket="models", Key=f"{NAME}/report/answers.jsonl")
    rows = [json.loads(line) for line in body["Body"].read().decode().splitlines()]
    assert len(rows) == status["data"]["testRows"]
    right = [row["tuned"] == row["reference"] for row in rows]
    assert sum(right) / len(right) == pytest.approx(scores(status, "exact_match")[1], abs=1e-4)


def test_the_adapter_answers_in_plain_peft(
    site: Site, status: dict[str, Any], tmp_path: Path
) -> None:
    adapter = site.download(NAME, "adapter/", tmp_path / "adapter")
    report = site.download(NAME, "report/", tmp_path / "report")
    program = Path(__file__).with_name("load_writer.py")
    result = subprocess.run(
        [sys.executable, program, base_model(), adapter, report / "answers.jsonl"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert float(result.stdout) == 1.0
