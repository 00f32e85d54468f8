"""What SECURITY.md says about rights is what the operator asks for."""

import re
from pathlib import Path

from finetune_operator import rights

SECURITY = Path(__file__).resolve().parents[3] / "SECURITY.md"


def test_the_rights_that_are_told_are_the_rights_that_are_asked_for() -> None:
    text = SECURITY.read_text(encoding="utf-8")
    table = text.partition("| objects | verbs |")[2].partition("\n\n")[0]
    told = dict(re.findall(r"^\| ([a-z/]+) \| ([a-z, ]+) \|$", table, re.MULTILINE))
    asked = {
        resource: ", ".join(rule["verbs"])
        for rule in rights.RULES
        for resource in rule["resources"]
    }
    assert told == asked
