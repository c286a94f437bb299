"""Every value of a patient's sections arrives in its own field, in SI units.

The values differ from each other, so that none can stand in another's place.
"""

import dataclasses
import math

import pytest
from pytest import approx

from hifuflow.acoustics.settings import (
    AcousticTissue,
    FociSettings,
    HeatingSettings,
    PlanSettings,
    TransducerSettings,
    Travel,
)
from hifuflow.anatomy.settings import (
    AnatomySettings,
    CleaningSettings,
    Constraint,
    ConstraintSettings,
    TargetSettings,
)
from hifuflow.anatomy.source_settings import MeshMapSettings, PhantomSettings, ThresholdSettings
from hifuflow.controller.settings import (
    EstimatorSettings,
    PatientSettings,
    SafetySettings,
    Spread,
    ThermometrySettings,
    TissueCurves,
)
from hifuflow.controller.treatment_settings import TreatmentSettings
from hifuflow.fem.settings import BoundarySettings, Deviations, Factors, Surface, ThermalTissue
from hifuflow.meshes.settings import MeshSettings
from hifuflow.provenance import ROOT
from hifuflow.reduction.settings import ReductionSettings
from hifuflow.report.settings import ExportSettings, ReportSettings
from hifuflow.settings import BeamTissue, Prescription, Written
from hifuflow.study.patient import load_patient

REFERENCE = load_patient(ROOT / "config" / "patients" / "breast_reference.yaml")


def written(**section) -> Written:
    return Written("anna.yaml", "part", section)


def fields(settings) -> dict:
    """Field -> value, without what only messages need."""
    return {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)
            if field.name not in ("written", "pose", "config")}


CASES = [
    (PhantomSettings.read(written(
        voxel_size_mm=1.5, breast_radius_mm=70, breast_axis_mm=[110, 87], water_margin_mm=6,
        tumour_centre_mm=[109, 88, 24], tumour_semi_axes_mm=[11, 12, 8], irregularity=0.15,
        irregularity_degree=5, seed=75)),
     {"voxel_size": approx(0.0015), "breast_radius": approx(0.07),
      "breast_axis": approx((0.11, 0.087)), "water_margin": approx(0.006),
      "tumour_centre": approx((0.109, 0.088, 0.024)),
      "tumour_semi_axes": approx((0.011, 0.012, 0.008)), "irregularity": 0.15,
      "irregularity_degree": 5, "seed": 75}),
    (ThresholdSettings.read("bone", written(
        at_least=300, below=2000, smallest_island_mm3=50, largest_component=True,
        fill_holes=False)),
     {"name": "bone", "at_least": 300, "below": 2000, "smallest_island": approx(50e-9),
      "largest_component": True, "fill_holes": False}),
    (TargetSettings.read(written(region="lump", at_mm=[1, 2, 3], largest_component=False,
                                 margin_mm=4, max_left_out_fraction=0.3)),
     {"region": "lump", "at": approx((0.001, 0.002, 0.003)), "largest_component": False,
      "shape": None, "margin": approx(0.004), "max_left_out": 0.3, "chosen": "region"}),
    (TargetSettings.read(written(ellipsoid={
        "centre_mm": [1, 2, 3], "semi_axes_mm": [4, 5, 6], "first_axis": [0, 1, 0],
        "second_axis": [0, 0, 1]}, largest_component=False, margin_mm=0)).shape,
     {"centre": approx((0.001, 0.002, 0.003)), "semi_axes": approx((0.004, 0.005, 0.006)),
      "first_axis": (0, 1, 0), "second_axis": (0, 0, 1)}),
    (TargetSettings.read(written(sphere={"centre_mm": [1, 2, 3], "radius_mm": 7},
                                 largest_component=False, margin_mm=0)).shape,
     {"centre": approx((0.001, 0.002, 0.003)), "semi_axes": approx((0.007,) * 3),
      "first_axis": (1, 0, 0), "second_axis": (0, 1, 0)}),
    (Constraint.read(written(
        name="rib", surface="region", region="bone", clearance_mm=9, depth_mm=2, reach_mm=50,
        points=209, limit_c=43, dose_limit_cem43_min=10, soft=True)),
     {"name": "rib", "surface": "region", "region": "bone", "clearance": approx(0.009),
      "follows": False, "depth": approx(0.002), "reach": approx(0.05), "points": 209, "limit": 43,
      "dose_limit": 10, "soft": True}),
    (CleaningSettings.read({"specks_mm3": 30, "stray_target_mm3": 10, "holes_mm3": 20}),
     {"specks": approx(30e-9), "stray_target": approx(10e-9), "holes": approx(20e-9)}),
    (FociSettings.read(written(
        spacing_mm=3, plane_offsets_mm=[-4, 4], plane_spacing_mm=6, explicit_mm=[[1, 2, 3]],
        skin_distance_mm=13, max_left_out_fraction=0.1)),
     {"spacing": approx(0.003), "plane_offsets": approx((-0.004, 0.004)),
      "plane_spacing": approx(0.006), "explicit": (approx((0.001, 0.002, 0.003)),),
      "skin_distance": approx(0.013), "max_left_out": 0.1}),
    (FociSettings.read(written(spacing_mm="auto", plane_offsets_mm="auto", skin_distance_mm=0,
                               max_left_out_fraction=0)),
     {"spacing": None, "plane_offsets": None, "plane_spacing": None, "explicit": None,
      "skin_distance": 0, "max_left_out": 0}),
    (TransducerSettings.read({
        "name": "mine", "file": "mine.yaml", "kind": "random_spherical", "frequency_hz": 1e6,
        "radius_of_curvature_m": 0.13, "aperture_m": 0.12, "inner_aperture_m": 0.02,
        "n_elements": 2, "element_radius_m": 0.003, "seed": 7, "weights": [1.0, 0.5],
        "max_steering_m": {"lateral": 0.021, "axial": 0.031},
        "max_travel_m": {"lateral": 0.1, "axial": 0.2}, "switch_time_s": 0.4, "move_time_s": 2}),
     {"name": "mine", "kind": "random_spherical", "frequency": 1e6, "radius_of_curvature": 0.13,
      "aperture": 0.12, "hole": 0.02, "n_elements": 2, "element_radius": 0.003, "seed": 7,
      "rings": (), "discs": (), "weights": (1.0, 0.5), "max_lateral": 0.021, "max_axial": 0.031,
      "travel": Travel(0.1, 0.2), "switch_time": 0.4, "move_time": 2}),
    (AcousticTissue.read({
        "density_kg_m3": 1000, "speed_of_sound_m_s": 1500, "attenuation_np_m_mhz": 9,
        "absorption_np_m_mhz": 8, "attenuation_exponent": 1.1}),
     {"density": 1000, "speed": 1500, "attenuation": 9, "absorption": 8, "exponent": 1.1}),
    (BeamTissue.read_all({"rib": {"attenuation_np_m_mhz": 173, "blocks": "bone",
                                  "attenuation_exponent": 1.2}})["rib"],
     {"attenuation": 173, "blocks": "bone", "exponent": 1.2}),
    (ThermalTissue.read({"density_kg_m3": 937, "specific_heat_j_kg_k": 3550,
                         "conductivity_w_m_k": 0.5, "perfusion_kg_m3_s": 0.7}),
     {"density": 937, "specific_heat": 3550, "conductivity": 0.5, "perfusion": 0.7}),
    (BoundarySettings.read(written(
        skin={"temperature_c": 20, "coefficient_w_m2_k": 200}, cut={"temperature_c": 36},
        arterial_temperature_c=37)),
     {"surfaces": {"skin": Surface(20, 200), "cut": Surface(36, None)}, "arterial": 37}),
    (BoundarySettings.read(written(skin="insulated", cut="insulated",
                                   arterial_temperature_c=36.5)),
     {"surfaces": {}, "arterial": 36.5}),
    (Deviations.read({
        "perfusion_factor": 2, "conductivity_factor": 3, "absorption_factor": 4,
        "focal_shift_mm": [1, -2, 3], "regions": {"fat": {"conductivity_factor": 5}}}),
     {"everywhere": Factors(2, 3, 4), "regions": {"fat": Factors(1, 5, 1)},
      "focal_shift": approx((0.001, -0.002, 0.003))}),
    (ReductionSettings.read({
        "file": "anna.yaml", "order": 300, "tolerance_k": 0.01, "solver": "direct",
        "gramian_residual": 1e-11, "max_power_w": 22, "model": "rom.h5"}),
     {"order": 300, "tolerance": 0.01, "solver": "direct", "gramian_residual": 1e-11,
      "max_power": 22, "model": "rom.h5"}),
    (ThermometrySettings.read({
        "interval_s": 2, "latency_s": 3, "noise_c": 0.5, "seed": 7, "voxel_mm": [1.5, 1.6, 3],
        "drift_c_per_min": 0.6, "drift_correction": True, "drift_variation": 0.05,
        "loss_probability": 0.1, "lost_s": [[5, 9]], "artefact_probability": 0.2,
        "artefact_c": 30, "no_signal_regions": ["fat"]}),
     {"interval": 2, "latency": 3, "noise": 0.5, "seed": 7,
      "voxel": approx((0.0015, 0.0016, 0.003)), "drift": approx(0.01), "drift_correction": True,
      "drift_variation": 0.05, "loss_probability": 0.1, "lost": ((5, 9),),
      "artefact_probability": 0.2, "artefact": 30, "no_signal_regions": ("fat",)}),
    (EstimatorSettings.read({
        "input_error_fraction": 0.05, "model_noise_k": 0.02, "measurement_floor_k": 0.1,
        "gain_error": 0.3, "focus_gain_error": 0.15, "gain_walk": 0.001, "heating_error": 0.2,
        "absorption_error": 0.31, "heating_error_walk": 0.003, "target_error_smoothing": 0.21,
        "max_innovation_k": 5, "truncation_k": 0.002, "gain_range": [0.2, 4],
        "heating_range": [0.3, 5], "absorption_range": [0.1, 6]}),
     {"input_error": 0.05, "model_noise": 0.02, "measurement_floor": 0.1, "gain_error": 0.3,
      "focus_gain_error": 0.15, "gain_walk": 0.001, "heating_error": 0.2,
      "absorption_error": 0.31, "heating_error_walk": 0.003, "target_error_smoothing": 0.21,
      "max_innovation": 5, "truncation": 0.002, "gain_range": (0.2, 4), "heating_range": (0.3, 5),
      "absorption_range": (0.1, 6)}),
    (SafetySettings.read({"max_gap_s": 10, "abort_after_s": 60, "max_target_c": 95,
                          "hard_excess_k": 3, "max_drift_k": 0.6, "max_focal_shift_mm": 2,
                          "max_decision_s": None,
                          "overshoot_tolerance_k": 1}),
     {"max_gap": 10, "abort_after": 60, "max_target": 95, "hard_excess": 3, "max_drift": 0.6,
      "max_focal_shift": 0.002, "max_decision": math.inf, "overshoot_tolerance": 1}),
    (PatientSettings.read({
        "time_step_s": 0.25, "cooling_s": 300, "seed": 4, "tissue": "responsive",
        "coagulation_cem43_min": 240, "boiling_c": 100,
        "spread": {"perfusion": 0.2, "conductivity": 0.3, "absorption": 0.4, "focal_shift_mm": 2},
        "response": {"fat": {
            "perfusion": [[37, 1], [45, 4]], "conductivity": [[37, 1], [100, 1.3]],
            "absorption": [[37, 1], [80, 1.2]], "coagulated_conductivity": 1.1,
            "coagulated_absorption": 1.5}}}),
     {"time_step": 0.25, "cooling": 300, "seed": 4, "responsive": True, "coagulation": 240,
      "boiling": 100, "spread": Spread(0.2, 0.3, 0.4, 0.002), "curves": {"fat": TissueCurves(
          ((37, 1), (45, 4)), ((37, 1), (100, 1.3)), ((37, 1), (80, 1.2)), 1.1, 1.5)}}),
    (MeshSettings.read({"file": "anna.yaml", "key": "mesh.plant", "cells": 5000,
                        "boundary_regions": ["bone"]}),
     {"cells": 5000, "organs": ("bone",)}),
    (Prescription.read({"dose_cem43_min": 240, "coverage": 0.99, "max_power_w": 22,
                        "max_time_s": 7200}),
     {"dose": 240, "coverage": 0.99, "max_power": 22, "max_time": 7200}),
    (ExportSettings.read({"dose_cem43_min": 240, "nifti_transform": "qform", "boundary": {
        "skin": {"temperature_c": 20}, "cut": "insulated", "arterial_temperature_c": 37}}),
     {"dose": 240, "surfaces": {"skin": 20}, "nifti_transform": "qform"}),
]


@pytest.mark.parametrize("settings, expected", CASES,
                         ids=[type(settings).__name__ for settings, _ in CASES])
def test_every_value_has_its_own_field(settings, expected):
    assert fields(settings) == expected


def test_a_mesh_has_a_unit_and_directions():
    section = {"file": "/data/m.vtu", "unit": "mm", "axes": "LPS", "voxel_size_mm": 2}
    settings = MeshMapSettings.read(written(**section))
    assert (settings.unit, settings.signs, settings.tags) == (0.001, (-1, -1, 1), None)
    assert settings.voxel_size == approx(0.002)
    in_metres = MeshMapSettings.read(written(**{**section, "unit": "m", "axes": "RAS",
                                                "tags": "region"}))
    assert (in_metres.unit, in_metres.signs, in_metres.tags) == (1, (1, 1, 1), "region")
    # What is wrong with a mesh is told of its own file.
    assert str(settings.written.error("too large", "unit")).startswith("/data/m.vtu: part.unit = ")


def test_a_region_has_the_factors_of_the_body_and_its_own():
    deviations = Deviations(Factors(2, 3, 4), {"fat": Factors(1, 5, 1)})
    assert deviations.of("fat") == Factors(2, 15, 4) and deviations.of("gland") == Factors(2, 3, 4)
    assert Deviations().of("fat") == Factors(1, 1, 1)


def test_sections_of_the_reference_patient():
    anatomy = AnatomySettings.read(REFERENCE.section("anatomy"))
    assert isinstance(anatomy.source, PhantomSettings) and anatomy.crop_margin == approx(0.04)
    assert {region.name: (region.labels, region.tissue) for region in anatomy.regions} == {
        name: (tuple(entry["labels"]), entry["tissue"])
        for name, entry in REFERENCE.config["regions"].items()}
    assert anatomy.pose.axis == (0, 0, 1) and anatomy.pose.max_blocked == 0.5
    assert fields(anatomy.beam) == {"frequency": 1e6, "radius_of_curvature": 0.13,
                                    "aperture": 0.13, "max_axial": 0.03, "water": 0.006,
                                    "reach_lateral": 0.02, "reach_axial": 0.03}
    (one,) = ConstraintSettings.read(REFERENCE.section("constraints")).constraints
    assert one.written.key == "constraints" and one.clearance == approx(0.009)
    plan = PlanSettings.read(REFERENCE.section("plan"))
    assert plan.standoff == approx(0.11) and plan.water_speed == REFERENCE.water[
        "speed_of_sound_m_s"]
    heating = HeatingSettings.read(REFERENCE.section("heating"))
    assert (heating.spacing, heating.phases, heating.fields) == (None, "geometric", "auto")
    assert heating.water.speed == plan.water_speed and set(heating.tissues) == {
        "water", *plan.tissues}
    report = ReportSettings.read(REFERENCE.section("report"))
    assert report.limits == {
        "prescription.coverage": 0.99, "prescription.dose_cem43_min": 240,
        "prescription.max_time_s": 7200, "prescription.max_power_w": 22,
        "safety.max_target_c": 95, "thermometry.interval_s": 2}
    assert (report.file, report.imaging_interval, report.noise_seed) == (
        "breast_reference.yaml", 2, 1)
    assert report.config == REFERENCE.config and not report.anatomical


@pytest.mark.parametrize("name", ["paper", "mintime"])
def test_a_treatment_has_the_sections_of_its_patient(name):
    settings = TreatmentSettings.read(REFERENCE.section("control", name))
    assert type(settings.options) is settings.controller.Options
    assert settings.options == settings.controller.Options()  # the reference changes none
    assert settings.own_file is None and not settings.patient.responsive
    assert settings.prescription == Prescription.read(REFERENCE.config["prescription"])
    for field in dataclasses.fields(settings):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(settings, field.name, None)
