"""A manifest's mistakes are told as a person needs them: file, line, path, rule, near name."""

from pathlib import Path

import pytest

from finetune_api.learning import Task
from finetune_cli.manifest import read_job
from finetune_cli.usage import UsageError

GOOD = """apiVersion: finetune.dev/v1alpha1
kind: FineTuneJob
metadata: {name: hello}
spec:
  task: TextClassification
  model: {uri: s3://models/base/}
  dataset: {train: {uri: s3://data/rows.jsonl}}
  method:
    lora:
      rank: 16
  training: {learningRate: 2e-4}
  output: {uri: s3://models/hello/}
"""


def errors(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / "job.yaml"
    path.write_text(text)
    with pytest.raises(UsageError) as refused:
        read_job(path)
    return str(refused.value).replace(f"{path}", "job.yaml").splitlines()


def test_a_learning_rate_in_scientific_notation_is_a_number(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(GOOD)
    assert read_job(path).spec.training.learning_rate == 0.0002


def test_all_mistakes_are_listed_with_their_lines(tmp_path: Path) -> None:
    text = GOOD.replace("rank: 16", "rank: 0\n      alpa: 32").replace("TextClass", "TextKlass")
    *others, last = map(repr, map(str, Task))
    assert errors(tmp_path, text) == [
        f'job.yaml:5  spec.task   must be {", ".join(others)} or {last}, got "TextKlassification"',
        "job.yaml:10  spec.method.lora.rank   must be greater than or equal to 1, got 0",
        'job.yaml:11  spec.method.lora.alpa   unknown field, did you mean "alpha"?',
        "3 errors",
    ]


def test_another_kind_is_named(tmp_path: Path) -> None:
    assert errors(tmp_path, GOOD.replace("FineTuneJob", "Pod")) == [
        "job.yaml:1  kind   must be FineTuneJob, got Pod",
        "1 error",
    ]


def test_text_that_is_not_yaml_names_the_line(tmp_path: Path) -> None:
    (line,) = errors(tmp_path, GOOD + "  nope: [1\n")
    assert line.startswith("job.yaml:14  not YAML")
