"""The stage's entry point: certificate against the full model, and every refusal."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import scipy.linalg as la
import scipy.sparse as sp

from hifuflow.errors import InputError, NumericalError
from hifuflow.records.reduced_model import ReducedModel
from hifuflow.reduction.reduce import FREQUENCIES, reduce_model
from hifuflow.reduction.settings import ReductionSettings


def settings(order="auto", tolerance=None):
    return replace(ReductionSettings.of_file("patient.yaml", order, tolerance), max_power=22)


@pytest.mark.parametrize("order", ["auto", 30])
def test_certificate_holds_against_dense_transfer_functions(cube, order, tmp_path):
    reduced, certificate = reduce_model(cube, settings(order), threads=1)
    json.dumps(certificate, allow_nan=False)
    assert reduced.order == certificate["order"] == (certificate["minimal_order"]
                                                     if order == "auto" else order)
    assert certificate["full_order"] == 343
    assert certificate["stable"] and np.linalg.eigvals(reduced.A).real.max() < 0
    assert reduced.hsv.shape == reduced.error_bound.shape
    errors, gains = [], []
    for frequency in np.append(0.0, np.geomspace(1e-3, 1, 8)):
        full = cube.C @ np.linalg.solve(cube.K.toarray() + 1j * frequency * cube.E.toarray(),
                                        cube.B)
        small = reduced.C @ np.linalg.solve(
            1j * frequency * np.eye(reduced.order) - reduced.A, reduced.B)
        errors.append(np.linalg.norm(full - small, 2))
        gains.append(np.linalg.norm(full, 2))
    rounding = 1e-11 * max(gains)
    bound = reduced.error_bound[reduced.order - 1]
    assert max(errors) <= bound + rounding
    assert np.isclose(certificate["hinf_norm_k_w"], max(gains), rtol=1e-6)
    assert certificate["n_frequencies"] == FREQUENCIES
    assert certificate["truncation_bound_relative"] <= certificate["hinf_bound_relative"]
    assert certificate["hinf_bound_relative"] >= certificate["hinf_error_relative"]
    worst = certificate["max_output_error_k"]
    assert set(worst) == {"constraint", "target"}
    # 22 W into one focus at a time: no output can be off by more than the peak gain error allows.
    assert max(worst.values()) < (1e-6 if order == "auto" else 0.1)
    reduced.save(tmp_path / "rom.h5", "cube", "0" * 64)
    assert ReducedModel.load(tmp_path / "rom.h5").order == reduced.order


def test_means_over_voxels_are_reduced_like_the_outputs(cube):
    plain, _ = reduce_model(cube, settings(30), threads=1)
    np.testing.assert_allclose(plain.C_mean, plain.C, atol=1e-12 * np.abs(plain.C).max())
    cube.C_mean = sp.csr_array(0.5 * cube.C + 0.5 * cube.C[::-1])
    reduced, _ = reduce_model(cube, settings(30), threads=1)
    np.testing.assert_array_equal(reduced.C, plain.C)
    np.testing.assert_allclose(reduced.C_mean, 0.5 * plain.C + 0.5 * plain.C[::-1],
                               atol=1e-12 * np.abs(plain.C).max())


def test_repeated_runs_agree(cube):
    first, _ = reduce_model(cube, settings(20), threads=1)
    second, _ = reduce_model(cube, settings(20), threads=1)
    np.testing.assert_allclose(first.hsv[:20], second.hsv[:20], rtol=1e-10)
    static = [m.C @ np.linalg.solve(m.A, m.B) for m in (first, second)]
    np.testing.assert_allclose(*static, rtol=1e-10, atol=1e-10 * np.abs(static[0]).max())


def test_dependent_inputs_are_fine(cube):
    cube.B[:, 1] = 2 * cube.B[:, 0]
    cube.B[:, 2] = 0
    _, certificate = reduce_model(cube, settings(20), threads=1)
    assert certificate["stable"] and certificate["hinf_error_relative"] < 1e-3


def test_stored_hankel_values_are_those_of_the_stored_matrices(cube):
    reduced, _ = reduce_model(cube, settings(), threads=1)
    reach = la.solve_continuous_lyapunov(reduced.A, -reduced.B @ reduced.B.T)
    see = la.solve_continuous_lyapunov(reduced.A.T, -reduced.C.T @ reduced.C)
    found = np.sqrt(np.sort(la.eigvals(reach @ see).real)[:-21:-1])
    np.testing.assert_allclose(found[:20], reduced.hsv[:20], rtol=1e-5, atol=1e-9 * found[0])


def test_tolerance_in_kelvin_gives_the_fewest_states_that_keep_it(cube):
    reduced, certificate = reduce_model(cube, settings(tolerance=0.01), threads=1)
    assert 0.001 < max(certificate["max_output_error_k"].values()) <= 0.01
    fewer, _ = reduce_model(cube, settings(tolerance=0.1), threads=1)
    assert 5 < fewer.order < reduced.order < certificate["minimal_order"]
    with pytest.raises(InputError, match=r"^patient\.yaml: reduction\.tolerance_k = 1e-18"):
        reduce_model(cube, settings(tolerance=1e-18), threads=1)


def test_weights_lower_the_largest_error_and_the_bound_still_holds(cube, monkeypatch):
    weighted = reduce_model(cube, settings(30), threads=1)
    monkeypatch.setattr("hifuflow.reduction.order.ROUNDS", 0)
    plain = reduce_model(cube, settings(30), threads=1)
    worst = [max(found["max_output_error_k"].values()) for _, found in (weighted, plain)]
    assert worst[0] < 0.8 * worst[1]
    assert weighted[1]["smallest_output_weight"] < 1 == plain[1]["smallest_output_weight"]
    for _, certificate in (weighted, plain):
        assert certificate["hinf_error_relative"] <= certificate["hinf_bound_relative"]


@pytest.mark.parametrize(("name", "message"), [
    ("E", "1 of .* not finite"), ("K", "1 of .* not finite"), ("C", "1 of .* not finite")])
def test_not_a_number_is_refused(cube, name, message):
    getattr(cube, name).data[3] = np.nan
    with pytest.raises(InputError, match=f"{name}: {message}"):
        reduce_model(cube, settings(), threads=1)


def test_bad_inputs_are_refused(cube):
    cube.B[5, 2] = np.inf
    with pytest.raises(InputError, match="B: 1 of 1715 values are not finite"):
        reduce_model(cube, settings(), threads=1)
    cube.B[:] = 0
    with pytest.raises(InputError, match="B: is zero"):
        reduce_model(cube, settings(), threads=1)
    cube.B = cube.B[:-1]
    with pytest.raises(InputError, match=r"B = .*wrong shape"):
        reduce_model(cube, settings(), threads=1)


@pytest.mark.parametrize("name", ["E", "K"])
def test_unsymmetric_matrices_are_refused(cube, name):
    matrix = getattr(cube, name).tolil()
    matrix[0, 1] += 0.1 * abs(getattr(cube, name)).max()
    setattr(cube, name, sp.csr_array(matrix))
    with pytest.raises(InputError, match=f"{name}: is not symmetric"):
        reduce_model(cube, settings(), threads=1)


def test_unstable_and_singular_pencils_are_refused(cube):
    stiffness = cube.K
    cube.K = sp.csr_array(stiffness - 0.1 * cube.E)
    with pytest.raises(NumericalError, match=r"K .* not positive definite"):
        reduce_model(cube, settings(), threads=1)
    cube.K = stiffness
    cube.E = sp.csr_array(cube.E - 0.9 * sp.diags_array(cube.E.diagonal()))
    with pytest.raises(NumericalError, match=r"E is not positive definite"):
        reduce_model(cube, settings(), threads=1)
    cube.E = sp.csr_array(cube.E - 2 * sp.diags_array(cube.E.diagonal()))
    with pytest.raises(InputError, match="343 of 343 diagonal entries"):
        reduce_model(cube, settings(), threads=1)


@pytest.mark.parametrize("order", [0, -1, 1.5, "many", 344])
def test_orders_out_of_range_are_refused(cube, order):
    with pytest.raises(InputError, match=r"^patient\.yaml: reduction\.order = .* \(allowed: auto"):
        reduce_model(cube, settings(order), threads=1)


def test_order_above_the_reachable_one_names_what_is_available(cube):
    with pytest.raises(InputError, match=r"^patient\.yaml: reduction\.order = 340: .* "
                       r"only \d+ states \(allowed: auto or 1 to \d+\)"):
        reduce_model(cube, settings(340), threads=1)


def test_import_stays_light():
    code = ("import hifuflow.reduction.reduce, sys; "
            "print([m for m in ('mpi4py', 'dolfinx', 'petsc4py', 'gmsh') if m in sys.modules])")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_balanced_truncation_beats_modal_truncation_at_equal_order(cube):
    _, certificate = reduce_model(cube, settings(40), threads=1)
    found = certificate["error_against_order"]
    assert found["order"][-1] == 40
    balanced, modal, reachable = (np.array(found[f"{name}_k"])
                                  for name in ("balanced", "modal", "reachable_space"))
    assert (balanced < modal).all() and (reachable < modal).all()
    assert balanced[-1] < 0.01 * balanced[0]


def test_too_little_memory_is_refused_with_the_numbers(cube, monkeypatch):
    monkeypatch.setattr("hifuflow.reduction.checks.free_memory", lambda: 1e5)
    with pytest.raises(InputError, match=r"needs about .* GB for a basis of \d+ states of 343"):
        reduce_model(cube, settings(20), threads=1)
