"""Results are known by their content, whatever time stamps say."""

import os
import shutil
from types import SimpleNamespace

import pytest

from hifuflow import job_record
from hifuflow.errors import DamagedFile
from hifuflow.job import write_json
from hifuflow.job_record import (
    FileState,
    JobRecord,
    check_content,
    record_of,
    record_path,
    recorded,
    save_run_record,
    settings_hash,
    state_of,
)


class Files(list):
    """Named files, as `snakemake.input` has them."""

    def __init__(self, *unnamed, **named):
        super().__init__([*unnamed, *named.values()])
        self.get = named.get


def task(folder, rule, inputs, outputs, config=None):
    return SimpleNamespace(rule=rule, input=inputs, output=[str(path) for path in outputs],
                           log=[str(folder / "logs" / f"{rule}.log")],
                           params={"config": config or {}})


@pytest.fixture
def folder(tmp_path):
    """Results of two jobs: `reduce` made rom.h5, and `control` metrics.json from it."""
    folder = tmp_path / "results" / "anna"
    save_run_record(folder, {"code_sha256": {"reduce": "c1", "control": "c2"}})
    (folder / "reduction").mkdir()
    run_reduce(folder)
    run_control(folder)
    return folder


def run_reduce(folder, content="model"):
    with recorded(task(folder, "reduce", Files(), [folder / "reduction" / "rom.h5"])):
        (folder / "reduction" / "rom.h5").write_text(content)


def run_control(folder):
    rom, metrics = folder / "reduction" / "rom.h5", folder / "control" / "metrics.json"
    with recorded(task(folder, "control", Files(rom=str(rom)), [metrics], {"max": 3})):
        write_json(metrics, {"coverage": 1})


def test_a_record_says_what_was_read_and_by_which_code_and_settings(folder):
    record = record_of(folder / "control" / "metrics.json")
    assert (record.rule, record.code_sha256) == ("control", "c2")
    assert record.config_sha256 == settings_hash({"max": 3}) != settings_hash({"max": 4})
    assert list(record.inputs) == ["reduction/rom.h5"]
    assert record.inputs["reduction/rom.h5"] == record_of(folder / "reduction" / "rom.h5").state
    assert record_path(folder / "reduction" / "rom.h5") == (
        folder / "provenance" / "reduction" / "rom.h5.json")


@pytest.mark.parametrize("in_place", [True, False])
def test_an_older_or_equal_time_stamp_hides_no_other_content(folder, in_place):
    rom = folder / "reduction" / "rom.h5"
    before, status = check_content(rom), rom.stat()
    other = rom if in_place else rom.with_name("other")
    other.write_text("MODEL")  # of the same size
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.replace(rom)
    assert state_of(rom).sha256 != before.sha256
    with pytest.raises(DamagedFile, match=r"rom\.h5.*delete it"):
        check_content(rom)
    with pytest.raises(DamagedFile, match=r"rom\.h5"):
        run_control(folder)


def test_other_time_stamps_are_no_other_content(folder):
    rom = folder / "reduction" / "rom.h5"
    before = check_content(rom)
    os.utime(rom, (0, 0))
    assert check_content(rom).sha256 == before.sha256
    copied = shutil.copytree(folder, folder.parent / "copy", copy_function=shutil.copyfile)
    assert check_content(copied / "reduction" / "rom.h5").sha256 == before.sha256


def test_what_is_as_it_was_is_not_read_again(folder, monkeypatch):
    monkeypatch.setattr(job_record, "file_sha256", lambda path: pytest.fail(f"{path} was read"))
    check_content(folder / "reduction" / "rom.h5")


def test_a_job_that_fails_leaves_results_without_a_record(folder):
    rom = folder / "reduction" / "rom.h5"
    with pytest.raises(RuntimeError), recorded(task(folder, "reduce", Files(), [rom])):
        rom.write_text("other")
        raise RuntimeError
    assert record_of(rom) is None
    check_content(rom)  # nobody said what it should be
    run_reduce(folder)
    assert record_of(rom)


def test_a_damaged_record_is_none(folder):
    path = record_path(folder / "reduction" / "rom.h5")
    path.write_text(path.read_text().replace('"c1"', '"c9"'))
    assert record_of(folder / "reduction" / "rom.h5") is None
    path.write_text("{}")
    assert record_of(folder / "reduction" / "rom.h5") is None


def test_sources_count_wherever_they_lie_and_order_only_inputs_do_not(folder, tmp_path):
    source, after = tmp_path / "map.nii.gz", folder / "anatomy" / "constraints.json"
    source.write_text("labels")
    write_json(after, {})
    made = folder / "anatomy" / "regions.json"
    files = Files(str(source), str(tmp_path), after=str(after))
    with recorded(task(folder, "anatomy", files, [made], {"labels": str(source)})):
        write_json(made, {})
    record = record_of(made)
    assert list(record.inputs) == ["source/0/map.nii.gz"]
    assert record.inputs["source/0/map.nii.gz"] == FileState.of(source)
    assert record.config_sha256 == settings_hash({"labels": "/elsewhere/map.nii.gz"})
    assert record.config_sha256 != settings_hash({"labels": "/elsewhere/other.nii.gz"})
    record.save(tmp_path / "again.json")
    assert JobRecord.load(tmp_path / "again.json") == record
