"""The support matrix tells what was trained, what was refused and why, and what was not run."""

from datetime import date

from hack.support_matrix import outcomes, page

CASES = """<testsuites><testsuite>
<testcase name="test_cell[sft-full-1 rank]"/>
<testcase name="test_cell[sft-full-DDP]"/>
<testcase name="test_cell[sft-full-ZeRO-2]"/>
<testcase name="test_cell[sft-full-ZeRO-3]"><failure message="curves differ"/></testcase>
<testcase name="test_cell[vit-NF4-1 rank]"/>
<testcase name="test_cell[vit-NF4-DDP]"/>
<testcase name="test_cell[vit-NF4-ZeRO-2]"/>
<testcase name="test_cell[vit-NF4-ZeRO-3]"><properties>
<property name="refused" value="it cannot be split"/></properties></testcase>
<testcase name="test_other[1]"><failure message="not a cell"/></testcase>
</testsuite></testsuites>"""


def test_a_row_tells_each_cell_and_reasons_are_numbered(tmp_path):
    (tmp_path / "results.xml").write_text(CASES)
    found = outcomes([tmp_path / "results.xml"])
    assert len(found) == 8
    text = page(found, date(2026, 1, 2))
    assert "6 cells trained, 1 refused before" in text
    assert "1 failed" in text
    lines = [line for line in reversed(text.splitlines()) if line.startswith("| ")]
    rows = {line.split(" | ")[0]: line for line in lines}
    assert "| 1 rank, DDP, ZeRO-2 **ZeRO-3 failed** |" in rows["| TextGeneration, SFT (Llama)"]
    assert "| 1 rank, DDP, ZeRO-2 [1] |" in rows["| ImageClassification (ViT)"]
    assert "**1 rank, DDP, ZeRO-2, ZeRO-3 not run**" in rows["| Translation (T5)"]
    assert text.endswith("1. it cannot be split\n")
