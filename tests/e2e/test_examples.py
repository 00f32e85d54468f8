"""Each further example from its own script to its end, and what it gained."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from finetune_api.job import FineTuneJob
from finetune_api.learning import LOWER_IS_BETTER
from tests.component.trainer.of_the_day import ELSEWHERE, UNREACHED, skip_unless_spoken
from tests.e2e.conftest import EXAMPLES, RUN_SECONDS, Site
from tests.e2e.test_sft_json import base_model

EVERY = sorted(path for path in EXAMPLES.iterdir() if (path / "job.yaml").is_file())
WRITERS = {"03-pretrain-text", "04-dpo-json", "10-kto-thumbs", "11-reward-orders", "12-grpo-notes",
           "16-orpo-json"}  # fmt: skip
"""Examples whose base is that of the second one."""
BASES = {
    "09-translate-phrases": "tiny-translator", "13-sounds": "tiny-ear",
    "14-spoken-orders": "tiny-listener", "15-handwritten-digits": "tiny-vit",
}  # fmt: skip
"""Examples that make a base of their own."""
KNOWN_ALREADY = {"07-review-stars"}
"""Examples whose base's probe is so good that training gains nothing: the report has to say so."""
OTHER_ARGUMENTS = {"07-review-stars": ["topics.jsonl"]}


@pytest.mark.parametrize("example", EVERY, ids=lambda path: path.name)
def test_the_job_is_valid(example: Path) -> None:
    manifest = YAML(typ="safe").load((example / "job.yaml").read_text())
    job = FineTuneJob.from_manifest(manifest)
    assert job.spec.output.uri == f"s3://models/{job.metadata.name}/"
    assert (example / "README.md").read_text().startswith("# ")


@pytest.mark.examples
@pytest.mark.timeout(2 * RUN_SECONDS)
@pytest.mark.parametrize(
    "example",
    [one for one in EVERY if one.name not in ELSEWHERE | UNREACHED], ids=lambda path: path.name,
)  # fmt: skip
def test_the_tuned_model_beats_its_base(site: Site, tmp_path: Path, example: Path) -> None:
    skip_unless_spoken(example)
    manifest = YAML(typ="safe").load((example / "job.yaml").read_text())
    uri = manifest["spec"]["dataset"]["train"]["uri"]
    rows = tmp_path / uri.rpartition("/")[2]
    others = OTHER_ARGUMENTS.get(example.name, [])
    command = [sys.executable, example / "make_data.py", rows, *(tmp_path / o for o in others)]
    subprocess.run(command, check=True)
    put = [sys.executable, "-m", "localcluster", "put", "--root", site.cluster.root]
    subprocess.run([*put, rows, uri], check=True)
    if example.name in WRITERS:
        subprocess.run([*put, base_model(), "s3://models/tiny-writer/"], check=True)
    if example.name in BASES:
        base = tmp_path / "base"
        subprocess.run([sys.executable, example / "make_base.py", base], check=True)
        subprocess.run([*put, base, f"s3://models/{BASES[example.name]}/"], check=True)
    site.apply(manifest)
    status = site.wait_finished(manifest["metadata"]["name"])
    first = status["evaluation"][0]
    gain = float(first["tuned"]) - float(first["base"])
    if example.name in KNOWN_ALREADY:
        assert float(first["base"]) > 0.9, json.dumps(first)
        return
    assert (-gain if first["metric"] in LOWER_IS_BETTER else gain) > 0, json.dumps(first)
