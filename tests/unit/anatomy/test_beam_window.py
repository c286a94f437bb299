"""The best way for the beam through the skin: around ribs and lungs, not touching the body."""

from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from patient_maps import anatomy_of
from scipy import ndimage

from hifuflow.anatomy.beam_window import beam_record, best_axis, look_around, ranked_axes
from hifuflow.anatomy.build import build_anatomy, pose_candidates
from hifuflow.anatomy.settings import AnatomySettings, BeamSettings, PoseSettings
from hifuflow.errors import InputError
from hifuflow.numerics.rays import CUT
from hifuflow.numerics.sphere import fibonacci_sphere
from hifuflow.provenance import ROOT
from hifuflow.settings import BeamTissue, Written
from hifuflow.study.patient import load_patient

REFERENCE = load_patient(ROOT / "config" / "patients" / "breast_reference.yaml")
LIVER = Path(__file__).parents[4] / "shared" / "data" / "liver_ircad01_labels.nii.gz"
TISSUES = {"soft_tissue": {"attenuation_np_m_mhz": 7.0},
           "bone": {"attenuation_np_m_mhz": 173.0, "blocks": "bone"}}
REGIONS = {"tumour": {"label": 1, "tissue": "soft_tissue"},
           "body": {"label": 2, "tissue": "soft_tissue"}, "shell": {"label": 3, "tissue": "bone"}}
BEAM = BeamSettings(frequency=1e6, radius_of_curvature=0.13, aperture=0.13, max_axial=0.03)
POSE = PoseSettings(None, 0.5, Written("anna.yaml", "transducer", {"axis": "auto"}))


def ball(hole=(1.0, 0.0, 0.0), radius=60):
    """A ball with a target in its middle and a shell of bone that has one round hole."""
    centre = np.arange(0, 141, 2.0) - 70
    points = np.stack(np.meshgrid(centre, centre, centre, indexing="ij"), axis=-1)
    distance = np.linalg.norm(points, axis=-1)
    labels = np.where(distance <= radius, 2, 0)
    with np.errstate(invalid="ignore"):
        open_ = points @ np.array(hole) / distance > np.cos(np.deg2rad(40))
    labels[(distance > 30) & (distance < 36) & ~open_] = 3
    labels[distance < 6] = 1
    affine = np.diag([2e-3, 2e-3, 2e-3, 1.0])
    return labels, affine


def found(labels, affine, beam=BEAM, cut=None):
    rays = look_around(labels, affine, labels == 1, REGIONS, cut, fibonacci_sphere(2500),
                       BeamTissue.read_all(TISSUES), beam.frequency)
    return best_axis(rays, beam, POSE), rays


@pytest.mark.parametrize("hole", [(1, 0, 0), (0, -1, 0), (0.6, 0, -0.8)])
def test_axis_runs_through_the_hole_in_the_bone(hole):
    axis, _ = found(*ball(hole))
    assert axis @ -np.array(hole) > np.cos(np.deg2rad(8))


def test_shallow_side_is_preferred():
    labels, affine = ball()
    labels = np.where(labels == 3, 2, labels)
    labels[:, :, 50:] = 0  # flattened: the target is 28 mm under that side, 60 mm elsewhere
    assert found(labels, affine)[0] @ [0, 0, -1] > np.cos(np.deg2rad(8))


def test_transducer_that_would_touch_the_body_finds_no_axis():
    short = replace(BEAM, radius_of_curvature=0.05, aperture=0.05, max_axial=0.0)
    with pytest.raises(InputError, match="no direction lets this transducer") as caught:
        found(*ball(), short)
    assert caught.value.key == "transducer.axis" and caught.value.file == "anna.yaml"


def section(path, axis, most=0.5, **changes):
    return {**REFERENCE.section("anatomy"),
            "anatomy": {"labels": str(path), "outside": [], "crop_margin_mm": 40},
            "cut_regions": [],
            "regions": {"tumour": {"labels": [1], "tissue": "soft_tissue"},
                        "body": {"labels": [2], "tissue": "soft_tissue"},
                        "shell": {"labels": [3], "tissue": "bone"}},
            "target": {"region": "tumour", "margin_mm": 0, "largest_component": False},
            "tissues": TISSUES,
            "transducer": {"axis": axis, "max_blocked_fraction": most}, **changes}


@pytest.fixture(scope="module")
def ball_map(tmp_path_factory):
    labels, affine = ball()
    path = tmp_path_factory.mktemp("maps") / "ball.nii.gz"
    nib.save(nib.Nifti1Image(labels.astype(np.int16), affine * [[1e3], [1e3], [1e3], [1]]), path)
    return path


def test_anatomy_is_made_along_the_axis_that_was_found(ball_map):
    anatomy = anatomy_of(section(ball_map, "auto"))
    assert anatomy.axis @ [-1, 0, 0] > np.cos(np.deg2rad(8))
    assert anatomy.beam["blocked_fraction"] < 0.02  # rays that graze the opening's rim
    # 54 mm of soft tissue at 7 Np/m behind the skin
    assert anatomy.beam["arriving_fraction"] == pytest.approx(np.exp(-2 * 7 * 0.06), rel=0.05)


def test_given_axis_through_bone_is_refused_or_recorded(ball_map):
    with pytest.raises(InputError, match=r"100% shell \(bone\)") as caught:
        anatomy_of(section(ball_map, [0, 0, 1]))
    assert caught.value.key == "transducer.axis" and "auto" in caught.value.allowed
    anatomy = anatomy_of(section(ball_map, [0, 0, 1], most=1))
    assert anatomy.beam["blocked_by"] == pytest.approx({"shell (bone)": 1.0})


def test_where_the_model_is_cut_no_beam_comes_from():
    labels, affine = ball((0, 1, 0))
    cut, labels = labels == 3, np.where(labels == 3, 2, labels)
    axis, rays = found(labels, affine, cut=cut)
    assert axis @ [0, -1, 0] > np.cos(np.deg2rad(8))
    assert set(rays.blocked_by(np.s_[:])) == {CUT}


@pytest.mark.skipif(not LIVER.exists(), reason=f"sample label map not at {LIVER}")
def test_real_liver_tumour_is_reached_from_the_front_between_ribs_and_lung():
    """The component under the window has a free beam; one behind the ribs has not."""
    image = nib.load(LIVER).slicer[::4, ::4, ::2]
    data = np.asarray(image.dataobj)
    flips = np.sign(np.diag(image.affine)[:3]).astype(int)  # array axes L, P, S
    data = data[::flips[0], ::flips[1], ::flips[2]]
    affine = np.abs(np.diag(np.diag(image.affine))) * [[1e-3], [1e-3], [1e-3], [1]]
    labels = np.where(data > 0, 2, 0)
    labels[data == 65] = 3
    labels[np.isin(data, (257, 321))] = 4
    tissues = {**TISSUES, "lung": {"attenuation_np_m_mhz": 460.0, "blocks": "lung"}}
    regions = {**REGIONS, "lungs": {"label": 4, "tissue": "lung"}}
    parts, _ = ndimage.label(np.isin(data, (451, 453)))
    blocked = []
    for voxel in ((268, 141, 93), (178, 337, 78)):  # of the whole map, before it was flipped
        i, j, k = (v // step if flip > 0 else n - 1 - v // step for v, step, n, flip in
                   zip(voxel, (4, 4, 2), data.shape, flips, strict=True))
        target = parts == parts[i, j, k]
        assert parts[i, j, k] > 0
        rays = look_around(labels, affine, target, regions, None, fibonacci_sphere(2500),
                           BeamTissue.read_all(tissues), BEAM.frequency)
        axis = best_axis(rays, BEAM, POSE)
        blocked.append(beam_record(rays, axis, BEAM.half_angle))
        if len(blocked) == 1:
            assert axis @ [0, -1, 0] > 0.9  # it travels from the front to the back
    assert blocked[0]["blocked_fraction"] < 0.03
    assert blocked[1]["blocked_by"]["shell (bone)"] > 0.2


def test_the_axis_keeps_the_target_out_of_the_shadow_of_a_cut(tmp_path):
    """A wall beside the target: under the flat side above it lies the shortest way, but from there
    part of the target is behind the wall."""
    labels, affine = ball()
    labels = np.where(labels == 3, 2, labels)
    labels[:, :, 50:] = 0
    near = np.indices(labels.shape)
    wall = (labels == 2) & (near[2] > 39) & (near[2] < 44) & (near[0] > 35) & (near[0] < 40)
    labels[wall & (abs(near[1] - 35) < 4)] = 3
    path = tmp_path / "wall.nii.gz"
    nib.save(nib.Nifti1Image(labels.astype(np.int16), affine * [[1e3], [1e3], [1e3], [1]]), path)
    tissues = {**TISSUES, "bone": TISSUES["soft_tissue"]}
    walled = section(path, "auto", cut_regions=["shell"], tissues=tissues)
    straight = {**walled, "transducer": {"axis": [0, 0, -1], "max_blocked_fraction": 1.0}}
    with pytest.raises(InputError, match=r"of the target's .* voxels lie behind the cut"):
        anatomy_of(straight)
    anatomy = anatomy_of(walled)
    assert anatomy.target_mask.sum() == (labels == 1).sum()
    assert anatomy.axis @ [0, 0, -1] < 0.999


@pytest.mark.parametrize("along", [0, 1, 2])
def test_a_long_target_is_treated_along_its_length(tmp_path, along):
    labels, affine = ball()
    labels = np.where(labels > 0, 2, 0)
    place = np.abs(np.indices(labels.shape) - 35)
    across = np.delete(place, along, axis=0)
    labels[(place[along] <= 14) & (across <= 2).all(axis=0)] = 1  # 58 mm long
    path = tmp_path / "long.nii.gz"
    nib.save(nib.Nifti1Image(labels.astype(np.int16), affine * [[1e3], [1e3], [1e3], [1]]), path)
    regions = {name: entry for name, entry in section(path, "auto")["regions"].items()
               if name != "shell"}
    axis = anatomy_of(section(path, "auto", regions=regions)).axis
    assert np.degrees(np.arccos(abs(axis[along]))) < 45  # 20 mm of steering across, 30 mm along


def test_an_axis_that_is_refused_is_passed_over_with_all_like_it():
    rays = look_around(*(ball()[i] for i in (0, 1)), ball()[0] == 1, REGIONS, None,
                       fibonacci_sphere(2500), BeamTissue.read_all(TISSUES), 1e6)
    axes, score = ranked_axes(rays, BEAM, 0.5)
    assert (np.diff(score) <= 0).all() and (axes[0] == best_axis(rays, BEAM, POSE)).all()
    second = best_axis(rays, BEAM, POSE, lambda axis: "too near" * bool(axis @ axes[0] > 0.995))
    assert second @ axes[0] <= 0.995
    with pytest.raises(InputError, match="on the best one too near"):
        best_axis(rays, BEAM, POSE, lambda axis: "too near")


def test_heat_per_watt_is_the_square_of_the_amplitude():
    """A plate that takes half of the amplitude, before half of the cone: (1/2 + 1/4)^2, not
    (1/2 + 1/8)."""
    labels = np.zeros((81, 81, 60), int)
    labels[:, :, 20:] = 2
    labels[38:42, 38:42, 38:41] = 1
    labels[40:, :, 20:22] = 3
    affine = np.diag([2e-3, 2e-3, 2e-3, 1])
    plate = {"soft_tissue": {"attenuation_np_m_mhz": 0.0},
             "bone": {"attenuation_np_m_mhz": np.log(2) / 4e-3}}
    rays = look_around(labels, affine, labels == 1, REGIONS, None, fibonacci_sphere(4000),
                       BeamTissue.read_all(plate), 1e6)
    rays = replace(rays, **{name: getattr(rays, name)[:1] for name in ("blocked", "loss", "skin")})
    narrow = BeamSettings(1e6, 0.13, 0.06, 0.03)
    axes, score = ranked_axes(rays, narrow, 0.5)
    down = np.argmax(axes @ [0, 0, 1])
    assert score[down] == pytest.approx(0.75**2, rel=0.05)


def test_ten_directions_well_apart(ball_map):
    settings = AnatomySettings.read(section(ball_map, "auto"))
    found = pose_candidates(settings, 10)
    axes = np.array([axis for axis, _ in found])
    angles = np.degrees(np.arccos(np.clip(axes @ axes.T, -1, 1)))[np.triu_indices(len(axes), 1)]
    assert 3 <= len(axes) <= 10 and angles.min() >= 10 and found[0][1] == 1
    heat = [value for _, value in found]
    assert heat == sorted(heat, reverse=True)
    np.testing.assert_allclose(axes[0], build_anatomy(settings).axis)
