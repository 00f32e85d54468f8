"""Makes the dataset: orders in words; better is the order in JSON, worse has one field wrong."""

import argparse
import json
import random
import sys
from dataclasses import fields, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "02-sft-json"))
from orders import SENTENCES, Order

ROWS = 1200


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path, help="the JSONL file to write")
    output = parser.parse_args().output
    chooser = random.Random(42)
    orders = list(dict.fromkeys(Order.drawn(chooser) for _ in range(ROWS)))
    output.parent.mkdir(parents=True, exist_ok=True)
    with output.open("w", encoding="utf-8") as file:
        for order in orders:
            prompt = f"{order.sentence(chooser.choice(SENTENCES))}\n"
            row = {"prompt": prompt, "chosen": order.json(), "rejected": spoilt(order, chooser)}
            file.write(json.dumps(row) + "\n")
    print(f"{output}: {len(orders)} preferences")


def spoilt(order: Order, chooser: random.Random) -> str:
    """The order with one field of another."""
    while True:
        name = chooser.choice([field.name for field in fields(Order)])
        other = replace(order, **{name: getattr(Order.drawn(chooser), name)})
        if other != order:
            return other.json()


if __name__ == "__main__":
    main()
