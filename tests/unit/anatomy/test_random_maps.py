"""Whatever the label map: an `InputError`, or an anatomy that has lost nothing without a word."""

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from patient_maps import anatomy_of, section, turned, write_nifti

from hifuflow.errors import InputError

AXES = [[0, 0, 1], [0, -1, 0], [1, 0, 0], [1, 1, 0], [-1, 2, 3]]
REGIONS = {"lump": [3, -7], "fat": [1], "gland": [2, 5]}


@st.composite
def maps(draw):
    """Random voxels, or a random body with random voxels in it, in a frame of nothing."""
    shape = draw(st.tuples(*[st.integers(3, 9)] * 3))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    share = draw(st.sampled_from([(0.9, 0.02, 0.05), (0.4, 0.3, 0.2), (0.0, 0.9, 0.05),
                                  (0.0, 0.3, 0.3)]))
    weights = [*share, max(0, 1 - sum(share))]
    kind = random.choice(4, size=shape, p=np.array(weights) / sum(weights))
    labels = np.choose(kind, [0, 1, random.choice([3, -7], size=shape),
                              random.choice([2, 5], size=shape)])
    return np.pad(labels, draw(st.integers(0, 3))).astype(np.int16)


TARGETS = st.one_of(
    st.just({"region": "lump"}), st.just({"region": "lump", "largest_component": True}),
    st.fixed_dictionaries({"at_mm": st.tuples(*[st.integers(0, 12)] * 3).map(list)}),
    st.fixed_dictionaries({"sphere": st.fixed_dictionaries({
        "centre_mm": st.tuples(*[st.integers(0, 12)] * 3).map(list),
        "radius_mm": st.floats(0.1, 6)})}))


@settings(max_examples=150, deadline=None)
@given(labels=maps(), target=TARGETS, margin=st.sampled_from([0, 1.5, 4]),
       axis=st.sampled_from(AXES), cut=st.sets(st.sampled_from(["fat", "gland"])),
       codes=st.sampled_from(["RAS", "LPI", "SAR"]), crop=st.sampled_from([1, 3, 100]))
def test_error_or_nothing_lost(labels, target, margin, axis, cut, codes, crop):
    config = section("", cut_regions=sorted(cut), axis=axis, regions={
        name: {"labels": values, "tissue": "fat"} for name, values in REGIONS.items()},
        target={"largest_component": False, "margin_mm": margin, **target})
    config["anatomy"].update(crop_margin_mm=crop, body_extent_mm=[0.1, 100])
    present = set(np.unique(labels)) - {0}
    for entry in config["regions"].values():  # only what is there may be named
        entry["labels"] = [label for label in entry["labels"] if label in present] or [99]
    with tempfile.TemporaryDirectory() as folder:
        config["anatomy"]["labels"] = str(Path(folder) / "m.nii")
        write_nifti(Path(folder) / "m.nii", *turned(labels, np.diag([1, 1, 1.5, 1]), codes))
        try:
            anatomy = anatomy_of(config)
        except InputError as error:
            assert error.args[0]
            return
    check(anatomy, labels)


def check(anatomy, labels):
    body = anatomy.body_mask
    assert not (anatomy.coupling & body).any()
    assert anatomy.target_mask.any() and (anatomy.target_mask <= body).all()
    assert set(np.unique(anatomy.labels)) - {0} == {
        region["label"] for region in anatomy.regions.values()}
    first = np.rint(anatomy.affine[:3, 3] * 1e3 / [1, 1, 1.5]).astype(int)
    window = labels[tuple(slice(a, a + n) for a, n in zip(first, body.shape, strict=True))]
    left_out = anatomy.record["left_out_voxels"]
    for name, values in REGIONS.items():
        held = np.zeros_like(body)
        for part in (name, f"{name}_target"):
            if part in anatomy.regions:
                entry = anatomy.regions[part]
                mask = anatomy.labels == entry["label"]
                assert entry["volume_m3"] == mask.sum() * anatomy.voxel_volume
                held |= mask
        assert (held <= np.isin(window, values)).all()  # every voxel is what the map says
        lost = left_out.get(name, {"crop": 0, "cut": 0, "islands": 0})
        assert held.sum() + sum(lost.values()) == np.isin(labels, values).sum()
        assert np.isin(window, values).sum() == np.isin(labels, values).sum() - lost["crop"]
