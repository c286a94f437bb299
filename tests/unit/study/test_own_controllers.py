"""Controllers and reduced models of a patient's own: what is read, and one error for each fault."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from hifuflow.controller.methods.option import json_schema, read_options
from hifuflow.controller.methods.own import code_sha256, load_class, plain_name
from hifuflow.controller.methods.registry import OPTIONS
from hifuflow.errors import InvalidConfig
from hifuflow.provenance import ROOT
from hifuflow.study.patient import load_patient
from hifuflow.study.schema import check, load_schema

REFERENCE = ROOT / "config" / "patients" / "breast_reference.yaml"
MINE = """
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from hifuflow.controller.methods.base import Controller
from hifuflow.controller.methods.option import option


@dataclass(frozen=True)
class Settings:
    \"\"\"Options of mine.\"\"\"

    reach: float = option(5, "How far.", "mm", above=0, at_most=20)
    pause: float = option(2, "How long.", "min", at_least=1)
    rounds: int = option(3, "How often.", at_least=1, at_most=9)
    order: str = option("inwards", "Which way.", one_of=["inwards", "outwards"],
                        formerly="direction")
    eager: bool = option(False, "Whether.")
    weights: tuple[float, ...] = option((1.0, 2.0), "Each.", at_least=0)
    span: tuple[float, float] = option((1.0, 2.0), "From and to.", "mm")

    def __post_init__(self):
        if self.span[0] > self.span[1]:
            raise ValueError("span_mm ends before it starts")


class Mine(Controller):
    Options = Settings

    def decide(self, estimate):
        return np.zeros(len(self.model.foci))


class Plain(Controller):
    def decide(self, estimate):
        return np.zeros(len(self.model.foci))


class Abstract(Controller):
    pass


class Other:
    pass
"""


@pytest.fixture
def patient_file(tmp_path):
    """Write mine.py and a patient file beside it with these sections."""
    def write(code=MINE, **sections):
        (tmp_path / "mine.py").write_text(code)
        path = tmp_path / "patient.yaml"
        path.write_text(yaml.safe_dump({**yaml.safe_load(REFERENCE.read_text()), **sections}))
        return path
    return write


def only_fault(path):
    with pytest.raises(InvalidConfig) as caught:
        load_patient(path)
    assert len(caught.value.faults) == 1, caught.value
    fault = caught.value.faults[0]
    assert fault.file == path and "\n" not in str(fault)
    return fault


def test_options_are_read_in_si_units(patient_file):
    path = patient_file(controllers=["mintime", "./mine.py:Mine"],
                        mine={"reach_mm": 4, "weights": [0, 3], "span_mm": [2, 7]})
    patient = load_patient(path)
    assert patient.controllers == patient.config["controllers"] == ["mintime", "mine"]
    assert patient.treating == ["mintime", "mine"]
    section = patient.section("control", "mine")
    assert section["options"] == {"reach_mm": 4, "pause_min": 2, "rounds": 3, "order": "inwards",
                                  "eager": False, "weights": [0, 3], "span_mm": [2, 7]}
    source = section["controller"]
    assert (source["name"], source["class"]) == ("mine", "Mine")
    assert Path(source["file"]) == path.with_name("mine.py")
    kind = load_class(source["file"], "Mine")
    options = read_options(kind.Options, section["options"])
    assert options == kind.Options(reach=4e-3, weights=(0.0, 3.0), span=(2e-3, 7e-3))
    assert (options.reach, options.pause, options.span) == (4e-3, 120.0, (2e-3, 7e-3))
    assert isinstance(options.weights[0], float) and isinstance(options.reach, float)


def test_a_class_without_options_takes_none(patient_file):
    assert load_patient(patient_file(controllers=["mine.py:Plain"])).section(
        "control", "plain")["options"] == {}
    fault = only_fault(patient_file(controllers=["mine.py:Plain"], plain={"gain": 1}))
    assert fault.key == "plain.gain" and "unknown key" in str(fault)


@pytest.mark.parametrize(("options", "key", "words"), [
    ({"reach_mm": 0}, "reach_mm", "above 0"),
    ({"reach_mm": 21}, "reach_mm", "at most 20"),
    ({"reach_mm": "far"}, "reach_mm", "a number"),
    ({"reach": 5}, "reach", "did you mean 'reach_mm'"),
    ({"rounds": 2.5}, "rounds", "a whole number"),
    ({"order": "sideways"}, "order", "inwards, outwards"),
    ({"direction": "inwards"}, "direction", "direction is now order"),
    ({"eager": 1}, "eager", "wrong type"),
    ({"weights": [1, -1]}, "weights.1", "at least 0"),
    ({"span_mm": [1]}, "span_mm", "of 2 entries"),
    ({"pause_min": float("nan")}, "pause_min", "finite"),
    ({"span_mm": [3, 1]}, "", "span_mm ends before it starts"),
    ([], "", "keys and values"),
])
def test_faults_of_options_name_key_value_and_what_is_allowed(patient_file, options, key, words):
    fault = only_fault(patient_file(controllers=["./mine.py:Mine"], mine=options))
    assert fault.key == f"mine.{key}".rstrip(".")
    assert words in str(fault)


@pytest.mark.parametrize(("entry", "words"), [
    ("papper", ("no such controller", "raster, paper, mintime, hyperthermia, optimum")),
    ("./mine.py", ("no such controller", "./FILE.py:CLASS")),
    ("./mine.py:", ("no such controller",)),
    ("./nowhere.py:Mine", ("no such file", "relative to the patient file")),
    ("./~nobody/mine.py:Mine", ("no such file",)),
    ("./mine.py:Mini", ("mine.py holds no such class", "Mine, Plain, Abstract")),
    ("./mine.py:np", ("holds no such class",)),
    ("./mine.py:Other", ("is no controller", "hifuflow.controller.methods.base.Controller")),
    ("./mine.py:Abstract", ("does not define decide",)),
    ("./mine.py:Größe", ("is not a usable name", "ASCII")),
])
def test_a_controller_that_cannot_be_used_is_one_error(patient_file, entry, words):
    """Also where its options stand in the file: nobody can tell what they mean."""
    sections = {"mini": {"a": 1}} if entry.endswith("Mini") else {}
    fault = only_fault(patient_file(controllers=["paper", entry], **sections))
    assert fault.key == "controllers.1" and fault.value == entry
    for word in words:
        assert word in str(fault)


@pytest.mark.parametrize(("code", "words"), [
    ("def f(:\n", ("SyntaxError", "mine.py, line 1")),
    ("import numpy\nnumpy.nothing\n", ("AttributeError", "mine.py, line 2")),
    ("import not_there\n", ("ModuleNotFoundError", "not_there", "mine.py, line 1")),
    ("from .helper import x\n", ("ImportError", "mine.py, line 1")),
    ("import sys\nsys.exit(3)\n", ("SystemExit", "mine.py, line 2")),
    ("raise Exception('two\\nlines')\n", ("two lines",)),
    (MINE.replace("(frozen=True)", ""), ("Options are no frozen dataclass",)),
    (MINE.replace("Options = Settings", "Options = 3"), ("Options are no frozen dataclass",)),
    (MINE.replace('option(False, "Whether.")', "False"), ("Settings.eager is no option",)),
    (MINE.replace("eager: bool", "eager: dict"), ("option 'eager' has an unknown type",)),
    (MINE.replace("eager: bool", "eager: 'nothing'"), ("annotations of Settings", "nothing")),
    (MINE.replace("option(5,", "option(50,"), ("'reach_mm'", "50", "at most 20")),
    (MINE.replace("above=0", "over=0"), ("option() has no over",)),
])
def test_a_file_that_cannot_be_used_is_one_error(patient_file, code, words):
    fault = only_fault(patient_file(code, controllers=["./mine.py:Mine"], mine={"reach_mm": 3}))
    assert fault.key == "controllers.0"
    for word in words:
        assert word in str(fault)


def test_a_required_option_must_be_given(patient_file):
    code = MINE.replace("option(5,", "option(...,")
    fault = only_fault(patient_file(code, controllers=["./mine.py:Mine"]))
    assert fault.key == "mine.reach_mm" and "is missing" in str(fault)


@pytest.mark.parametrize(("entries", "other"), [
    (["./mine.py:Mine", "mine.py:Mine"], "controllers.0"),
    (["./mine.py:Paper"], "a built-in controller"),
    (["./mine.py:Mesh"], "a section of the patient file"),
    (["./mine.py:Treatment"], "the best treatment"), (["./mine.py:MINE", "./mine.py:Mine"],
                                                      "controllers.0")])
def test_names_that_clash_are_errors(patient_file, entries, other):
    code = MINE + "\n\n" + "\n".join(f"class {name}(Plain):\n    pass\n"
                                     for name in ("Paper", "Mesh", "Treatment", "MINE"))
    fault = only_fault(patient_file(code, controllers=entries))
    assert f"as {other} is" in str(fault) and fault.key == f"controllers.{len(entries) - 1}"


@pytest.mark.parametrize(("name", "plain"), [
    ("Gentle", "gentle"), ("PowerRamp", "power_ramp"), ("PIDControl", "pid_control"),
    ("Ramp2D", "ramp2_d"), ("power_ramp", "power_ramp"), ("MPC", "mpc")])
def test_plain_names(name, plain):
    assert plain_name(name) == plain


def test_several_faults_are_reported_together(patient_file):
    path = patient_file(controllers=["papper", "./mine.py:Mini"], tpyo=1)
    with pytest.raises(InvalidConfig) as caught:
        load_patient(path)
    assert [fault.key for fault in caught.value.faults] == ["controllers.0", "controllers.1",
                                                            "tpyo"]


def test_an_edit_of_the_code_changes_the_controllers_section_and_no_other(patient_file, tmp_path):
    def sections():
        patient = load_patient(path)
        return {"mine": patient.section("control", "mine"),
                "paper": patient.section("control", "paper"), "reduce": patient.section("reduce")}

    code = "import helper\n" + MINE
    (tmp_path / "helper.py").write_text("import package.deep\nVALUE = 1\n")
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text("")
    (tmp_path / "package" / "deep.py").write_text("VALUE = 2\n")
    (tmp_path / "unused.py").write_text("VALUE = 3\n")
    path = patient_file(code, controllers=["paper", "./mine.py:Mine"])
    before = sections()
    (tmp_path / "mine.py").write_text('"""A docstring."""\n\n# a comment\n' + code)
    (tmp_path / "unused.py").write_text("VALUE = 4\n")
    assert sections() == before
    for file, text in (("mine.py", code + "\nEDITED = True\n"), ("helper.py", "VALUE = 5\n"),
                       ("package/deep.py", "VALUE = 6\n")):
        kept = (tmp_path / file).read_text()
        (tmp_path / file).write_text(
            text if file != "helper.py" else "import package.deep\nVALUE = 5\n")
        after = sections()
        assert after["mine"] != before["mine"], file
        assert (after["paper"], after["reduce"]) == (before["paper"], before["reduce"])
        (tmp_path / file).write_text(kept)


def test_imports_inside_functions_and_relative_ones_count_too(tmp_path):
    (tmp_path / "package").mkdir()
    for name, text in (("mine.py", "def f():\n    from package import near\n"),
                       ("package/__init__.py", ""), ("package/near.py", "from . import deep\n"),
                       ("package/deep.py", "X = 1\n")):
        (tmp_path / name).write_text(text)
    before = code_sha256(tmp_path / "mine.py")
    (tmp_path / "package/deep.py").write_text("X = 2\n")
    assert code_sha256(tmp_path / "mine.py") != before


def test_modules_of_one_name_in_two_folders_are_two(tmp_path):
    found = []
    for folder, value in (("a", 1), ("b", 2)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "helper.py").write_text(f"VALUE = {value}\n")
        (tmp_path / folder / "mine.py").write_text(
            "import helper\n" + MINE + "    value = helper.VALUE\n\nMine.value = helper.VALUE\n")
        found.append(load_class(tmp_path / folder / "mine.py", "Mine"))
    assert [kind.value for kind in found] == [1, 2]
    assert "helper" not in sys.modules and str(tmp_path / "a") not in sys.path


def test_files_that_options_name_are_found_and_watched(patient_file, tmp_path):
    code = MINE.replace("    eager: bool", '    table: Path = option("t.csv", "Where.")\n'
                                           "    eager: bool")
    path = patient_file(code, controllers=["./mine.py:Mine"], mine={"table": "deep/t.csv"})
    fault = only_fault(path)
    assert fault.key == "mine.table" and "no such file" in str(fault)
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "t.csv").write_text("1")
    before = load_patient(path).section("control", "mine")
    assert before["options"]["table"] == str(tmp_path / "deep" / "t.csv")
    (tmp_path / "deep" / "t.csv").write_text("2")
    assert load_patient(path).section("control", "mine") != before


def test_own_yardsticks_stay_out_of_ensembles(patient_file):
    code = MINE.replace("class Mine(Controller):", "class Mine(Controller):\n    yardstick = True")
    path = patient_file(code, controllers=["paper", "./mine.py:Mine"], ensemble={"draws": 2})
    assert load_patient(path).ensemble_controllers == ["paper"]
    path = patient_file(code, controllers=["./mine.py:Mine"], ensemble={"draws": 2})
    assert only_fault(path).key == "controllers"
    path = patient_file(code, controllers=["./mine.py:Mine"],
                        ensemble={"draws": 2, "controllers": ["mine"]})
    assert load_patient(path).ensemble_controllers == ["mine"]


def test_ensembles_name_controllers_as_results_do(patient_file):
    path = patient_file(controllers=["./mine.py:Mine"],
                        ensemble={"draws": 2, "controllers": ["./mine.py:Mine"]})
    fault = only_fault(path)
    assert fault.key == "ensemble.controllers" and fault.allowed == "mine"


@pytest.mark.parametrize("controller", ["mintime", "hyperthermia"])
def test_a_renamed_key_is_refused_with_its_new_name(patient_file, controller):
    fault = only_fault(patient_file(**{controller: {"heating_doubt": 0.2}}))
    assert fault.key == f"{controller}.heating_doubt" and fault.value == 0.2
    assert "heating_doubt is now heating_margin" in str(fault)
    assert fault.allowed == "heating_margin"


def test_every_unknown_key_of_a_section_is_reported(patient_file):
    path = patient_file(mintime={"heating_doubt": 0.2, "margin": 1, "horizon_s": 1})
    with pytest.raises(InvalidConfig) as caught:
        load_patient(path)
    assert {fault.key for fault in caught.value.faults} == {
        "mintime.heating_doubt", "mintime.margin", "mintime.horizon_s"}


def test_renamed_keys_of_any_schema_are_told():
    schema = {"type": "object", "additionalProperties": False, "x-renamed": {"old": "new"},
              "properties": {"new": {"type": "number"}}}
    (fault,) = check({"old": 1}, schema, "file.yaml")[1]
    assert str(fault) == "file.yaml: old = 1: old is now new (allowed: new)"


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_options_of_built_in_controllers_describe_a_section(options):
    schema = json_schema(options)
    assert schema["description"].startswith("Options of")
    assert all(one["description"] for one in schema["properties"].values())
    filled, faults = check({}, schema, "none")
    assert not faults
    assert read_options(options, filled) == options()


def test_sections_of_controllers_are_described_once():
    assert not set(load_schema("patient")["properties"]) & set(OPTIONS)


def test_validate_names_the_fault_in_one_line(patient_file):
    path = patient_file("import not_there\n", controllers=["./mine.py:Mine"])
    done = subprocess.run([sys.executable, "-m", "hifuflow", "validate", str(path)], cwd=ROOT,
                          capture_output=True, text=True)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert f"{path}: controllers.0 = './mine.py:Mine': cannot be imported" in done.stderr


def test_a_reduced_model_from_elsewhere_is_found_beside_the_patient_file(patient_file, tmp_path):
    (tmp_path / "mine.h5").write_bytes(b"")
    path = patient_file(reduction={"model": "./mine.h5"})
    patient = load_patient(path)
    assert patient.reduced_model == str(tmp_path / "mine.h5")
    assert patient.section("reduce")["model"] == str(tmp_path / "mine.h5")
    assert load_patient(REFERENCE).reduced_model is None


@pytest.mark.parametrize(("reduction", "words"), [
    ({"model": "nowhere.h5"}, ("no such file", "relative to the patient file")),
    ({"model": "mine.h5", "order": 100}, ("used as it is", "no order")),
    ({"model": "mine.h5", "tolerance_k": 0.1}, ("used as it is", "no tolerance_k")),
    ({"model": 3}, ("null or text",)),
])
def test_faults_of_a_reduced_model_are_one_error(patient_file, tmp_path, reduction, words):
    (tmp_path / "mine.h5").write_bytes(b"")
    fault = only_fault(patient_file(reduction=reduction))
    assert fault.key == "reduction.model"
    for word in words:
        assert word in str(fault)


def test_reading_a_patient_loads_no_controller():
    """Each of a run's many processes reads the patient files: NumPy and SciPy would cost it most
    of a second."""
    code = ("import sys\nfrom hifuflow.study.patient import load_patient\n"
            f"load_patient({str(REFERENCE)!r})\n"
            "assert not {'numpy', 'scipy', 'h5py'} & set(sys.modules)")
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_options_may_stand_in_a_module_beside_the_controllers(patient_file, tmp_path):
    """Also with annotations that are only evaluated later."""
    (tmp_path / "mine_options.py").write_text(
        "from __future__ import annotations\n" + MINE.split("class Mine")[0].replace(
            "    eager: bool", '    table: Path = option("mine.py", "Where.")\n    eager: bool'))
    code = "import mine_options\n" + MINE.replace("Options = Settings",
                                                 "Options = mine_options.Settings")
    patient = load_patient(patient_file(code, controllers=["./mine.py:Mine"]))
    section = patient.section("control", "mine")
    assert section["options"]["table"] == str(tmp_path / "mine.py")
    kind = load_class(section["controller"]["file"], "Mine")
    assert read_options(kind.Options, section["options"]).table == tmp_path / "mine.py"
