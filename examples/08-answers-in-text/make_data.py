"""Makes the dataset: notes about orders, and questions about what they say or do not say."""

import argparse
import json
import random
from pathlib import Path

ROWS = 800
PERSONS = ("Ada", "Bo", "Carla", "Dmitri", "Esra", "Farid", "Greta", "Hugo", "Ines", "Jonas")
TOWNS = ("Lisbon", "Oslo", "Turin", "Ghent", "Riga", "Cork", "Graz", "Lyon", "Malmo", "Split")
GOODS = ("lamps", "chairs", "tea cups", "wool coats", "bicycles", "garden tools", "oil paintings")
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday")
FACTS = {
    "Who ordered?": ("{} placed the order.", PERSONS),
    "Where does it go?": ("The parcel goes to {}.", TOWNS),
    "What is sent?": ("It holds {}.", GOODS),
    "When does it arrive?": ("It is due on {}.", DAYS),
}
CHATTER = (
    "The customer was friendly on the phone.", "Handle with care.", "Nothing is owed any more.",
    "An invoice has been written.", "The driver knows the way.", "Somebody called twice.",
)  # fmt: skip
WITHOUT_ANSWER = 0.2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path, help="the JSONL file to write")
    output = parser.parse_args().output
    chooser = random.Random(42)
    output.parent.mkdir(parents=True, exist_ok=True)
    with output.open("w", encoding="utf-8") as file:
        for _ in range(ROWS):
            file.write(json.dumps(row(chooser)) + "\n")
    print(f"{output}: {ROWS} questions about notes")


def row(chooser: random.Random) -> dict[str, object]:
    """A note of some facts, and a question about one of them, or about one that is missing."""
    values = {question: chooser.choice(words) for question, (_, words) in FACTS.items()}
    asked = chooser.choice(list(FACTS))
    is_told = chooser.random() >= WITHOUT_ANSWER
    told = [q for q in FACTS if q != asked or is_told]
    sentences = [FACTS[question][0].format(values[question]) for question in told]
    sentences += chooser.sample(CHATTER, chooser.randint(1, 4))
    chooser.shuffle(sentences)
    context = " ".join(sentences)
    texts = [values[asked]] if is_told else []
    starts = [context.index(text) for text in texts]
    answers = {"text": texts, "answer_start": starts}
    return {"context": context, "question": asked, "answers": answers}


if __name__ == "__main__":
    main()
