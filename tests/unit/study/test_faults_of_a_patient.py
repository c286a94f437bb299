"""The list `faults` of a patient file: what is read from it, and what is refused."""

import copy
import math

import pytest
import yaml

from hifuflow.controller.fault_settings import KINDS, read_faults
from hifuflow.controller.patient.faults import FocalShift, FrozenImage
from hifuflow.errors import InvalidConfig
from hifuflow.provenance import ROOT
from hifuflow.study.patient import load_patient
from hifuflow.study.schema import kinds, load_schema

PATIENT = yaml.safe_load((ROOT / "tests" / "patients" / "breast_small.yaml").read_text())


@pytest.fixture
def with_faults(tmp_path):
    def load(faults, **changes):
        (tmp_path / "anna.yaml").write_text(yaml.safe_dump({**copy.deepcopy(PATIENT), **changes,
                                                            "faults": faults}))
        return load_patient(tmp_path / "anna.yaml")
    return load


def test_the_schema_and_the_simulation_know_the_same_kinds():
    assert tuple(kinds(load_schema("patient")["properties"]["faults"]["items"])) == KINDS


def test_faults_are_read_in_si_units_with_their_defaults(with_faults):
    section = with_faults([{"kind": "frozen_image", "from_s": 20},
                           {"kind": "focal_shift", "mm": [4, 0, -1], "until_s": 8}]).section(
        "control", "paper")["faults"]
    frozen, shift = read_faults(section)
    assert frozen == FrozenImage(20.0, math.inf, half=False)
    assert shift == FocalShift(0.0, 8.0, (4e-3, 0.0, -1e-3))


def test_without_faults_only_the_treatments_know_that_there_could_be_some(with_faults):
    sound, faulty = with_faults([]), with_faults([{"kind": "no_image"}])
    for rule in ("anatomy", "plan", "mesh", "heating", "assemble", "reduce"):
        assert sound.section(rule) == faulty.section(rule)
    assert sound.section("control", "paper") != faulty.section("control", "paper")
    assert sound.dead_elements == faulty.dead_elements == {}
    assert with_faults([{"kind": "no_image"}, {"kind": "dead_elements", "count": 50}]
                       ).dead_elements == {"count": 50, "seed": 1}


@pytest.mark.parametrize(("faults", "key", "words"), [
    ([{"kind": "frozen"}], "faults.0.kind", "'frozen': is not known (allowed: frozen_image, no_im"),
    ([{"kind": "no_image"}, {"from_s": 3}], "faults.1.kind", "is missing (allowed: frozen_image"),
    ([{"kind": 3}], "faults.0.kind", "= 3: is not known"),
    (["no_image"], "faults.0", "keys and values with one of these as kind: frozen_image, no_im"),
    ({"kind": "no_image"}, "faults", "has the wrong type (allowed: a list"),
    ([{"kind": "drift", "k_per_minute": 3}], "faults.0.k_per_minute", "did you mean 'k_per_min'?"),
    ([{"kind": "drift"}], "faults.0.k_per_min", "is missing (allowed: a number"),
    ([{"kind": "drift", "k_per_min": 3, "part": "all"}], "faults.0.part", "unknown key"),
    ([{"kind": "frozen_image", "part": "left"}], "faults.0.part", "allowed: all, half"),
    ([{"kind": "lost_images", "fraction": 2}], "faults.0.fraction", "at most 1"),
    ([{"kind": "noise", "k": -1}], "faults.0.k", "at least 0"),
    ([{"kind": "noise", "k": math.nan}], "faults.0.k", "finite"),
    ([{"kind": "focal_shift", "mm": [4, 0]}], "faults.0.mm", "of 3"),
    ([{"kind": "no_image", "from_s": -1}], "faults.0.from_s", "at least 0"),
    ([{"kind": "no_image", "from_s": 8, "until_s": 8}], "faults.0.until_s", "above 8"),
    ([{"kind": "dead_elements", "count": 256}], "faults.0.count", "below 256"),
    ([{"kind": "dead_elements", "count": 9}, {"kind": "dead_elements", "count": 8}],
     "faults.1.kind", "one entry of this kind: faults.0")])
def test_what_is_refused_names_the_key_and_what_is_allowed(with_faults, faults, key, words):
    with pytest.raises(InvalidConfig) as raised:
        with_faults(faults)
    assert any(fault.key == key and words in str(fault) for fault in raised.value.faults), str(
        raised.value)


def test_a_bowl_has_no_elements_that_could_die(with_faults):
    with pytest.raises(InvalidConfig, match="the transducer has one element"):
        with_faults([{"kind": "dead_elements", "count": 1}],
                    transducer={"name": "jc200", "standoff_mm": "auto"},
                    prescription={"max_power_w": 5, "max_time_s": 60})
