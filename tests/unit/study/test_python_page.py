"""The page on Python is right: every example in it runs and gives what it says."""

import doctest

from hifuflow.provenance import ROOT


def test_a_treatment_from_python(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the examples write files
    failures, examples = doctest.testfile(str(ROOT / "docs" / "python.md"), module_relative=False,
                                          optionflags=doctest.REPORT_ONLY_FIRST_FAILURE)
    assert examples > 15
    assert failures == 0
