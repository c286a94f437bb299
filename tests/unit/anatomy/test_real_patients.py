"""Real patients become anatomies whose volumes are those of their raw maps."""

import nibabel as nib
import numpy as np
import pytest
import yaml
from outcomes import outcome
from patient_maps import anatomy_of
from scipy import ndimage

from hifuflow.provenance import ROOT
from hifuflow.study.patient import load_patient

DATA = ROOT.parent / "shared" / "data"
PATIENTS = ROOT / "tests" / "patients"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"no sample data at {DATA}")


def built(name):
    return anatomy_of(load_patient(PATIENTS / f"{name}.yaml").section("anatomy"))


def raw(name):
    image = nib.load(DATA / name)
    return image, np.asarray(image.dataobj), float(np.prod(image.header.get_zooms()[:3])) * 1e-9


def regions_of(name):
    content = yaml.safe_load((PATIENTS / f"{name}.yaml").read_text())
    return {region: entry["labels"] for region, entry in content["regions"].items()}


def voxels(anatomy, region):
    """Voxels of a region with those of it that were split off for the target."""
    parts = [anatomy.regions[name]["volume_m3"] for name in (region, f"{region}_target")
             if name in anatomy.regions]
    return round(sum(parts) / anatomy.voxel_volume)


def assert_nothing_is_lost(anatomy, data, name):
    """Of every region, what is modelled and what is left out make up the raw map."""
    left_out = anatomy.record["left_out_voxels"]
    for region, labels in regions_of(name).items():
        lost = sum(left_out.get(region, {}).values())
        if all(isinstance(label, int) for label in labels):
            assert voxels(anatomy, region) + lost == np.isin(data, labels).sum(), region


@pytest.mark.parametrize("name, source, millilitres", [
    ("breast_exam33", "breast_exam33_labels.nii.gz", 2.07),
    ("breast_exam25", "breast_exam25_labels.nii.gz", 5.43),
])
def test_breasts(name, source, millilitres):
    anatomy = built(name)
    image, data, voxel = raw(source)
    assert anatomy.target_mask.sum() == (data == -3).sum()
    assert anatomy.target_mask.sum() * voxel == pytest.approx(millilitres * 1e-6, rel=0.005)
    assert_nothing_is_lost(anatomy, data, name)
    # behind the muscle's band label 0 is the thorax: no water there
    canonical = nib.as_closest_canonical(image)
    muscle = np.asarray(canonical.dataobj) == -1
    thorax = np.logical_or.accumulate(muscle[:, ::-1], axis=1)[:, ::-1]  # the beam goes to -A
    first = np.rint((anatomy.affine[:3, 3] * 1e3 - canonical.affine[:3, 3])
                    / np.diag(canonical.affine)[:3]).astype(int)
    window = tuple(slice(a, a + n) for a, n in zip(first, anatomy.labels.shape, strict=True))
    assert thorax[window].any()
    assert not (thorax[window] & (anatomy.coupling | anatomy.body_mask)).any()


def test_component_of_the_liver():
    anatomy = built("liver_component")
    image, data, voxel = raw("liver_ircad01_labels.nii.gz")
    component, n = ndimage.label(np.isin(data, (451, 453)))
    assert n == 8
    wanted = component == component[268, 141, 93]
    assert anatomy.target_mask.sum() == wanted.sum()
    assert wanted.sum() * voxel == pytest.approx(3.74e-6, rel=0.002)
    centroid = image.affine @ [*np.argwhere(wanted).mean(axis=0), 1]
    found = anatomy.position(np.argwhere(anatomy.target_mask)).mean(axis=0) * 1e3
    np.testing.assert_allclose(found, centroid[:3], atol=1e-3)
    assert_nothing_is_lost(anatomy, data, "liver_component")


@pytest.mark.parametrize("name, label, region", [("abdomen_femur", 76, "bone"),
                                                 ("abdomen_gluteus", 81, "muscle")])
def test_drawn_spheres_in_the_abdomen(name, label, region):
    anatomy = built(name)
    image, data, voxel = raw("abdomen_labels.nii.gz")
    sphere = load_patient(PATIENTS / f"{name}.yaml").config["target"]["sphere"]
    positions = np.argwhere(np.ones(data.shape, bool)) @ image.affine[:3, :3].T
    offset = positions + image.affine[:3, 3] - sphere["centre_mm"]
    inside = (np.linalg.norm(offset, axis=1) <= sphere["radius_mm"]).reshape(data.shape)
    assert anatomy.target_mask.sum() == inside.sum()
    part = anatomy.regions[f"{region}_target"]["volume_m3"] / voxel
    assert round(part) == (inside & (data == label)).sum() > 0.9 * inside.sum()
    assert_nothing_is_lost(anatomy, data, name)


def test_body_outline_from_the_ct():
    """Body = CT above -300 HU, its largest component, filled, with the organs over it."""
    anatomy = built("abdomen_femur")
    _, data, _ = raw("abdomen_labels.nii.gz")
    _, ct, _ = raw("abdomen_ct.nii.gz")
    component, _ = ndimage.label(ct >= -300)
    largest = np.bincount(component.ravel())[1:].argmax() + 1
    body = component == largest
    for end in (0, -1):  # the bowel's gas runs out of the scan there
        body[..., end] = ndimage.binary_fill_holes(body[..., end])
    body = ndimage.binary_fill_holes(body) & (data == 0)
    lost = sum(anatomy.record["left_out_voxels"]["body"].values())
    assert voxels(anatomy, "body") + lost == body.sum()


@pytest.mark.parametrize("name", ["breast_exam25", "breast_exam33"])
def test_default_settings_treat_a_breast(name, tmp_path):
    content = yaml.safe_load((PATIENTS / f"{name}.yaml").read_text())
    content["anatomy"]["labels"] = str(DATA / f"{name}_labels.nii.gz")
    content["transducer"] = {"axis": "auto", "standoff_mm": "auto"}
    content["foci"] = {"plane_offsets_mm": "auto"}
    (tmp_path / "defaults.yaml").write_text(yaml.safe_dump(content))
    found = outcome(tmp_path / "defaults.yaml", mesh=False)
    assert found.refusal == "" and found.reach >= 0.97 and found.points == 209
