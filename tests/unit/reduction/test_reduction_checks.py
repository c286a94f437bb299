"""Every refusal of the reduction, with its numbers, and at which size each begins."""

from dataclasses import replace

import numpy as np
import psutil
import pytest
import scipy.sparse as sp
from heated_cube import heated_cube
from scipy.sparse.linalg import splu
from test_reduction_reduce import settings

from hifuflow.errors import InputError
from hifuflow.job import log
from hifuflow.reduction.checks import asymmetry, check_memory, factor_bytes, free_memory
from hifuflow.reduction.reduce import reduce_model
from hifuflow.reduction.shifts import REPEATS


def refused(model, message, order=20, solver="auto"):
    """Reduce the model; it must be refused with this message."""
    with pytest.raises(InputError, match=message):
        reduce_model(model, replace(settings(order), solver=solver), threads=1)


@pytest.mark.parametrize("order", [0, -3, 2.0, True, False, None, "all", "20", np.float64(20)])
def test_what_is_no_number_of_states(cube, order):
    refused(cube, r"^patient\.yaml: reduction\.order.*: not a number of states "
            r"\(allowed: auto or a whole number of at least 1\)", order=order)


@pytest.mark.parametrize("order", [1, np.int64(3)])
def test_numbers_of_states(cube, order):
    assert reduce_model(cube, settings(order), threads=1)[0].order == order


def test_more_states_than_unknowns(cube):
    refused(cube, r"reduction\.order = 344: more states than the full model has "
            r"\(allowed: auto or at most 343\)", order=344)
    refused(cube, r"reduction\.order = 343: the inputs reach only", order=343)


@pytest.mark.parametrize(("name", "allowed"), [
    ("E", (343, 343)), ("K", (343, 343)), ("B", (343, 5)), ("C", (32, 343)),
    ("C_mean", (32, 343))])
def test_shapes(cube, name, allowed):
    matrix = getattr(cube, name)
    setattr(cube, name, matrix[:-1] if name != "E" else sp.csr_array(matrix[:, :-1]))
    rows, columns = allowed
    refused(cube, rf"^{name} = .*has the wrong shape.*allowed: \(?{rows}\D+{columns}\)")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["E", "K", "B", "C", "C_mean"])
def test_values_that_are_not_finite_are_counted(cube, name, bad):
    matrix = getattr(cube, name).copy()
    values = matrix.data if sp.issparse(matrix) else matrix.ravel()
    values[[1, 4]] = bad
    setattr(cube, name, matrix)
    refused(cube, rf"^{name}: 2 of {values.size} values are not finite")


@pytest.mark.parametrize("name", ["E", "K", "B", "C", "C_mean"])
def test_zero(cube, name):
    setattr(cube, name, 0 * getattr(cube, name))
    refused(cube, rf"^{name}: is zero: there is nothing to reduce")


def test_zeros_beside_other_values_are_fine(cube):
    cube.B[:, 0] = 0
    reduce_model(cube, settings(20), threads=1)


@pytest.mark.parametrize("name", ["E", "K"])
@pytest.mark.parametrize("skew", [1.0, 1e-8])
def test_matrices_that_are_not_symmetric(cube, name, skew):
    matrix = getattr(cube, name)
    entry = np.unravel_index(abs(matrix - sp.diags_array(matrix.diagonal())).argmax(), matrix.shape)
    matrix[entry] *= 1 + skew
    refused(cube, rf"^{name}: is not symmetric")


def test_asymmetry_has_no_unit():
    """Of two entries that differ by a half."""
    matrix = sp.csr_array(np.array([[1.0, 2.0], [1.0, 1.0]]))
    assert asymmetry(matrix) == asymmetry(1e-9 * matrix) == asymmetry(matrix.T) == 0.5
    assert asymmetry(sp.csr_array(np.array([[1.0, 2.0], [2.0, 1.0]]))) == 0


@pytest.mark.parametrize("value", [0.0, -1.0])
def test_capacity_that_no_definite_matrix_has(cube, value):
    cube.E[7, 7] = value
    refused(cube, r"^E: 1 of 343 diagonal entries are not positive "
            r"\(allowed: a positive definite matrix\)")


def test_inputs_that_add_nothing_are_told(cube, caplog):
    with caplog.at_level("INFO", logger=log.name):
        reduce_model(cube, settings(20), threads=1)
        assert "B has rank" not in caplog.text
        cube.B[:, 1], cube.B[:, 2] = 2 * cube.B[:, 0], 0
        reduce_model(cube, settings(20), threads=1)
    assert "B has rank 3: 2 of the 5 inputs add nothing" in caplog.text


def bytes_needed(columns, n=343):
    """A basis of so many states with a third of its size to work in, and the factor."""
    return 8 * n * columns * 1.3 + 8 * 14 * n ** (4 / 3)


class PassedError(Exception):
    """The checks are passed; nothing more is of interest."""


@pytest.fixture
def free(monkeypatch):
    """`free(bytes)`: that the machine has so much memory, and that nothing follows the checks."""
    def passed(*_):
        raise PassedError

    def set_free(size):
        monkeypatch.setattr("hifuflow.reduction.checks.free_memory", lambda: size)
        monkeypatch.setattr("hifuflow.reduction.reduce.shifted_solver", passed)
    return set_free


@pytest.mark.parametrize(("order", "columns"), [
    ("auto", 42 * 5), (20, 20 + (8 + REPEATS) * 5), (200, 42 * 5)])
def test_memory_is_refused_just_below_what_is_needed(cube, order, columns, free):
    free(0.999 * bytes_needed(columns))
    refused(cube, rf"^patient\.yaml: reduction\.order = .*needs about 0\.0 GB for a basis "
            rf"of {columns} states of 343 unknowns and the factor; 0\.0 GB are free "
            r"\(allowed: a smaller order, solver: iterative, or a coarser mesh\)", order=order)
    free(1.001 * bytes_needed(columns))
    with pytest.raises(PassedError):
        reduce_model(cube, settings(order), threads=1)


def test_gigabytes_are_told(cube, free):
    free(0.5e9)
    cube.B = np.lib.stride_tricks.as_strided(cube.B, (400_000, 5), (0, 8))
    with pytest.raises(InputError, match=r"needs about 3\.6 GB for .* 0\.5 GB are free"):
        check_memory(cube, settings(20))


def test_no_basis_is_wider_than_the_model_is_large(free):
    free(1.0)
    refused(heated_cube(cells=2), "for a basis of 27 states of 27 unknowns", order="auto")


def test_iterative_solves_need_no_factor(cube, free):
    free(bytes_needed(20 + (8 + REPEATS) * 5) - 8 * 14 * 343 ** (4 / 3) + 1)
    refused(cube, "needs about", solver="direct")
    with pytest.raises(PassedError):
        reduce_model(cube, replace(settings(20), solver="iterative"), threads=1)


def test_factors_have_the_size_that_is_estimated():
    """Within a factor of three, of a model that is small for the law; splu orders less well."""
    model = heated_cube(cells=7)
    entries = splu(model.K.tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0,
                   options={"SymmetricMode": True}).L.nnz
    assert 1 / 3 < factor_bytes(model.E.shape[0]) / (8 * entries) < 3


def test_free_memory_is_that_of_the_system():
    assert free_memory() == pytest.approx(psutil.virtual_memory().available, rel=0.3)


def test_memory_that_no_system_tells_is_no_limit(monkeypatch):
    monkeypatch.setattr("pathlib.Path.read_text", lambda self: "MemTotal: 1 kB\n")
    assert free_memory() == np.inf
