"""Cells follow organs as thin as they can hold; those that they cannot hold are averaged."""

import numpy as np
import pytest

from hifuflow.meshes import search
from hifuflow.meshes.build import check_cells, mesh_anatomy
from hifuflow.meshes.organs import Thickness
from hifuflow.meshes.settings import MeshSettings
from hifuflow.records.anatomy import Anatomy
from hifuflow.settings import Written

ORGANS = ["slab", "rod"]


@pytest.fixture(scope="module")
def anatomy():
    """Target ball of 12 mm, a slab 12 mm thick and a rod 8 mm thick in a ball of 100 mm."""
    x, y, z = np.indices((54, 54, 54)) * 2.0 - 53
    labels = (x**2 + y**2 + z**2 <= 50**2).astype(np.int16)
    labels[x**2 + y**2 + z**2 <= 12**2] = 2
    labels[(np.abs(z - 24) < 6) & (np.hypot(x, y) < 26)] = 3
    labels[(np.abs(x + 30) < 4) & (np.abs(z + 10) < 4) & (np.abs(y) < 25)] = 4
    volume = np.bincount(labels.ravel()) * 8e-9
    names = ["fat", "tumour", *ORGANS]
    regions = {name: {"label": k, "tissue": "fat", "volume_m3": volume[k]}
               for k, name in enumerate(names, 1)}
    affine = np.diag([2e-3, 2e-3, 2e-3, 1.0])
    return Anatomy(labels, affine, regions, ["tumour"], labels == 0, np.array([0, 0, 1.0]), "")


def wanted(cells):
    return MeshSettings(cells, tuple(ORGANS), Written("p.yaml", "mesh.plant", {"cells": cells}))


def test_organs_keep_their_volume(anatomy, tmp_path, monkeypatch):
    monkeypatch.setattr(search, "run_isolated", lambda fill, *arguments, cpu_seconds:
                        fill(*arguments))
    record = mesh_anatomy(anatomy, None, wanted(6000), tmp_path / "m.msh")
    assert record["averaged"] == [] and record["n_cells"] == pytest.approx(6000, rel=0.1)
    for organ in ORGANS:
        assert abs(record["surfaces"][organ]["volume_error"]) < 0.05


def test_sizes_follow_the_thickness(anatomy):
    _, sizes, _ = check_cells(anatomy, None, wanted(6000))
    size = sizes.size(6000)
    assert sizes.cells(size) == pytest.approx(6000, rel=0.01)
    h = sizes(size)

    def at(*position):
        index = np.rint((np.array(position) * 1e-3 + 0.053 - sizes.origin) / sizes.step)
        return h[tuple(index.astype(int))]

    assert at(0, 0, 0) == pytest.approx(size) == h.min()
    assert 0.003 < at(-30, 0, -10) < 0.005 < at(0, 15, 24) < 0.008  # rod, slab
    assert at(30, 0, -10) > 2 * at(-30, 0, -10)  # nothing to follow there


def test_thin_organs_are_given_up_when_cells_are_few(anatomy, caplog):
    compartments, _, averaged = check_cells(anatomy, None, wanted(2500))
    assert [entry["region"] for entry in averaged] == ["rod"]
    assert compartments.names == ["outside", "rest", "target", "slab"]
    assert len(compartments.volumes) == 3 and compartments.index.max() == 3
    assert compartments.volumes[2] == pytest.approx(anatomy.regions["slab"]["volume_m3"])
    entry = averaged[0]
    assert entry["too_thin"] > 0.25 and entry["cells_needed"] > 2500
    assert "region rod gets no surface" in caplog.text
    compartments, _, averaged = check_cells(anatomy, None, wanted(entry["cells_needed"] + 100))
    assert averaged == [] and compartments.names[-1] == "rod"


def test_thickness_of_a_slab_with_a_fin():
    mask = np.zeros((40, 40, 30), bool)
    mask[5:35, 5:35, 5:15] = True  # 10 mm thick, half of it is 5
    mask[5:35, 20:22, 15:25] = True  # 2 mm
    organ = Thickness(mask, [1e-3] * 3, 0.02)
    fin = 30 * 2 * 10 / mask.sum()
    assert organ.lost(0.003) == pytest.approx(fin, rel=0.25)
    assert organ.lost(0.0005) == 0 and organ.lost(0.008) == 1
    assert 0.004 < organ.finest() < 0.006
