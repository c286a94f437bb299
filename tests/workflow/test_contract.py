"""What a run leaves on disk: names, shapes, units and values that others rely on."""

import json

import h5py
import meshio
import nibabel as nib
import numpy as np
import pytest
import pyvista
import SimpleITK as sitk
import vtk

from hifuflow.formats.hdf5 import get_csr

METRICS = {
    "treatment_time_s", "time_to_t90_s", "on_time_s", "energy_j", "coverage", "t90_cem43_min",
    "max_constraint_temperature_c", "max_overshoot_k", "overshoot_k_s", "max_target_temperature_c",
    "damaged_normal_volume_m3", "estimator_rmse_k", "step_time_p50_s", "step_time_p99_s", "n_foci",
    "n_constraints", "rom_order", "status"}
CERTIFICATE = {"order", "full_order", "hinf_error_relative", "hinf_bound_relative",
               "max_output_error_k", "stable", "seconds", "peak_memory_bytes"}


@pytest.fixture(scope="module")
def read_json(coarse_run):
    return lambda name: json.loads((coarse_run / name).read_text())


@pytest.fixture
def hdf5(coarse_run):
    opened = []

    def open_file(name):
        opened.append(h5py.File(coarse_run / name))
        return opened[-1]

    yield open_file
    for file in opened:
        file.close()


@pytest.mark.parametrize("name", ["acoustics/heating.h5", "fem/control.h5", "fem/plant.h5",
                                  "reduction/rom.h5", "control/paper/trajectory.h5",
                                  "export/treatment.vtkhdf"])
def test_every_hdf5_file_says_where_it_is_from_and_in_which_units(hdf5, name):
    file = hdf5(name)
    assert set(file.attrs) >= {"artifact", "schema_version", "patient", "created_by",
                               "config_sha256"}
    assert file.attrs["patient"] == "breast_small"
    assert len(file.attrs["config_sha256"]) == 64
    bare = []
    file.visititems(lambda path, item: bare.append(path) if isinstance(item, h5py.Dataset)
                    and not {"units", "description"} <= set(item.attrs) else None)
    assert bare == []


def test_anatomy(coarse_run, read_json):
    image = nib.load(coarse_run / "anatomy" / "labels.nii.gz")
    assert nib.aff2axcodes(image.affine) == ("R", "A", "S")
    labels, record = np.asarray(image.dataobj), read_json("anatomy/regions.json")
    voxel = abs(np.linalg.det(image.affine[:3, :3])) * 1e-9
    for region in record["regions"].values():
        assert (labels == region["label"]).sum() * voxel == pytest.approx(region["volume_m3"])
    assert record["target"]["regions"] == ["tumour"]
    assert len(record["source_sha256"]) == 64


@pytest.mark.parametrize("model", ["control", "plant"])
def test_mesh(coarse_run, read_json, model):
    mesh = meshio.read(coarse_run / "mesh" / f"{model}.msh")
    header = (coarse_run / "mesh" / f"{model}.msh").read_bytes()[:30].split()
    assert header[1] == b"4.1" and header[2] == b"1"  # MSH 4.1, binary
    record = read_json(f"mesh/{model}.json")
    assert set(mesh.field_data) == {"fat", "tumour", "skin", "cut"}
    assert len(mesh.cells_dict["tetra"]) == record["n_cells"]
    assert len(mesh.points) == record["n_vertices"]
    corners = mesh.points[mesh.cells_dict["tetra"]]
    volume = np.linalg.det(corners[:, 1:] - corners[:, :1]) / 6
    assert volume.min() > 0
    for name, region in record["regions"].items():
        tag = mesh.field_data[name][0]
        part = volume[mesh.cell_data_dict["gmsh:physical"]["tetra"] == tag].sum()
        assert part == pytest.approx(region["volume_m3"], rel=1e-6)
        assert part == pytest.approx(region["label_volume_m3"], rel=0.05)
    assert 0 < record["min_quality"] <= record["quality_p01"] <= 1


def test_heating(hdf5):
    file = hdf5("acoustics/heating.h5")
    q, foci = file["q"], file["foci"][:]
    assert q.dtype == np.float32 and q.ndim == 4 and len(q) == len(foci)
    assert file["q"].attrs["units"] == "W/m3/W"
    assert file.attrs["frequency_hz"] == 1e6 and file.attrs["transducer"] == "random256"
    cell = abs(np.linalg.det(file["affine"][:3, :3]))
    absorbed = q[:].sum(axis=(1, 2, 3), dtype=float) * cell
    np.testing.assert_allclose(file["absorbed_fraction"][:], absorbed, rtol=1e-3)
    assert (absorbed < 1).all() and (absorbed > 0.3).all()
    # The hottest cell lies near its focus.
    for i, focus in enumerate(foci):
        index = np.unravel_index(q[i].argmax(), q.shape[1:])
        hottest = file["affine"][:3, :3] @ index + file["affine"][:3, 3]
        assert np.linalg.norm(hottest - focus) < 6e-3


@pytest.mark.parametrize("model", ["control", "plant"])
def test_bioheat_model(hdf5, model):
    file = hdf5(f"fem/{model}.h5")
    E, K, C = (get_csr(file, name) for name in ("E", "K", "C"))
    n, p = len(file["baseline"]), len(file["outputs/kind"])
    assert E.shape == K.shape == (n, n) and C.shape == (p, n)
    assert file["B"].shape == (n, len(file["foci"]))
    assert file["dof_coordinates"].shape == (n, 3)
    kind = file["outputs/kind"].asstr()[:]
    assert (kind == "constraint").sum() == 60
    assert np.isnan(file["outputs/limit"][:][kind == "target"]).all()
    assert (file["outputs/limit"][:][kind == "constraint"] == 43).all()
    # Away from the skin, whose nodes are eliminated, C reproduces linear functions exactly.
    target = kind == "target"
    np.testing.assert_allclose((C @ np.ones(n))[target], 1, atol=1e-9)
    coordinates = C @ file["dof_coordinates"][:]
    offset = (coordinates - file["outputs/position"][:])[target]
    assert np.linalg.norm(offset, axis=1).max() < 3e-3  # voxels at the mesh's smoothed surface
    assert np.median(np.linalg.norm(offset, axis=1)) < 1e-9


def test_plant_is_finer_than_the_control_model(hdf5):
    assert len(hdf5("fem/plant.h5")["baseline"]) > len(hdf5("fem/control.h5")["baseline"])


def test_reduction(hdf5, read_json):
    file, certificate = hdf5("reduction/rom.h5"), read_json("reduction/certificate.json")
    r = int(file.attrs["order"])
    assert r == 150 and file["A"].shape == (r, r)
    assert file["B"].shape[0] == r and file["C"].shape[1] == r
    assert (np.diff(file["hsv"][:]) <= 0).all()
    assert set(certificate) >= CERTIFICATE
    assert certificate["stable"] is True
    assert certificate["hinf_error_relative"] <= certificate["hinf_bound_relative"]
    assert np.linalg.eigvals(file["A"][:]).real.max() < 0


def test_treatment(hdf5, read_json):
    file, metrics = hdf5("control/paper/trajectory.h5"), read_json("control/paper/metrics.json")
    assert set(metrics) >= METRICS
    assert metrics["status"] in ("complete", "timeout", "unreachable", "aborted")
    t, power = file["t"][:], file["power"][:]
    assert power.shape == (len(t), metrics["n_foci"])
    for name in ("constraint_temperature", "estimated_constraint_temperature"):
        assert file[name].shape == (len(t), metrics["n_constraints"])
    assert file["target_temperature"].shape == file["target_dose"].shape
    assert file["measured_temperature"].shape == (len(t), len(file["measured_position"]))
    assert power.sum(axis=1).max() <= 22 * (1 + 1e-9) and power[-1].sum() == 0
    step = np.diff(t, append=t[-1])
    assert metrics["energy_j"] == pytest.approx((power.sum(axis=1) * step).sum())
    peak = file["constraint_temperature"][:].max()
    assert metrics["max_constraint_temperature_c"] == pytest.approx(peak, abs=1e-3)
    assert metrics["max_overshoot_k"] == pytest.approx(max(peak - 43, 0), abs=1e-3)
    assert (np.diff(file["target_dose"][:], axis=0) >= 0).all()
    # The estimate follows the plant, which it does not see, far better than the noise of 0.5 K.
    error = file["estimated_constraint_temperature"][:] - file["constraint_temperature"][:]
    assert np.sqrt((error ** 2).mean()) < 0.2


@pytest.mark.parametrize("name, controller", [("treatment", "mintime"), ("paper", "paper")])
def test_mesh_over_time_opens_in_vtk(coarse_run, hdf5, read_json, name, controller):
    trajectory = hdf5(f"control/{controller}/trajectory.h5")
    reader = vtk.vtkHDFReader()
    reader.SetFileName(str(coarse_run / "export" / f"{name}.vtkhdf"))
    reader.UpdateInformation()
    times = reader.GetOutputInformation(0).Get(vtk.vtkStreamingDemandDrivenPipeline.TIME_STEPS())
    np.testing.assert_array_equal(times, trajectory["snapshot_t"][:])
    positions = pyvista.PolyData(trajectory["outputs/position"][:])
    kind = trajectory["outputs/kind"].asstr()[:]
    for step in (0, len(times) // 2, len(times) - 1):
        reader.UpdateTimeStep(times[step])
        grid = pyvista.wrap(reader.GetOutput())
        assert grid.n_cells == read_json("mesh/plant.json")["n_cells"]
        assert set(grid.celltypes) == {pyvista.CellType.QUADRATIC_TETRA}
        probe = positions.sample(grid, tolerance=1e-9)  # no neighbour of the cell it is in
        inside = probe["vtkValidPointMask"].astype(bool)
        assert inside.mean() > 0.95  # a few stand outside of the mesh's smoothed surface
        sample = np.searchsorted(trajectory["t"][:], times[step])
        for group in ("constraint", "target"):
            chosen = inside & (kind == group)
            expected = trajectory[f"{group}_temperature"][sample]
            np.testing.assert_allclose(probe["temperature"][chosen],
                                       expected[inside[kind == group]], atol=2e-3)
    assert grid["temperature"].max() > 38 and np.isfinite(grid["temperature"]).all()
    labels = {region["label"] for region in read_json("anatomy/regions.json")["regions"].values()}
    assert set(np.unique(grid.cell_data["region"])) <= labels
    lesion = grid.threshold(240, scalars="dose")
    assert lesion.n_cells > 0


def test_exports_and_report(coarse_run):
    labels = nib.load(coarse_run / "anatomy" / "labels.nii.gz")
    for name in ("dose", "peak_temperature"):
        image = nib.load(coarse_run / "export" / f"paper_{name}.nii.gz")
        assert image.shape == labels.shape
        np.testing.assert_allclose(image.affine, labels.affine)
    segments = sitk.ReadImage(str(coarse_run / "export" / "paper.seg.nrrd"))
    assert segments.GetSize() == labels.shape
    page = (coarse_run / "report" / "index.html").read_text()
    assert page.count("data:image/png;base64") >= 7
