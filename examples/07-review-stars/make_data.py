"""Makes both datasets: reviews with their stars, and the same reviews with their topics."""

import argparse
import json
import random
from pathlib import Path

ROWS = 800
TOPICS = {
    "food": ("the soup", "the bread", "the fish"),
    "service": ("the waiter", "the host", "the answer on the phone"),
    "room": ("the terrace", "the light", "the chair"),
}
WORDS = {"awful": -2.0, "poor": -1.0, "plain": 0.0, "good": 1.0, "superb": 2.0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stars", type=Path, help="the JSONL file with numbers to write")
    parser.add_argument("topics", type=Path, help="the JSONL file with lists to write")
    arguments = parser.parse_args()
    chooser = random.Random(42)
    reviews = [review(chooser) for _ in range(ROWS)]
    for path, label in ((arguments.stars, "stars"), (arguments.topics, "topics")):
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = [json.dumps({"text": one["text"], "label": one[label]}) for one in reviews]
        path.write_text("\n".join(rows) + "\n", encoding="utf-8")
        print(f"{path}: {ROWS} reviews with their {label}")


def review(chooser: random.Random) -> dict[str, object]:
    """A review of up to three topics, and the stars that its words are worth."""
    topics = chooser.sample(list(TOPICS), chooser.randint(0, len(TOPICS)))
    words = [chooser.choice(list(WORDS)) for _ in topics]
    said = [f"{chooser.choice(TOPICS[t])} was {w}" for t, w in zip(topics, words, strict=True)]
    worth = sum(WORDS[word] for word in words) / max(1, len(words))
    text = f"On day {chooser.randint(1, 365)} we came: {', '.join(said) or 'it was closed'}."
    return {"text": text, "stars": round(3 + worth, 1), "topics": topics}


if __name__ == "__main__":
    main()
