"""Makes the dataset from this machine's own Python: which module does a docstring come from?

Reads the source of the standard library, cuts docstrings into paragraphs, removes the modules'
names, and writes `text`, `label` rows as JSONL. Real text, nothing to download.
"""

import argparse
import ast
import json
import random
import re
import sysconfig
from collections.abc import Iterator
from pathlib import Path

MODULES = (
    "asyncio", "email", "importlib", "decimal", "xml", "logging", "http", "unittest", "typing",
    "ipaddress", "urllib", "multiprocessing", "doctest", "difflib", "inspect", "encodings",
    "mailbox", "statistics",
)  # fmt: skip
CLASSES = 12
ROWS_PER_CLASS = 400
MIN_WORDS = 6
NOT_LIBRARY = {"test", "tests", "site-packages", "__pycache__"}


def paragraphs(source: str) -> Iterator[str]:
    """The docstring paragraphs of a module that hold at least a short sentence."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, documented):
            for paragraph in re.split(r"\n\s*\n", ast.get_docstring(node) or ""):
                text = " ".join(paragraph.split())
                if len(re.findall(r"[A-Za-z]{2,}", text)) >= MIN_WORDS:
                    yield text


def texts_by_module(library: Path) -> dict[str, list[str]]:
    """Distinct paragraphs of each module, without any module's name in them."""
    names = re.compile(rf"\b_?(py)?({'|'.join(MODULES)})\b", re.IGNORECASE)
    found: dict[str, dict[str, None]] = {module: {} for module in MODULES}
    for path in sorted(library.rglob("*.py")):
        parts = path.relative_to(library).parts
        module = parts[0].removesuffix(".py").removeprefix("_py")
        if module not in found or NOT_LIBRARY & set(parts):
            continue
        for text in paragraphs(path.read_text(encoding="utf-8", errors="replace")):
            found[module][" ".join(names.sub(" ", text).split())] = None
    return {module: list(texts) for module, texts in found.items()}


def rows(library: Path) -> list[dict[str, str]]:
    """The same rows on every run of the same Python: the modules with most text, in one shuffle."""
    chooser = random.Random(42)
    by_module = texts_by_module(library)
    richest = sorted(by_module, key=lambda module: -len(by_module[module]))[:CLASSES]
    chosen = [
        {"text": text, "label": module}
        for module in sorted(richest)
        for text in chooser.sample(by_module[module], min(ROWS_PER_CLASS, len(by_module[module])))
    ]
    chooser.shuffle(chosen)
    return chosen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path, help="the JSONL file to write")
    output = parser.parse_args().output
    data = rows(Path(sysconfig.get_paths()["stdlib"]))
    output.parent.mkdir(parents=True, exist_ok=True)
    with output.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in data)
    print(f"{output}: {len(data)} docstring paragraphs from {CLASSES} modules")


if __name__ == "__main__":
    main()
