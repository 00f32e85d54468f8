"""The small world of this example: orders, as people write them down and as programs want them."""

import json
import random
from dataclasses import asdict, dataclass

CUSTOMERS = (
    "Anna", "Bruno", "Carla", "David", "Elena", "Farid", "Greta", "Hugo", "Irina", "Jonas",
    "Karim", "Lucia", "Mateo", "Nadia", "Oscar", "Paula", "Quentin", "Rosa", "Samir", "Tessa",
)  # fmt: skip
ITEMS = (
    "lamp", "chair", "table", "kettle", "mirror", "carpet", "shelf", "pillow", "basket", "clock",
    "ladder", "bucket", "candle", "blanket", "drawer", "teapot",
)  # fmt: skip
COLOURS = ("red", "blue", "green", "white", "black", "yellow", "brown", "grey")
CITIES = (
    "Berlin", "Lisbon", "Oslo", "Vienna", "Prague", "Dublin", "Madrid", "Warsaw", "Athens",
    "Geneva", "Turin", "Bergen",
)  # fmt: skip
NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

SENTENCES = (
    "{customer} from {city} would like {number} {colour} {item}.",
    "Please send {number} {colour} {item} to {customer} in {city}.",
    "{number} {colour} {item} for {customer}, who lives in {city}.",
    "In {city}, {customer} is waiting for {number} {colour} {item}.",
    "{customer} ordered {number} {item} in {colour}, to be delivered to {city}.",
)
"""How people write an order down."""


@dataclass(frozen=True)
class Order:
    """Who wants what, how many, and where."""

    customer: str
    count: int
    colour: str
    item: str
    city: str

    @classmethod
    def drawn(cls, chooser: random.Random) -> "Order":
        """Any order."""
        return cls(
            chooser.choice(CUSTOMERS), chooser.randint(1, len(NUMBERS)), chooser.choice(COLOURS),
            chooser.choice(ITEMS), chooser.choice(CITIES),
        )  # fmt: skip

    def sentence(self, pattern: str) -> str:
        """The order in words."""
        text = pattern.format(**asdict(self), number=NUMBERS[self.count - 1])
        return text[0].upper() + text[1:]

    def json(self) -> str:
        """The order for programs."""
        fields = {"customer": self.customer, "item": self.item, "colour": self.colour,
                  "count": self.count, "city": self.city}  # fmt: skip
        return json.dumps(fields)
