"""Makes the dataset from this machine's own Python: what does a docstring say in one line?

Reads the source of the standard library; a docstring's first line is the summary of the rest.
"""

import argparse
import ast
import json
import sysconfig
from collections.abc import Iterator
from pathlib import Path

PREFIX = "summarize: "
"""T5 was pretrained with it; leave it out for other models."""
MIN_WORDS = 15
NOT_LIBRARY = {"test", "tests", "site-packages", "__pycache__"}


def pairs(source: str) -> Iterator[tuple[str, str]]:
    """The body and the first line of each docstring that has both."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, documented):
            summary, _, rest = (ast.get_docstring(node) or "").partition("\n\n")
            body = " ".join(rest.split())
            if "\n" not in summary and summary and len(body.split()) >= MIN_WORDS:
                yield body, summary


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path, help="the JSONL file to write")
    output = parser.parse_args().output
    library = Path(sysconfig.get_path("stdlib"))
    found: dict[str, str] = {}
    for path in sorted(library.rglob("*.py")):
        if not NOT_LIBRARY & set(path.relative_to(library).parts):
            found.update(pairs(path.read_text(encoding="utf-8", errors="replace")))
    output.parent.mkdir(parents=True, exist_ok=True)
    with output.open("w", encoding="utf-8") as file:
        for body, summary in found.items():
            row = {"document": f"{PREFIX}{body}", "summary": summary}
            file.write(json.dumps(row) + "\n")
    print(f"{output}: {len(found)} docstrings and their first lines")


if __name__ == "__main__":
    main()
