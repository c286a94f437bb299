"""The small inputs with known truth that lie beside the project, where they are."""

import numpy as np
import pytest

from hifuflow.anatomy.build import build_anatomy
from hifuflow.anatomy.settings import AnatomySettings
from hifuflow.errors import InputError
from hifuflow.provenance import ROOT
from hifuflow.study.patient import load_patient

CASES = ROOT.parent / "shared" / "cases" / "imaging"
pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason=f"no cases at {CASES}")
TRUTH = ([2.48, -24.21, 53.86], {"tumour": 1.905, "fat": 143.415, "muscle": 23.985})
BALL = ([22, 20, 17], {"tumour": 2.06, "fat": 117.94})  # of cells; voxels of 1 mm
RIGHT = {  # target's centroid (R, A, S) [mm], volumes [ml]; from each expected.txt
    "05_seg_nrrd_minimum_extent/patient": ([7, 27, 47], {"tumour": 5.12, "fat": 378.88}),
    **{f"06_vtk_not_by_meshio/{name}": BALL
       for name in ("patient", "binary", "vtk42", "gmsh", "control_msh")},
    "08_cell_in_two_groups/patient": BALL, "08_cell_in_two_groups/v22": BALL,
    "12_sform_qform_disagree/patient": TRUTH, "12_sform_qform_disagree/aligned": TRUTH,
    "13_dolfinx_xdmf/patient": BALL, "14_vtu_lz4/patient": BALL, "14_vtu_lz4/raw": BALL,
    "16_inplane_shift/patient": ([-13.06, -24.21, 53.86], TRUTH[1]),
    "18_fractional_seg/patient": TRUTH, "90_pass_nrrd_LAS/patient": TRUTH}
REFUSED = {
    "09_mgz_without_ras/patient": "no orientation", "10_nifti_zero_pixdim/patient": "no voxel size",
    "11_mha_without_spacing/patient": "ElementSpacing", "15_damaged_gzip/patient": "CRC",
    "17_pixel_spacing_changes/patient": "differ in PixelSpacing"}


def anatomy(name):
    path = CASES / f"{name}.yaml"
    if not path.is_file():
        pytest.skip(f"no {path}")
    return build_anatomy(AnatomySettings.read(load_patient(path).section("anatomy")))


@pytest.mark.parametrize("name", RIGHT)
def test_place_and_volume_are_the_truth(name):
    centroid, volumes = RIGHT[name]
    found = anatomy(name)
    place = found.position(np.argwhere(found.target_mask)).mean(axis=0) * 1e3
    np.testing.assert_allclose(place, centroid, atol=0.05)
    for region, millilitres in volumes.items():
        assert found.regions[region]["volume_m3"] * 1e6 == pytest.approx(
            millilitres, rel=0.035 if centroid == BALL[0] else 0.01)


@pytest.mark.parametrize("name", REFUSED)
def test_what_its_header_does_not_tell_is_refused(name):
    with pytest.raises(InputError, match=REFUSED[name]):
        anatomy(name)


def test_a_tilted_scan_and_its_labels():
    """The body's centroid is the ellipsoid's, and no voxel of it lies outside."""
    found = anatomy("02_tilt_labels_with_series/patient")
    place = found.position(np.argwhere(found.body_mask)).mean(axis=0) * 1e3
    np.testing.assert_allclose(place, [12.91, -26.76, 68.11], atol=0.1)


def test_every_case_is_known():
    names = {str(path.relative_to(CASES).with_suffix("")) for path in CASES.glob("*/*.yaml")}
    assert names <= {*RIGHT, *REFUSED, "02_tilt_labels_with_series/patient"}
