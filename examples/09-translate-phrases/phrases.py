"""Phrases in English with their French: word order and gender have to be learnt."""

import random

THINGS = {
    "car": ("voiture", "f"), "house": ("maison", "f"), "table": ("table", "f"),
    "chair": ("chaise", "f"), "flower": ("fleur", "f"), "book": ("livre", "m"),
    "garden": ("jardin", "m"), "bike": ("vélo", "m"), "hat": ("chapeau", "m"),
    "boat": ("bateau", "m"),
}  # fmt: skip
BEFORE = {
    "small": ("petit", "petite"), "big": ("grand", "grande"), "old": ("vieux", "vieille"),
    "pretty": ("joli", "jolie"),
}  # fmt: skip
AFTER = {
    "green": ("vert", "verte"), "blue": ("bleu", "bleue"), "black": ("noir", "noire"),
    "white": ("blanc", "blanche"), "red": ("rouge", "rouge"),
}  # fmt: skip
PLACES = {"in": "dans", "on": "sur", "under": "sous", "behind": "derrière"}
ARTICLES = ("le", "la")


def phrase(chooser: random.Random) -> tuple[str, str]:
    """One phrase and its translation: adjectives of size stand before a noun, colours after it."""
    first, second = chooser.sample(list(THINGS), 2)
    size, colour, place = (chooser.choice(list(words)) for words in (BEFORE, AFTER, PLACES))
    noun, gender = THINGS[first]
    other, other_gender = THINGS[second]
    side, other_side = gender == "f", other_gender == "f"
    english = f"the {size} {colour} {first} is {place} the {second}"
    french = (
        f"{ARTICLES[side]} {BEFORE[size][side]} {noun} {AFTER[colour][side]} est "
        f"{PLACES[place]} {ARTICLES[other_side]} {other}"
    )
    return english, french


def words() -> list[str]:
    """Every word of both languages, in order."""
    pairs = [*BEFORE.values(), *AFTER.values(), ARTICLES]
    french = [word for pair in pairs for word in pair]
    french += [noun for noun, _ in THINGS.values()] + [*PLACES.values(), "est"]
    return sorted({"the", "is", *THINGS, *BEFORE, *AFTER, *PLACES, *french})
