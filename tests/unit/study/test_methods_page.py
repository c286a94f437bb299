"""The methods page names only tests that exist."""

import re

from hifuflow.provenance import ROOT


def test_every_named_test_exists():
    text = (ROOT / "docs" / "methods.md").read_text()
    named = re.findall(r"`([\w/]+\.py)(?:::(\w+))?`", text)
    assert len(named) > 30
    for file, test in named:
        text = (ROOT / "tests" / file).read_text()
        assert not test or f"def {test}(" in text, f"{file}::{test}"
