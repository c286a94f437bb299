"""Fault campaigns: what is drawn, evenly and again the same, and what is refused."""

import json
from dataclasses import replace

import numpy as np
import pytest

from hifuflow.errors import InputError, InvalidConfig
from hifuflow.provenance import ROOT
from hifuflow.study.campaign import Campaign, dead_elements, parts, ranges
from hifuflow.study.command_line import main
from hifuflow.study.patient import load_patient
from hifuflow.study.study import Study

SECTION = {"faults": ["all"], "draws": 4, "pairs": 0, "seed": 1, "controllers": []}


def campaign(**changes) -> Campaign:
    return Campaign.read({**SECTION, **changes})


@pytest.fixture(scope="module")
def patient():
    return load_patient(ROOT / "tests" / "patients" / "breast_small.yaml")


def test_every_fault_is_drawn_as_often_as_asked(patient):
    draws = campaign().of(patient)
    names = [*ranges()["sound"], *ranges()["faults"]]
    assert [draw["fault"] for draw in draws] == [name for name in names for _ in range(4)]
    assert [draw["number"] for draw in draws] == list(range(1, len(draws) + 1))
    assert {draw["fault"] for draw in draws if draw["sound"]} == {"none", "ordinary"}
    assert json.loads(json.dumps(draws)) == draws  # plain values, as Snakemake hands them on


def test_draws_depend_on_the_seed_and_on_no_other_fault(patient):
    def of(**changes):
        return [{**draw, "number": 0} for draw in campaign(**changes).of(patient)
                if draw["fault"] == "drift"]

    assert of() == of(faults=["drift"]) == of(faults=["jump", "drift"])
    assert of() != of(seed=2)
    assert of() == of(draws=8)[:4]


def test_values_fill_their_ranges_evenly(patient):
    drift = [draw["faults"][0]["k_per_min"] for draw in
             campaign(faults=["drift"], draws=256).of(patient)]
    size = np.abs(drift)
    assert size.min() >= 1 and size.max() <= 6
    assert np.histogram(size, 5, (1, 6))[0] == pytest.approx(256 / 5, abs=2)
    assert np.mean(np.array(drift) > 0) == pytest.approx(0.5, abs=0.02)


def test_directions_are_even_on_the_sphere(patient):
    shift = np.array([draw["faults"][0]["mm"] for draw in
                      campaign(faults=["focal_shift"], draws=512).of(patient)])
    length = np.linalg.norm(shift, axis=1)
    assert length.min() > 1.99 and length.max() < 6.01
    unit = shift / length[:, None]
    np.testing.assert_allclose(unit.mean(axis=0), 0, atol=0.03)
    np.testing.assert_allclose(unit.T @ unit / 512, np.eye(3) / 3, atol=0.03)


def test_faults_begin_at_the_start_or_in_the_first_half(patient):
    begins = np.array([draw["begins_s"] for draw in
                       campaign(faults=["no_image"], draws=256).of(patient)])
    assert np.mean(begins == 0) == pytest.approx(0.25, abs=0.02)
    assert begins.max() < 30 and begins.max() > 28  # the patient is treated for 60 s at most
    assert all(draw["begins_s"] == 0 for draw in campaign(faults=["ordinary"]).of(patient))


def test_pairs_are_of_two_different_faults(patient):
    draws = [draw for draw in campaign(draws=0, pairs=512).of(patient)]
    assert len(draws) == 512 and not any(draw["sound"] for draw in draws)
    names = [draw["fault"].split(" + ") for draw in draws]
    assert all(first != second for first, second in names)
    assert {name for pair in names for name in pair} == set(ranges()["faults"])
    assert all(len(draw["faults"]) == 2 for draw in draws)
    assert all(draw["begins_s"] == min(fault["from_s"] for fault in draw["faults"])
               for draw in draws)


def test_dead_elements_are_a_fraction_of_those_that_work(patient):
    draws = campaign(faults=["dead_elements"], draws=16).of(patient)
    assert dead_elements(draws) == ["102_1", "205_1", "51_1"]
    bowl = replace(patient, transducer={**patient.transducer, "weights": [1.0]})
    left = campaign(faults=["dead_elements", "no_image"], draws=2).of(bowl)
    assert [draw["fault"] for draw in left] == ["no_image"] * 2


def test_the_patients_own_faults_are_in_every_draw(patient):
    own = {"kind": "dead_elements", "count": 9, "seed": 3, "from_s": 0, "until_s": None}
    faulty = replace(patient, config={**patient.config, "faults": [own]})
    draws = campaign().of(faulty)
    assert all(draw["faults"][0] == own for draw in draws)
    assert "dead_elements" not in {draw["fault"] for draw in draws}


def test_jobs_have_a_few_treatments_each(patient):
    draws = campaign(draws=3).of(patient)
    assert [len(part) for part in parts(draws)] == [10] * 5 + [7]
    assert [draw for part in parts(draws) for draw in part] == draws


@pytest.mark.parametrize(("changes", "words"), [
    ({"faults": ["frozen"]}, "campaign.faults = 'frozen': is not known (allowed: all, none, ordin"),
    ({"draws": 0}, "campaign.draws = 0: has nothing to treat"),
    ({"faults": ["drift"], "pairs": 3}, "campaign.pairs = 3: has no two faults to combine"),
    ({"faults": ["none", "drift"], "pairs": 3}, "has no two faults to combine")])
def test_what_cannot_be_drawn_is_one_error(changes, words):
    with pytest.raises(InvalidConfig) as raised:
        campaign(**changes)
    assert words in str(raised.value)


def test_controllers_are_some_of_the_patients(patient):
    assert campaign().treated_by(patient) == ["paper", "mintime"]
    assert campaign(controllers=["mintime"]).treated_by(patient) == ["mintime"]
    with pytest.raises(InputError, match="allowed: paper, mintime"):
        campaign(controllers=["raster"]).treated_by(patient)


def test_a_study_reads_its_campaign_as_snakemake_hands_it_on():
    study = Study.from_config({"patients": ["breast_reference"], "campaign": {
        "faults": ["drift"], "draws": "3", "pairs": "0", "seed": "12", "controllers": []}})
    assert study.campaign == Campaign(("drift",), 3, 0, 12, ())
    assert Study.from_config({"patients": ["breast_reference"]}).campaign is None
    with pytest.raises(InvalidConfig, match=r"campaign\.draws = 'three'"):
        Study.from_config({"patients": ["breast_reference"], "campaign": {"draws": "three"}})


@pytest.mark.parametrize("words", [["--draws", "-1"], ["--draws", "many"], ["--seed", "1.5"]])
def test_numbers_of_the_command_that_are_none_are_refused(words, capsys):
    assert main(["campaign", "breast_reference", "=".join(words)]) == 2
    assert words[0] in capsys.readouterr().err
