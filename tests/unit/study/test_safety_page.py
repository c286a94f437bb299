"""The table of hazards: each has tests that carry its identifier, and each such test a hazard."""

import re

from hifuflow.provenance import ROOT

PAGE = ROOT / "docs" / "safety.md"


def identifiers() -> list[str]:
    return re.findall(r"^\| H-(\d\d) \|", PAGE.read_text(), re.MULTILINE)


def test_hazards_are_numbered_without_gaps():
    found = identifiers()
    assert found == [f"{number:02d}" for number in range(1, len(found) + 1)]
    assert len(found) > 20


def test_every_hazard_has_a_test_and_every_such_test_a_hazard():
    tested = {number for path in (ROOT / "tests").rglob("test_*.py")
              for number in re.findall(r"^def test_h(\d\d)_", path.read_text(), re.MULTILINE)}
    assert tested == set(identifiers())


def test_every_row_of_the_table_is_complete():
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| H-")]
    for row in rows:
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert len(cells) == 7 and all(cells), row
        assert cells[6] == f"`-k h{cells[0][2:]}`"
