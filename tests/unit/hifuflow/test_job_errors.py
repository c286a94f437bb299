"""How a failed job ends: one paragraph in plain words, last."""

import pytest

from hifuflow.errors import InputError
from hifuflow.job import job


@pytest.mark.parametrize(("error", "words"), [
    (InputError("too hot", key="constraints.limit_c"), ("too hot", "constraints.limit_c")),
    (KeyError("q"), ("KeyError", "fault of the program", "test.log")),
])
def test_last_line_says_what_went_wrong(tmp_path, capsys, error, words):
    with pytest.raises(SystemExit) as ended, job("test", tmp_path / "test.log"):
        raise error
    assert ended.value.code == 1
    for text in ((tmp_path / "test.log").read_text(), capsys.readouterr().err):
        last = text.strip().splitlines()[-1]
        assert "ERROR" in last and all(word in last for word in words)


def test_a_job_leaves_logging_as_it_was(tmp_path, caplog):
    """In a process that goes on, what is logged later goes where it went before."""
    with job("test", tmp_path / "a.log") as log:
        log.info("inside")
    log.warning("later")
    assert "later" not in (tmp_path / "a.log").read_text() and "later" in caplog.text
