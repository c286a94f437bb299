"""The page: complete, self-contained, and its numbers are those of the metrics."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from matplotlib.figure import Figure

from hifuflow.errors import InputError
from hifuflow.job import Progress
from hifuflow.provenance import ROOT
from hifuflow.records.heating import Heating
from hifuflow.report import page as pages
from hifuflow.report.facts import compare_with_paper
from hifuflow.report.figures import captions
from hifuflow.report.figures.model_difference import model_differences, what_differs
from hifuflow.report.inputs import ReportInputs
from hifuflow.report.limits import METRICS, limit_table
from hifuflow.report.page import _draw_figures, certificate_table, mesh_table, write_report
from hifuflow.report.settings import ReportSettings
from hifuflow.report.tables import plan_table
from hifuflow.study.patient import load_patient
from hifuflow.study.run_table import comparison_markdown, run_table

SECTION = load_patient(ROOT / "config" / "patients" / "breast_reference.yaml").section("report")
VOID = {"meta", "link", "img", "br", "hr", "input"}
RECORD = {"n_cells": 9312, "n_vertices": 2045, "min_quality": 0.31, "quality_p01": 0.42,
          "regions": {"tumour": {"volume_m3": 4.2e-6, "label_volume_m3": 4e-6,
                                    "lumped": ["tumour", "cyst"]}}}


FIGURES = ["geometry", "foci", "heating", "beam", "focal_gain", "controllers", "lesion_paper",
           "course_paper", "lesion_mintime", "course_mintime", "meshes", "angles", "reduction",
           "dose"]


class Page(HTMLParser):
    """Collects tags, attributes and cells, and checks that every tag is closed in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.rows, self.key = [], [], {}, None
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.append((tag, attributes))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.key = attributes.get("data-key")
        if tag == "span" and self.key:
            self.rows.setdefault(self.key, []).append([attributes["class"], ""])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.key and self.open and self.open[-1] == "span":
            self.rows[self.key][-1][1] += data


def make_inputs(case, **changes):
    hsv = 10.0 ** -np.linspace(0, 9, 60)
    kept = dict(case.metrics, status="complete", coverage=0.994, max_overshoot_k=-0.12,
                max_constraint_temperature_c=42.88, t90_cem43_min=512.0)
    values = {
        "patient": "breast_reference", "settings": case.settings, "anatomy": case.anatomy,
        "plan": case.plan, "constraints": case.constraints, "heating_path": case.heating_path,
        "mesh_paths": case.mesh_paths, "mesh_records": {"control": RECORD, "plant": RECORD},
        "unknowns": {"control": 13500}, "hsv": hsv, "error_bound": 2 * hsv, "rom_order": 87,
        "certificate": {"order": 87, "full_order": 13500, "stable": True,
                        "max_output_error_k": {"constraint": 0.0123, "target": 0.04}},
        "treatments": {"paper": (case.trajectory, case.metrics),
                       "mintime": (case.trajectory, kept)},
        "provenance": {"package": "hifuflow 0.1.0", "libraries": {"numpy": "2.3.1"}},
    }
    return ReportInputs(**{**values, **changes})


def with_changes(**sections) -> ReportSettings:
    """The settings with other values in sections of the patient file."""
    patient = {**SECTION["patient"]}
    for name, changes in sections.items():
        patient[name] = {**patient[name], **changes}
    return ReportSettings.read({**SECTION, "patient": patient})


@pytest.fixture(scope="module")
def written(plain_case, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    path = write_report(make_inputs(plain_case), folder)
    return folder, path.read_text()


def test_page_is_well_formed_and_self_contained(written):
    _, text = written
    page = Page(text)
    for tag, attributes in page.tags:
        for name in ("src", "href", "data", "action", "poster", "srcset"):
            value = attributes.get(name) or ""
            assert value.startswith(("data:", "#")) or not value, (tag, name, value[:80])
    # The scripts are watched in a browser: see tests/workflow/test_report_in_browser.py.
    assert not re.search(r"url\(\s*['\"]?(?!data:)|@import", text[:text.index("<script")])
    assert "prefers-color-scheme: dark" in text and "@media print" in text
    assert "not for clinical use" in text


def test_every_figure_is_embedded_and_written(written):
    folder, text = written
    names = sorted(path.stem for path in (folder / "figures").glob("*.png"))
    assert names == sorted(FIGURES)
    images = [attributes for tag, attributes in Page(text).tags if tag == "img"]
    assert len(images) == len(names)
    assert all(image["alt"] for image in images)


DRAWING = ["beam_over_anatomy", "focal_gain", "heating_pattern", "steering_gain", "geometry",
           "planned_foci", "ensemble_distributions", "hankel", "mesh_angles", "mesh_cuts",
           "truncation_errors", "compare_controllers", "dose_histogram", "lesion",
           "treatment_course"]


def steered(case, folder):
    """The case's heating by an array that steers."""
    replace(Heating.load(case.heating_path), steering={"gain": np.ones(3)}).save(
        folder / "heating.h5", "test", "0" * 64)
    return folder / "heating.h5"


@pytest.mark.parametrize(("changes", "more", "fewer"), [
    ({}, [], []),
    ({"certificate": {"error_against_order": {}}}, ["truncation"], []),
    ({"ensembles": {"paper": {}}}, ["ensembles"], []),
    ({"heating_path": steered}, ["steering"], []),
    ({"heating_path": None, "hsv": None}, [], ["heating", "beam", "focal_gain", "reduction"]),
    ({"mesh_paths": {}, "treatments": {}}, [], [
        "meshes", "angles", "dose", "controllers", "lesion_paper", "course_paper",
        "lesion_mintime", "course_mintime"])])
def test_progress_counts_the_figures_that_are_drawn(changes, more, fewer, plain_case, tmp_path,
                                                    monkeypatch):
    counted = []

    class Counting(Progress):
        def __exit__(self, *failure):
            counted.append((self.total, self.done))
            super().__exit__(*failure)

    monkeypatch.setattr("hifuflow.report.page.Progress", Counting)
    for name in DRAWING:  # how the figures look is of no interest here
        monkeypatch.setattr(captions, name, lambda *_, **__: Figure((1, 1)))
    changes = {name: value(plain_case, tmp_path) if callable(value) else value
               for name, value in changes.items()}
    shown = _draw_figures(make_inputs(plain_case, **changes), tmp_path / "figures", [])
    names = sorted(path.stem for path in (tmp_path / "figures").glob("*.png"))
    assert names == sorted(figure["name"] for figure in shown)
    assert names == sorted({*FIGURES, *more} - {*fewer})
    assert counted == [(len(names), len(names))]


def test_table_holds_every_metric_as_it_is(written, plain_case):
    rows = Page(written[1]).rows
    for metric in METRICS:
        if metric.key != "max_power_w":
            shown = rows[metric.key][0][1].removesuffix(metric.unit).replace(",", "")
            expected = plain_case.metrics[metric.key] * metric.scale
            assert float(shown) == pytest.approx(expected, abs=0.5 * 10.0**-metric.digits + 1e-9)
    assert rows["status"][0][1] == "timeout"


def test_overshoot_is_red_in_words_and_colour(written):
    rows = Page(written[1]).rows
    for key in ("max_overshoot_k", "max_constraint_temperature_c"):
        assert rows[key][1] == ["chip red", "exceeded"]
        assert rows[key][3] == ["chip green", "kept"]
    assert rows["coverage"][1] == ["chip amber", "not reached"]
    assert rows["coverage"][3] == ["chip green", "reached"]


def test_coverage_just_short_of_the_goal_is_not_reached(plain_case):
    metrics = dict(plain_case.metrics, coverage=0.98999, max_power=22)
    inputs = make_inputs(plain_case, treatments={"paper": (plain_case.trajectory, metrics)})
    row = next(row for row in limit_table(inputs) if row.key == "coverage")
    assert row.cells[0].level == "amber" and row.limit == "at least 99 %"


def test_power_over_the_maximum_is_red(plain_case):
    inputs = make_inputs(plain_case, settings=with_changes(prescription={"max_power_w": 20}))
    row = next(row for row in limit_table(inputs) if row.key == "max_power_w")
    assert [cell.level for cell in row.cells] == ["red", "red"]


def test_each_constraint_is_held_against_its_own_limits(plain_case):
    one = {"n_points": 24, "soft": False, "max_overshoot_k": 0.3, "max_dose_cem43_min": 4.0,
           "dose_limit_cem43_min": None}
    skin = {**one, "soft": True, "max_dose_cem43_min": 31.0, "dose_limit_cem43_min": 30}
    metrics = dict(plain_case.metrics, constraints={"ellipsoid": one, "skin": skin})
    inputs = make_inputs(plain_case, treatments={"paper": (plain_case.trajectory, metrics)})
    rows = {row.key: row for row in limit_table(inputs)}
    assert rows["ellipsoid.max_overshoot_k"].cells[0].level == "red"
    assert rows["skin.max_overshoot_k"].cells[0].level == "amber"
    assert rows["skin.max_dose_cem43_min"].limit == "at most 30 CEM43, soft"
    assert rows["skin.max_dose_cem43_min"].cells[0].words == "exceeded"
    assert "ellipsoid.max_dose_cem43_min" not in rows


def held_treatment(case, **metrics):
    """Mild hyperthermia: no voxel has a dose to speak of."""
    warm = replace(case.trajectory, voxel_dose=np.full_like(case.trajectory.voxel_dose, 20.0),
                   target_temperature=np.clip(case.trajectory.target_temperature, 37, 42))
    return warm, {**case.metrics, "status": "complete", "coverage": 0.0, "time_to_t90_s": None,
                  "held_mean_c": 41.6, "held_t90_c": 41.0, "held_t50_c": 41.7,
                  "held_t10_c": 43.2, "time_in_window_fraction": 0.9, "held_s": 1800.0, **metrics}


def test_hyperthermia_is_judged_by_its_own_goals(plain_case):
    treatments = {"paper": (plain_case.trajectory, plain_case.metrics),
                  "hyperthermia": held_treatment(plain_case)}
    rows = {row.key: row for row in limit_table(make_inputs(plain_case, treatments=treatments))}
    for key, limit, level in (
            ("held_mean_c", "41.0 °C to 43.0 °C", "green"), ("held_t90_c", "at least 40.9 °C",
            "green"), ("held_t50_c", "", ""), ("held_t10_c", "at most 43.1 °C", "amber"),
            ("time_in_window_fraction", "at least 95.0 %", "amber"),
            ("held_s", "at least 1,800 s", "green")):
        assert rows[key].limit == limit and rows[key].cells[1].level == level, key
        assert rows[key].cells[0].text == "", key  # no goal of an ablation
    for key in ("coverage", "t90_cem43_min", "time_to_t90_s"):
        assert rows[key].cells[1].level == "" and rows[key].cells[0].text != "–", key
    assert rows["time_to_t90_s"].cells[1].text == "–"
    never = {"hyperthermia": held_treatment(plain_case, held_mean_c=None, held_t90_c=None)}
    rows = {row.key: row for row in limit_table(make_inputs(plain_case, treatments=never))}
    assert rows["held_t90_c"].cells[0].text == "never held"


def test_page_of_a_hyperthermia_shows_what_was_held(plain_case, tmp_path):
    inputs = make_inputs(plain_case, treatments={"hyperthermia": held_treatment(plain_case)})
    text = write_report(inputs, tmp_path).read_text()
    Page(text)
    names = {path.stem for path in (tmp_path / "figures").glob("*.png")}
    assert "course_hyperthermia" in names and "lesion_hyperthermia" not in names
    assert "what 90, 50 and 10 % of its volume are above" in text
    burnt = replace(inputs.treatments["hyperthermia"][0], voxel_dose=plain_case.trajectory.
                    voxel_dose)
    metrics = inputs.treatments["hyperthermia"][1]
    inputs = make_inputs(plain_case, treatments={"hyperthermia": (burnt, metrics)})
    drawn = [draw() for draw in captions.all_figures(inputs)
             if "lesion" in draw.func.__name__]
    assert len(drawn) == 1 and "should leave none" in drawn[0].caption


def test_a_picture_that_cannot_be_drawn_takes_nothing_else_with_it(plain_case, tmp_path,
                                                                    monkeypatch):
    def fail(*_):
        raise ValueError("no <level>")

    whole = write_report(make_inputs(plain_case), tmp_path / "whole").read_text()
    assert "Not drawn," not in whole
    monkeypatch.setattr(captions, "geometry", fail)
    monkeypatch.setattr(pages, "build_scene", fail)
    text = write_report(make_inputs(plain_case), tmp_path / "part").read_text()
    Page(text)
    assert "<li>figure geometry: ValueError: no &lt;level&gt;</li>" in text
    assert "<li>the moving pictures: ValueError" in text and "74.1 %" in text
    drawn, all_drawn = ({path.stem for path in (tmp_path / name / "figures").glob("*.png")}
                        for name in ("part", "whole"))
    assert all_drawn - drawn == {"geometry"}
    damaged = plain_case.folder / "damaged.h5"
    damaged.write_bytes(b"no HDF5")
    with pytest.raises(InputError, match="damaged"):  # a file's fault is no picture's
        write_report(make_inputs(plain_case, heating_path=damaged), tmp_path / "bad")


def test_missing_parts_do_not_break_the_page(plain_case, tmp_path):
    bare = ReportInputs("bare", plain_case.settings, plain_case.anatomy, plain_case.plan,
                        plain_case.constraints)
    text = write_report(bare, tmp_path / "bare").read_text()
    Page(text)
    assert text.count("not computed") >= 5 and "Reference paper" not in text
    sparse = make_inputs(plain_case, treatments={"paper": (plain_case.trajectory, {})},
                         mesh_records={"control": {}}, certificate={"order": None})
    rows = {row.key: row.cells[0] for row in limit_table(sparse)}
    assert rows["coverage"].text == "not computed" and rows["coverage"].level == ""
    assert mesh_table(sparse)["control"][0] == ("Tetrahedra", "not computed")
    assert certificate_table(sparse.certificate) == [("Order", "not computed")]


def test_what_was_done_to_the_anatomy_stands_beside_the_plan(plain_case):
    anatomy = replace(plain_case.anatomy, record={"notes": ["2 speck(s) of muscle"]})
    constraints = {**plain_case.constraints, "notes": ["the body ends within 9 mm"]}
    plan = replace(plain_case.plan, warnings=["the 4 foci reach 80%"])
    rows = plan_table(make_inputs(plain_case, anatomy=anatomy, constraints=constraints, plan=plan))
    assert [text for name, text in rows if name == "Warning"] == [
        "2 speck(s) of muscle", "the body ends within 9 mm", "the 4 foci reach 80%"]


def test_events_are_listed_and_escaped(written):
    assert "limit in sight at location 8" in written[1]
    assert "timeout &lt;7200 s&gt;" in written[1] and "<7200" not in written[1]


def test_comparison_with_the_paper(plain_case):
    rows = {row.what: row for row in compare_with_paper(make_inputs(plain_case))}
    assert (rows["Tetrahedra, control model"].paper, rows["Tetrahedra, control model"].here) == (
        "9,299", "9,312")
    assert rows["States of the reduced model"].here == "87"
    assert rows["Foci"].here == "9"
    assert rows["Unknowns, patient model"].here == "not computed"
    assert rows["First focus held"].here == (
        "12 s, until its dose was reached; a constraint would end it at 36 s")
    assert rows["Full power by switching foci, from the start"].here == "40 s"
    assert rows["Limit of 43 °C"].here == "exceeded by up to 1.25 K"
    assert rows["Part left untreated"].here.startswith("nearest the skin, z < ")
    assert not compare_with_paper(make_inputs(plain_case, patient="someone"))
    markdown = comparison_markdown(list(rows.values()))
    assert "| Constrained locations | 209 | 24 |" in markdown


def test_mesh_and_certificate_tables(plain_case):
    inputs = make_inputs(plain_case)
    rows = dict(mesh_table(inputs)["control"])
    assert rows["Volume of tumour, with cyst"] == "4.20 ml (+5.0 % against the label map)"
    rows = dict(certificate_table(inputs.certificate))
    assert rows["Largest output error in a replayed treatment (K), constraint"] == "0.0123"
    assert rows["Stable"] == "yes"


def test_difference_of_the_models_is_stated_and_named(plain_case, written):
    inputs = make_inputs(plain_case)
    rows = dict(model_differences(inputs)["paper"])
    assert rows["Constrained points, root mean square"] == (
        "0.012 K (0.4% of the root mean square rise)")
    assert rows["Target, largest"] == "4.500 K (15.0% of the largest rise)"
    assert rows["Dose that 90 % of the target got, model over patient"] == "1.08"
    assert rows["Time until 90 % had the dose, model and patient"] == "812 s and never"
    assert "4.500 K (15.0% of the largest rise)" in written[1]
    assert "discretization error" in written[1] and "9,312 and 9,312 cells" in written[1]
    other = make_inputs(plain_case, settings=with_changes(plant={
        "perfusion_factor": 1.5, "tissue": "responsive", "spread": {"absorption": 0.2}}))
    assert "discretization error" not in what_differs(other)
    assert what_differs(other).endswith("perfusion_factor, tissue, spread.")
    assert plain_case.settings.deviations == ()
    assert with_changes(plant={"regions": {"fat": {}}}).deviations == ("regions",)


def test_simulated_faults_are_told_on_top_of_the_page(plain_case, written, tmp_path):
    fault = {"kind": "drift", "from_s": 0, "until_s": 20, "k_per_min": 3}
    settings = ReportSettings.read({**SECTION, "patient": {**SECTION["patient"],
                                                           "faults": [fault]}})
    assert settings.faults == ("kind: drift, until_s: 20, k_per_min: 3",)
    assert settings.deviations == ("faults",)  # the model's error is not that of its mesh alone
    assert plain_case.settings.faults == ()
    page = write_report(make_inputs(plain_case, settings=settings), tmp_path).read_text()
    assert "With simulated faults" in page and f"<li>{settings.faults[0]}</li>" in page
    assert "With simulated faults" not in written[1]


def test_it_is_told_on_top_of_the_page_why_a_treatment_is_not_complete(plain_case, written,
                                                                      tmp_path):
    metrics = {**plain_case.metrics, "status": "aborted", "status_reason": "the image is < frozen"}
    page = write_report(make_inputs(plain_case, treatments={
        "paper": (plain_case.trajectory, metrics)}), tmp_path).read_text()
    assert "<li>paper: the image is &lt; frozen</li>" in page
    assert "Not complete:" not in written[1]


def test_run_table_is_short_and_complete(plain_case):
    text = run_table("breast_reference", {"paper": plain_case.metrics, "mintime": {}},
                     "results/breast_reference/report/index.html")
    lines = text.splitlines()
    assert len(lines) == 8 and max(map(len, lines)) <= 80
    assert lines[4].split() == ["paper", "timeout", "1,198", "s", "74.1", "%", "1.25", "K"]
    assert "not computed" in lines[5]
    assert lines[-1] == "report: results/breast_reference/report/index.html"


def test_inputs_are_read_from_a_results_folder(plain_case):
    folder = plain_case.folder
    plain_case.anatomy.save(folder / "anatomy")
    plain_case.plan.save(folder / "acoustics" / "plan.json")
    (folder / "anatomy" / "constraints.json").write_text(json.dumps(plain_case.constraints))
    plain_case.trajectory.save(folder / "control" / "paper" / "trajectory.h5", "test", "0" * 64)
    (folder / "control" / "paper" / "metrics.json").write_text(json.dumps(plain_case.metrics))
    inputs = ReportInputs.from_folder(folder, "test", plain_case.settings, {})
    assert list(inputs.treatments) == ["paper"] and set(inputs.mesh_paths) == {"control", "plant"}
    assert inputs.hsv is None and inputs.heating_path == plain_case.heating_path
    np.testing.assert_allclose(inputs.treatments["paper"][0].coverage,
                               plain_case.trajectory.coverage)


def test_a_missing_certificate_says_why(plain_case, tmp_path):
    note = "Not certified: certificate.json is about another model than rom.h5, or was edited."
    page = write_report(make_inputs(plain_case, certificate={}, certificate_note=note), tmp_path)
    assert note in page.read_text()
