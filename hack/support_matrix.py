"""Writes docs/support-matrix.md from the results of `make matrix` (JUnit XML)."""

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from xml.etree import ElementTree

from tests.component.trainer.kinds import KINDS, LAYOUTS, METHODS, cells

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "support-matrix.md"
OK, FAILED, MISSING = "ok", "failed", "not run"
Cell = tuple[str, str, str]

INTRODUCTION = """\
Written by `make matrix` on {when} from its results: {ok} cells trained, {refused} refused before
the start, {failed} failed, {missing} not run.

Each cell is a task with its objective, a method and a layout: 1 rank with accumulation, and 2
ranks with DDP, ZeRO-2 and ZeRO-3, on a tiny model made for it, in float32 without dropout. *All*
are the four. A cell is trained when loss, gradient norm and validation loss of every step equal
those of one rank that takes the whole batch at once, to 1e-5 (Int8: 10 %, for it rounds batch by
batch; AST: 1e-3, for its probe is steep), the base scores the same, everything that is meant to be
trained has changed, everything else is the same to the byte and has no gradient. For the first row
the result also gives the same outputs in plain transformers or PEFT. A number is why the rest is
refused, below."""


def outcomes(results: Sequence[Path]) -> dict[Cell, str]:
    """What became of each cell: `ok`, `failed`, or the sentence that refused it."""
    found = {}
    for file in results:
        for case in ElementTree.parse(file).iter("testcase"):
            name = re.fullmatch(r"test_cell\[(.+)\]", case.get("name", ""))
            if name is None:
                continue
            kind, method, layout = name[1].split("-", 2)
            refused = case.find("properties/property[@name='refused']")
            bad = {child.tag for child in case} & {"failure", "error", "skipped"}
            word = OK if refused is None else refused.get("value", "")
            found[kind, method, layout] = FAILED if bad else word
    return found


def entry(words: Mapping[str, str], reasons: list[str]) -> str:
    """A method's cells of one kind, in few signs; new reasons are put to the list. What is refused
    on one rank already is refused for that reason."""
    good = [layout for layout, word in words.items() if word == OK]
    said = ["all" if len(good) == len(words) else ", ".join(good) or "-"]
    for sort in (FAILED, MISSING):
        bad = [layout for layout, word in words.items() if word == sort]
        said += [f"**{', '.join(bad)} {sort}**"] if bad else []
    refused = [word for word in words.values() if word not in (OK, FAILED, MISSING)]
    told = refused[:1] if len(refused) == len(words) else list(dict.fromkeys(refused))
    reasons += [reason for reason in told if reason not in reasons]
    said += [f"[{reasons.index(reason) + 1}]" for reason in told]
    return " ".join(said)


def page(found: Mapping[Cell, str], when: date) -> str:
    """The page: a table of kinds and methods, and why what is refused is refused."""
    wanted = cells()
    words = {cell: found.get(cell, MISSING) for cell in wanted}
    count = [sum(word == sort for word in words.values()) for sort in (OK, FAILED, MISSING)]
    told = INTRODUCTION.format(
        when=when.isoformat(), ok=count[0], failed=count[1], missing=count[2],
        refused=len(words) - sum(count),
    )  # fmt: skip
    reasons: list[str] = []
    lines = ["# Support matrix", "", told, ""]
    everywhere = [name for name in METHODS if all((k, name, "DDP") in words for k in KINDS)]
    for names in (everywhere, [name for name in METHODS if name not in everywhere]):
        rows = [kind for kind in KINDS if (kind, names[0], "DDP") in words]
        lines += ["| | " + " | ".join(names) + " |", "|---|" + "---|" * len(names)]
        for kind in rows:
            entries = [
                entry({layout: words[kind, name, layout] for layout in LAYOUTS}, reasons)
                for name in names
            ]
            lines.append(f"| {KINDS[kind].title} | " + " | ".join(entries) + " |")
        lines.append("")
    lines += ["## Why it is refused", ""]
    lines += [f"{number}. {reason}" for number, reason in enumerate(reasons, 1)]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path, nargs="+")
    found = outcomes(parser.parse_args().results)
    if not found:
        print("no cell was run", file=sys.stderr)
        return 1
    PAGE.write_text(page(found, datetime.now(UTC).date()), encoding="utf-8")
    print(f"{PAGE.relative_to(ROOT)}: {len(found)} cells, {[*found.values()].count(FAILED)} failed")
    return int(FAILED in found.values() or len(found) < len(cells()))


if __name__ == "__main__":
    sys.exit(main())
