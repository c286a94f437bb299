"""Absorbed power of every focus per watt of acoustic power."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace

import numpy as np
from scipy import ndimage
from threadpoolctl import threadpool_limits

from hifuflow.errors import InputError, NumericalError
from hifuflow.job import Progress, log
from hifuflow.records.anatomy import Anatomy
from hifuflow.records.heating import Heating
from hifuflow.records.plan import Plan

from .beams import Beam, prepare_beams
from .grid import check_grid, sample_medium
from .medium import Balance
from .settings import HeatingSettings
from .steering import steering_map
from .storage import STORED_FRACTION, choose_box, rounded
from .transducer import Transducer

# Fraction of the power that may be unaccounted for: more than the first is logged, more than the
# second refused. A breast of skin, gland, fat and muscle leaves 0.1 %.
BALANCE_TOLERANCE, BALANCE_LIMIT = 0.01, 0.05
# Measured time of the products of a drive with the elements' fields (pressure, and the power that
# leaves), over that of propagating one field: a fixed part, and a part for each element.
PRODUCT_COST = (0.2, 0.007)
BLOCK_CELLS = 13  # edge of the block around a focus from which its pressure is interpolated
PLANES_AT_ONCE = 8  # written together when all foci are computed plane by plane


def compute_heating(anatomy: Anatomy, plan: Plan, settings: HeatingSettings, threads: int = 1,
                    allocate=None, power: float = 1.0) -> Heating:
    """Absorbed power density q = 2 alpha_abs I, I = |p|^2/(2 rho c), of every focus at 1 W.

    The elements' pressure on a plane in the water (`element_planes`) is propagated through the body
    by the hybrid angular spectrum method. Cells on a boundary absorb in proportion to their part in
    the body.

    Parameters
    ----------
    anatomy : the body.  plan : pose of the transducer, and the foci.
    settings : of the transducer, the tissues, and the computation of the field.

    Other Parameters
    ----------------
    threads : number of foci computed at the same time. While the medium is prepared, one more
        thread is used.
    allocate : function that makes the array of a given shape for q, which is filled focus by
        focus; None: an array in memory.
    power : what the transducer radiates where 1 W is commanded [W]; all is over the latter.

    Returns
    -------
    Heating : `q` (n_foci, nx, ny, nz) [W/m3 per W acoustic], cropped to the box that holds 99.9 %
        of the absorbed power, with `affine` to metres.

    Raises
    ------
    InputError : the spacing does not suit the wave or needs too many cells, or the body does not
        absorb.
    NumericalError : the power of some focus does not add up.
    """
    device, water = Transducer.of(settings.transducer), settings.water
    grid = check_grid(anatomy, plan, settings)
    medium = sample_medium(anatomy, grid, settings.tissues, device.frequency, threads)
    log.info("beam grid %d x %d x %d cells of %.3g mm, first plane %.1f mm from the apex",
             *grid.shape[1:], grid.shape[0], grid.spacing * 1e3, grid.z[0] * 1e3)
    if not medium.absorption.any():
        raise InputError("nothing in the beam's path absorbs, so no heat is deposited",
                         file=settings.written.file, key="tissues.*.absorption_np_m_mhz", value=0,
                         allowed="> 0 in the body")
    # One BLAS thread each: parallel foci gain more, and idle BLAS threads slow them down.
    with threadpool_limits(limits=1), ThreadPoolExecutor(1) as worker:
        steering = worker.submit(steering_map, plan, device, water.speed)
        beams, march = prepare_beams(plan, device, grid, medium, water, settings.phases, threads,
                                     power)
        heating = _Foci(plan, device, grid, march, beams, settings.fields, threads).heating(
            allocate or (lambda shape: np.empty(shape, np.float32)))
        return replace(heating, steering=steering.result())


class _Foci:
    """The computation of all foci's heating, with the balance and pressure of each.

    `choice` : see `superpose`.
    """

    def __init__(self, plan, device, grid, march, beams, choice: str, threads):
        self.plan, self.device, self.grid, self.march = plan, device, grid, march
        self.beams, self.choice, self.threads = beams, choice, threads
        self.foci = grid.to_beam(plan.foci)
        self.marched: dict = {}  # focus -> its intensity and balance, kept until they are stored
        self.balances: list[Balance] = [None] * len(plan.foci)
        self.pressure = np.empty(len(plan.foci))
        self.fraction = np.empty(len(plan.foci))

    def heating(self, allocate) -> Heating:
        box = self._box()
        nz, nx, ny = (part.stop - part.start for part in box)
        q = allocate((len(self.foci), nx, ny, nz))
        with Progress("heating", len(self.foci), "foci") as progress:
            for beam in self.beams:
                store = self._by_element if self._together(beam) else self._by_focus
                store(beam, box, q, progress)
        stored = self.fraction / [balance.absorbed for balance in self.balances]
        self._report(q.shape, stored.min())
        affine = self.grid.affine
        affine[:3, 3] += affine[:3, :3] @ [box[1].start, box[2].start, box[0].start]
        return Heating(q, affine, self.plan.foci.copy(), self.pressure, self.fraction,
                       self.device.frequency, self.device.name,
                       {part.name: np.array([getattr(b, part.name) for b in self.balances])
                        for part in fields(Balance)})

    def _together(self, beam: Beam) -> bool:
        return superpose(len(beam.foci), len(beam.planes), self.choice)

    def _box(self):
        """Slices of the box that contains the heat of the outermost foci."""
        ends = set(np.concatenate([self.foci.argmin(axis=0), self.foci.argmax(axis=0)]).tolist())
        chosen = [(beam, i) for beam in self.beams for i, focus in enumerate(beam.foci)
                  if focus in ends]

        def profiles(one):
            beam, i = one
            intensity, balance = self.march.intensity(beam.source(i))
            if not self._together(beam):
                self.marched[beam.foci[i]] = intensity, balance
            q = intensity * self.march.medium.absorption
            return [q.sum(axis=axes, dtype=float) for axes in ((1, 2), (0, 2), (0, 1))]

        with ThreadPoolExecutor(self.threads) as pool:
            return choose_box(list(pool.map(profiles, chosen)))

    def _by_focus(self, beam: Beam, box, q, progress) -> None:
        """Propagate each focus's field by itself, and store its heating."""
        twice = 2 * self.march.medium.absorption[box]

        def work(i):
            focus = beam.foci[i]
            intensity, balance = (self.marched.pop(focus, None)
                                  or self.march.intensity(beam.source(i)))
            self._note(focus, balance, self._pressure(intensity, focus))
            heat = rounded((intensity[box] * twice).transpose(1, 2, 0))
            self.fraction[focus] = heat.sum(dtype=float) * self.grid.spacing**3
            q[focus] = heat  # packed and written while another thread propagates the next field

        with ThreadPoolExecutor(self.threads) as pool:
            for _ in pool.map(work, range(len(beam.foci))):
                progress.advance()

    def _by_element(self, beam: Beam, box, q, progress) -> None:
        """Propagate all elements' fields together, superposed for every focus on each plane."""
        march, (along, *across) = self.march, box
        index = self.grid.index(self.foci[beam.foci])
        blocks = np.zeros((len(beam.foci), BLOCK_CELLS, BLOCK_CELLS, BLOCK_CELLS), np.float32)
        low = _block_start(index, march.medium.impedance.shape)
        slab: list[np.ndarray] = []
        self.fraction[beam.foci] = 0

        def receive(plane, intensity):
            for i in np.flatnonzero((plane >= low[:, 0]) & (plane < low[:, 0] + BLOCK_CELLS)):
                blocks[i, plane - low[i, 0]] = intensity[
                    i, low[i, 1]:low[i, 1] + BLOCK_CELLS, low[i, 2]:low[i, 2] + BLOCK_CELLS]
            if not along.start <= plane < along.stop:
                return
            slab.append(rounded(2 * march.medium.absorption[plane][tuple(across)]
                                * intensity[:, *across]))
            if len(slab) == PLANES_AT_ONCE or plane == along.stop - 1:
                heat = np.stack(slab, axis=-1)
                end = plane + 1 - along.start
                for focus, part in zip(beam.foci, heat, strict=True):
                    q[focus, :, :, end - len(slab):end] = part
                    self.fraction[focus] += part.sum(dtype=float) * self.grid.spacing**3
                slab.clear()

        with threadpool_limits(limits=self.threads):  # a matrix product for all foci at once
            balances = march.intensities(beam.planes, beam.drives, receive)
        for i, (focus, balance) in enumerate(zip(beam.foci, balances, strict=True)):
            self._note(focus, balance, _interpolated(
                blocks[i], march.medium.impedance, low[i], index[i]))
            progress.advance()

    def _pressure(self, intensity, focus: int) -> float:
        index = self.grid.index(self.foci[focus])
        low = _block_start(index[None], intensity.shape)[0]
        block = intensity[tuple(slice(start, start + BLOCK_CELLS) for start in low)]
        return _interpolated(block, self.march.medium.impedance, low, index)

    def _note(self, focus: int, balance: Balance, pressure: float) -> None:
        self.balances[focus], self.pressure[focus] = balance, pressure
        check_balance(int(focus), balance)

    def _report(self, shape, stored: float) -> None:
        parts = {part.name: [getattr(balance, part.name) for balance in self.balances]
                 for part in fields(Balance)}
        log.info("of the power %s; unaccounted for at most %.2f %%", ", ".join(
            f"{min(values):.1%} to {max(values):.1%} {name}" for name, values in parts.items()),
            100 * max(abs(balance.missing) for balance in self.balances))
        log.info("the stored %d x %d x %d cells hold at least %.2f %% of the heat", *shape[1:],
                 stored * 100)
        if stored < 2 * STORED_FRACTION - 1:
            raise NumericalError(f"the stored box holds only {stored:.2%} of the absorbed power")


def _block_start(index: np.ndarray, shape) -> np.ndarray:
    """(n, 3) first cell of the block around each fractional index (n, 3)."""
    return np.clip(np.rint(index).astype(int) - BLOCK_CELLS // 2, 0,
                   np.maximum(np.array(shape) - BLOCK_CELLS, 0))


def _interpolated(block: np.ndarray, impedance: np.ndarray, low, index) -> float:
    """|p| at a point by cubic splines over the cells around it [Pa]."""
    z = impedance[tuple(slice(start, start + BLOCK_CELLS) for start in low)]
    pressure = np.sqrt(2 * z * block[tuple(map(slice, z.shape))])
    return float(ndimage.map_coordinates(pressure, (index - low)[:, None], order=3,
                                         mode="nearest")[0])


def superpose(n_foci: int, n_elements: int, choice: str) -> bool:
    """Whether to propagate all elements and superpose them, rather than each focus's field.

    "auto" chooses the cheaper: n_elements propagations and n_foci products, or n_foci propagations.
    """
    if choice != "auto":
        return choice == "by_element"
    fixed, per_element = PRODUCT_COST
    return n_elements + n_foci * (fixed + per_element * n_elements) < n_foci


def check_balance(focus: int, balance: Balance) -> None:
    """Check absorbed + scattered + reflected + sideways + transmitted = entered <= radiated (1 W).

    A missing part of 1 to 5 % is only logged.

    Raises
    ------
    NumericalError : more than 5 % is missing, or the power that enters exceeds the radiated power
        by more than 1 %.
    """
    parts = ", ".join(f"{part.name} {getattr(balance, part.name):.4f}" for part in fields(Balance))
    if BALANCE_TOLERANCE < abs(balance.missing) <= BALANCE_LIMIT:
        log.warning("focus %d: %.2f %% of the power is unaccounted for", focus + 1,
                    100 * balance.missing)
    if abs(balance.missing) > BALANCE_LIMIT:
        raise NumericalError(f"focus {focus + 1}: {balance.missing:.2%} of the power is "
                             f"unaccounted for [W at 1 W radiated]: {parts}")
    if balance.entered > 1 + BALANCE_TOLERANCE:
        raise NumericalError(f"focus {focus + 1}: more power enters than is radiated "
                             f"[W at 1 W radiated]: {parts}")
