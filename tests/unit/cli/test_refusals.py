"""What `finetune run` says about a bad file: every mistake, its line, its path, and a near name."""

from pathlib import Path

import pytest

from finetune_cli.__main__ import main
from tests.bad_input.book import Book

SECTION = "Refused by the command line"

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
  output: {uri: s3://models/hello/}
"""
BAD = {
    "a field that does not exist": ("rank: 16", "rnak: 16"),
    "a field in snake_case": ("      rank: 16", "      rank: 16\n      target_modules: [query]"),
    "a field beside the specification": ("kind: FineTuneJob", "kind: FineTuneJob\nspce: {}"),
    "a field of the metadata that does not exist": ("{name: hello}", "{name: hello, label: {}}"),
    "two methods": ("    lora:", "    full: {}\n    lora:"),
    "no method": ("  method:\n    lora:\n      rank: 16", "  method: {}"),
    "a word that is not one of the known": ("TextClassification", "TextKlassification"),
    "a number out of its bounds": ("rank: 16", "rank: 0"),
    "a number written as text": ("rank: 16", 'rank: "16"'),
    "a name of 41 characters": ("hello}", f"{'n' * 41}}}"),
    "a name with capitals": ("{name: hello}", "{name: Hello}"),
    "no name": ("{name: hello}", "{}"),
    "no specification": (GOOD[GOOD.index("spec:") :], ""),
    "another kind": ("FineTuneJob", "Pod"),
    "text that is not YAML": ("rank: 16", "rank: [16"),
    "a key that stands twice": ("rank: 16", "rank: 16\n      rank: 8"),
    "results inside the base model": ("s3://models/hello/", "s3://models/base/hello/"),
}


def run(path: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Lines of the error output; the file is called job.yaml in them."""
    assert main(["run", str(path)]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    return shown.err.replace(str(path), "job.yaml").splitlines()


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_refused_before_anything_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], book: Book, case: str
) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(GOOD.replace(*BAD[case]))
    told = run(path, capsys)
    book.tell(case, "`finetune run` exits with 2", told[0])


def test_a_file_that_does_not_exist(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], book: Book
) -> None:
    (told,) = run(tmp_path / "job.yaml", capsys)
    book.tell("no such file", "`finetune run` exits with 2", told)


@pytest.mark.parametrize("text", ["", "hello", "- a", "metadata: hello", "spec: []", "metadata: 1"])
def test_anything_but_a_job_is_refused_with_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(text)
    assert all(line.startswith("job.yaml:1") or line[0].isdigit() for line in run(path, capsys))
