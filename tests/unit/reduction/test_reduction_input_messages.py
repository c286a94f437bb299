"""What is said of orders, tolerances, threads and matrices that cannot be used, word by word."""

import numpy as np
import pytest
import scipy.sparse as sp

from hifuflow.errors import InputError
from hifuflow.reduction.checks import (
    check_matrices,
    check_order,
    check_threads,
    check_tolerance,
    fits,
)


def message(check, *arguments) -> str:
    with pytest.raises(InputError) as caught:
        check(*arguments)
    return str(caught.value)


@pytest.mark.parametrize("order", [0, -3, 2.0, True, "many", None])
def test_orders_that_are_none(order):
    shown = "" if order is None else f" = {order!r}"
    assert message(check_order, order, "p.yaml") == (
        f"p.yaml: reduction.order{shown}: not a number of states "
        "(allowed: auto or a whole number of at least 1)")


def test_orders_and_tolerances_that_may_be():
    for order in ("auto", 1, 300, np.int64(5)):
        check_order(order)
    check_tolerance(None, 30)
    for tolerance in (1e-6, 0.5, 1, 10):
        check_tolerance(tolerance, "auto")
    check_threads(1)
    check_threads(2)


@pytest.mark.parametrize("tolerance", [0, -1.0, np.inf, np.nan, "small"])
def test_tolerances_that_are_none(tolerance):
    assert message(check_tolerance, tolerance, "auto") == (
        f"--tolerance = {tolerance!r}: not a tolerance (allowed: a positive number)")


def test_a_tolerance_stands_beside_no_order():
    assert message(check_tolerance, 0.1, 30) == (
        "--tolerance = 0.1: give one of order and tolerance (allowed: none beside an order (30))")


def test_no_threads():
    assert message(check_threads, 0) == (
        "--threads = 0: not a number of threads (allowed: at least 1)")


def test_shapes_are_named_with_what_would_fit():
    matrix = np.ones((2, 3))
    assert message(check_matrices, {"C": (matrix, (3, 2))}, "m.mat") == (
        "m.mat: C = (2, 3): has the wrong shape, its transpose would fit (allowed: 3 x 2)")
    assert message(check_matrices, {"C": (matrix, (None, 2))}, "m.mat") == (
        "m.mat: C = (2, 3): has the wrong shape, its transpose would fit (allowed: any x 2)")
    assert message(check_matrices, {"C": (matrix, (4, 4))}) == (
        "C = (2, 3): has the wrong shape (allowed: 4 x 4)")
    check_matrices({"C": (matrix, (None, 3)), "D": (np.ones((1, 1)), (None, None))})


def test_values_that_are_no_numbers_are_counted():
    matrix = sp.csr_array(np.array([[1.0, np.nan], [np.inf, 2.0]]))
    assert message(check_matrices, {"E": (matrix, (2, 2))}, "m.mat") == (
        "m.mat: E: 2 of 4 values are not finite")
    assert message(check_matrices, {"B": (np.zeros((2, 1)), (2, 1))}, "m.mat") == (
        "m.mat: B: is zero: there is nothing to reduce")
    check_matrices({"B": (np.zeros((2, 1)), (2, 1))}, "m.mat", True)


def test_any_number_is_above_zero():
    assert fits((1, 5), (None, 5)) and not fits((0, 5), (None, 5)) and not fits((1, 4), (None, 5))
    with pytest.raises(ValueError, match="zip"):
        fits((1, 2, 3), (None, 2))
