"""Who may publish a file, and whose temporary file goes: of jobs that outlive their run."""

import os
import signal
import subprocess
import sys

import pytest

from hifuflow.errors import DamagedFile
from hifuflow.job import atomic, last_error, read_json, write_json

# Writes a result in two steps; goes on when it is told to.
WRITER = """
import sys
from pathlib import Path
from hifuflow.job import atomic, job, log
folder = Path(sys.argv[1])
with job("reduce", folder / "reduce.log"):
    with atomic(folder / "rom.h5") as temporary:
        temporary.write_text("half")
        log.info("half written")
        print(temporary, flush=True)
        sys.stdin.readline()
        temporary.write_text(sys.argv[2])
"""


@pytest.fixture
def start(tmp_path):
    started = []

    def start(content):
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), content],
                                   text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE)
        started.append(process)
        return process, process.stdout.readline().strip()

    yield start
    for process in started:
        process.kill()
        process.communicate()


def finish(process):
    process.communicate("go on\n")
    return process.returncode


def test_the_temporary_file_of_a_living_job_stays(tmp_path, start):
    other, temporary = start("theirs")
    with atomic(tmp_path / "rom.h5") as own:
        own.write_text("ours")
        assert os.path.exists(temporary)
    assert finish(other) == 0
    assert (tmp_path / "rom.h5").read_text() == "theirs"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["reduce.log", "rom.h5"]


def test_the_temporary_file_of_a_killed_job_goes(tmp_path, start):
    other, temporary = start("theirs")
    other.send_signal(signal.SIGKILL)
    other.wait()
    assert os.path.exists(temporary)
    write_json(tmp_path / "other.json", {})  # of another file
    assert os.path.exists(temporary)
    with atomic(tmp_path / "rom.h5") as own:
        own.write_text("ours")
        assert not os.path.exists(temporary)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other.json", "reduce.log",
                                                               "rom.h5"]


def test_a_link_that_looks_like_a_temporary_file_is_left_alone(tmp_path):
    (tmp_path / "precious").write_text("content")
    (tmp_path / ".rom-x.h5").symlink_to(tmp_path / "precious")
    (tmp_path / ".rom-y.h5").touch()
    (tmp_path / ".rom-y.lock").symlink_to(tmp_path / "precious")
    with atomic(tmp_path / "rom.h5") as own:
        own.write_text("ours")
    assert (tmp_path / "precious").read_text() == "content"
    assert (tmp_path / ".rom-y.h5").exists()  # whether it has an owner cannot be known


def test_a_job_that_another_run_started_again_publishes_nothing(tmp_path, start):
    left_behind, _ = start("old")
    again, _ = start("new")
    assert finish(again) == 0
    finished = (tmp_path / "reduce.log").read_text()
    assert finish(left_behind) == 1
    assert (tmp_path / "rom.h5").read_text() == "new"
    assert (tmp_path / "reduce.log").read_text() == finished
    assert "done in" in finished.splitlines()[-1] and "\0" not in finished
    assert last_error(tmp_path / "reduce.log") is None


def test_nor_does_it_while_the_other_is_still_at_it(tmp_path, start):
    left_behind, _ = start("old")
    again, temporary = start("new")
    assert finish(left_behind) == 1
    assert os.path.exists(temporary) and not (tmp_path / "rom.h5").exists()
    assert finish(again) == 0
    assert (tmp_path / "rom.h5").read_text() == "new"


def test_a_json_file_from_elsewhere_needs_no_checksum(tmp_path):
    (tmp_path / "x.json").write_text('{"source_sha256": "' + "0" * 64 + '"}')
    assert read_json(tmp_path / "x.json") == {"source_sha256": "0" * 64}
    for text in ("[1, 2]", "{", "7", '{"a": NaN'):
        (tmp_path / "x.json").write_text(text)
        with pytest.raises(DamagedFile, match=r"x\.json"):
            read_json(tmp_path / "x.json")


def test_keys_and_numbers_of_any_kind_come_back(tmp_path):
    write_json(tmp_path / "x.json", {10: (1, 2), 9: {"b": 1e-300}, "text": "µ"})
    assert read_json(tmp_path / "x.json") == {"10": [1, 2], "9": {"b": 1e-300}, "text": "µ"}
    with pytest.raises(ValueError):
        write_json(tmp_path / "x.json", {"a": float("nan")})
