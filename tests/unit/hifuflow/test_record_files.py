"""Files of records: names, units, origins, parts that are missing, and files that are not one."""

from dataclasses import replace

import h5py
import numpy as np
import pytest
import scipy.sparse as sp
from record_examples import HDF5, differences, example, save

from hifuflow.errors import InputError
from hifuflow.job import atomic, read_json
from hifuflow.provenance import created_by
from hifuflow.records.bioheat_model import BioheatModel
from hifuflow.records.heating import Heating, HeatingFile
from hifuflow.study.inspect import describe, quality_table

# Where each field is found by those who read the files with other tools, and in which units.
OUTPUTS = {"outputs/kind": "1", "outputs/position": "m", "outputs/volume": "m3",
           "outputs/baseline": "degC", "outputs/limit": "degC", "outputs/name": "1",
           "outputs/region": "1", "outputs/dose_limit": "min", "outputs/soft": "1",
           "outputs/mean_baseline": "degC"}
UNITS = {
    "bioheat_model": OUTPUTS | {
        "E": "J/K", "K": "W/K", "C": "1", "C_mean": "1", "B": "W/W", "dof_coordinates": "m",
        "baseline": "degC", "foci": "m", "voxels/interpolation": "1", "voxels/index": "1",
        "voxels/baseline": "degC", "voxels/target": "1", "voxels/volume": "m3",
        "cells/nodes": "1", "cells/vertices": "m", "cells/regions": "1", "cells/share": "1",
        "cells/conductivity": "W/m/K", "cells/perfusion": "W/m3/K", "cells/held_baseline": "degC",
        "cells/arterial": "degC"},
    "faulty_load": {"B": "W/W", "foci": "m"},
    "reduced_model": OUTPUTS | {
        "A": "1/s", "B": "1", "C": "1", "C_mean": "1", "hsv": "K/W", "error_bound": "K/W",
        "foci": "m", "D": "K/W"},
    "heating": {
        "q": "W/m3/W", "affine": "m", "foci": "m", "focal_pressure_pa": "Pa",
        "absorbed_fraction": "1", "balance/absorbed": "1", "balance/sideways": "1",
        "steering/gain": "1", "steering/focus_m": "m"},
    "trajectory": OUTPUTS | {
        "t": "s", "power": "W", "constraint_temperature": "degC", "target_temperature": "degC",
        "target_dose": "min", "estimated_constraint_temperature": "degC",
        "measured_temperature": "degC", "measured_position": "m", "coverage": "1",
        "event_time": "s", "event": "1", "voxel_index": "1", "voxel_peak_temperature": "degC",
        "voxel_dose": "min", "snapshot_t": "s", "snapshot_temperature": "degC",
        "snapshot_voxel": "1", "snapshot_dose": "min", "foci": "m"},
}


def read_plainly(item):
    """A data set, or a group in CSR, by h5py and SciPy alone."""
    if isinstance(item, h5py.Group):
        arrays = tuple(item[name][()] for name in ("data", "indices", "indptr"))
        return sp.csr_array(arrays, shape=item.attrs["shape"]).toarray()
    return item.asstr()[()] if item.dtype.kind in "OS" else item[()]


@pytest.mark.parametrize("name", HDF5)
def test_data_sets_are_named_after_their_fields_and_carry_their_units(name, tmp_path):
    record = example(name)
    with h5py.File(save(record, tmp_path)) as file:
        stored = set()
        file.visititems(lambda path, item: stored.add(path.removesuffix("/data")) if isinstance(
            item, h5py.Dataset) and not path.endswith(("/indices", "/indptr")) else None)
        assert stored == set(UNITS[name])
        for path, units in UNITS[name].items():
            value = record
            for step in path.split("/"):
                value = value[step] if isinstance(value, dict) else getattr(value, step)
            value = value.toarray() if sp.issparse(value) else value
            np.testing.assert_array_equal(read_plainly(file[path]), value, err_msg=path)
            assert file[path].attrs["units"] == units, path


@pytest.mark.parametrize("name", HDF5)
def test_every_file_names_its_origin_and_explains_its_data_sets(name, tmp_path):
    with h5py.File(save(example(name), tmp_path)) as file:
        origin = {key: file.attrs[key] for key in (
            "artifact", "schema_version", "patient", "created_by", "config_sha256")}
        assert origin == {"artifact": name, "schema_version": 1, "patient": "someone",
                          "created_by": created_by(), "config_sha256": "hash"}
        silent = []
        file.visititems(lambda path, item: silent.append(path) if isinstance(item, h5py.Dataset)
                        and not (item.attrs.get("units") and item.attrs.get("description"))
                        else None)
        assert silent == []


def test_attributes_of_models_and_heatings(tmp_path):
    for name, expected in (("reduced_model", {"order": 4, "method": "by hand"}),
                           ("heating", {"transducer": "sphère"})):
        with h5py.File(save(example(name), tmp_path)) as file:
            assert {key: file.attrs[key] for key in expected} == expected


def test_what_goes_with_a_reduced_model_is_stored_and_its_units_are_its_own(tmp_path):
    model = example("reduced_model")
    model.outputs = replace(model.outputs, kind=np.full_like(model.outputs.kind, "output"))
    assert not model.outputs.temperatures
    model.save(tmp_path / "rom.h5", "someone", "hash", certificate="none")
    with h5py.File(tmp_path / "rom.h5") as file:
        assert file.attrs["certificate"] == "none"
        assert {file[name].attrs["units"] for name in ("hsv", "error_bound", "D")} == {
            "output/input"}


def test_heating_is_stored_small_and_with_checksums(tmp_path):
    with h5py.File(save(example("heating"), tmp_path)) as file:
        q = file["q"]
        assert q.dtype == np.float32 and q.fletcher32 and q.shuffle and q.compression == "lzf"


def test_plan_and_regions_name_their_units(tmp_path):
    plan, anatomy = example("plan"), example("anatomy")
    record = read_json(save(plan, tmp_path))
    assert record["n_foci"] == 3
    for key, field in (("apex_m", "apex"), ("axis", "axis"), ("foci_m", "foci"),
                       ("apex_shift_m", "apex_shift")):
        np.testing.assert_array_equal(record[key], getattr(plan, field))
    for key in ("spacing_m", "focal_width_m", "focal_length_m", "coverage", "spread_coverage",
                "switch_time_s", "move_time_s", "left_out", "warnings"):
        assert record[key] == getattr(plan, key)
    record = read_json(save(anatomy, tmp_path) / "regions.json")
    assert set(record) == {"regions", "target", "axis", "source_sha256", "beam", "crop", "note"}
    assert set(record["target"]) == {"regions", "volume_m3", "centroid_m", "n_components",
                                     "component_volume_m3"}


def test_large_data_sets_are_packed(tmp_path):
    with h5py.File(save(example("trajectory"), tmp_path)) as file:
        assert file["target_dose"].compression == "gzip" and file["target_dose"].shuffle
        assert file["foci"].compression is None
    with h5py.File(save(example("heating"), tmp_path)) as file:
        assert file["q"].chunks == (1, 4, 5, 16) and file["q"].compression == "lzf"


def test_a_heating_is_written_and_read_part_by_part(tmp_path):
    heating, path = example("heating"), tmp_path / "heating.h5"
    with HeatingFile.create(path, "someone", "hash") as file:
        q = file.allocate(heating.q.shape)
        for focus, values in enumerate(heating.q):
            q[focus] = values
        file.complete(heating)
        assert not path.exists()  # not before it is complete
    with Heating.opened(path) as opened:
        assert isinstance(opened.q, h5py.Dataset)
        np.testing.assert_array_equal(opened.q[1], heating.q[1])
    assert differences(Heating.load(path), heating) == []


@pytest.mark.parametrize("name", HDF5)
def test_a_write_that_fails_leaves_what_was_there(name, tmp_path):
    path = save(example(name), tmp_path)
    content, broken = path.read_bytes(), example(name)
    broken.foci = object()
    with pytest.raises(TypeError):
        broken.save(path, "someone", "other")
    assert path.read_bytes() == content and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["K", "E/indptr", "voxels/index", "outputs/kind", "cells/share"])
def test_missing_data_set_is_named_with_its_file(tmp_path, name):
    path = save(example("bioheat_model"), tmp_path)
    with h5py.File(path, "a") as file:
        del file[name]
    with pytest.raises(InputError, match=rf"plant\.h5: {name}.*: holds no such data set"):
        BioheatModel.load(path)


@pytest.mark.parametrize("name", HDF5)
def test_another_file_is_refused(name, tmp_path):
    other = save(example(HDF5[HDF5.index(name) - 1]), tmp_path)
    kind = type(example(name))
    with pytest.raises(InputError, match=rf"{other.name}: artifact = .*allowed: {name}\)"):
        kind.load(other)
    (tmp_path / "junk.h5").write_bytes(b"junk")
    with pytest.raises(InputError, match=r"junk\.h5: .*not a readable HDF5 file"):
        kind.load(tmp_path / "junk.h5")
    with pytest.raises(InputError, match=r"none\.h5: no such file"):
        kind.load(tmp_path / "none.h5")


def test_a_failed_write_leaves_nothing(tmp_path):
    path = tmp_path / "result.json"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_inspect_tells_what_a_record_holds(tmp_path):
    folder = save(example("anatomy"), tmp_path)
    assert "2" in describe(folder / "labels.nii.gz", quality_table)
    assert "centroid_m" in describe(folder / "regions.json", quality_table)


def test_inspect_refuses_what_it_does_not_know(tmp_path):
    (tmp_path / "x.txt").write_text("")
    with pytest.raises(InputError, match="not a known kind"):
        describe(tmp_path / "x.txt", quality_table)
