"""Patients that depart from the controller's model: drawn deviations, tissue that responds."""


import numpy as np
import pytest
from box_patient import CONFIG, box_anatomy, gaussian_heating, settings
from scipy.integrate import solve_ivp
from test_fem_model import POINTS, build

from hifuflow.controller.dose import cem43_rate
from hifuflow.controller.patient.drawn import drawn, simulated_patient, translated
from hifuflow.controller.patient.plant import Plant
from hifuflow.controller.patient.responsive_plant import ResponsivePlant
from hifuflow.controller.patient.tissue_response import TissueResponse
from hifuflow.controller.settings import PatientSettings, Spread
from hifuflow.fem.model import build_model
from hifuflow.provenance import ROOT
from hifuflow.study.patient import load_patient

SECTION = load_patient(ROOT / "config/patients/breast_reference.yaml").section(
    "control", "paper")["plant"]
NO_RESPONSE = {"coagulation_cem43_min": 1e300, "boiling_c": 1e3}
CURVES = {"perfusion": [[37, 1], [45, 4], [50, 4]], "conductivity": [[37, 1], [100, 1.3]],
          "absorption": [[50, 1], [80, 1.2]], "coagulated_conductivity": 1.1,
          "coagulated_absorption": 1.5}
RESPONSE = {"coagulation_cem43_min": 240, "boiling_c": 100,
            "response": {"fat": CURVES, "tumour": CURVES}}
COOLED = {"skin": {"temperature_c": 20, "coefficient_w_m2_k": 200}, "cut": "insulated",
          "arterial_temperature_c": 37}


@pytest.fixture(scope="module")
def model(mesh_path):
    return build(mesh_path, box_anatomy())


def cooled(mesh_path, anatomy, **deviations):
    return build_model(mesh_path, anatomy, gaussian_heating(0.00075, 0.0015), POINTS,
                       settings(boundary=COOLED, deviations=deviations))


def settings_of(**changes) -> PatientSettings:
    return PatientSettings.read({**SECTION, **changes})


def responsive(model, section=RESPONSE, interval=2.0, **options):
    response = TissueResponse(settings_of(**section), model.cells.regions)
    return ResponsivePlant(model, interval, 0.25, response, **options)


def pulse(plant, watts, samples=5):
    """The states while the second focus is on for three samples."""
    states = []
    for sample in range(samples):
        plant.advance(np.array([0.0, watts if sample < 3 else 0.0]))
        states.append(plant.state)
    return np.array(states)


def test_without_a_response_it_is_the_linear_plant(model):
    reference = Plant(model, 2.0, 0.25, 10.0)
    linear = pulse(reference, 10.0)
    other = responsive(model, NO_RESPONSE)
    np.testing.assert_allclose(pulse(other, 10.0), linear, atol=0.02)
    assert linear.max() > 20
    np.testing.assert_allclose(other.target_dose, reference.target_dose, rtol=0.02, atol=0.01)
    np.testing.assert_allclose(other.voxels.dose, reference.voxels.dose, rtol=0.02, atol=0.01)


def test_a_pulse_is_within_a_twentieth_of_a_kelvin_of_much_finer_steps(model):
    coarse, fine = pulse(responsive(model), 20.0), pulse(responsive(model, tolerance=2e-3), 20.0)
    assert np.abs(coarse - fine).max() < 0.05
    assert fine.max() > 45


def test_uniform_tissue_follows_the_ordinary_differential_equations(mesh_path):
    """Heated alike everywhere and insulated, tissue obeys rho c T' = -w (T - T_a) + a q."""
    fat = CONFIG["tissues"]["fat"]
    config = settings(tissues={"fat": fat, "tumour": fat}, boundary={
        "skin": "insulated", "cut": "insulated", "arterial_temperature_c": 37})
    model = build_model(mesh_path, box_anatomy(), gaussian_heating(0.00075, 0.0015), POINTS,
                        config)
    capacity, w = fat["density_kg_m3"] * fat["specific_heat_j_kg_k"], model.cells.perfusion[0]
    q = 0.5 * capacity  # half a kelvin a second
    model.B = np.repeat(model.E.sum(axis=1)[:, None] * q / capacity, 2, axis=1)

    def warmed(interval, **options):
        plant = responsive(model, RESPONSE, interval, **options)
        for _ in range(round(60 / interval)):
            plant.advance(np.array([1.0, 0.0]))
        return 37 + plant.state

    def rates(_, y):
        fraction = -np.expm1(-y[1] / 240)
        a = np.interp(y[0], [50, 80], [1, 1.2]) * (1 + 0.5 * fraction)
        loss = w * np.interp(y[0], [37, 45], [1, 4]) * (1 - fraction)
        return [(a * q - loss * (y[0] - 37)) / capacity, cem43_rate(y[0]) / 60]

    end = solve_ivp(rates, (0, 60), [37, 0], rtol=1e-9, atol=1e-9, max_step=0.1).y[:, -1]
    np.testing.assert_allclose(warmed(2.0), end[0], atol=0.01)
    assert 60 < end[0] < 99 and end[1] > 240
    # Without error control, a sample is one pair of steps: their order is at least the second.
    errors = [abs(warmed(interval, tolerance=np.inf) - end[0]).max() for interval in (2.0, 1.0)]
    assert np.log2(errors[0] / errors[1]) > 2


def test_response_changes_what_it_should(model):
    plain = pulse(responsive(model, NO_RESPONSE), 20.0)
    for change, warmer in (({"perfusion": [[37, 1], [40, 30]]}, False),
                           ({"conductivity": [[37, 1], [50, 1.5]]}, False),
                           ({"absorption": [[37, 1], [50, 1.5]]}, True)):
        curves = {"perfusion": [[37, 1]], "conductivity": [[37, 1]], "absorption": [[37, 1]],
                  "coagulated_conductivity": 1, "coagulated_absorption": 1, **change}
        section = {**NO_RESPONSE, "response": {"fat": curves, "tumour": curves}}
        found = pulse(responsive(model, section), 20.0)
        assert (found.max() > plain.max() + 0.1) == warmer, change
        assert abs(found.max() - plain.max()) > 0.1, change


def test_nothing_gets_hotter_than_boiling(model):
    assert 37 + pulse(responsive(model), 80.0).max() == pytest.approx(100)
    assert 37 + pulse(Plant(model, 2.0, 0.25, 80.0), 80.0).max() > 130


def test_the_baseline_of_a_cooled_patient_stays(mesh_path, anatomy):
    model = cooled(mesh_path, anatomy)
    assert model.baseline.min() < 33
    plant = responsive(model)
    for _ in range(5):
        plant.advance(np.zeros(2))
    assert np.abs(plant.state).max() < 1e-9


def test_drawn_factors_are_those_of_an_assembled_model(mesh_path, anatomy):
    model, spread = cooled(mesh_path, anatomy), Spread(0.5, 0.2, 0.3, 0.0)
    patient = drawn(model, spread, seed=7)
    factors = {name: {"perfusion_factor": patient.cells.perfusion[i] / model.cells.perfusion[i],
                      "conductivity_factor": (patient.cells.conductivity[i]
                                              / model.cells.conductivity[i])}
               for i, name in enumerate(model.cells.regions)}
    assembled = cooled(mesh_path, anatomy, regions=factors)
    assert abs(patient.K - assembled.K).max() < 1e-12 * abs(model.K).max()
    np.testing.assert_allclose(patient.baseline, assembled.baseline, atol=1e-9)
    np.testing.assert_allclose(patient.outputs.baseline, assembled.outputs.baseline, atol=1e-9)
    np.testing.assert_allclose(patient.outputs.mean_baseline, assembled.outputs.mean_baseline,
                               atol=1e-9)
    np.testing.assert_allclose(patient.voxels.baseline, assembled.voxels.baseline, atol=1e-9)
    assert abs(patient.baseline - model.baseline).max() > 0.1
    assert not np.allclose(patient.B, model.B)


def test_draws_are_reproducible_and_have_their_spread(model):
    spread = Spread(0.5, 0.0, 0.0, 0.0)
    assert drawn(model, Spread(0.0, 0.0, 0.0, 0.0), 1) is model
    one, same, other = (drawn(model, spread, seed).cells.perfusion for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert not np.any(one == other)
    alone = drawn(model, Spread(0.5, 0.0, 0.1, 0.0), 1)
    np.testing.assert_array_equal(alone.cells.perfusion, one)
    logs = np.log([drawn(model, spread, seed).cells.perfusion / model.cells.perfusion
                   for seed in range(60)])
    assert logs.std() == pytest.approx(0.5, rel=0.25) and abs(logs.mean()) < 0.15


def test_moved_foci_heat_as_assembled_ones_do(fine_mesh_path, anatomy):
    mesh_path, model = fine_mesh_path, build(fine_mesh_path, anatomy)
    shift = np.array([1.0, -0.7, 0.5])
    moved, assembled = translated(model, 1e-3 * shift), build(
        mesh_path, anatomy, focal_shift_mm=shift.tolist()).B
    np.testing.assert_allclose(moved.sum(axis=0), assembled.sum(axis=0), rtol=1e-7)
    centre = [model.dof_coordinates.T @ load[:, 0] / load[:, 0].sum()
              for load in (moved, assembled, model.B)]
    np.testing.assert_allclose(centre[0], centre[1], atol=2e-6)
    np.testing.assert_allclose(centre[0] - centre[2], 1e-3 * shift, atol=1e-6)
    assert translated(model, np.zeros(3)) is model.B


def test_the_section_of_a_patient_file_chooses_the_plant(model):
    assert type(simulated_patient(model, settings_of(), 2.0, 20.0)) is Plant
    settings = settings_of(tissue="responsive", **RESPONSE)
    assert type(simulated_patient(model, settings, 2.0, 20.0)) is ResponsivePlant
