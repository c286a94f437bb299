"""Models of every kind that others have: right values from closed forms, or the right error.

The published example of SLICOT's AB09AD keeps its Hankel values and its transfer function however
its states, equations, inputs and outputs are scaled.
"""

import warnings

import numpy as np
import pytest
import scipy.linalg as la
import scipy.sparse as sp

from hifuflow.errors import InputError, NumericalError
from hifuflow.reduction import whole
from hifuflow.reduction.exchange import as_full_model
from hifuflow.reduction.external import reduce_by_kind

HANKEL = [2.5139, 2.0846, 1.9178, 0.7666, 0.5473, 0.0253, 0.0246]  # SLICOT's documentation


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def ab09ad():
    a = np.array([[-0.04165, 0, 4.92, -4.92, 0, 0, 0],
                  [-5.21, -12.5, 0, 0, 0, 0, 0],
                  [0, 3.33, -3.33, 0, 0, 0, 0],
                  [0.545, 0, 0, 0, -0.545, 0, 0],
                  [0, 0, 0, 4.92, -0.04165, 0, 4.92],
                  [0, 0, 0, 0, -5.21, -12.5, 0],
                  [0, 0, 0, 0, 0, 3.33, -3.33]])
    b, c = np.zeros((7, 2)), np.zeros((3, 7))
    b[1, 0] = b[5, 1] = 12.5
    c[0, 0] = c[1, 3] = c[2, 4] = 1
    return np.eye(7), a, b, c


def chain(n, *capacity):
    """A rod of n unit conductors between cold ends, with any heat capacities."""
    e = np.diag(capacity) if capacity else np.eye(n)
    a = np.diag(-2.0 * np.ones(n)) + np.diag(np.ones(n - 1), 1) + np.diag(np.ones(n - 1), -1)
    return e, a, np.eye(n)[:, :1].copy(), np.eye(n)[-1:].copy()


def random_stable(n, seed=0, m=2, p=2):
    random = np.random.default_rng(seed)
    a = random.standard_normal((n, n))
    a -= (la.eigvals(a).real.max() + 0.1) * np.eye(n)
    return np.eye(n), a, random.standard_normal((n, m)), random.standard_normal((p, n))


def grades(n, decades, seed=1):
    return 10.0 ** np.random.default_rng(seed).uniform(-decades, decades, n)


def reduced(e, a, b, c, order="auto", tolerance=None):
    model = as_full_model({"E": sp.csr_array(e), "A": sp.csr_array(a), "B": np.asarray(b, float),
                           "C": sp.csr_array(c)})
    return reduce_by_kind(model, order, tolerance, "model.mat", 1)


def exact(e, a, b, c, frequency):
    """C (iw E - A)^-1 B by Gaussian elimination in extended precision."""
    matrix = 1j * np.longdouble(frequency) * np.asarray(e, np.longdouble) - np.asarray(
        a, np.longdouble)
    work = np.hstack([matrix, np.asarray(b, np.clongdouble)])
    work /= np.abs(matrix).max(axis=1, keepdims=True)
    n = len(matrix)
    for j in range(n):
        pivot = j + int(np.abs(work[j:, j]).argmax())
        work[[j, pivot]] = work[[pivot, j]]
        work[j + 1:] -= np.outer(work[j + 1:, j] / work[j, j], work[j])
    states = work[:, n:]
    for j in reversed(range(n)):
        states[j] = (states[j] - work[j, j + 1:n] @ states[j + 1:]) / work[j, j]
    return (np.asarray(c, np.longdouble) @ states).astype(complex)


def error(model, rom, frequencies):
    """Largest error and gain over angular frequencies."""
    full = [exact(*model, w) for w in frequencies]
    small = [exact(np.eye(rom.order), rom.A, rom.B, rom.C, w) for w in frequencies]
    return (max(np.linalg.norm(f - s, 2) for f, s in zip(full, small, strict=True)),
            max(np.linalg.norm(f, 2) for f in full))


def static_gain(rom):
    return -rom.C @ np.linalg.solve(rom.A, rom.B)


def turned(n, seed=3):
    return la.qr(np.random.default_rng(seed).standard_normal((n, n)))[0]


def scaled(model, equations=1.0, states=1.0, inputs=1.0, outputs=1.0, seconds=1.0):
    """The same transfer function, but for the units of time, inputs and outputs."""
    e, a, b, c = model
    left, right = (part if np.ndim(part) == 2 else np.diag(part * np.ones(len(a)))
                   for part in (equations, states))
    return (seconds * left @ e @ right, left @ a @ right, left @ b * inputs,
            (np.ones(len(c)) * outputs)[:, None] * (c @ right))


@pytest.mark.parametrize("change", [
    {"states": grades(7, 8)}, {"equations": grades(7, 8)},
    {"equations": grades(7, 5), "states": grades(7, 5, 2)},
    {"equations": turned(7), "states": turned(7, 4)},
    {"equations": grades(7, 8)[:, None] * turned(7), "states": turned(7, 4) * grades(7, 8, 2)},
    {"seconds": 1e9}, {"seconds": 1e-12}, {"inputs": 1e30}, {"outputs": 1e-30},
], ids=lambda change: "-".join(change))
def test_published_hankel_values_in_any_scaling(change):
    model = scaled(ab09ad(), **change)
    rom, record = reduced(*model)
    unit = change.get("inputs", 1.0) * change.get("outputs", 1.0)
    np.testing.assert_allclose(rom.hsv / unit, HANKEL, atol=5e-5)
    off, gain = error(model, rom, np.array([0.0, 0.5, 3.0, 30.0]) / change.get("seconds", 1.0))
    assert off <= record["hinf_bound_relative"] * record["hinf_norm"]
    assert record["hinf_bound_relative"] < 1e-9 and gain <= record["hinf_norm"] * 1.5


def test_one_direction_is_not_taken_for_both_beside_a_large_entry():
    """Coolant that goes round, 1e15 times slower than another state."""
    a = np.diag([-2.0, -2.0, -2.0, -1e15])
    a[0, 1], a[1, 2], a[2, 0] = 1, 2, 1
    rom, _ = reduced(np.eye(4), a, np.eye(4)[:, :1], np.eye(4)[2:3])
    np.testing.assert_allclose(static_gain(rom), [[1 / 3]], rtol=1e-12)
    np.testing.assert_allclose(rom.hsv[:3], [0.18613, 0.02181, 0.00236], atol=5e-6)


def test_symmetry_is_judged_entry_by_entry():
    from hifuflow.reduction.checks import asymmetry

    matrix = np.diag([1e12, 1.0, 1.0, 1.0])
    matrix[1, 2] = 1e-3
    assert asymmetry(sp.csr_array(matrix)) == pytest.approx(0.01)  # of a tenth of its diagonal
    matrix[2, 1] = 1e-3 * (1 + 1e-9)
    assert asymmetry(sp.csr_array(matrix)) == pytest.approx(1e-11, rel=1e-3)
    matrix[1, 2] = matrix[2, 1] = 0.5
    assert asymmetry(sp.csr_array(matrix)) == 0
    matrix[0, 1] = 1.0  # small against 1e12, and all there is
    assert asymmetry(sp.csr_array(matrix)) == pytest.approx(1 / 1e5)
    matrix[0, 0] = matrix[1, 1] = 0.0
    assert asymmetry(sp.csr_array(matrix)) == 1


@pytest.mark.parametrize("decades", [6, 10])
def test_stiff_rod_has_the_static_gain_of_its_conductors(decades):
    """Heat capacities from 1e-10 to 1e10: the temperature at rest does not depend on them."""
    n = 12
    model = chain(n, *grades(n, decades))
    rom, record = reduced(*model)
    np.testing.assert_allclose(static_gain(rom), [[1 / (n + 1)]], rtol=1e-8)
    assert record["stable"] and record["slowest_rate_per_s"] > 0


def test_stiff_rod_whose_conduction_goes_one_way():
    n = 10
    e, a, b, c = chain(n, *grades(n, 10))
    rom, record = reduced(e, np.tril(a), b, c)
    np.testing.assert_allclose(static_gain(rom), [[0.5**n]], rtol=1e-6)
    assert record["hinf_error_relative"] <= record["hinf_bound_relative"] < 1e-5


def test_stiff_rod_with_flow():
    """Conduction 1 one way and 2 the other: 2^(n-1) / (2^(n+1) - 1) at rest."""
    n = 10
    e, a, b, c = chain(n, *grades(n, 8))
    a = a + np.diag(np.ones(n - 1), -1) - np.eye(n)
    rom, record = reduced(e, a, b, c)
    np.testing.assert_allclose(static_gain(rom), [[2.0**(n - 1) / (2.0**(n + 1) - 1)]], rtol=1e-6)
    assert record["hinf_error_relative"] <= record["hinf_bound_relative"] < 1e-5


def test_stiff_stiffness_beside_a_full_capacity():
    """E full and K = D S D, D over 20 decades: the gain c0 S^-1 b0 at rest does not depend on D."""
    n, d = 8, grades(8, 5)
    stiff = np.eye(n) + 0.5 * np.ones((n, n))
    capacity = 3 * np.eye(n) + np.ones((n, n))
    rom, record = reduced(capacity, -d[:, None] * stiff * d, d[:, None] * np.eye(n)[:, :1],
                          np.eye(n)[1:2] * d)
    np.testing.assert_allclose(static_gain(rom), [[-0.5 / (1 + 0.5 * n)]], rtol=1e-6)
    assert record["hinf_error_relative"] <= record["hinf_bound_relative"] < 1e-5


def test_rates_over_24_decades():
    rates = 10.0 ** np.arange(-12, 13)
    rom, record = reduced(np.eye(25), -np.diag(rates), np.ones((25, 1)), np.ones((1, 25)))
    np.testing.assert_allclose(static_gain(rom), [[(1 / rates).sum()]], rtol=1e-12)
    assert record["stable"] and la.eigvals(rom.A).real.max() < 0


@pytest.mark.parametrize("weak", [1e-8, 1e-14])
def test_states_that_are_hardly_coupled(weak):
    """A chain of rates 1, 2, 3, 4, whose gain is the product of its couplings over its rates."""
    a = np.diag([-1.0, -2.0, -3.0, -4.0]) + weak * np.diag(np.ones(3), -1)
    try:
        rom, record = reduced(np.eye(4), a, np.eye(4)[:, :1], np.eye(4)[3:])
    except NumericalError as error:  # a gain of 4e-44: refused, never a wrong number
        assert weak < 1e-10 and "rounding" in str(error)
        return
    np.testing.assert_allclose(static_gain(rom), [[weak**3 / 24]], rtol=1e-9)
    assert record["hinf_bound_relative"] < 1e-9


def test_defective_matrix():
    """1 / (s + 1)^6: one eigenvalue, one eigenvector."""
    a = -np.eye(6) + np.diag(np.ones(5), -1)
    model = np.eye(6), a, np.eye(6)[:, :1], np.eye(6)[5:]
    rom, record = reduced(*model)
    np.testing.assert_allclose(static_gain(rom), [[1.0]], rtol=1e-12)
    off, _ = error(model, rom, [0.0, 0.3, 1.0, 4.0])
    assert off <= record["hinf_bound_relative"] < 1e-12


def test_what_is_not_reached_or_not_seen_is_left_out():
    """Two copies of AB09AD in one model: one not heated, one not seen."""
    _, a, b, c = ab09ad()
    mix = turned(21)
    blocks = la.block_diag(a, a - np.eye(7), a - 2 * np.eye(7))
    rom, record = reduced(mix @ mix.T, mix @ blocks @ mix.T,
                          mix @ np.vstack([b, 0 * b, b]), np.hstack([c, c, 0 * c]) @ mix.T)
    np.testing.assert_allclose(rom.hsv[:7], HANKEL, atol=5e-5)
    assert rom.hsv[7] < 1e-12 and record["order"] >= 7


def test_zero_and_doubled_inputs_and_outputs():
    e, a, b, c = ab09ad()
    plain, _ = reduced(e, a, b, c)
    rom, _ = reduced(e, a, np.column_stack([b, np.zeros(7), b]), np.vstack([c, c]))
    np.testing.assert_allclose(rom.hsv, 2 * plain.hsv, rtol=1e-9)
    np.testing.assert_array_equal(rom.B[:, 2], 0)
    np.testing.assert_allclose(static_gain(rom)[:3, :2], static_gain(plain), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(static_gain(rom)[3:, 3:], static_gain(plain), rtol=1e-9, atol=1e-12)


def test_one_state():
    rom, record = reduced([[1.0]], [[-2.0]], [[1.0]], [[3.0]])
    assert rom.hsv == pytest.approx([0.75]) and static_gain(rom) == pytest.approx(1.5)
    assert record["order"] == record["minimal_order"] == 1


def test_no_path_is_seen_before_anything_long(monkeypatch):
    def never(*_):
        raise AssertionError("balanced")

    for name in ("external.reduce_model", "whole.balanced_truncation"):
        monkeypatch.setattr(f"hifuflow.reduction.{name}", never)
    for n in (20, 700):  # as a whole, and as the workflow does
        half = chain(n // 2)[1]
        both = la.block_diag(half, half)
        for a in (both, both + np.diag(0.1 * (np.arange(n - 1) < 5), 1)):
            with pytest.raises(InputError, match="no input reaches an output"):
                reduced(np.eye(n), a, np.eye(n)[:, :1], np.eye(n)[-1:])


TWINS = np.diag([-1.0, -1.0, -2.0])


@pytest.mark.parametrize(("a", "b", "c"), [
    (np.diag([-1.0, -2.0]), [[1.0], [0.0]], [[0.0, 1.0]]),
    (np.array([[-1.0, 1.0], [0.0, -2.0]]), [[1.0], [0.0]], [[0.0, 1.0]]),
    (TWINS, [[1.0], [1.0], [0.0]], [[1.0, -1.0, 1.0]]),
    (turned(3) @ TWINS @ turned(3).T, turned(3) @ [[1.0], [1.0], [0.0]],
     np.array([[1.0, -1.0, 1.0]]) @ turned(3).T),
], ids=["separate", "upstream", "cancels", "cancels-turned"])
def test_no_input_reaches_an_output(a, b, c):
    with pytest.raises((InputError, NumericalError),
                       match=r"no input reaches an output|cannot be told from rounding"):
        reduced(np.eye(len(a)), a, b, c)


RING = la.circulant([-2.0, 1.0, 0.0, 0.0, 1.0])
SPRING = np.array([[0.0, 1.0], [-4.0, 0.0]])


@pytest.mark.parametrize("a", [
    RING, 1e-9 * RING, SPRING, la.block_diag(SPRING, -1e9), np.diag([-1.0, 0.0]),
    np.array([[0.0, 1.0], [0.0, -1.0]]), np.array([[-1.0, 2.0], [3.0, -1.0]]),
    turned(4) @ np.diag([-1.0, -2.0, -3.0, 1e-17]) @ turned(4).T,
    np.diag([-1e9, -1.0, 1e-9]),
], ids=["closed-ring", "slow-ring", "no-damping", "no-damping-beside-fast", "integrator",
        "integrator-in-line", "unstable", "zero-by-rounding", "slowly-growing"])
def test_poles_that_do_not_decay_are_refused(a):
    with pytest.raises(NumericalError, match="not stable"):
        reduced(np.eye(len(a)), a, np.ones((len(a), 1)), np.ones((1, len(a))))


@pytest.mark.parametrize(("a", "reason"), [
    (np.diag([-1.0, -2.0, -3.0]), "algebraic"),
    (np.array([[-1.0, 0, 0], [0, -2.0, 1.0], [0, 1.0, 0]]), "index of 2"),
    (np.diag([-1.0, -2.0, 0.0]), "no unique solution"),
])
def test_singular_capacity_is_refused_with_the_reason(a, reason):
    left, right = grades(3, 6)[:, None], grades(3, 6, 2)
    for turn in (np.eye(3), turned(3)):
        with pytest.raises(InputError, match=rf"E: is singular, of rank 2 of 3 .*{reason}"):
            reduced(left * (np.diag([1.0, 1.0, 0.0]) @ turn) * right, left * (a @ turn) * right,
                    np.ones((3, 1)), np.ones((1, 3)))


def test_symmetric_model_with_other_signs():
    """E and A both negative: x' = -x all the same."""
    e, a, b, c = chain(5)
    rom, _ = reduced(-e, -a, -b, c)
    np.testing.assert_allclose(static_gain(rom), [[1 / 6]], rtol=1e-12)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("order", ["auto", 6])
def test_bound_is_a_bound_where_rounding_is_all_there_is(seed, order):
    """Lightly damped oscillators, mixed up: rounding changes such a model by 1e-11 of its gain."""
    random = np.random.default_rng(seed)
    pairs = [np.array([[-d, w], [-w, -d]]) for d, w in zip(
        10.0 ** random.uniform(-5, -2, 15), random.uniform(0.5, 30, 15), strict=True)]
    mix = random.standard_normal((30, 30))
    model = (np.eye(30), mix @ la.block_diag(*pairs) @ la.inv(mix),
             random.standard_normal((30, 1)), random.standard_normal((1, 30)))
    rom, record = reduced(*model, order)
    own = np.abs(np.concatenate([la.eigvals(model[1]), la.eigvals(rom.A)]))
    off, gain = error(model, rom, np.unique(np.concatenate([[0], own, 1.0001 * own])))
    assert off <= record["hinf_bound_relative"] * record["hinf_norm"]
    assert off <= rom.error_bound[rom.order - 1]
    assert record["hinf_error_relative"] <= record["hinf_bound_relative"]
    if order == "auto":  # nothing is left out, and yet it is not exact
        assert 1e-14 < off / gain < 1e-7


def test_an_error_above_its_bound_is_an_error_of_the_run(monkeypatch):
    monkeypatch.setattr(whole, "truncation_bound", lambda hsv: 1e-3 * hsv)
    with pytest.raises(NumericalError, match=r"more than its bound of"):
        reduced(*random_stable(12), order=2)


def test_model_that_double_precision_does_not_hold_is_refused():
    """Poles 1e-14 apart from the imaginary axis, in coordinates of condition 1e8."""
    random = np.random.default_rng(5)
    mix = turned(8) * np.geomspace(1, 1e8, 8) @ turned(8, 6)
    pairs = [np.array([[-1e-9, w], [-w, -1e-9]]) for w in (1.0, 2.0, 3.0, 4.0)]
    a = mix @ la.block_diag(*pairs) @ la.inv(mix)
    with pytest.raises(NumericalError, match="rounding"):
        reduced(np.eye(8), a, random.standard_normal((8, 1)), random.standard_normal((1, 8)))


def test_orders_that_cannot_be_had():
    with pytest.raises(InputError, match=r"model\.mat: reduction\.order = 8: more states than"):
        reduced(*ab09ad(), order=8)
    e, a, b, c = random_stable(10)
    b[5:], a[5:, :5] = 0, 0
    with pytest.raises(InputError, match="only 5 states can be told from rounding"):
        reduced(e, a, b, c, order=6)
    with pytest.raises(InputError, match="has 5001 unknowns and is not symmetric"):
        skew = sp.eye_array(5001, format="csr") + sp.csr_array(
            ([0.1], ([0], [1])), shape=(5001, 5001))
        reduced(sp.eye_array(5001), -skew, np.ones((5001, 1)), np.ones((1, 5001)))


@pytest.mark.parametrize("unit", [1.0, 1e6, 1e-9])
@pytest.mark.parametrize("model", [random_stable(30), chain(30), chain(600)],
                         ids=["general", "symmetric", "large"])
def test_tolerance_is_kept_by_every_kind_of_model(model, unit):
    model = scaled(model, outputs=unit)
    coarse, loose = reduced(*model, tolerance=1e-2 * unit)
    fine, tight = reduced(*model, tolerance=1e-5 * unit)
    assert coarse.order < fine.order < tight["minimal_order"]
    assert loose["max_output_error"]["output"] <= 1e-2 * unit
    assert 1e-8 * unit < tight["max_output_error"]["output"] <= 1e-5 * unit
    with pytest.raises(InputError, match=r"tolerance_k = 1e-40: no order .*at least \S+e-\d+, the"):
        reduced(*model, tolerance=1e-40)


@pytest.mark.parametrize("model", [random_stable(10), chain(600)], ids=["whole", "large"])
def test_errors_are_in_the_units_of_the_model(model):
    _, record = reduced(*model, order=5)

    def keys(part):
        return {key for name, value in part.items() for key in (
            {name} | (keys(value) if isinstance(value, dict) else set()))}

    assert not [key for key in keys(record) if key.endswith(("_k", "_k_w", "_w"))]
    assert {"max_output_error", "hinf_norm", "replay_input", "replay_step_s"} <= keys(record)


def test_replayed_step_follows_the_time_scale():
    steps = [reduced(*scaled(ab09ad(), seconds=seconds), order=4)[1] for seconds in (1.0, 1e-9)]
    assert steps[1]["replay_step_s"] == pytest.approx(1e-9 * steps[0]["replay_step_s"])
    errors = [record["max_output_error"]["output"] for record in steps]
    assert errors[1] == pytest.approx(errors[0], rel=1e-6) and errors[0] > 1e-4
