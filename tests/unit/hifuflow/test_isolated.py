"""Functions in a process of their own: results, errors, crashes and endless loops."""

import ctypes
import math
import os
import tempfile
from pathlib import Path

import pytest

from hifuflow.errors import NumericalError
from hifuflow.isolated import OutOfTime, run_isolated


def endless():
    while True:
        pass


def refuse():
    raise NumericalError("not today")


def crash():
    ctypes.string_at(0)


def test_result_comes_back():
    assert run_isolated(math.hypot, 3.0, 4.0) == 5.0


@pytest.mark.parametrize(("function", "message"), [
    (math.sqrt, "math domain error"), (math.factorial, "factorial")])
def test_python_errors_are_told(function, message):
    with pytest.raises(NumericalError, match=message):
        run_isolated(function, -1)


def test_refusals_crashes_and_hangs_are_errors(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    with pytest.raises(NumericalError, match="not today"):
        run_isolated(refuse)
    with pytest.raises(NumericalError, match="crash crashed"):
        run_isolated(crash)
    with pytest.raises(OutOfTime, match="1 s"):
        run_isolated(endless, cpu_seconds=1)


def test_no_pickle_lies_where_others_could_change_it(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert run_isolated(os.listdir, str(tmp_path)) == []
