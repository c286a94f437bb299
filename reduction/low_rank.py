"""Low-rank ADI: the states that the inputs can reach, and the model projected onto them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import scipy.linalg as la
import scipy.sparse as sp
from scipy.linalg import blas, lapack

from hifuflow.errors import NumericalError
from hifuflow.job import Progress

from .shifts import REPEATS, interleaved, wachspress_shifts

# Directions of the Gramian's factor below this times the root of the tolerance are dropped: they
# matter less than what ADI leaves out.
DIRECTION_CUT = 1e-6
QR_BLOCK = 32  # columns
PANEL = 128  # columns made orthonormal at a time: wide enough for matrix products at full speed


@dataclass
class ReachableSpace:
    """The states that the inputs can reach, as low-rank ADI finds them.

    Attributes
    ----------
    basis : (n, k) V with V' E V = I.
    residual : ||W'W|| / ||B'B||, relative residual of the Lyapunov equation, after each shift.
    shifts : (j,) shifts [1/s], each used REPEATS times.
    residual_factor : (n, m) W, whose product W W' is the residual at the end.
    """

    basis: np.ndarray
    residual: np.ndarray
    shifts: np.ndarray
    residual_factor: np.ndarray


def unit_capacity(capacity, stiffness, inputs, *outputs):
    """Rescale the unknowns to x = D z with D = diag(E)^(-1/2), so that E has a unit diagonal.

    Returns
    -------
    D E D, D K D, D B, and C D for each C : the same transfer functions, well scaled.
    """
    scale = 1 / np.sqrt(capacity.diagonal())
    diagonal = sp.diags_array(scale)
    return (sp.csr_array(diagonal @ capacity @ diagonal),
            sp.csr_array(diagonal @ stiffness @ diagonal),
            scale[:, None] * inputs, *(sp.csr_array(rows @ diagonal) for rows in outputs))


def most_states(inputs, interval, tolerance) -> int:
    """Number of columns that `reachable_space` computes, an upper bound on those it keeps."""
    n, m = inputs.shape
    return min(n, m * REPEATS * len(wachspress_shifts(*interval, tolerance, REPEATS)))


def reachable_space(capacity, solver, inputs, interval, tolerance,
                    threads: int = 1) -> ReachableSpace:
    """E-orthonormal basis of the states reachable in E x' = -K x + B u, by low-rank ADI.

    The factor Z of the reachability Gramian P = Z Z', K P E + E P K = B B', grows by one block
    with every use of a real shift s_j:

        (K + s_j E) V_j = W_(j-1),   Z_j = sqrt(2 s_j) V_j,   W_j = W_(j-1) - 2 s_j E V_j,

    W_0 = B. W_j W_j' is the residual of the equation. The blocks are made orthonormal in E, a
    few at a time. Directions below DIRECTION_CUT sqrt(tolerance) times the largest are dropped.

    Parameters
    ----------
    capacity : (n, n) sparse E; solver : `ShiftedSolver` of E and K; inputs : (n, m) B.
    interval : ends of the spectrum [1/s].
    tolerance : relative residual at which to stop.
    threads : with more than one, blocks are made orthonormal while the next ones are solved for.

    Raises
    ------
    NumericalError : after all shifts the residual is still above ten times the tolerance.

    Source: J.-R. Li, J. White, "Low rank solution of Lyapunov equations", SIAM J. Matrix Anal.
    Appl. 24 (2002) 260-280.
    """
    shifts = interleaved(wachspress_shifts(*interval, tolerance, REPEATS))
    m = inputs.shape[1]
    basis = _Basis(capacity, np.empty((len(inputs), most_states(inputs, interval, tolerance)),
                                      order="F"), DIRECTION_CUT * np.sqrt(tolerance))
    waiting, adding = [], None
    residual_factor, residuals = inputs, []
    scale = squared_norm(inputs)
    with (Progress("reachable space", total=len(shifts), unit="shifts") as progress,
          ThreadPoolExecutor(max_workers=1) as worker):
        for shift in shifts:
            solver.factor(1.0, shift)
            for _ in range(REPEATS):
                block = np.sqrt(2 * shift) * solver.solve(residual_factor)
                image = capacity @ block
                residual_factor = residual_factor - np.sqrt(2 * shift) * image
                waiting.append((block, image))
            residuals.append(squared_norm(residual_factor) / scale)
            last = residuals[-1] <= tolerance or len(residuals) == len(shifts)
            if last or m * len(waiting) >= PANEL:
                if adding:
                    adding.result()  # at most one panel waits
                panels = [np.hstack(blocks) for blocks in zip(*waiting, strict=True)]
                adding, waiting = worker.submit(basis.add, *panels), []
                if last or threads == 1:
                    adding.result()
            progress.advance(1, f"{basis.size} states, residual {residuals[-1]:.1e}")
            if last:
                break
    if not residuals[-1] <= 10 * tolerance:
        raise NumericalError(f"low-rank ADI stopped at a relative residual of {residuals[-1]:.2e} "
                             f"after {len(shifts)} shifts on [{interval[0]:.3g}, "
                             f"{interval[1]:.3g}] 1/s; {tolerance:.0e} was asked for")
    return ReachableSpace(basis.columns[:, : basis.size], np.array(residuals),
                          shifts[: len(residuals)], residual_factor)


@dataclass
class _Basis:
    """A growing E-orthonormal basis: `columns` (n, most), of which `size` are filled."""

    capacity: sp.csr_array
    columns: np.ndarray
    cut: float
    size: int = 0
    largest: float = 0.0

    def add(self, panel, image) -> None:
        """Add the directions of `panel` that are new, given `image` = E `panel`.

        Directions below `cut` times the largest are dropped.
        """
        self.largest = max(self.largest, np.sqrt(squared_norm(panel)))
        new = orthonormal_part(panel, image, self.columns[:, : self.size], self.capacity,
                               self.cut * self.largest)
        stop = min(self.size + new.shape[1], self.columns.shape[1])
        self.columns[:, self.size : stop] = new[:, : stop - self.size]
        self.size = stop


def orthonormal_part(block, image, basis, capacity, cut: float) -> np.ndarray:
    """E-orthonormal basis of what `block` (n, m) adds to the E-orthonormal `basis` (n, k).

    `image` is E `block`. Directions smaller than `cut` are dropped. This is classical Gram-Schmidt
    by blocks, done twice: the second pass works on normalized directions, so that the small ones
    become orthogonal too.
    """
    block = np.array(block, order="F")
    _subtract(block, basis, _inner(basis, image))
    # LAPACK's recursive blocked QR is three times as fast as `scipy.linalg.qr` on a tall block.
    triangle = np.triu(lapack.dgeqrt(min(QR_BLOCK, *block.shape), block)[0][: block.shape[1]])
    _, size, right = la.svd(triangle, full_matrices=False)
    kept = size > cut
    frame = np.asfortranarray(block @ (right[kept].T / size[kept]))
    image = capacity @ frame
    along = _inner(basis, image)
    gram = frame.T @ image - along.T @ along  # of what is left of the frame
    _subtract(frame, basis, along)
    # The Gram matrix is as well conditioned as E: the inverse of its factor is safe, and faster.
    return frame @ la.inv(la.cholesky(gram, lower=True)).T


def _inner(basis, image) -> np.ndarray:
    """basis' image (k, m), computed as a wide times a tall matrix, which BLAS does faster."""
    return (image.T @ basis).T


def _subtract(block, basis, along) -> None:
    """block -= basis along, in place: half the time, as no product is stored."""
    if along.size:
        blas.dgemm(-1.0, basis, along, beta=1.0, c=block, overwrite_c=True)


def squared_norm(block) -> float:
    """Square of the spectral norm of a tall matrix, from its small Gram matrix."""
    return float(np.linalg.eigvalsh(block.T @ block)[-1])


@dataclass
class ModalModel:
    """A projected model in its eigenvectors: z' = -diag(rates) z + B u, y = C z, x = V Y z.

    Attributes
    ----------
    rates : (k,) decay rates [1/s], ascending, positive.
    inputs : (k, m) B.  outputs : (p, k) C.
    basis : (n, k) V with V' E V = I.  vectors : (k, k) orthogonal Y, Y' V' K V Y diagonal.
    """

    rates: np.ndarray
    inputs: np.ndarray
    outputs: np.ndarray
    basis: np.ndarray
    vectors: np.ndarray

    def states(self, coordinates) -> np.ndarray:
        """Unknowns (n, ...) of the full model at modal coordinates (k, ...), real."""
        return self.basis @ (self.vectors @ coordinates)


def rows_times(rows, basis) -> np.ndarray:
    """Sparse `rows` (p, n) times the basis, by panels, because SciPy copies what it multiplies."""
    return np.hstack([rows @ basis[:, start : start + PANEL]
                      for start in range(0, basis.shape[1], PANEL)])


def project(stiffness, inputs, outputs, basis) -> ModalModel:
    """Galerkin projection onto an E-orthonormal basis, in eigenvectors of the projected K.

    The projection is symmetric, so its decay rates lie inside the spectrum of the full model:
    it is stable whatever the basis.

    Raises
    ------
    NumericalError : a decay rate is not positive, so K is not positive definite.
    """
    k = basis.shape[1]
    projected = np.empty((k, k))
    for start in range(0, k, PANEL):  # K V by panels: at 500,000 unknowns all of it is 5 GB
        stop = min(start + PANEL, k)
        projected[start:stop, :stop] = (stiffness @ basis[:, start:stop]).T @ basis[:, :stop]
    rates, vectors = np.linalg.eigh(projected)
    if not rates[0] > 0:
        raise NumericalError(f"the projected model has the decay rate {rates[0]:.3e} 1/s: K is "
                             "not positive definite")
    return ModalModel(rates, vectors.T @ (basis.T @ inputs),
                      rows_times(outputs, basis) @ vectors, basis, vectors)
