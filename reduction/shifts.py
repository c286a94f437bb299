"""ADI shifts: the ends of a real spectrum, and the best real shifts for it."""

from __future__ import annotations

import numpy as np
from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh
from scipy.special import ellipj, ellipk, ellipkm1

from hifuflow.errors import NumericalError

from .frequency import largest_eigenvalue

# Uses of each shift in a row, which share its factorization. After J shifts used R times each, the
# residual is only 4^(R - 1) times that after J R different shifts.
REPEATS = 3
# Where the smallest rate is below this fraction of the largest, it may be a pole at zero that
# rounding has moved.
WIDE = 1e-10


def spectral_interval(capacity, stiffness, solver) -> tuple[float, float]:
    """Smallest and largest eigenvalue w [1/s] of K v = w E v, by Lanczos, widened by 2 %.

    Raises
    ------
    NumericalError : K or E is not positive definite (the pencil is unstable or singular).
    """
    n = capacity.shape[0]
    start = np.cos(np.arange(n) * 1.7) + 1.5  # fixed, so that runs repeat exactly
    ends = []
    # The largest eigenvalues of K^-1 E, then of E^-1 K.
    for factored, applied in (((1.0, 0.0), capacity), ((0.0, 1.0), stiffness)):
        solver.factor(*factored)
        inverse = LinearOperator((n, n), matvec=solver.solve, dtype=float)
        metric = stiffness if applied is capacity else capacity
        try:
            ends.append(eigsh(applied, k=1, M=metric, Minv=inverse, which="LM", tol=1e-2,
                              ncv=min(10, n), v0=start, return_eigenvectors=False)[0])
        except ArpackError as error:
            raise NumericalError(f"the ends of the spectrum were not found: {error}") from error
    low, high = 0.98 / ends[0], 1.02 * ends[1]
    if not 0 < low <= high < np.inf:
        raise NumericalError(f"the spectrum [{low:g}, {high:g}] 1/s is not positive")
    if low < WIDE * high:
        check_not_singular(stiffness, solver)
    return low, high


def check_not_singular(stiffness, solver) -> None:
    """Refuse a K that is singular to working precision once its diagonal is scaled to one.

    Rates may be further apart than double precision reaches because the unknowns have very
    different sizes. If they still are after scaling, there is a pole at zero.

    Raises
    ------
    NumericalError : the smallest eigenvalue is within rounding of zero.
    """
    n = stiffness.shape[0]
    size = np.sqrt(stiffness.diagonal())
    solver.factor(1.0, 0.0)
    smallest = 1 / largest_eigenvalue(lambda y: size * solver.solve(size * y), n)
    if not smallest > n * np.finfo(float).eps:
        raise NumericalError(f"K is not positive definite: its smallest eigenvalue, {smallest:.1e} "
                             "of its diagonal, is rounding, and a pole at zero never decays")


def wachspress_shifts(low: float, high: float, tolerance: float, repeats: int = 1) -> np.ndarray:
    """The real shifts with which ADI converges fastest on the spectrum [low, high].

    J shifts s_j leave the error factor rho = max |prod_j (w - s_j) / (w + s_j)|, the maximum
    taken over low <= w <= high. It is least for

        s_j = high dn((2j - 1) K(k') / (2J), k'),   k = low / high,   k'^2 = 1 - k^2,

    where rho = 2 exp(-pi J K(k) / K(k')) up to a factor 1 + O(rho^2); K is the complete elliptic
    integral, dn Jacobi's function. J is the smallest number with rho^(2R) <= `tolerance`: the
    residual of the Lyapunov equation is reduced by rho^2 with every one of R uses of the set.

    Returns
    -------
    (J,) shifts [1/s], descending.

    Source: E. Wachspress, "The ADI Model Problem", Springer, 2013 (Zolotarev's third problem).
    """
    k2 = (low / high) ** 2
    quarter = ellipkm1(k2)
    needed = np.log(4 / tolerance ** (1 / repeats)) / 2 / decay_per_shift(low, high)
    count = max(1, int(np.ceil(needed * (1 - 1e-12))))
    # dn is evaluated in the first half of its quarter period only, where it is not small; the
    # other half follows from the symmetry s_j s_(J + 1 - j) = low high.
    first = np.arange(1, (count + 1) // 2 + 1)
    upper = high * ellipj((2 * first - 1) * quarter / (2 * count), 1 - k2)[2]
    lower = low * high / upper[: count // 2]
    return np.concatenate([upper, lower[::-1]])


def decay_per_shift(low: float, high: float) -> float:
    """pi K(k) / K(k'): each further shift lowers the natural logarithm of rho by this."""
    k2 = (low / high) ** 2
    return float(np.pi * ellipk(k2) / ellipkm1(k2))


def tolerance_of_blocks(low: float, high: float, blocks: int) -> float:
    """Relative residual of the Lyapunov equation that `blocks` solves reach (REPEATS a shift)."""
    count = -(-blocks // REPEATS)
    return float((2 * np.exp(-count * decay_per_shift(low, high))) ** (2 * REPEATS))


def interleaved(shifts: np.ndarray) -> np.ndarray:
    """The shifts in bit-reversed order, so that the first few already cover the whole spectrum."""
    bits = max(1, int(np.ceil(np.log2(max(len(shifts), 2)))))
    order = [int(f"{i:0{bits}b}"[::-1], 2) for i in range(2**bits)]
    return shifts[[i for i in order if i < len(shifts)]]
