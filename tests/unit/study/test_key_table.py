"""The page of all keys is the one the schemas give."""

from hifuflow.provenance import ROOT
from hifuflow.study.key_table import configuration_page


def test_configuration_page_is_up_to_date():
    page = (ROOT / "config" / "README.md").read_text()
    assert page == configuration_page(), "run `hifuflow document --output config/README.md`"


def test_every_key_says_what_it_means():
    rows = [line for line in configuration_page().splitlines() if line.startswith("| `")]
    assert len(rows) > 50
    for row in rows:
        if "source`" not in row:
            assert row.split("|")[2].strip(), row
