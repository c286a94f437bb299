"""Label maps that defeat meshers, drawn and random: always a valid mesh or a clear word."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torture import torture_maps

from hifuflow.errors import InputError
from hifuflow.meshes import search
from hifuflow.meshes.build import mesh_anatomy
from hifuflow.meshes.settings import MeshSettings
from hifuflow.records.anatomy import Anatomy
from hifuflow.settings import Written

MAPS = torture_maps()
CELLS = 2500
ROUTES = {"at the skin": "voxels", "six touching": "voxels", "in bone": "voxels"}


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch):
    monkeypatch.setattr(search, "run_isolated", lambda fill, *arguments, cpu_seconds:
                        fill(*arguments))


def mesh(anatomy, organs, cells, path):
    wanted = MeshSettings(cells, tuple(organs), Written("p.yaml", "mesh.control",
                                                        {"cells": cells}))
    return mesh_anatomy(anatomy, None, wanted, path)


@pytest.mark.parametrize("name", MAPS)
def test_torture_maps_are_meshed_within_the_goals(name, tmp_path):
    anatomy, organs = MAPS[name]
    record = mesh(anatomy, organs, CELLS, tmp_path / "m.msh")
    assert record["n_cells"] == pytest.approx(CELLS, rel=0.1)
    assert record["min_dihedral_deg"] >= 8 and record["min_quality"] > 0.05
    assert record["dihedral_p01_deg"] >= 12
    assert abs(record["surfaces"]["target"]["volume_error"]) < 0.05
    assert abs(record["surfaces"]["body"]["volume_error"]) < 0.03
    assert set(record["surfaces"]) == {"body", "target", *organs}
    if name in ROUTES:
        assert record["method"]["route"] == ROUTES[name]
        assert "touch" in record["method"]["fallback_reason"]
    dropped = {entry["compartment"] for entry in record["islands"]}
    assert dropped == ({"target"} if name == "islands" else set())
    check_nothing_is_lost(record, anatomy)


def check_nothing_is_lost(record, anatomy):
    """Every region has cells of its own or is named where it was lumped."""
    lumped = [name for entry in record["regions"].values() for name in entry["lumped"]]
    for name, entry in record["regions"].items():
        assert (entry["volume_m3"] > 0) != (name in lumped)
    assert set(record["regions"]) == set(anatomy.regions)


@settings(max_examples=3, deadline=None, derandomize=True,
          suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_random_maps_give_a_mesh_or_a_clear_word(data, tmp_path):
    seed, n = data.draw(st.integers(0, 10**6)), data.draw(st.integers(2, 4))
    grain, size = data.draw(st.sampled_from([1, 2, 4])), data.draw(st.integers(6, 12))
    coarse = np.random.default_rng(seed).integers(0, n + 1, (size // grain + 1,) * 3)
    labels = np.kron(coarse, np.ones((grain,) * 3, int))[:size, :size, :size].astype(np.int16)
    names = {f"region{k}": k for k in range(1, n + 1) if (labels == k).any()}
    regions = {name: {"label": k, "tissue": "fat", "volume_m3": float((labels == k).sum() * 8e-9)}
               for name, k in names.items()}
    target = data.draw(st.sampled_from(sorted(names)))
    organs = [name for name in names if data.draw(st.booleans())]
    anatomy = Anatomy(labels, np.diag([2e-3, 2e-3, 2e-3, 1]), regions, [target],
                      (labels == 0) & (np.indices(labels.shape)[2] < size // 2),
                      np.array([0, 0, 1.0]), "")
    try:
        record = mesh(anatomy, organs, CELLS, tmp_path / "m.msh")
    except InputError as error:
        assert "target" in str(error) or "cells" in str(error)
        return
    assert record["min_dihedral_deg"] > 3
    assert record["n_cells"] == pytest.approx(CELLS, rel=0.1)
    check_nothing_is_lost(record, anatomy)
