"""What content calls outdated, and what the end of a run shows."""

import os
import shutil
from types import SimpleNamespace

import pytest

from hifuflow.job import write_json
from hifuflow.job_record import (
    record_of,
    record_path,
    recorded,
    save_run_record,
    settings_hash,
)
from hifuflow.study.rule_functions import RuleFunctions
from hifuflow.study.run_table import ending
from hifuflow.study.up_to_date import damaged_results, order_times, refresh_marks, why_outdated

CONTROL = {"max_time_s": 3}
METRICS = {"status": "complete", "treatment_time_s": 12.0, "coverage": 0.98, "max_overshoot_k": 0.0}


class Files(list):
    def __init__(self, **named):
        super().__init__(named.values())
        self.get = named.get


def task(folder, rule, inputs, output, config):
    return SimpleNamespace(rule=rule, input=Files(**inputs), output=[str(output)],
                           log=[str(folder / "logs" / f"{rule}.log")], params={"config": config})


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "map.nii.gz"
    path.write_text("labels")
    return path


@pytest.fixture
def folder(tmp_path, source):
    """Results of `anatomy`, made from a source, and of two controllers, made from the anatomy."""
    folder = tmp_path / "results" / "anna"
    save_run_record(folder, {"code_sha256": {"anatomy": "c1", "control": "c2"},
                             "controllers": dict.fromkeys(("paper", "mintime"),
                                                          settings_hash(CONTROL)),
                             "ensembles": {}, "draws": 0})
    regions = folder / "anatomy" / "regions.json"
    with recorded(task(folder, "anatomy", {"source": str(source)}, regions, {"a": 1})):
        write_json(regions, {"regions": 1})
    for name in ("paper", "mintime"):
        metrics = folder / "control" / name / "metrics.json"
        with recorded(task(folder, "control", {"x": str(regions)}, metrics, CONTROL)):
            write_json(metrics, METRICS)
    (folder / "logs").mkdir()
    (folder / "report").mkdir()
    (folder / "report" / "index.html").write_text("page")
    return folder


def anatomy_is_outdated(folder, source, config=None, code="c1"):
    return why_outdated(folder / "anatomy" / "regions.json", config or {"a": 1}, code, [source])


def control_is_outdated(folder):
    return why_outdated(folder / "control" / "paper" / "metrics.json", CONTROL, "c2")


def test_nothing_is_outdated_after_a_run_nor_in_a_copy_of_it(folder, source):
    copies = [shutil.copytree(folder, folder.parent / "cp_a"),
              shutil.copytree(folder, folder.parent / "cp_r", copy_function=shutil.copyfile)]
    for results in (folder, *copies):
        assert anatomy_is_outdated(results, source) is None
        assert control_is_outdated(results) is None
        assert damaged_results(results) == []


def test_time_stamps_are_put_in_order_and_nothing_else(folder, source):
    files = [source, folder / "anatomy" / "regions.json", folder / "benchmarks" / "anatomy.tsv",
             folder / "control" / "paper" / "metrics.json"]
    files[2].parent.mkdir()
    files[2].touch()
    contents = [path.read_bytes() for path in files]
    for time, path in enumerate(reversed(files)):  # as a tool may leave them that copies at will
        os.utime(path, (10**9 + time, 10**9 + time))
    untouched = folder / "report" / "index.html"
    before = untouched.stat()
    order_times(folder, [source])
    times = [path.stat().st_mtime for path in files]
    assert times == sorted(times) and times[0] == 10**9 + 3
    assert [path.read_bytes() for path in files] == contents and untouched.stat() == before
    assert anatomy_is_outdated(folder, source) is None


def test_settings_and_code_count_in_a_copy_too(folder, source):
    copy = shutil.copytree(folder, folder.parent / "copy")
    assert "settings" in anatomy_is_outdated(copy, source, config={"a": 2})
    assert "code" in anatomy_is_outdated(copy, source, code="c9")
    assert anatomy_is_outdated(folder.parent / "nowhere", source) is None  # nothing is there
    record_path(copy / "anatomy" / "regions.json").unlink()
    assert "no record" in anatomy_is_outdated(copy, source)


def test_a_source_replaced_by_an_older_file_is_noticed(folder, source):
    status = source.stat()
    source.write_text("LABELS")
    os.utime(source, ns=(status.st_atime_ns, status.st_mtime_ns - 10**12))
    assert "other files" in anatomy_is_outdated(folder, source)
    source.write_text("labels")
    assert anatomy_is_outdated(folder, source) is None
    assert "other files" in why_outdated(folder / "anatomy" / "regions.json", {"a": 1}, "c1",
                                         [source, shutil.copy(source, source.with_name("b"))])
    (source.parent / "other").mkdir()
    moved = shutil.move(source, source.parent / "other" / source.name)
    assert anatomy_is_outdated(folder, moved) is None


def test_a_result_made_from_another_one_is_noticed(folder):
    regions = folder / "anatomy" / "regions.json"
    with recorded(task(folder, "anatomy", {}, regions, {"a": 1})):
        write_json(regions, {"regions": 2})
    assert control_is_outdated(folder) == (
        "anatomy/regions.json is not the one that it was made from")


def test_a_replaced_result_is_an_error_that_names_it(folder):
    path = folder / "anatomy" / "regions.json"
    status = path.stat()
    write_json(path, {"regions": 2})
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    faults = damaged_results(folder)
    assert len(faults) == 1 and str(path) in str(faults[0]) and "delete it" in str(faults[0])
    path.unlink()
    assert damaged_results(folder) == []
    (folder / "report" / "index.html").write_text("edited by hand")  # no job reads it
    assert damaged_results(folder) == []


def test_the_marks_of_a_copy_are_noted_once(folder):
    copy = shutil.copytree(folder, folder.parent / "copy")
    path = copy / "anatomy" / "regions.json"
    before = record_of(path).state
    refresh_marks(copy)
    after = record_of(path).state
    assert after.sha256 == before.sha256 and after.marks != before.marks
    assert after.marks[3] == path.stat().st_ino


def test_rules_are_forced_where_content_says_so(folder, source, capsys):
    patient = SimpleNamespace(sources=[str(source)], treating=["mintime"], controllers=["mintime"])
    study = SimpleNamespace(results_dir=str(folder.parent), patients={"anna": patient})
    workflow = SimpleNamespace(is_main_process=True, dag=SimpleNamespace(forcefiles=set()))
    ask = RuleFunctions(study, workflow)
    ask.code_hashes = {"anatomy": "c1"}
    wildcards = SimpleNamespace(patient="anna", items=lambda: [("patient", "anna")])
    file = f"{folder.parent}/{{patient}}/anatomy/regions.json"
    check = ask.outdated("anatomy", file, lambda wildcards: {"a": 1}, ask.sources)
    assert check(wildcards) == [] and not workflow.dag.forcefiles
    source.write_text("other")
    assert check(wildcards) == []
    assert workflow.dag.forcefiles == {str(folder / "anatomy" / "regions.json")}
    assert "regions.json is made again" in capsys.readouterr().err
    workflow.is_main_process, workflow.dag.forcefiles = False, set()
    assert check(wildcards) == [] and not workflow.dag.forcefiles  # the main process decides


def test_the_closing_table_shows_only_what_is_of_the_present_configuration(folder):
    assert all(name in ending(folder) for name in ("paper", "mintime", "complete"))
    (folder / "logs" / "control_paper.log").write_text("10:00:00 [paper] ERROR too hot\n")
    assert "FAILED in control_paper: too hot" in ending(folder)
    of_mintime = {"controllers": {"mintime": settings_hash(CONTROL)}, "ensembles": {}, "draws": 0}
    save_run_record(folder, of_mintime)
    shown = ending(folder)
    assert "mintime" in shown and "paper" not in shown
    of_mintime["controllers"]["mintime"] = settings_hash({"max_time_s": 4})
    save_run_record(folder, of_mintime)
    assert ending(folder) == "anna: not finished"


def test_metrics_that_were_replaced_are_not_shown(folder):
    write_json(folder / "control" / "paper" / "metrics.json", {**METRICS, "coverage": 1.0})
    line = next(line for line in ending(folder).splitlines()
                if line.startswith("paper"))
    assert "not computed" in line and "100" not in line


def test_logs_of_draws_that_are_no_longer_wanted_are_not_shown(folder):
    run = {"controllers": {"mintime": settings_hash(CONTROL)},
           "ensembles": {"mintime": "h"}, "draws": 2}
    save_run_record(folder, run)
    (folder / "logs" / "ensemble_mintime_3.log").write_text("10:00:00 [x] ERROR old\n")
    assert "FAILED" not in ending(folder)
    (folder / "logs" / "ensemble_mintime_2.log").write_text("10:00:00 [x] ERROR new\n")
    assert "FAILED in ensemble_mintime_2: new" in ending(folder)
