"""Writes docs/support-matrix.md from the results of `make matrix` (JUnit XML)."""

import argparse
import re
import sys
from collections import defaultdict
from datetime import UTC, date, datetime
from pathlib import Path
from xml.etree import ElementTree

from finetune_api.rules import RULES

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "support-matrix.md"
CELL = re.compile(r"test_method\[(?P<method>.+)-(?P<task>[a-z]+)-(?P<layout>DDP|ZeRO-\d)\]")
TASKS = {"classifying": "TextClassification (BERT)", "writing": "TextGeneration, SFT (Llama)"}
LAYOUTS = ("DDP", "ZeRO-2", "ZeRO-3")
REASONED = ("method", "optimizer", "l2sp", "deepspeed")


def cells(results: Path) -> dict[tuple[str, str, str], str]:
    """What became of each cell (method, task, layout): `ok`, `skipped` or `failed`."""
    found = {}
    for case in ElementTree.parse(results).iter("testcase"):
        match = CELL.fullmatch(case.get("name", ""))
        if match:
            kinds = {child.tag for child in case}
            word = "failed" if kinds & {"failure", "error"} else "ok"
            found[match["method"], match["task"], match["layout"]] = (
                "skipped" if "skipped" in kinds else word
            )
    return found


def page(found: dict[tuple[str, str, str], str], when: date) -> str:
    """The page. A cell that was not run is refused by a rule below the table."""
    by_method: dict[str, dict[tuple[str, str], str]] = defaultdict(dict)
    for (method, task, layout), word in found.items():
        by_method[method][task, layout] = word
    columns = [(task, layout) for task in TASKS for layout in LAYOUTS]
    lines = [
        "# Support matrix",
        "",
        f"Written by `make matrix` on {when.isoformat()} from its results. `ok`: on tiny models in "
        "float32 without dropout, loss and gradient norm of two ranks equal one rank's to 1e-5 "
        "(Int8: 10 %), everything that is meant to be trained has changed, everything else is the "
        "same to the byte, and a classifier's result gives the same outputs in plain transformers "
        "or PEFT. `-`: refused before the start, with the reason below.",
        "",
        "| method | " + " | ".join(f"{TASKS[task]}, {layout}" for task, layout in columns) + " |",
        "|---|" + "---|" * len(columns),
        *(
            f"| {method} | " + " | ".join(row.get(column, "-") for column in columns) + " |"
            for method, row in by_method.items()
        ),
        "",
        "## What is refused, and why",
        "",
        *(f"- {rule.message}" for rule in RULES if rule.message.startswith(REASONED)
          or rule.message.startswith("training.")),
        "",
    ]  # fmt: skip
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path)
    found = cells(parser.parse_args().results)
    if not found:
        print("no cell was run", file=sys.stderr)
        return 1
    PAGE.write_text(page(found, datetime.now(UTC).date()), encoding="utf-8")
    words = list(found.values())
    print(f"{PAGE.relative_to(ROOT)}: {len(words)} cells, {words.count('ok')} ok")
    return int("failed" in words)


if __name__ == "__main__":
    sys.exit(main())
