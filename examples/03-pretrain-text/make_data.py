"""Makes the dataset from this machine's own Python: the modules' docstrings as plain texts."""

import argparse
import ast
import json
import sysconfig
from pathlib import Path

MIN_CHARACTERS = 200


def docstring(path: Path) -> str:
    """What a module says about itself; nothing when it cannot be read."""
    try:
        return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    except (SyntaxError, UnicodeDecodeError):
        return ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path, help="the JSONL file to write")
    output = parser.parse_args().output
    library = Path(sysconfig.get_paths()["stdlib"])
    paths = [p for p in sorted(library.rglob("*.py")) if "site-packages" not in p.parts]
    texts = dict.fromkeys(text for p in paths if len(text := docstring(p)) >= MIN_CHARACTERS)
    output.parent.mkdir(parents=True, exist_ok=True)
    with output.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps({"text": text}) + "\n" for text in texts)
    print(f"{output}: {len(texts)} texts")


if __name__ == "__main__":
    main()
